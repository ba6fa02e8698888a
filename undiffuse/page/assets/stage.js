// The stage: for each seed a panel of two drawings, the state and the denoiser's guess.

const ROLES = {
  state: "<b>x<sub>t</sub></b> the noisy state",
  belief: "<b>E[x<sub>0</sub> | x<sub>t</sub>]</b> the denoiser's guess",
};
const PAD = "your points: draw here";

export class Stage {
  constructor(root) {
    this.root = root;
    this.panels = [];
  }

  // As many panels as there are seeds, for drawings of a size.
  arrange(seeds, { width, height }, { smooth, wide, pad }) {
    const columns = wide ? 1 : Math.min(seeds.length, 2);
    this.root.style.setProperty("--columns", columns);
    this.panels = seeds.map((seed) => {
      const canvases = Object.keys(ROLES).map(() => canvas(width, height, smooth));
      const drawings = Object.values(ROLES).map((title, i) => drawing(title, canvases[i]));
      const pair = element("div", { className: "pair" }, pad ? [drawing(PAD, pad), ...drawings] : drawings);
      const caption = element("figcaption", { textContent: seeds.length > 1 ? `seed ${seed}` : "" });
      return { seed, states: [], canvases, figure: element("figure", { className: "panel" }, [pair, caption]) };
    });
    this.root.replaceChildren(...this.panels.map((panel) => panel.figure));
  }

  // Draw state k of a panel.
  async paint(view, panel, k, show) {
    const at = Math.min(k, panel.states.length - 1);
    if (at < 0) return;
    for (const [i, role] of Object.keys(ROLES).entries()) {
      const sheet = canvas(panel.canvases[i].width, panel.canvases[i].height);
      await view.paint(sheet.getContext("2d"), { states: panel.states, k: at, role, colours: colours(), ...show });
      const context = panel.canvases[i].getContext("2d"); // at once, so that nothing flickers
      context.clearRect(0, 0, sheet.width, sheet.height);
      context.drawImage(sheet, 0, 0);
    }
  }

  // All drawings side by side on one sheet.
  composed(into = document.createElement("canvas")) {
    const gap = 12;
    const all = this.panels.map((panel) => panel.canvases);
    into.width = Math.max(...all.map((row) => row.reduce((sum, one) => sum + one.width + gap, gap)));
    into.height = all.reduce((sum, row) => sum + row[0].height + gap, gap);
    const context = into.getContext("2d");
    context.fillStyle = colours().paper;
    context.fillRect(0, 0, into.width, into.height);
    let top = gap;
    for (const row of all) {
      row.forEach((one, i) => context.drawImage(one, gap + i * (one.width + gap), top));
      top += row[0].height + gap;
    }
    return into;
  }
}

export function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const drawing = (title, sheet) =>
  element("div", { className: "drawing" }, [element("p", { className: "title", innerHTML: title }), sheet]);

function canvas(width, height, smooth = false) {
  return element("canvas", { width, height, className: smooth ? "smooth" : "" });
}

// The colours of the page, dark or light.
function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { line: of("line"), arrow: of("arrow"), brush: of("brush"), ground: of("line"), paper: of("ground") };
}
