// The controls: each has the id of a setting. What a model cannot do is not shown.

import { element } from "./stage.js";
import { SAMPLERS } from "./samplers.js";

const $ = (id) => document.getElementById(id);
const NUMBERS = ["seed", "count", "beside", "steps", "guidance"];
const WORDS = ["sampler"];
const CHECKS = ["field", "trails"];

// Call `change` with the name and the value of a setting as it changes.
export function listen(change) {
  for (const id of NUMBERS) $(id).addEventListener("input", () => $(id).value !== "" && change(id, Number($(id).value)));
  for (const id of WORDS) $(id).addEventListener("input", () => change(id, $(id).value));
  for (const id of CHECKS) $(id).addEventListener("input", () => change(id, $(id).checked));
  for (const [name, { name: called }] of Object.entries(SAMPLERS)) $("sampler").append(element("option", { value: name, textContent: called }));
}

// Show the settings, and only what this model can do.
export function fill(settings, { model, view, own }) {
  for (const id of [...NUMBERS, ...WORDS]) if ($(id) !== document.activeElement) $(id).value = settings[id];
  for (const id of CHECKS) $(id).checked = settings[id];
  $("count").max = view.counts.most;
  $("steps-said").value = settings.steps;
  $("guidance-said").value = settings.guidance === 1 ? "off" : settings.guidance.toFixed(1);
  $("guided").hidden = !model.guidable;
  $("seen").hidden = model.facts.kind !== "points";
  $("brushed").hidden = !view.brush;
  $("counted").hidden = Boolean(view.typed);
  document.body.classList.toggle("own", own);
  document.body.classList.toggle("wide", Boolean(view.typed));
}

// A field for each condition; `change` with its name and the word.
export function ask(specifications, { said, line, mayBeAbsent, typed }, change) {
  const fields = Object.entries(specifications).map(([name, spec]) => {
    if (typed && name === "label") return written(line, (word) => change("line", word));
    if (!FIELDS[spec.kind]) return "";
    return element("label", { textContent: `${name} ` }, [FIELDS[spec.kind](spec, said[name] ?? "", mayBeAbsent, (word) => change(`is.${name}`, word))]);
  });
  $("asked").replaceChildren(...fields);
}

function written(line, change) {
  const field = element("input", { type: "text", id: "line", value: line, maxLength: 64 });
  field.addEventListener("input", () => change(field.value));
  return element("label", { textContent: "write " }, [field]);
}

const FIELDS = {
  Labels: (spec, said, mayBeAbsent, change) => {
    const options = [["", "each in turn"], ...spec.names.map((name) => [name, name]), ...(mayBeAbsent ? [["none", "none"]] : [])];
    const field = element("select", {}, options.map(([value, textContent]) => element("option", { value, textContent, selected: value === said })));
    field.addEventListener("input", () => change(field.value));
    return field;
  },
  Numbers: (spec, said, mayBeAbsent, change) => typed(said, spec.columns.length > 1 ? spec.columns.join(", ") : `${short(spec.low[0])} to ${short(spec.high[0])}`, change),
  Text: (spec, said, mayBeAbsent, change) => (spec.reader?.known ? typed(said, "what to draw, in words", change) : ""),
};

function typed(said, placeholder, change) {
  const field = element("input", { type: "text", value: said, placeholder });
  field.addEventListener("change", () => change(field.value));
  return field;
}

const short = (number) => Number(number.toPrecision(3));

// What the fields say as a choice (`conditions.js`).
export function choiceOf(said) {
  const choice = {};
  for (const [name, word] of Object.entries(said)) {
    if (word === "none") choice[name] = null;
    else if (word !== "") choice[name] = word;
  }
  return choice;
}
