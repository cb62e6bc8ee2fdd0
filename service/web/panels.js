// The plots of one answer: lines where the problem has an axis, heat maps where it has a grid, a table where it has names.

import { Chart } from "./chart.js";
import { byId, fillTable, show } from "./dom.js";
import { Maps, sharedRange } from "./maps.js";
import { capital, format, methodName, withUnit } from "./words.js";

const COLORS = ["--found", "--observed", "--series-3", "--series-4", "--series-5", "--series-6", "--truth"];
const Z90 = 1.645; // standard deviations to either side that hold 90 %

const drawn = new Map(); // host id -> the Chart or Maps in it

// The host's Chart or Maps, made anew when the kind changes.
function of(kind, id) {
  if (!(drawn.get(id) instanceof kind)) drawn.set(id, new kind(byId(id)));
  return drawn.get(id);
}

const isGrid = (quantity) => (quantity.grid ?? []).length > 1;
const axisOf = ({ axis, shape }) => (axis?.length ? axis : Array.from({ length: shape[0] }, (_, i) => i));
const minus = (a, b) => a.map((value, i) => value - b[i]);
const residualOf = ({ noise_std: noise }, observed, fit) => minus(observed, fit).map((value) => value / noise);
const known = (values) => values?.some(Number.isFinite);

// [name, found, true value] of what the data determine; names are components or ratios of them ("c/m").
export function identifiablePairs(item, truth, card) {
  const known = (name) => truth?.[card.unknown.components.indexOf(name)];
  return Object.entries(item.identifiable ?? {}).map(([name, found]) => {
    const [over, under] = name.split("/");
    return [name, found, under === undefined ? known(over) : known(over) / known(under)];
  });
}

export function clearPlots() {
  for (const id of ["unknown-plot", "unknown-table"]) show(id, false);
}

function line(id, quantity, series, more = {}) {
  const { name, unit, axis_label: label } = quantity;
  of(Chart, id).show({ title: name, x: axisOf(quantity), xLabel: label || "index", yLabel: withUnit(name, unit), series, ...more });
}

export function plotObservation(card, observation, item) {
  const { observation: quantity } = card;
  byId("view-invert").dataset.grid = String(isGrid(quantity) || isGrid(card.unknown));
  const fit = known(item?.fit) ? item.fit : null;
  show("observation-empty", !observation && !fit);
  show("observation-plot", observation || fit);
  if (isGrid(quantity)) {
    const both = observation && fit;
    const range = both ? sharedRange(observation, fit) : undefined;
    const layers = [
      ...(observation ? [{ label: "observed", values: observation, range }] : []),
      ...(fit ? [{ label: "fit", values: fit, range }] : []),
      ...(both ? [{ label: "residual / noise", values: residualOf(quantity, observation, fit), signed: true }] : []),
    ];
    of(Maps, "observation-plot").show({ title: capital(quantity.name), grid: quantity.grid, layers });
    return;
  }
  const series = [
    ...(observation ? [{ label: "observed", kind: "dots", color: "--observed", y: observation }] : []),
    ...(fit ? [{ label: "fit", kind: "line", color: "--found", y: fit }] : []),
  ];
  line("observation-plot", quantity, series, { alwaysLegend: true });
}

export function plotUnknown(card, item, truth) {
  const { unknown } = card;
  const found = item?.x ?? null;
  const named = Boolean(unknown.components?.length);
  show("unknown-empty", !found);
  byId("unknown-empty").textContent = item ? "There is no reconstruction of this observation." : "The reconstruction appears here.";
  show("unknown-plot", found && !named);
  show("unknown-table", found && named);
  if (!found) return;
  if (named) fillUnknowns(card, item, truth);
  else if (isGrid(unknown)) mapUnknown(card, item, truth);
  else lineUnknown(card, item, truth);
}

function lineUnknown(card, item, truth) {
  const std = item.diagnostics?.std;
  const edge = (sign) => item.x.map((value, i) => value + sign * Z90 * std[i]);
  line("unknown-plot", card.unknown, [
    ...(std ? [{ legend: "90 % interval", kind: "band", color: "--found", low: edge(-1), high: edge(1) }] : []),
    ...(truth ? [{ label: "truth", kind: "dash", color: "--truth", y: truth }] : []),
    { label: "reconstruction", kind: "line", color: "--found", y: item.x },
  ], { alwaysLegend: true });
}

function mapUnknown(card, item, truth) {
  const range = truth ? sharedRange(item.x, truth) : undefined;
  const { std, resolution } = item.diagnostics ?? {};
  of(Maps, "unknown-plot").show({
    title: capital(card.unknown.name),
    grid: card.unknown.grid,
    layers: [
      { label: "reconstruction", values: item.x, range },
      ...(truth ? [{ label: "truth", values: truth, range }, { label: "error", values: minus(item.x, truth), signed: true }] : []),
      ...(std ? [{ label: "± std", values: std }] : []),
      ...(resolution ? [{ label: "resolution", values: resolution }] : []),
    ],
  });
}

function fillUnknowns(card, item, truth) {
  const { components, component_units: units } = card.unknown;
  const std = item.diagnostics?.std;
  const head = ["", "unit", "found", ...(std ? ["90 % interval"] : []), ...(truth ? ["truth", "error"] : [])];
  const row = (name, found, spread, value, unit) => [
    name,
    unit,
    format(found),
    ...(std ? [spread === undefined ? "" : `± ${format(Z90 * spread, 3)}`] : []),
    ...(truth ? [format(value), format(found - value, 3)] : []),
  ];
  const raw = components.map((name, i) => row(name, item.x[i], std?.[i], truth?.[i], units?.[i] ?? ""));
  const sure = identifiablePairs(item, truth, card)
    .map(([name, found, value], i) => row(name, found, std?.[components.indexOf(name)], value, card.identifiable_units[i] ?? ""));
  const sections = sure.length ? [["What the data determine", sure], ["One set of parameters that explains them", raw]] : [["", raw]];
  fillTable(byId("unknown-table"), head, sections);
}

export function plotResidual(card, observation, item) {
  const { observation: quantity } = card;
  const shown = Boolean(observation && known(item.fit)) && !isGrid(quantity); // a grid's is a map beside the fit
  show("residual-panel", shown);
  if (!shown) return;
  const residual = residualOf(quantity, observation, item.fit);
  const level = (value) => residual.map(() => value);
  line("residual-plot", quantity, [
    { legend: "± 2 noise", kind: "band", color: "--truth", low: level(-2), high: level(2) },
    { label: "residual / noise", kind: "dots", color: "--observed", y: residual },
  ], { title: "Residual", yLabel: "(observed − fit) / noise", alwaysLegend: true });
}

export function plotResolution(card, item) {
  const resolution = item.diagnostics?.resolution;
  const { unknown } = card;
  const shown = Boolean(resolution) && !isGrid(unknown);
  show("resolution-panel", shown);
  if (!shown) return;
  const names = unknown.components?.length ? unknown.components : undefined;
  line("resolution-plot", { ...unknown, axis: names ? [] : unknown.axis }, [
    { label: "resolution", kind: "bars", color: "--found", y: resolution },
  ], { title: "Resolution", yLabel: "1: fixed by the data", xNames: names, xLabel: names ? "" : unknown.axis_label, flush: true });
}

// answers: [{method, item}]; the residual of every iteration, all methods under the same rules.
export function plotConvergence(answers) {
  const shown = answers.filter(({ item }) => item.history?.length);
  show("convergence-panel", shown.length > 0);
  byId("convergence-note").hidden = answers.length > 1;
  if (!shown.length) return;
  const longest = Math.max(...shown.map(({ item }) => item.history.length));
  const x = Array.from({ length: Math.max(2, longest) }, (_, i) => i);
  of(Chart, "convergence-plot").show({
    title: "Residual by iteration",
    x,
    xLabel: "iteration",
    yLabel: "residual (normalised)",
    yLog: true,
    whole: true,
    series: shown.map(({ method, item }, i) => ({
      label: methodName(method),
      kind: item.history.length > 1 ? "trace" : "dots",
      color: COLORS[i % COLORS.length],
      y: x.map((at) => item.history[at] ?? NaN),
    })),
    levels: [{ y: 1, label: "noise", color: "--muted" }],
  });
}

// The reconstruction as a PNG; where it is a table, the fit.
export const pictureOf = (card) => drawn.get(card.unknown.components?.length ? "observation-plot" : "unknown-plot").png();
