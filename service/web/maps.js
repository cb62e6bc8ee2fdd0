// Fields on a grid as heat maps: two-dimensional as they are, three-dimensional as slices side by side.

import { element } from "./dom.js";
import { format } from "./words.js";

// Anchors of two colour scales: one from dark to light, one with its middle at zero.
const RISING = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const SIGNED = ["#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b"];
const GAP = 1; // cells between slices

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

export function colorAt(share, signed) {
  const anchors = signed ? SIGNED : RISING;
  const at = Math.min(1, Math.max(0, share)) * (anchors.length - 1);
  const below = Math.min(anchors.length - 2, Math.floor(at));
  const [a, b] = [channels(anchors[below]), channels(anchors[below + 1])];
  return a.map((value, i) => Math.round(value + (b[i] - value) * (at - below)));
}

export class Maps {
  constructor(host) {
    this.host = host;
    this.row = element("div", undefined, "maps");
    this.readout = element("output", "", "readout");
    host.replaceChildren(this.row, this.readout);
    this.cell = null;
  }

  // layers: [{label, values, signed, range}]; grid: [rows, columns] or [slices, rows, columns]
  show({ title, grid, layers }) {
    this.grid = grid.length === 3 ? grid : [1, ...grid];
    this.layers = layers;
    this.cell = null;
    this.readout.textContent = "";
    const across = this.across();
    this.row.dataset.slices = String(this.grid[0] > 1);
    this.row.replaceChildren(...layers.map((layer) => this.figure(title, layer, across)));
  }

  // Slices stand in rows of this many.
  across() {
    return Math.min(4, this.grid[0]);
  }

  figure(title, layer, across) {
    const figure = element("figure", undefined, "map");
    const canvas = element("canvas");
    const [low, high] = layer.range ?? rangeOf(layer.values, layer.signed);
    this.paint(canvas, layer, low, high, across);
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${title}, ${layer.label}: ${this.grid.filter((n) => n > 1).join(" by ")} cells from ${format(low)} to ${format(high)}. Arrow keys read single cells.`);
    canvas.addEventListener("pointermove", (event) => this.point(event, canvas));
    canvas.addEventListener("keydown", (event) => this.key(event));
    const caption = element("figcaption");
    caption.append(element("span", layer.label, "map-name"), this.bar(low, high, layer.signed));
    figure.append(canvas, caption);
    return figure;
  }

  // The first layer as a PNG, eight pixels a cell.
  png() {
    const from = this.row.querySelector("canvas");
    const to = document.createElement("canvas");
    [to.width, to.height] = [8 * from.width, 8 * from.height];
    const pen = to.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(from, 0, 0, to.width, to.height);
    return new Promise((done) => { to.toBlob(done, "image/png"); });
  }

  bar(low, high, signed) {
    const bar = element("canvas");
    [bar.width, bar.height] = [64, 1];
    const pen = bar.getContext("2d");
    const image = pen.createImageData(64, 1);
    for (let i = 0; i < 64; i += 1) image.data.set([...colorAt(i / 63, signed), 255], 4 * i);
    pen.putImageData(image, 0, 0);
    bar.setAttribute("aria-hidden", "true");
    const scale = element("span", undefined, "scale");
    scale.append(element("span", format(low, 3)), bar, element("span", format(high, 3)));
    return scale;
  }

  paint(canvas, { values, signed }, low, high, across) {
    const [slices, rows, columns] = this.grid;
    const down = Math.ceil(slices / across);
    canvas.width = across * (columns + GAP) - GAP;
    canvas.height = down * (rows + GAP) - GAP;
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(canvas.width, canvas.height);
    for (let i = 0; i < slices * rows * columns; i += 1) {
      if (!Number.isFinite(values[i])) continue;
      const { x, y } = this.place(i, across);
      image.data.set([...colorAt((values[i] - low) / (high - low || 1), signed), 255], 4 * (y * canvas.width + x));
    }
    pen.putImageData(image, 0, 0);
  }

  place(index, across) {
    const [, rows, columns] = this.grid;
    const slice = Math.floor(index / (rows * columns));
    const row = Math.floor((index % (rows * columns)) / columns);
    return { x: (slice % across) * (columns + GAP) + (index % columns), y: Math.floor(slice / across) * (rows + GAP) + row };
  }

  point(event, canvas) {
    const across = this.across();
    const [slices, rows, columns] = this.grid;
    const x = Math.floor((event.offsetX / canvas.clientWidth) * canvas.width);
    const y = Math.floor((event.offsetY / canvas.clientHeight) * canvas.height);
    const slice = Math.floor(y / (rows + GAP)) * across + Math.floor(x / (columns + GAP));
    const [row, column] = [y % (rows + GAP), x % (columns + GAP)];
    if (slice < slices && row < rows && column < columns) this.read((slice * rows + row) * columns + column);
  }

  key(event) {
    const [, rows, columns] = this.grid;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -rows * columns, PageDown: rows * columns }[event.key];
    if (!step) return;
    event.preventDefault();
    const last = this.layers[0].values.length - 1;
    this.read(this.cell === null ? 0 : Math.min(last, Math.max(0, this.cell + step)));
  }

  read(index) {
    this.cell = index;
    const [slices, rows, columns] = this.grid;
    const within = index % (rows * columns);
    const where = `row ${Math.floor(within / columns) + 1}, column ${(within % columns) + 1}`;
    const slice = slices > 1 ? `slice ${Math.floor(index / (rows * columns)) + 1}, ` : "";
    this.readout.textContent = `${slice}${where}:  ${this.layers.map((layer) => `${layer.label} ${format(layer.values[index])}`).join("   ")}`;
  }
}

function rangeOf(values, signed) {
  const finite = values.filter(Number.isFinite);
  const [low, high] = finite.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  if (!Number.isFinite(low)) return [0, 1];
  if (!signed) return [low, high];
  const reach = Math.max(Math.abs(low), Math.abs(high)) || 1;
  return [-reach, reach];
}

// The one range that two layers share, so that their colours can be compared.
export const sharedRange = (...columns) => rangeOf(columns.flat(), false);
