// The noise of the command line, number for number: `undiffuse sample RUN --seed 7` draws what the page draws at seed 7.
//
// Noise belongs to the sample: it is a function of (seed, which sample, which draw). Philox (Salmon et al. 2011) makes
// random bits of a counter, as NumPy does; the ziggurat (Marsaglia and Tsang 2000) makes N(0, 1) of bits.

const BLOCK = 4096; // numbers of a block; small samples share one

export class SeededNoise {
  constructor(seed) {
    this.seed = BigInt(seed);
    this.draws = 0;
  }

  // N(0, 1) for `count` samples of `size` numbers each.
  normal(count, size) {
    const rows = Math.max(1, Math.floor(BLOCK / size)); // samples of a block
    const made = new Float32Array(count * size);
    for (let block = 0; block * rows < count; block++) {
      const bits = new Bits(this.seed, block, this.draws);
      const last = Math.min(made.length, (block + 1) * rows * size);
      for (let i = block * rows * size; i < last; i++) made[i] = normal(bits);
    }
    this.draws += 1;
    return made;
  }
}

// ------------------------------------------------------------------------------------------------ random bits

const MASK = 0xffffffffffffffffn;
const [FACTOR_0, FACTOR_1] = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const [WEYL_0, WEYL_1] = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];

// Ten rounds: four words of 64 random bits of a counter of four words.
function philox(counter, key) {
  let [c0, c1, c2, c3] = counter;
  let k0 = key & MASK;
  let k1 = key >> 64n;
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [FACTOR_0 * c0, FACTOR_1 * c2];
    [c0, c1, c2, c3] = [(p1 >> 64n) ^ c1 ^ k0, p1 & MASK, (p0 >> 64n) ^ c3 ^ k1, p0 & MASK];
    k0 = (k0 + WEYL_0) & MASK;
    k1 = (k1 + WEYL_1) & MASK;
  }
  return [c0, c1, c2, c3];
}

class Bits {
  constructor(seed, block, draw) {
    this.key = seed;
    this.counter = [0n, BigInt(block), BigInt(draw), 0n];
    this.words = new Uint32Array(8);
    this.place = 8;
  }

  // 32 random bits; the lower half of each word first.
  next() {
    if (this.place === 8) {
      this.counter[0] += 1n;
      philox(this.counter, this.key).forEach((word, i) => {
        this.words[2 * i] = Number(word & 0xffffffffn);
        this.words[2 * i + 1] = Number(word >> 32n);
      });
      this.place = 0;
    }
    return this.words[this.place++];
  }

  // U[0, 1) in steps of 2^-24.
  uniform() {
    return (this.next() >>> 8) / 16777216;
  }
}

// ------------------------------------------------------------------------------------------------ the ziggurat

// 256 layers of equal area under exp(-x^2/2); layer i reaches from 0 to EDGE[i], the lowest one has the tail beyond R.
const R = 3.6541528853610088;
const AREA = 0.00492867323399;
const density = (x) => Math.exp(-0.5 * x * x);
const EDGE = new Float64Array(257);
EDGE[0] = AREA / density(R);
EDGE[1] = R;
for (let i = 2; i < 256; i++) EDGE[i] = Math.sqrt(-2 * Math.log(AREA / EDGE[i - 1] + density(EDGE[i - 1])));

const WIDTH = new Float32Array(256); // of a layer, for each of 2^23 places
const INSIDE = new Uint32Array(256); // places below this lie under the curve for certain
const HEIGHT = new Float32Array(256); // of the curve at the layer's edge
for (let i = 0; i < 256; i++) {
  // NumPy counts layers from the tail, then from the widest to the narrowest
  WIDTH[i] = EDGE[layer(i)] / 2 ** 23;
  HEIGHT[i] = i === 0 ? 1 : density(EDGE[layer(i)]);
  INSIDE[i] = inside(i);
}

function layer(i) {
  return i === 0 ? 0 : 256 - i;
}

function inside(i) {
  if (i === 0) return Math.trunc((R / EDGE[0]) * 2 ** 23);
  if (i === 1) return 0;
  return Math.trunc((EDGE[layer(i) + 1] / EDGE[layer(i)]) * 2 ** 23);
}

function normal(bits) {
  for (;;) {
    const r = bits.next();
    const i = r & 0xff;
    const place = (r >>> 9) & 0x7fffff;
    const x = Math.fround((r >>> 8) & 1 ? -place * WIDTH[i] : place * WIDTH[i]);
    if (place < INSIDE[i]) return x;
    if (i === 0) return tail(bits, (place >>> 8) & 1);
    const between = (HEIGHT[i - 1] - HEIGHT[i]) * bits.uniform() + HEIGHT[i];
    if (between < density(x)) return x;
  }
}

function tail(bits, negative) {
  for (;;) {
    const x = -Math.log1p(-bits.uniform()) / R;
    const y = -Math.log1p(-bits.uniform());
    if (2 * y > x * x) return negative ? -(R + x) : R + x;
  }
}
