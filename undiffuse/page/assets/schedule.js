// A noise schedule: how much of the data is left at each time t, from 0 (data) to 1 (noise).
//
//     x_t = alpha x_0 + sigma z
//
// The curve is a table of angles phi = arctan(sigma/alpha), which is finite at both ends; the family says where on the
// ray alpha/sigma = cot(phi) the pair lies. A point is {alpha, sigma, logSnr}, logSnr = log alpha^2/sigma^2.

const sigmoid = (x) => (x > 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

// (alpha, sigma) on the ray of a log-SNR.
const FAMILIES = {
  "variance-preserving": (l) => [Math.sqrt(sigmoid(l)), Math.sqrt(sigmoid(-l))],
  "variance-exploding": (l) => [1, Math.exp(-l / 2)],
  straight: (l) => [sigmoid(l / 2), sigmoid(-l / 2)],
  "sub-variance-preserving": (l) => {
    const inverse = Math.exp(-l / 2); // sigma/alpha
    const alpha = 2 / (inverse + Math.sqrt(inverse * inverse + 4));
    return [alpha, alpha * inverse];
  },
};

export const DATA = { alpha: 1, sigma: 0, logSnr: Infinity };

export class Schedule {
  constructor({ family, discrete, angles }) {
    this.scale = FAMILIES[family];
    this.discrete = discrete; // known at T times, and linear in the angle between them
    this.angles = angles; // at t = 0, 1/T, ..., 1
    this.steps = angles.length - 1;
    this.end = this.at(1);
  }

  // The point at time t.
  at(t) {
    const angle = this.angle(t);
    if (angle === 0) return DATA;
    const logSnr = angle === Math.PI / 2 ? -Infinity : -2 * Math.log(Math.tan(angle));
    return this.ofLevel(logSnr);
  }

  // The point of a log-SNR.
  ofLevel(logSnr) {
    const [alpha, sigma] = this.scale(logSnr);
    return { alpha, sigma, logSnr };
  }

  angle(t) {
    const place = t * this.steps;
    const before = Math.min(Math.floor(place), this.steps - 1);
    const part = place - before;
    if (part === 0 || part === 1) return this.angles[before + part];
    if (this.discrete || this.steps < 3) return this.angles[before] + part * (this.angles[before + 1] - this.angles[before]);
    return cubic(this.angles, Math.min(Math.max(before - 1, 0), this.steps - 3), place);
  }
}

// Lagrange's parabola of degree 3 through four entries from `first` on.
function cubic(values, first, place) {
  let total = 0;
  for (let i = first; i < first + 4; i++) {
    let weight = 1;
    for (let j = first; j < first + 4; j++) if (j !== i) weight *= (place - j) / (i - j);
    total += weight * values[i];
  }
  return total;
}

// 1/std of x_t for data of deviation 1, so that noise looks the same under every schedule.
export const inputScale = ({ alpha, sigma }) => 1 / Math.hypot(alpha, sigma);

// The share of x_t that is noise, in percent.
export const noiseShare = ({ alpha, sigma }) => Math.round((100 * sigma) / (alpha + sigma));
