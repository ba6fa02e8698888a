// The page: a run, its settings, and what is drawn of them.

import { ask, choiceOf, fill, listen } from "./controls.js";
import { Exact, heart } from "./exact.js";
import { LettersView } from "./letters.js";
import { Model } from "./model.js";
import { SeededNoise } from "./noise.js";
import { Pad } from "./pad.js";
import { PicturesView } from "./pictures.js";
import { PointsView } from "./points.js";
import { SAMPLERS, trajectory } from "./samplers.js";
import { saveFilm, savePicture } from "./save.js";
import { scaled } from "./arrays.js";
import { inputScale, noiseShare } from "./schedule.js";
import { packed, read, unpacked, write } from "./settings.js";
import { Stage, element } from "./stage.js";

const OWN = "own"; // the run of what is drawn by hand
const VIEWS = [LettersView, PicturesView, PointsView];
const PLAYED = 1600; // milliseconds, from noise to data
const $ = (id) => document.getElementById(id);
const frame = () => new Promise((done) => requestAnimationFrame(done));

const stage = new Stage($("panels"));
const models = {};
let settings = read(location.hash);
let runs = [];
let [model, view, pad] = [null, null, null];
let generation = 0; // of samples: an older one stops when a newer one begins
let playing = 0;

// ------------------------------------------------------------------------------------------------ what is drawn

async function open(name) {
  settings.run = runs.some((run) => run.folder === name) || name === OWN ? name : (runs[0]?.folder ?? OWN);
  model = settings.run === OWN ? own() : (models[settings.run] ??= await Model.load(settings.run));
  view = new (VIEWS.find((one) => one.suits(model.facts)))(model);
  const how = model.facts.sampling;
  settings.count = Math.min(settings.count || view.counts.usual, view.counts.most);
  settings.steps ||= Math.min(how.steps, 100);
  settings.sampler = settings.sampler in SAMPLERS ? settings.sampler : how.sampler in SAMPLERS ? how.sampler : "ddim";
  settings.guidance ||= how.guidance;
  for (const button of $("runs").children) button.setAttribute("aria-pressed", button.dataset.run === settings.run);
  const mayBeAbsent = model.facts.may_be_absent;
  ask(model.facts.conditions, { said: settings.is, line: settings.line || "HELLO WORLD", mayBeAbsent, typed: view.typed }, change);
  await sample();
}

function own() {
  const points = settings.data ? unpacked(settings.data) : heart();
  pad ??= new Pad(points, drawn);
  return new Exact(pad.points.length ? pad.points : [[0, 0]]);
}

function drawn() {
  settings.data = packed(pad.points);
  model = own();
  view = new PointsView(model);
  sample();
}

// All states from noise to data, for each seed; then the film of them.
async function sample() {
  const mine = ++generation;
  stop();
  const choice = view.typed ? view.typed(settings.line) : choiceOf(settings.is);
  const count = view.typed ? choice.length : Math.max(1, Math.min(Math.floor(settings.count), view.counts.most));
  const seeds = Array.from({ length: Math.max(1, Math.min(settings.beside, 4)) }, (_, j) => Math.max(0, Math.floor(settings.seed)) + j);
  fill(settings, { model, view, own: settings.run === OWN });
  history.replaceState(null, "", write(settings));
  if (!count) return;
  stage.arrange(seeds, view.size(count), { smooth: model.facts.kind === "points", wide: Boolean(view.typed), pad: settings.run === OWN ? pad.canvas : null });
  const began = performance.now();
  for (const panel of stage.panels) {
    for await (const state of states(panel.seed, count, choice)) {
      if (mine !== generation) return;
      panel.states.push(state);
    }
  }
  const milliseconds = performance.now() - began;
  $("slider").max = stage.panels[0].states.length - 1;
  $("cost").textContent = `${stage.panels[0].states.length - 1} steps of ${count} in ${(milliseconds / 1000).toFixed(2)} s`;
  if (view.brush) brushed(count);
  Object.assign(window.undiffuse, { milliseconds, states: stage.panels.map((panel) => panel.states) });
  const last = stage.panels[0].states.length - 1;
  await show(settings.k >= 0 ? Math.min(settings.k, last) : last);
  window.undiffuse.drawn += 1;
  if (settings.k < 0 && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
}

async function* states(seed, count, choice) {
  const sampler = SAMPLERS[settings.sampler];
  const points = sampler.grid(model.schedule, Math.max(1, settings.steps));
  const noises = new SeededNoise(seed);
  const start = scaled(1 / inputScale(points[0]), noises.normal(count, model.size));
  const plain = model.denoiser(count, choice, settings.guidance);
  const denoise = view.brush?.guide(plain) ?? plain;
  yield* trajectory({ sampler, points, denoise, start, noise: () => noises.normal(count, model.size) });
}

// ------------------------------------------------------------------------------------------------ time

let shown = 0;

async function show(k) {
  shown = k;
  const { point } = stage.panels[0].states[k];
  $("slider").value = k;
  $("where").value = `step ${k} of ${stage.panels[0].states.length - 1} · noise ${noiseShare(point)}%`;
  const count = stage.panels[0].states[0].x.length / model.size;
  const denoiser = (several) => model.denoiser(several, choiceOf(settings.is), settings.guidance);
  const seen = { count, show: { field: settings.field, trails: settings.trails, denoiser } };
  for (const panel of stage.panels) await stage.paint(view, panel, k, seen);
}

async function goTo(k) {
  stop();
  const last = stage.panels[0].states.length - 1;
  settings.k = Math.max(0, Math.min(last, k));
  if (settings.k === last) settings.k = -1;
  history.replaceState(null, "", write(settings));
  await show(settings.k < 0 ? last : settings.k);
}

async function play() {
  const [mine, of] = [++playing, generation];
  $("play").textContent = "❚❚";
  const last = stage.panels[0].states.length - 1;
  const began = performance.now();
  for (let k = -1; k < last && mine === playing && of === generation; await frame()) {
    const due = Math.min(last, Math.floor(((performance.now() - began) / PLAYED) * last));
    if (due !== k) await show((k = due));
  }
  if (mine === playing) stop();
}

function stop() {
  playing += 1;
  $("play").textContent = "▶";
}

// ------------------------------------------------------------------------------------------------ what is changed

const REDRAWN = ["field", "trails"]; // what changes the drawing, and not the samples
let waiting = 0;

function change(name, value) {
  if (name.startsWith("is.")) settings.is[name.slice(3)] = value;
  else settings[name] = value;
  if (name === "count" || name === "line") view.brush?.clear();
  if (REDRAWN.includes(name)) {
    history.replaceState(null, "", write(settings));
    show(shown);
    return;
  }
  settings.k = -1;
  clearTimeout(waiting);
  waiting = setTimeout(() => told(sample), 60); // a slider that moves changes often
}

const seed = (by) => change("seed", Math.max(0, settings.seed + by));

function brushed(count) {
  for (const panel of stage.panels) {
    const canvas = panel.canvases[0];
    canvas.classList.add("brush");
    const touch = (event) => {
      const box = canvas.getBoundingClientRect();
      const zoom = Math.min(box.width / canvas.width, box.height / canvas.height); // the drawing is centred in its box
      const x = (event.clientX - box.left - (box.width - zoom * canvas.width) / 2) / zoom;
      const y = (event.clientY - box.top - (box.height - zoom * canvas.height) / 2) / zoom;
      const place = view.under(x, y, count);
      if (place) view.brush.touch(place, panel.states.at(-1).x);
      show(stage.panels[0].states.length - 1);
    };
    canvas.addEventListener("pointerdown", (event) => {
      stop();
      canvas.setPointerCapture(event.pointerId);
      touch(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && touch(event));
    canvas.addEventListener("pointerup", () => seed(1));
  }
}

const name = () => `${model.facts.name.replaceAll(/[^\w-]+/g, "-")}-seed-${settings.seed}`;
const picture = () => savePicture(stage, name());
async function film() {
  stop();
  await saveFilm(stage, name(), stage.panels[0].states.length, show);
}

const KEYS = {
  ArrowLeft: () => goTo(shown - 1),
  ArrowRight: () => goTo(shown + 1),
  Home: () => goTo(0),
  End: () => goTo(Infinity),
  " ": () => ($("play").textContent === "▶" ? play() : stop()),
  n: () => seed(1),
  p: () => seed(-1),
  s: picture,
  f: film,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, button")) return;
  if (!(event.key in KEYS) || !stage.panels[0]?.states.length) return;
  event.preventDefault();
  told(KEYS[event.key]);
});
$("slider").addEventListener("input", () => goTo(Number($("slider").value)));
$("play").addEventListener("click", () => told(KEYS[" "]));
$("back").addEventListener("click", () => seed(-1));
$("next").addEventListener("click", () => seed(1));
$("picture").addEventListener("click", () => told(picture));
$("film").addEventListener("click", () => told(film));
$("unbrush").addEventListener("click", () => {
  view.brush.clear();
  told(sample);
});
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("link").addEventListener("click", async () => {
  await navigator.clipboard?.writeText(location.href);
  $("link").textContent = "copied";
  setTimeout(() => ($("link").textContent = "copy link"), 1200);
});
addEventListener("hashchange", () => {
  settings = read(location.hash);
  told(() => open(settings.run));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  pad?.paint();
  show(shown);
});

// Do something; what goes wrong is said on the page.
async function told(action) {
  try {
    $("message").hidden = true;
    await action();
  } catch (error) {
    $("message").hidden = false;
    $("message").textContent = error.message;
    throw error;
  }
}

// ------------------------------------------------------------------------------------------------ the beginning

function choose(folder) {
  settings = { ...read(""), run: folder, seed: settings.seed };
  told(() => open(folder));
}

// For tests and for the console: how often samples were drawn, all of their states, and how long that took.
window.undiffuse = { drawn: 0, states: [], milliseconds: NaN };

if (location.protocol !== "file:") {
  listen(change);
  await told(async () => {
    runs = await (await fetch(new URL("runs.json", import.meta.url))).json();
    const all = [...runs, { folder: OWN, name: "draw your own" }];
    $("runs").replaceChildren(
      ...all.map((run) => {
        const button = element("button", { type: "button", textContent: run.name, onclick: () => choose(run.folder) });
        button.dataset.run = run.folder;
        return button;
      }),
    );
    await open(settings.run);
  });
}
