// What samples are asked to be. A choice is a word for each condition: a label, numbers, a text; null is absent, and a
// label that is left out takes its values in turn.

const KINDS = {
  Labels: {
    values: (spec, said) => {
      const every = spec.names.map((_, k) => [BigInt(k)]);
      return said === undefined ? every : said === null ? [null] : [[BigInt(spec.names.indexOf(said))]];
    },
    empty: () => [0n],
    type: "int64",
    shape: () => [],
  },
  Numbers: {
    values: (spec, said) => {
      const numbers = (said ?? "").split(",").map((word) => (word.trim() === "" ? NaN : Number(word)));
      const right = numbers.length === spec.columns.length && numbers.every(Number.isFinite);
      return right ? [numbers.map((number, k) => (number - spec.mean[k]) / spec.std[k])] : [null];
    },
    empty: (spec) => spec.columns.map(() => 0),
    type: "float32",
    shape: (spec) => [spec.columns.length],
  },
  Text: {
    values: (spec, said) => {
      const known = spec.reader?.known ?? [];
      const ids = words(said ?? "").map((word) => known.indexOf(word)).filter((id) => id >= 0);
      return [ids.length ? padded(ids, spec) : null];
    },
    empty: (spec) => padded([], spec),
    type: "int64",
    shape: (spec) => [spec.length],
  },
  Vector: { values: () => [null], empty: (spec) => Array(spec.width).fill(0), type: "float32", shape: (spec) => [spec.width] },
  Picture: {
    values: () => [null],
    empty: (spec) => Array(spec.size[0] * spec.size[1] * spec.size[2]).fill(0),
    type: "float32",
    shape: (spec) => spec.size,
  },
};

// Words and signs of punctuation, in small letters.
const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*|[^\p{L}\p{N}_\s]/gu) ?? [];

const padded = (ids, { length, vocabulary }) =>
  Array.from({ length }, (_, k) => BigInt(k < ids.length ? ids[k] : vocabulary));

// One condition of a batch: a row of values for each sample, null where it is absent.
class Entry {
  constructor(name, spec, rows) {
    [this.name, this.spec, this.rows, this.kind] = [name, spec, rows, KINDS[spec.kind]];
  }

  joined(other) {
    return new Entry(this.name, this.spec, [...this.rows, ...other.rows]);
  }

  tensors(Tensor, count) {
    const flat = this.rows.flatMap((row) => row ?? this.kind.empty(this.spec));
    const values = this.kind.type === "int64" ? BigInt64Array.from(flat) : Float32Array.from(flat);
    return {
      [this.name]: new Tensor(this.kind.type, values, [count, ...this.kind.shape(this.spec)]),
      [`${this.name}.present`]: new Tensor("bool", this.rows.map((row) => row !== null), [count]),
    };
  }
}

// The same rows with the condition absent.
export const without = (entry) => new Entry(entry.name, entry.spec, entry.rows.map(() => null));

// `count` samples take all combinations of the values in turn; a list of choices asks each sample for its own.
export function conditionsOf(specifications, choice, count) {
  const names = Object.keys(specifications);
  const choices = Array.isArray(choice) ? choice : [choice];
  const valued = (one) => names.map((name) => KINDS[specifications[name].kind].values(specifications[name], one[name]));
  const combinations = choices.flatMap((one) => valued(one).reduce(crossed, [[]]));
  return names.map((name, k) => {
    const rows = Array.from({ length: count }, (_, i) => combinations[i % combinations.length][k]);
    return new Entry(name, specifications[name], rows);
  });
}

const crossed = (rows, values) => rows.flatMap((row) => values.map((value) => [...row, value]));
