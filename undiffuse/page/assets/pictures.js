// Pictures: samples as tiles, and a brush for what should be drawn anew.

import { inputScale } from "./schedule.js";
import { scaled } from "./arrays.js";

const LEAST = 256; // pixels of a drawing's width, at least

export class PicturesView {
  static suits = (facts) => facts.kind === "pictures" && facts.shape.length === 3 && !facts.tokens;

  constructor(model) {
    this.model = model;
    [this.channels, this.height, this.width] = model.facts.shape;
    this.counts = { usual: this.width > 20 ? 9 : 16, most: 64 };
    this.brush = model.decoder ? null : new Brush(model.facts.latent_shape);
  }

  // How many tiles there are in a row.
  across(count) {
    return Math.ceil(Math.sqrt(count));
  }

  size(count) {
    const across = this.across(count);
    this.zoom = Math.max(1, Math.round(LEAST / (across * (this.width + 1))));
    const tile = [this.zoom * this.width + this.gap, this.zoom * this.height + this.gap];
    return { width: across * tile[0] + this.gap, height: Math.ceil(count / across) * tile[1] + this.gap };
  }

  gap = 2; // pixels between tiles

  // What is between tiles.
  ground = (colours) => colours.ground;

  // The upper left corner of tile i.
  corner(i, count) {
    const across = this.across(count);
    const [column, row] = [i % across, Math.floor(i / across)];
    return [this.gap + column * (this.zoom * this.width + this.gap), this.gap + row * (this.zoom * this.height + this.gap)];
  }

  async paint(context, { states, k, role, count, colours }) {
    const { x, belief, point } = states[k];
    const z = role === "belief" ? belief : point.sigma === 0 ? x : scaled(inputScale(point), x);
    const data = await this.model.decode(z, count);
    context.fillStyle = this.ground(colours);
    context.fillRect(0, 0, context.canvas.width, context.canvas.height);
    context.imageSmoothingEnabled = false;
    for (let i = 0; i < count; i++) {
      const [left, top] = this.corner(i, count);
      const tile = await createImageBitmap(this.pixels(data, i));
      context.drawImage(tile, left, top, this.zoom * this.width, this.zoom * this.height);
    }
    if (role === "state") this.brush?.paint(context, this, count, colours);
  }

  pixels(data, i) {
    const area = this.width * this.height;
    const made = new ImageData(this.width, this.height);
    for (let p = 0; p < area; p++) {
      for (let c = 0; c < 3; c++) made.data[4 * p + c] = data[(i * this.channels + Math.min(c, this.channels - 1)) * area + p];
      made.data[4 * p + 3] = 255;
    }
    return made;
  }

  // The tile and the pixel of it under a place of the drawing; null between tiles.
  under(x, y, count) {
    for (let i = 0; i < count; i++) {
      const [left, top] = this.corner(i, count);
      const [column, row] = [Math.floor((x - left) / this.zoom), Math.floor((y - top) / this.zoom)];
      if (column >= 0 && column < this.width && row >= 0 && row < this.height) return { i, column, row };
    }
    return null;
  }
}

// What should be drawn anew: where the brush was. Everything else is known, and the denoiser's belief about it is what
// it is (Song et al. 2021, appendix I.2).
class Brush {
  constructor([channels, height, width]) {
    [this.channels, this.height, this.width] = [channels, height, width];
    this.clear();
  }

  clear() {
    this.painted = new Set(); // tile:row:column
    this.kept = null; // the samples when the brush first touched them
  }

  touch({ i, column, row }, samples) {
    this.kept ??= samples.slice();
    const reach = Math.max(0, Math.round(this.width / 16));
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const [y, x] = [row + dy, column + dx];
        if (y >= 0 && y < this.height && x >= 0 && x < this.width) this.painted.add(`${i}:${y}:${x}`);
      }
    }
  }

  // A denoiser in, a denoiser out: its belief is replaced where x_0 is known.
  guide(denoise) {
    if (!this.kept || !this.painted.size) return denoise;
    const area = this.height * this.width;
    const unknown = new Uint8Array(this.kept.length);
    for (const place of this.painted) {
      const [i, y, x] = place.split(":").map(Number);
      for (let c = 0; c < this.channels; c++) unknown[(i * this.channels + c) * area + y * this.width + x] = 1;
    }
    return async (x, point) => (await denoise(x, point)).map((value, i) => (unknown[i] ? value : this.kept[i]));
  }

  paint(context, view, count, colours) {
    context.fillStyle = colours.brush;
    for (const place of this.painted) {
      const [i, y, x] = place.split(":").map(Number);
      const [left, top] = view.corner(i, count);
      context.fillRect(left + x * view.zoom, top + y * view.zoom, view.zoom, view.zoom);
    }
  }
}
