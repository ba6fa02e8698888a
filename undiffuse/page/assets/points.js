// Points in the plane: where they are, the way that they came, and the field that moves them.

import { inputScale } from "./schedule.js";
import { scaled } from "./arrays.js";

const SIDE = 520; // of the drawing
const REACH = 3.2; // standard deviations to each side
const GRID = 19; // arrows along a side
const TRAILS = 90; // points whose ways are drawn

export class PointsView {
  static suits = (facts) => facts.kind === "points" && facts.shape[0] >= 1;

  constructor(model) {
    this.model = model;
    this.counts = { usual: 500, most: 2000 };
    this.columns = model.facts.shape[0];
  }

  size() {
    return { width: SIDE, height: SIDE };
  }

  async paint(context, { states, k, role, show, colours }) {
    const state = states[k];
    context.clearRect(0, 0, SIDE, SIDE);
    this.axes(context, colours);
    if (role === "state" && show.field && this.columns > 1) await this.field(context, state.point, show.denoiser, colours);
    if (role === "state" && show.trails) this.trails(context, states, k);
    const place = role === "state" ? (i) => this.shown(states, k, i) : (i) => this.at(state.belief, i);
    const count = state.x.length / this.columns;
    for (let i = 0; i < count; i++) {
      const [x, y] = place(i);
      context.fillStyle = this.colour(states, i);
      context.beginPath();
      context.arc(x, y, count > 800 ? 1.7 : 2.4, 0, 2 * Math.PI);
      context.fill();
    }
  }

  // Where sample i of a state is drawn: the first two columns, or one column against itself at an even height.
  at(x, i, scale = 1) {
    const first = scale * x[i * this.columns];
    const second = this.columns > 1 ? scale * x[i * this.columns + 1] : (((i * 0.618) % 1) - 0.5) * 4;
    return [this.pixel(first), SIDE - this.pixel(second)];
  }

  shown(states, k, i) {
    return this.at(states[k].x, i, inputScale(states[k].point));
  }

  pixel(value) {
    return (SIDE * (value + REACH)) / (2 * REACH);
  }

  // A sample has the colour of the place where it ends, so that one sees who goes where.
  colour(states, i) {
    const end = states[states.length - 1].belief;
    const [x, y] = [end[i * this.columns], this.columns > 1 ? end[i * this.columns + 1] : 0];
    const turn = this.columns > 1 ? Math.atan2(y, x) / (2 * Math.PI) : x / (2 * REACH);
    return `hsl(${Math.round(360 * (turn + 1)) % 360} 70% 52%)`;
  }

  axes(context, colours) {
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    for (const at of [this.pixel(0)]) {
      context.moveTo(at, 0);
      context.lineTo(at, SIDE);
      context.moveTo(0, at);
      context.lineTo(SIDE, at);
    }
    context.stroke();
  }

  trails(context, states, k) {
    const count = Math.min(TRAILS, states[0].x.length / this.columns);
    context.lineWidth = 1;
    context.globalAlpha = 0.55;
    for (let i = 0; i < count; i++) {
      context.strokeStyle = this.colour(states, i);
      context.beginPath();
      for (let j = 0; j <= k; j++) context.lineTo(...this.shown(states, j, i));
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  // At each place of a grid, where the denoiser sees the data: an arrow toward E[x_0 | x_t].
  async field(context, point, denoiser, colours) {
    if (point.sigma === 0) return;
    const places = new Float32Array(GRID * GRID * this.columns);
    for (let i = 0; i < GRID * GRID; i++) {
      places[i * this.columns] = 2 * REACH * (((i % GRID) + 0.5) / GRID - 0.5);
      places[i * this.columns + 1] = 2 * REACH * ((Math.floor(i / GRID) + 0.5) / GRID - 0.5);
    }
    const belief = await denoiser(GRID * GRID)(scaled(1 / inputScale(point), places), point);
    context.strokeStyle = colours.arrow;
    context.lineWidth = 1.1;
    for (let i = 0; i < GRID * GRID; i++) {
      const [from, to] = [this.at(places, i), this.at(belief, i)];
      const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
      const length = Math.hypot(dx, dy);
      if (length > 1) arrow(context, from, [dx / length, dy / length], Math.min(0.8 * (SIDE / GRID), length));
    }
  }
}

function arrow(context, [x, y], [dx, dy], length) {
  const [endX, endY] = [x + dx * length, y + dy * length];
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(endX, endY);
  context.lineTo(endX - 4 * dx - 3 * dy, endY - 4 * dy + 3 * dx);
  context.moveTo(endX, endY);
  context.lineTo(endX - 4 * dx + 3 * dy, endY - 4 * dy - 3 * dx);
  context.stroke();
}
