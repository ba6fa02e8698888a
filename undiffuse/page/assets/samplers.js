// Samplers: one update rule each, from x at the point `now` to x at the next point `then`.
//
//     step({ denoise, x, now, then, memory, noise }) -> { x, memory }
//
// denoise(x, point) is E[x_0 | x_t], noise() is N(0, I) as large as x, and memory is what a step leaves to the next one.

import { combine, lerp } from "./arrays.js";
import { logSnrUniform, trailing, widening } from "./grids.js";

// DDIM's line from x toward x_0, at the next point (Song, Meng and Ermon 2021, equation 12 without noise).
function toward(x, x0, now, then) {
  const r = then.sigma / now.sigma;
  return combine(r, x, then.alpha - r * now.alpha, x0);
}

async function ddim({ denoise, x, now, then }) {
  return { x: toward(x, await denoise(x, now), now, then) };
}

// DDIM with momentum (Permenter and Yuan 2024, algorithm 2): the noise z is extrapolated from the last step.
async function gradientEstimation({ denoise, x, now, then, memory: before }) {
  const gamma = 1.6;
  const x0 = await denoise(x, now);
  const z = combine(1 / now.sigma, x, -now.alpha / now.sigma, x0);
  if (now.alpha === 0) return { x: combine(then.alpha, x0, then.sigma, z), memory: z };
  const move = then.sigma - (then.alpha * now.sigma) / now.alpha;
  const direction = before ? combine(gamma, z, 1 - gamma, before) : z;
  return { x: combine(then.alpha / now.alpha, x, move, direction), memory: z };
}

// DPM-Solver++ 2M (Lu et al. 2022): DDIM toward x_0 in the middle of the step, on the line through the last two answers
// in lambda = log(alpha/sigma).
async function dpmSolver2M({ denoise, x, now, then, memory: before }) {
  const x0 = await denoise(x, now);
  const [start, stop] = [now.logSnr / 2, then.logSnr / 2];
  if (!Number.isFinite(start)) return { x: toward(x, x0, now, then), memory: null };
  let mean = x0;
  if (before && Number.isFinite(stop)) {
    const middle = start + (stop - start) / 2;
    mean = lerp(before.x0, x0, (middle - before.at) / (start - before.at));
  }
  return { x: toward(x, mean, now, then), memory: { x0, at: start } };
}

// Heun (Karras et al. 2022, algorithm 2): the mean of the slopes at both ends of an Euler step.
async function heun({ denoise, x, now, then }) {
  const x0 = await denoise(x, now);
  const end = toward(x, x0, now, then);
  if (now.alpha === 0 || then.sigma === 0) return { x: end };
  const trust = 0.5 * Math.exp((then.logSnr - now.logSnr) / 2);
  return { x: toward(x, lerp(x0, await denoise(end, then), trust), now, then) };
}

// DDPM (Ho et al. 2020, equations 6 and 7): a draw of q(x_s | x_t, x_0) with variance beta-tilde.
async function ddpm({ denoise, x, now, then, noise }) {
  const x0 = await denoise(x, now);
  const w = -Math.expm1(now.logSnr - then.logSnr);
  const keep = (now.alpha * (then.sigma / now.sigma) ** 2) / then.alpha;
  const mean = combine(keep, x, w * then.alpha, x0);
  const std = Math.sqrt(w) * then.sigma;
  return { x: std === 0 ? mean : combine(1, mean, std, noise()) };
}

export const SAMPLERS = {
  ddim: { step: ddim, grid: trailing, name: "DDIM" },
  "gradient-estimation": { step: gradientEstimation, grid: widening, name: "gradient estimation" },
  "dpm++2m": { step: dpmSolver2M, grid: logSnrUniform, name: "DPM-Solver++ 2M" },
  heun: { step: heun, grid: logSnrUniform, name: "Heun" },
  ddpm: { step: ddpm, grid: trailing, name: "DDPM" },
};

// Every state from noise to data, as {x, belief, point}; the belief of the last one is itself.
export async function* trajectory({ sampler, points, denoise, start, noise }) {
  let [x, memory] = [start, null];
  for (let k = 0; k + 1 < points.length; k++) {
    let belief = null; // the first answer of a step is about its own x
    const heard = async (at, point) => {
      const answer = await denoise(at, point);
      belief ??= answer;
      return answer;
    };
    const made = await sampler.step({ denoise: heard, x, now: points[k], then: points[k + 1], memory, noise });
    yield { x, belief, point: points[k] };
    [x, memory] = [made.x, made.memory];
  }
  yield { x, belief: x, point: points[points.length - 1] };
}
