// All settings as a link: #run=digits&seed=3&steps=20&label=7

export const DEFAULTS = { run: "", seed: 0, count: 0, steps: 0, sampler: "", guidance: 0, beside: 1, k: -1, field: false, trails: true, line: "", data: "" };

// What the link says, over the defaults; a condition is `is.NAME`.
export function read(hash) {
  const settings = { ...DEFAULTS, is: {} };
  for (const [name, said] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (name.startsWith("is.")) settings.is[name.slice(3)] = said;
    else if (!(name in DEFAULTS)) continue;
    else if (typeof DEFAULTS[name] === "number") settings[name] = Number.isFinite(Number(said)) ? Number(said) : DEFAULTS[name];
    else settings[name] = typeof DEFAULTS[name] === "boolean" ? said === "true" : said;
  }
  return settings;
}

export function write(settings) {
  const said = new URLSearchParams();
  for (const name of Object.keys(DEFAULTS)) if (settings[name] !== DEFAULTS[name]) said.set(name, settings[name]);
  for (const [name, value] of Object.entries(settings.is)) if (value !== "") said.set(`is.${name}`, value);
  return `#${said}`;
}

// Points in [-1, 1]^2 as text, two characters a coordinate.
const SIDE = 36 * 36 - 1;
export const packed = (points) => points.flat().map((x) => Math.round(((x + 1) / 2) * SIDE).toString(36).padStart(2, "0")).join("");
export function unpacked(text) {
  const numbers = (text.match(/[0-9a-z]{2}/g) ?? []).map((pair) => (2 * parseInt(pair, 36)) / SIDE - 1);
  return Array.from({ length: Math.floor(numbers.length / 2) }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]);
}
