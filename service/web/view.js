// Turning a model card and one result item into what is shown: words, figures, plots and tables.

import { format } from "./plot.js";

export const byId = (id) => document.getElementById(id);

const METHOD_WORDS = {
  auto: ["Automatic", "Learned inverse first; rows that stall go on to Levenberg–Marquardt."],
  dipg: ["D-IPG, the learned inverse", "Descends in the observation and pulls each step back through the learned inverse."],
  oneshot: ["One shot, g(y)", "The learned inverse applied once: no iterations, no check against the physics."],
  lm: ["Levenberg–Marquardt", "Classical damped Gauss–Newton."],
  gn: ["Gauss–Newton", "Classical; linearises the physics at each step."],
  gd: ["Gradient descent", "Classical projected gradient; many cheap steps."],
  lbfgs: ["L-BFGS", "Classical quasi-Newton with a short memory."],
};
export const methodName = (method) => METHOD_WORDS[method]?.[0] ?? method;
export const methodNote = (method) => METHOD_WORDS[method]?.[1] ?? "";

const VERDICTS = {
  in_range: ["✓", "Believable", "The observation and its answer look like those this model was calibrated on."],
  suspect: ["!", "Take with care", "Something about this observation is unusual for this model."],
  out_of_range: ["×", "Do not rely on this", "This observation is unlike anything this model was calibrated on."],
  none: ["?", "No verdict", "There are no calibrated scores to judge this answer by."],
  failed: ["×", "No answer", "This observation could not be solved."],
};

const STATUS_WORDS = {
  converged: "reached the noise level",
  max_iterations: "stopped at the most iterations allowed",
  stalled: "stalled before the noise level",
  nonfinite: "ran into numbers beyond range",
  failed: "failed",
};

export function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

const withUnit = (name, unit) => (unit && unit !== "1" ? `${name} in ${unit}` : name);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const seconds = (s) => (!Number.isFinite(s) ? "–" : s < 1 ? `${format(s * 1000, 3)} ms` : `${format(s, 3)} s`);
const axisOf = ({ axis, shape }) => (axis?.length ? axis : Array.from({ length: shape[0] }, (_, i) => i));
const errorText = (error) => (typeof error === "string" ? error : error?.detail ?? "No reason was given.");

export function showModel(card) {
  byId("model-title").textContent = card.title ?? "";
  const facts = [
    ["looks for", `${card.unknown.name} (${card.unknown.shape[0]})`],
    ["from", `${card.observation.name} (${card.observation.shape[0]})`],
    ["noise", `${format(card.observation.noise_std)} ${card.observation.unit === "1" ? "" : card.observation.unit}`],
  ];
  byId("model-facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  byId("observation-title").textContent = capital(card.observation.name);
  byId("unknown-title").textContent = capital(card.unknown.name);
}

export function showVerdict(item) {
  const kind = item.error ? "failed" : item.diagnostics?.verdict ?? "none";
  const [mark, title, text] = VERDICTS[kind] ?? VERDICTS.none;
  byId("verdict").dataset.kind = kind;
  byId("verdict-mark").textContent = mark;
  byId("verdict-title").textContent = title;
  byId("verdict-text").textContent = item.error ? errorText(item.error) : text;
  const reasons = item.diagnostics?.reasons ?? [];
  byId("verdict-reasons").replaceChildren(...reasons.map((reason) => element("li", reason)));
  byId("verdict").hidden = false;
}

// How a batch came out as a whole: "4 believable, 2 take with care".
export function summary(items) {
  const counts = new Map();
  for (const item of items) {
    const [, title] = VERDICTS[item.error ? "failed" : item.diagnostics?.verdict ?? "none"] ?? VERDICTS.none;
    counts.set(title, (counts.get(title) ?? 0) + 1);
  }
  return [...counts].map(([title, count]) => `${count} ${title.toLowerCase()}`).join(", ");
}

export function showFigures(item, truth, card, run) {
  const scores = item.diagnostics ?? {};
  const p = Number.isFinite(scores.rjcp_p_value) ? `p = ${format(scores.rjcp_p_value, 2)}` : "";
  const left = scores.residual_to_noise;
  const figures = [
    ["RJCP", format(scores.rjcp, 3), p, "How far the learned inverse is from undoing the physics at this answer; 0 is perfect. p says how usual that is."],
    ["Residual to noise", Number.isFinite(left) ? `${format(left, 3)}×` : "–", STATUS_WORDS[item.status] ?? item.status ?? "", "What the fit leaves unexplained. Near one, nothing but noise is left."],
    ["Iterations", String(item.iterations ?? "–"), item.solved_by ? `by ${methodName(item.solved_by)}` : "", "Steps until the stopping rule was met."],
    ["Time", seconds(run.result.timing?.solve_s), `to solve; ${seconds(run.tookS)} in all`, "Solving alone, and the whole way there and back, for all observations of the request."],
  ];
  if (scores.resolution) figures.push(resolvedFigure(scores.resolution));
  if (truth && item.x) figures.push(errorFigure(item, truth, card));
  byId("figures").replaceChildren(...figures.map(([name, value, note, help]) => {
    const box = element("div");
    box.title = help;
    box.append(element("dt", name), element("dd", value), element("dd", note, "note"));
    return box;
  }));
  byId("figures").hidden = false;
}

function resolvedFigure(resolution) {
  const resolved = resolution.reduce((sum, share) => sum + share, 0);
  return ["Resolved", `${format(resolved, 2)} of ${resolution.length}`, "unknowns fixed by the data", "Trace of the model resolution; the rest of the answer comes from what the model learned beforehand."];
}

function errorFigure(item, truth, card) {
  const rms = (values) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  if (card.unknown.components?.length) {
    const pairs = identifiablePairs(item, truth, card);
    const worst = Math.max(...pairs.map(([, found, known]) => Math.abs(found - known)));
    return ["Error", pairs.length ? format(worst, 3) : "–", "largest, in what the data determine", "Against the truth stored with this example."];
  }
  const error = rms(item.x.map((value, i) => value - truth[i]));
  return ["Error", format(error, 3), `rms, where the truth has ${format(rms(truth), 3)}`, "Against the truth stored with this example."];
}

// [name, found, true value] of what the data determine; names are components or ratios of them ("c/m").
function identifiablePairs(item, truth, card) {
  const known = (name) => truth[card.unknown.components.indexOf(name)];
  return Object.entries(item.identifiable ?? {}).map(([name, found]) => {
    const [over, under] = name.split("/");
    return [name, found, under === undefined ? known(over) : known(over) / known(under)];
  });
}

function legend(id, series) {
  const named = series.filter((s) => s.label || s.legend);
  byId(id).replaceChildren(...named.map((s) => {
    const entry = element("span", s.label ?? s.legend, "key");
    entry.dataset.kind = s.kind;
    entry.dataset.color = s.color;
    return entry;
  }));
}

function show(plot, quantity, series) {
  const { name, unit, axis_label: label } = quantity;
  plot.show({ title: name, x: axisOf(quantity), xLabel: label || "index", yLabel: withUnit(name, unit), series });
}

export function plotObservation(plot, card, observation, item) {
  const series = observation ? [{ label: "observed", kind: "dots", color: "--observed", y: observation }] : [];
  if (item?.fit?.some(Number.isFinite)) series.push({ label: "fit", kind: "line", color: "--found", y: item.fit });
  legend("observation-legend", series);
  show(plot, card.observation, series);
}

export function showUnknown(plot, card, item, truth) {
  const found = item?.x ?? null;
  const named = Boolean(card.unknown.components?.length);
  byId("unknown-empty").hidden = Boolean(found);
  byId("unknown-empty").textContent = item ? "There is no reconstruction of this observation." : "The reconstruction appears here.";
  byId("unknown-plot").hidden = !found || named;
  byId("unknown-readout").hidden = !found || named;
  byId("unknown-table").hidden = !found || !named;
  byId("unknown-legend").replaceChildren();
  if (found && named) fillTable(card, item, truth);
  if (found && !named) plotUnknown(plot, card, item, truth);
}

function plotUnknown(plot, card, item, truth) {
  const std = item.diagnostics?.std;
  const series = [];
  if (std) {
    const edge = (sign) => item.x.map((value, i) => value + sign * 2 * std[i]);
    series.push({ legend: "± 2 std", kind: "band", color: "--found", low: edge(-1), high: edge(1) });
  }
  if (truth) series.push({ label: "truth", kind: "dash", color: "--truth", y: truth });
  series.push({ label: "reconstruction", kind: "line", color: "--found", y: item.x });
  legend("unknown-legend", series);
  show(plot, card.unknown, series);
}

function fillTable(card, item, truth) {
  const { components, component_units: units } = card.unknown;
  const std = item.diagnostics?.std;
  const head = ["", "found", ...(std ? ["± std"] : []), ...(truth ? ["truth", "error"] : []), "unit"];
  const row = (name, found, spread, known, unit) => [
    name, format(found), ...(std ? [spread === undefined ? "" : format(spread)] : []), ...(truth ? [format(known), format(found - known)] : []), unit,
  ];
  const raw = components.map((name, i) => row(name, item.x[i], std?.[i], truth?.[i], units?.[i] ?? ""));
  const pairs = truth ? identifiablePairs(item, truth, card) : Object.entries(item.identifiable ?? {});
  const sure = pairs.map(([name, found, known]) => row(name, found, undefined, known, ""));
  const sections = sure.length ? [["What the data determine", sure], ["One set of parameters that explains them", raw]] : [["", raw]];
  fill(byId("unknown-table"), head, sections);
}

function fill(table, head, sections) {
  const line = (cells, tag) => {
    const tr = element("tr");
    tr.append(...cells.map((cell, i) => element(i === 0 && tag === "td" ? "th" : tag, cell)));
    return tr;
  };
  const top = element("thead");
  top.append(line(head, "th"));
  const bodies = sections.map(([title, rows]) => {
    const body = element("tbody");
    if (title) {
      const heading = element("th", title, "section");
      heading.colSpan = head.length;
      const tr = element("tr");
      tr.append(heading);
      body.append(tr);
    }
    body.append(...rows.map((cells) => line(cells, "td")));
    return body;
  });
  table.replaceChildren(...(head.length ? [top] : []), ...bodies);
}

export function showMore(item, run) {
  const flat = Object.entries({ ...item, ...item.diagnostics, device: run.result.device, engine: run.result.engine, job: run.job.id });
  const rows = flat.filter(([, value]) => ["string", "number"].includes(typeof value))
    .map(([name, value]) => [name.replaceAll("_", " "), typeof value === "number" ? format(value) : value]);
  fill(byId("diagnostics"), [], [["", rows]]);
  byId("command").textContent = shellCommand(run.body);
  byId("more").hidden = false;
}

// The same request for a shell; of a large batch its first observation only.
export function shellCommand(body) {
  const url = new URL("invert", window.location.href).href;
  const json = JSON.stringify({ ...body, observations: body.observations.slice(0, 1) });
  return `curl -s ${url} -H 'content-type: application/json' -H 'prefer: wait=10' \\\n  -d '${json}'`;
}
