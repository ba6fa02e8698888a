// a x + b y of states, which are Float32Arrays; the arithmetic of samplers is nothing else.

export function combine(a, x, b, y) {
  const made = new Float32Array(x.length);
  for (let i = 0; i < made.length; i++) made[i] = a * x[i] + b * y[i];
  return made;
}

export function scaled(a, x) {
  const made = new Float32Array(x.length);
  for (let i = 0; i < made.length; i++) made[i] = a * x[i];
  return made;
}

// x + weight (y - x).
export const lerp = (x, y, weight) => combine(1 - weight, x, weight, y);
