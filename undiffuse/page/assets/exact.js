// The exact denoiser of points that were drawn by hand: no network, no training.
//
//     E[x_0 | x_t] = sum_i w_i x_i,        w = softmax(-|x_t - alpha x_i|^2/(2 sigma^2))
//
// It minimises every denoising loss on these points, so its samples are the points themselves: a network that draws
// anything else has generalised.

import { Schedule } from "./schedule.js";

const STEPS = 1000;
const END = Math.atan(Math.exp(10)); // log-SNR -20

export class Exact {
  constructor(points) {
    this.points = points; // [[x, y], ...] in [-1, 1]
    const columns = [0, 1].map((k) => points.map((point) => point[k]));
    const mean = columns.map(average);
    const spread = Math.sqrt((average(columns[0].map((x) => (x - mean[0]) ** 2)) + average(columns[1].map((y) => (y - mean[1]) ** 2))) / 2) || 1;
    this.size = 2;
    this.guidable = false;
    this.facts = {
      name: "your own",
      kind: "points",
      shape: [2],
      columns: [],
      conditions: {},
      jumps: [],
      data: { mean, std: [spread, spread], quantised: false },
      sampling: { sampler: "ddim", steps: 20, guidance: 1 },
    };
    this.data = points.map(([x, y]) => [(x - mean[0]) / spread, (y - mean[1]) / spread]);
    const angles = Array.from({ length: STEPS + 1 }, (_, i) => (END * i) / STEPS); // the cosine schedule
    this.schedule = new Schedule({ family: "variance-preserving", discrete: false, angles });
  }

  denoiser(count) {
    return async (x, point) => {
      const made = new Float32Array(x.length);
      for (let i = 0; i < count; i++) made.set(this.believed(x[2 * i], x[2 * i + 1], point), 2 * i);
      return made;
    };
  }

  believed(x, y, { alpha, sigma }) {
    const logs = this.data.map(([a, b]) => -((x - alpha * a) ** 2 + (y - alpha * b) ** 2) / (2 * sigma * sigma));
    const most = logs.reduce((a, b) => Math.max(a, b), -Infinity);
    let [total, left, up] = [0, 0, 0];
    logs.forEach((log, i) => {
      const weight = Math.exp(log - most);
      total += weight;
      left += weight * this.data[i][0];
      up += weight * this.data[i][1];
    });
    return [left / total, up / total];
  }

  async decode(z) {
    const { mean, std } = this.facts.data;
    return z.map((value, i) => mean[i % 2] + std[i % 2] * value);
  }
}

const average = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

// What is drawn before anybody has: a heart.
export function heart() {
  return Array.from({ length: 90 }, (_, i) => {
    const t = (2 * Math.PI * i) / 90;
    const y = 13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t);
    return [(0.75 * 16 * Math.sin(t) ** 3) / 16, (0.75 * (y + 2)) / 16];
  });
}
