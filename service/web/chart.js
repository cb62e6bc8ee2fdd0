// One chart: uPlot inside a figure that the arrow keys can read, in the colours of the moment.

import { element } from "./dom.js";
import { format } from "./words.js";

const FONT = "12px ui-sans-serif, system-ui, sans-serif";
const charts = new Set();

export const redrawAll = () => charts.forEach((chart) => chart.draw());

// series: [{label, y, kind: "line" | "trace" | "dash" | "dots" | "band" | "bars", color: CSS variable, low, high, legend}]
export class Chart {
  constructor(host) {
    this.host = host;
    this.area = element("div", undefined, "chart-area");
    Object.assign(this.area, { tabIndex: 0 });
    this.area.setAttribute("role", "img");
    this.readout = element("output", "", "readout");
    this.legend = element("div", undefined, "legend");
    host.replaceChildren(this.legend, this.area, this.readout);
    this.area.addEventListener("keydown", (event) => this.key(event));
    this.area.addEventListener("blur", () => this.plot?.setCursor({ left: -10, top: -10 }));
    new ResizeObserver(() => this.fit()).observe(this.area);
    charts.add(this);
  }

  // content: {title, x, xLabel, yLabel, series, yLog, xTime, marks: [{x, label, color}], levels: [{y, label, color}], xNames, least (span of y)}
  show(content) {
    this.content = content;
    const names = content.series.filter((s) => s.label).map((s) => s.label).join(", ");
    const range = content.xTime ? "" : ` from ${format(content.x[0])} to ${format(content.x.at(-1))}`;
    this.area.setAttribute("aria-label", `${content.title}: ${names || "nothing yet"}; ${content.xLabel || "index"}${range}. Arrow keys read single values.`);
    const keys = content.series.filter((s) => s.label || s.legend).map((s) => {
      const key = element("span", s.label ?? s.legend, "key");
      Object.assign(key.dataset, { kind: s.kind, color: s.color });
      return key;
    });
    this.legend.replaceChildren(...(keys.length > 1 || content.alwaysLegend ? keys : []));
    this.draw();
  }

  draw() {
    this.plot?.destroy();
    this.plot = null;
    if (!this.content || !this.area.clientWidth) return;
    const style = getComputedStyle(this.host);
    this.color = (name, alpha = 1) => faded(style.getPropertyValue(name).trim(), alpha);
    const { series, data, bands } = columnsOf(this.content, this.color);
    this.plot = new window.uPlot({
      ...this.size(),
      series,
      bands,
      scales: scalesOf(this.content),
      axes: axesOf(this.content, this.color),
      legend: { show: false },
      cursor: { y: false, points: { size: 8 } },
      hooks: { setCursor: [() => this.read()], draw: [() => this.drawMarks()] },
    }, data, this.area);
  }

  size() {
    return { width: this.area.clientWidth, height: this.area.clientHeight };
  }

  fit() {
    if (this.plot && this.area.clientWidth) this.plot.setSize(this.size());
    else this.draw();
  }

  key(event) {
    if (!this.plot || !this.content.x.length) return;
    const { x } = this.content;
    const last = x.length - 1;
    const now = this.plot.cursor.idx ?? -1;
    const to = { ArrowLeft: now < 0 ? last : now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const index = Math.min(last, Math.max(0, to));
    this.plot.setCursor({ left: this.plot.valToPos(x[index], "x"), top: 10 });
  }

  read() {
    const index = this.plot?.cursor.idx;
    if (!this.plot || index === null || index === undefined || this.plot.cursor.left < 0) {
      this.readout.textContent = "";
      return;
    }
    const { x, xLabel, xTime, xNames, series } = this.content;
    const at = xNames?.[index] ?? (xTime ? new Date(x[index] * 1000).toLocaleString() : format(x[index]));
    const values = series.filter((s) => s.label && Number.isFinite(s.y?.[index])).map((s) => `${s.label} ${format(s.y[index])}`);
    this.readout.textContent = `${xNames ? "" : `${xLabel || "index"} `}${at}:  ${values.join("   ")}`;
  }

  // Upright marks and level lines, each with its word.
  drawMarks() {
    const { plot, content } = this;
    const { ctx: pen, bbox } = plot;
    const ratio = window.devicePixelRatio || 1;
    pen.save();
    pen.font = `${12 * ratio}px ui-sans-serif, system-ui, sans-serif`;
    pen.lineWidth = 2 * ratio;
    for (const { x, label, color } of content.marks ?? []) {
      const [low, high] = [plot.scales.x.min, plot.scales.x.max];
      const at = plot.valToPos(Math.min(high, Math.max(low, x)), "x", true);
      stroke(pen, this.color(color), at, bbox.top, at, bbox.top + bbox.height);
      const right = at > bbox.left + bbox.width / 2;
      pen.textAlign = right ? "right" : "left";
      pen.fillText(label, at + (right ? -7 : 7) * ratio, bbox.top + 12 * ratio);
    }
    pen.setLineDash([5 * ratio, 4 * ratio]);
    pen.lineWidth = ratio;
    pen.textAlign = "right";
    for (const { y, label, color } of content.levels ?? []) {
      if (y < plot.scales.y.min || y > plot.scales.y.max) continue;
      const at = plot.valToPos(y, "y", true);
      stroke(pen, this.color(color), bbox.left, at, bbox.left + bbox.width, at);
      pen.fillText(label, bbox.left + bbox.width - 4 * ratio, at - 5 * ratio);
    }
    pen.restore();
  }

  // The chart as a PNG, on the panel's own ground.
  async png() {
    const from = this.plot.ctx.canvas;
    const to = document.createElement("canvas");
    [to.width, to.height] = [from.width, from.height];
    const pen = to.getContext("2d");
    pen.fillStyle = this.color("--panel");
    pen.fillRect(0, 0, to.width, to.height);
    pen.drawImage(from, 0, 0);
    return new Promise((done) => { to.toBlob(done, "image/png"); });
  }
}

function faded(color, alpha) {
  return alpha === 1 ? color : color.replace(/^rgba?\((.*?)\)$/, `rgba($1, ${alpha})`);
}

function stroke(pen, color, x0, y0, x1, y1) {
  pen.strokeStyle = pen.fillStyle = color;
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

// A band is two invisible series with the ground between them filled.
function columnsOf({ x, series: given, yLog }, color) {
  const series = [{}];
  const data = [x];
  const bands = [];
  const drawable = (values) => Array.from(values, (value) => (Number.isFinite(value) && !(yLog && value <= 0) ? value : null));
  for (const one of given) {
    if (one.kind === "band") {
      bands.push({ series: [series.length + 1, series.length], fill: color(one.color, 0.17) });
      for (const edge of [one.low, one.high]) {
        series.push({ stroke: "transparent", width: 0, points: { show: false } });
        data.push(drawable(edge));
      }
    } else {
      series.push(styleOf(one, color));
      data.push(drawable(one.y));
    }
  }
  return { series, data, bands };
}

function styleOf({ kind, color: name }, color) {
  const ink = color(name);
  if (kind === "dots") return { stroke: ink, paths: () => null, points: { show: true, size: 5, width: 0, fill: ink } };
  if (kind === "bars") {
    return { stroke: ink, fill: color(name, 0.45), width: 0, points: { show: false }, paths: window.uPlot.paths.bars({ size: [0.92, 60] }) };
  }
  if (kind === "trace") return { stroke: ink, width: 2, points: { show: true, size: 6, fill: ink } };
  return { stroke: ink, width: 2, dash: kind === "dash" ? [6, 5] : undefined, points: { show: false } };
}

function scalesOf({ xTime, xLog, yLog, series, levels, x, flush, least }) {
  const shown = series.flatMap((s) => [...(s.y ?? []), ...(s.low ?? []), ...(s.high ?? [])]).filter(Number.isFinite);
  const reach = [...shown, ...(levels ?? []).map(({ y }) => y)].filter((value) => !yLog || value > 0);
  // By loop: spreading long arrays into Math.min overflows the stack.
  let [low, high] = reach.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  if (!Number.isFinite(low)) [low, high] = [yLog ? 0.1 : 0, 1];
  const short = Math.max(0, (least ?? 0) - (high - low)) / 2;
  [low, high] = [low - short, high + short];
  const room = (high - low || Math.abs(high) || 1) * 0.07;
  const range = yLog ? [low / 1.5, high * 1.5] : [flush ? Math.min(0, low) : low - room, high + room];
  const step = x.length > 1 ? x[1] - x[0] : 1;
  const ratio = x.length > 1 ? Math.sqrt(x[1] / x[0]) : 1;
  const xRange = xTime ? undefined : xLog ? [x[0] / ratio, x.at(-1) * ratio] : flush ? [x[0] - step / 2, (x.at(-1) ?? 0) + step / 2] : [x[0] ?? 0, x.length > 1 ? x.at(-1) : (x[0] ?? 0) + 1];
  return {
    x: { time: Boolean(xTime), distr: xLog ? 3 : 1, ...(xRange ? { range: (_, a, b) => (a === x[0] && b === x.at(-1) ? xRange : [a, b]) } : {}) },
    y: { distr: yLog ? 3 : 1, range: () => range },
  };
}

function axesOf({ xLabel, yLabel, xTime, xNames, yLog, xLog, whole, x }, color) {
  const shared = { stroke: color("--muted"), font: FONT, labelFont: FONT, labelSize: 18, labelGap: 0 };
  const ticks = { stroke: color("--axis"), size: 4, width: 1 };
  const named = xNames ? { splits: () => x, values: () => xNames } : {};
  const steps = whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] } : {};
  // Over several decades of a logarithmic axis only those are written.
  const decades = (axis) => (plot, values) => values.map((value) => (value !== null
    && (plot.scales[axis].max / plot.scales[axis].min < 12 || Math.abs(Math.log10(value) % 1) < 1e-9) ? format(value) : ""));
  const written = xTime ? clockTimes : xLog ? decades("x") : distinct;
  return [
    { ...shared, values: written, ...steps, ...named, label: xLabel || undefined, grid: { show: false }, ticks, size: 28, space: 70 },
    {
      ...shared,
      label: yLabel || undefined,
      grid: { stroke: color("--grid"), width: 1 },
      ticks: { show: false },
      size: 52,
      space: 40,
      values: yLog ? decades("y") : distinct,
    },
  ];
}

// Numbers with as many digits as tell them apart.
function distinct(_, values) {
  const written = (digits) => values.map((value) => (value === null ? "" : format(value, digits)));
  return [4, 5, 6, 7].map(written).find((labels) => new Set(labels).size === labels.length) ?? written(8);
}

// Times of day, or days where the axis is longer than one.
function clockTimes(_, values) {
  const span = values.at(-1) - values[0];
  const day = { month: "short", day: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(span < 600 ? { second: "2-digit" } : {}) };
  return values.map((value) => new Date(value * 1000).toLocaleString([], span > 86_400 ? day : time));
}
