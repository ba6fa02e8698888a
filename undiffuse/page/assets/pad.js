// A pad on which data is drawn by hand: a list of points in [-1, 1]^2.

import { element } from "./stage.js";

const SIDE = 520;
const APART = 0.04; // between two points of a stroke
const MOST = 400;

export class Pad {
  constructor(points, changed) {
    [this.points, this.changed, this.fresh] = [points, changed, true];
    this.canvas = element("canvas", { width: SIDE, height: SIDE, className: "smooth brush", tabIndex: 0 });
    this.canvas.setAttribute("aria-label", "your points: draw here, clear with the delete key");
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      if (this.fresh) this.points.length = 0; // the first stroke wipes what was there before
      this.fresh = false;
      this.add(event);
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons && this.add(event));
    this.canvas.addEventListener("pointerup", () => this.changed());
    this.canvas.addEventListener("keydown", (event) => {
      if (event.key === "Delete" || event.key === "Backspace") this.clear();
    });
    this.paint();
  }

  add(event) {
    const box = this.canvas.getBoundingClientRect();
    const side = Math.min(box.width, box.height); // the drawing is centred in its box
    const x = (2 * (event.clientX - box.left - (box.width - side) / 2)) / side - 1;
    const y = 1 - (2 * (event.clientY - box.top - (box.height - side) / 2)) / side;
    const last = this.points.at(-1);
    const near = last && Math.hypot(x - last[0], y - last[1]) < APART;
    if (near || Math.abs(x) > 1 || Math.abs(y) > 1 || this.points.length >= MOST) return;
    this.points.push([x, y]);
    this.paint();
  }

  clear() {
    this.points.length = 0;
    this.paint();
  }

  paint() {
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, SIDE, SIDE);
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
    for (const [x, y] of this.points) {
      context.beginPath();
      context.arc(((x + 1) / 2) * SIDE, ((1 - y) / 2) * SIDE, 4, 0, 2 * Math.PI);
      context.fill();
    }
  }
}
