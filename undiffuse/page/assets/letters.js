// Letters: pictures whose labels are single characters, so that a line can be typed and each of its letters is drawn.

import { PicturesView } from "./pictures.js";

const COLUMNS = 16; // characters of a row, at most
const FIRST = "HELLO WORLD";

export class LettersView extends PicturesView {
  static suits = (facts) =>
    PicturesView.suits(facts) && (label(facts)?.names ?? []).length > 9 && label(facts).names.every((name) => /^\p{L}$/u.test(name));

  constructor(model) {
    super(model);
    this.brush = null;
    this.names = label(model.facts).names;
    this.gap = 0;
    this.rows = [];
  }

  // The letters' own paper.
  ground = () => "black";

  // The samples of a line: one for each letter that the model knows, and where it stands.
  typed(line) {
    this.rows = wrapped(line || FIRST);
    this.places = [];
    const choice = [];
    for (const [row, characters] of this.rows.entries()) {
      for (const [column, character] of characters.entries()) {
        const cases = [character, character.toUpperCase(), character.toLowerCase()];
        const name = cases.find((one) => this.names.includes(one));
        if (name === undefined) continue;
        this.places.push([row, column]);
        choice.push({ [NAME]: name });
      }
    }
    return choice;
  }

  across() {
    return Math.max(1, ...this.rows.map((row) => row.length));
  }

  size() {
    this.zoom = Math.max(1, Math.round(512 / (this.across() * this.width)));
    return { width: this.across() * this.zoom * this.width, height: this.rows.length * this.zoom * this.height };
  }

  corner(i) {
    const [row, column] = this.places[i];
    return [column * this.zoom * this.width, row * this.zoom * this.height];
  }
}

// Rows of whole words, as lists of characters; a word that is longer than a row is cut.
function wrapped(line) {
  const rows = [[]];
  for (const word of line.trim().split(/\s+/)) {
    const characters = [...word].slice(0, COLUMNS);
    const last = rows.at(-1);
    if (!last.length) last.push(...characters);
    else if (last.length + 1 + characters.length <= COLUMNS) last.push(" ", ...characters);
    else rows.push(characters);
  }
  return rows;
}

const NAME = "label";
const label = (facts) => facts.conditions[NAME];
