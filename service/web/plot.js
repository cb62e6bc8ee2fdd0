// One line plot on a canvas: axes with round numbers, lines, dots and bands, and a cursor for pointer and arrow keys.

const MARGIN = { top: 12, right: 14, bottom: 42, left: 58 };
const FONT = "12px ui-sans-serif, system-ui, sans-serif";

export function format(value, digits = 4) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

// Round tick values within [low, high], about `count` of them.
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

// series: [{label, y, kind: "line" | "dash" | "dots" | "band", color: CSS variable, low, high}]
export class Plot {
  constructor(canvas, readout) {
    this.canvas = canvas;
    this.readout = readout;
    this.content = null;
    this.cursor = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointermove", (event) => this.point(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.moveTo(null));
    canvas.addEventListener("blur", () => this.moveTo(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  show(content) {
    this.content = content;
    this.cursor = null;
    const names = content.series.filter((s) => s.label).map((s) => s.label).join(", ");
    const range = `${content.xLabel || "index"} from ${format(content.x[0])} to ${format(content.x.at(-1))}`;
    this.canvas.setAttribute("aria-label", `${content.title}: ${names}; ${range}. Arrow keys read single values.`);
    this.moveTo(null);
  }

  point(offset) {
    if (!this.content) return;
    const { x } = this.content;
    const { left, width } = this.area();
    const at = x[0] + ((offset - left) / width) * (x.at(-1) - x[0]);
    let nearest = 0;
    x.forEach((value, i) => { if (Math.abs(value - at) < Math.abs(x[nearest] - at)) nearest = i; });
    this.moveTo(nearest);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!this.content || !step) return;
    event.preventDefault();
    const last = this.content.x.length - 1;
    this.moveTo(Math.min(last, Math.max(0, (this.cursor ?? (step > 0 ? -1 : last + 1)) + step)));
  }

  moveTo(index) {
    this.cursor = index;
    this.draw();
    if (!this.content) return;
    const { x, xLabel, series } = this.content;
    const values = series.filter((s) => s.label && s.y).map((s) => `${s.label} ${format(s.y[index])}`);
    this.readout.textContent = index === null ? "" : `${xLabel || "index"} ${format(x[index])}:  ${values.join("   ")}`;
  }

  area() {
    const { clientWidth, clientHeight } = this.canvas;
    return {
      left: MARGIN.left,
      top: MARGIN.top,
      width: Math.max(1, clientWidth - MARGIN.left - MARGIN.right),
      height: Math.max(1, clientHeight - MARGIN.top - MARGIN.bottom),
    };
  }

  draw() {
    const { canvas, content } = this;
    const ratio = window.devicePixelRatio || 1;
    if (!content || !canvas.clientWidth) return;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const color = (name) => style.getPropertyValue(name).trim();
    const scale = this.scale(content);
    drawAxes(pen, this.area(), scale, content, color);
    for (const series of content.series) drawSeries(pen, content.x, series, scale, color);
    if (this.cursor !== null) drawCursor(pen, this.area(), this.cursor, content, scale, color);
  }

  scale({ x, series }) {
    const { left, top, width, height } = this.area();
    const all = series.flatMap((s) => [...(s.y ?? []), ...(s.low ?? []), ...(s.high ?? [])]).filter(Number.isFinite);
    // min and max by loop: spreading long arrays into Math.min overflows the stack.
    let [low, high] = all.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    if (!Number.isFinite(low)) [low, high] = [0, 1];
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [low - room, high + room];
    const span = x.at(-1) - x[0] || 1;
    return {
      low,
      high,
      px: (value) => left + ((value - x[0]) / span) * width,
      py: (value) => top + ((high - value) / (high - low)) * height,
    };
  }
}

function drawAxes(pen, { left, top, width, height }, { low, high, px, py }, { x, xLabel, yLabel }, color) {
  pen.font = FONT;
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const value of ticks(low, high, height / 46)) {
    const at = Math.round(py(value)) + 0.5;
    line(pen, color(value === 0 ? "--axis" : "--grid"), left, at, left + width, at);
    pen.fillStyle = color("--muted");
    pen.fillText(format(value), left - 8, at);
  }
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const value of ticks(x[0], x.at(-1), width / 80)) {
    const at = Math.round(px(value)) + 0.5;
    line(pen, color("--axis"), at, top + height, at, top + height + 4);
    pen.fillStyle = color("--muted");
    pen.fillText(format(value), at, top + height + 7);
  }
  line(pen, color("--axis"), left, top + height + 0.5, left + width, top + height + 0.5);
  pen.fillText(xLabel ?? "", left + width / 2, top + height + 24);
  pen.save();
  pen.translate(12, top + height / 2);
  pen.rotate(-Math.PI / 2);
  pen.textBaseline = "middle";
  pen.fillText(yLabel ?? "", 0, 0);
  pen.restore();
}

function line(pen, stroke, x0, y0, x1, y1) {
  pen.strokeStyle = stroke;
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

function drawSeries(pen, x, { kind, y, low, high, color: name }, { px, py }, color) {
  pen.strokeStyle = pen.fillStyle = color(name);
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  pen.setLineDash(kind === "dash" ? [6, 5] : []);
  pen.beginPath();
  if (kind === "dots") {
    y.forEach((value, i) => {
      if (!Number.isFinite(value)) return;
      pen.moveTo(px(x[i]) + 2.6, py(value));
      pen.arc(px(x[i]), py(value), 2.6, 0, 2 * Math.PI);
    });
    pen.fill();
  } else if (kind === "band") {
    high.forEach((value, i) => pen.lineTo(px(x[i]), py(value)));
    for (let i = low.length - 1; i >= 0; i -= 1) pen.lineTo(px(x[i]), py(low[i]));
    pen.globalAlpha = 0.16;
    pen.fill();
    pen.globalAlpha = 1;
  } else {
    y.forEach((value, i) => pen.lineTo(px(x[i]), py(value)));
    pen.stroke();
  }
  pen.setLineDash([]);
}

function drawCursor(pen, { top, height }, index, { x, series }, { px, py }, color) {
  const at = Math.round(px(x[index])) + 0.5;
  line(pen, color("--axis"), at, top, at, top + height);
  for (const { y, color: name } of series) {
    if (!Number.isFinite(y?.[index])) continue;
    pen.fillStyle = color(name);
    pen.strokeStyle = color("--panel");
    pen.beginPath();
    pen.arc(at, py(y[index]), 4.5, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
}
