// Which points of a schedule to visit: a grid is a function (schedule, count) -> count + 1 points, noise first, the data
// last. Those in time pick entries of a table; those in noise pick levels of sigma/alpha.

import { DATA } from "./schedule.js";

const level = ({ alpha, sigma }) => sigma / alpha;

// Down from t = 1 in equal steps.
export function trailing(schedule, count) {
  const total = schedule.discrete ? schedule.steps : 1000;
  let entries = [];
  for (let i = count; i > 0; i--) entries.push((total * i) / count);
  const rounded = entries.map(halfToEven);
  const distinct = rounded[rounded.length - 1] > 0 && rounded.every((e, i) => i === 0 || e < rounded[i - 1]);
  if (schedule.discrete && distinct) entries = rounded;
  return [...entries.map((entry) => schedule.at(entry / total)), DATA];
}

// Equal steps of log-SNR, from t = 1, at most sigma/alpha = 160, to 1.5 count^-3/2.
export function logSnrUniform(schedule, count) {
  const high = Math.min(160, level(schedule.end));
  return ofLevels(schedule, geometric(high, Math.min(1.5, high) * count ** -1.5, count));
}

// Equal steps of log-SNR over a range that widens with the count: both ends must err less as the steps do.
export function widening(schedule, count) {
  const high = Math.min(160, Math.max(40, 3 * count), level(schedule.end));
  return ofLevels(schedule, geometric(high, Math.min(3.3, high) * count ** -2, count));
}

function geometric(high, low, count) {
  const [from, to] = [Math.log(high), Math.log(low)];
  return Array.from({ length: count }, (_, i) => Math.exp(count === 1 ? from : from + ((to - from) * i) / (count - 1)));
}

function ofLevels(schedule, levels) {
  const points = levels.map((each) => schedule.ofLevel(-2 * Math.log(each)));
  if (levels[0] >= level(schedule.end) * (1 - 1e-12)) points[0] = schedule.end;
  return [...points, DATA];
}

// As Python rounds.
function halfToEven(x) {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 ? down + 1 : down;
}
