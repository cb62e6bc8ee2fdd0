// Is this answer usual? Its scores among those of the calibration set.

import { calibration } from "./api.js";
import { Chart } from "./chart.js";
import { byId, element, fillTable, show } from "./dom.js";
import { format, scoreName, scoreNote, usual } from "./words.js";

const histograms = new Map(); // "model/version" -> promise
const charts = new Map(); // host id -> Chart

function histogramsOf(model, version) {
  const name = `${model}/${version}`;
  if (!histograms.has(name)) {
    const asked = calibration(model, version);
    asked.catch(() => histograms.delete(name));
    histograms.set(name, asked);
  }
  return histograms.get(name);
}

// `prefix` says in which view, `main` which score is plotted: RJCP, or for images RJCP over its floor.
export async function showTrust(name, version, item, { prefix = "", main = "rjcp" } = {}) {
  const scores = item.diagnostics?.p_values ? item.diagnostics : null;
  for (const id of ["trust-panel", "scores-panel"]) show(prefix + id, Boolean(scores));
  if (!scores) return;
  const { scores: spread, items } = await histogramsOf(name, version);
  const rows = Object.entries(scores.p_values).map(([score, p]) => [scoreName(score), format(scores[score], 3), share(p), scoreNote(score)]);
  rows.push(["All together", "", share(scores.p_value), "the verdict: take with care below 5 %, do not rely on it below 1 %"]);
  fillTable(byId(`${prefix}trust-table`), ["score", "here", "calibration items as large", "what it is"], [["", rows]]);
  byId(`${prefix}trust-text`).textContent = sentence(scores, main, spread[main], items);
  show(`${prefix}trust-plot`, spread[main].counts.length > 1);
  if (spread[main].counts.length > 1) plot(`${prefix}trust-plot`, scoreName(main), spread[main], scores[main]);
}

function sentence(scores, main, { counts }, items) {
  const combined = `All scores together: p = ${format(scores.p_value, 2)}.`;
  if (counts.length === 1) return `RJCP is the same for every observation here: this inverse is (nearly) linear, and RJCP cannot tell one request from another. ${combined}`;
  return `${scoreName(main)} is ${format(scores[main], 3)}: ${usual(scores.p_values[main])} (${items} of them, never trained on). ${combined}`;
}

// A share as a bar and in figures.
function share(p) {
  const cell = element("span", undefined, "share");
  const meter = element("meter");
  Object.assign(meter, { min: 0, max: 1, low: 0.01, high: 0.05, optimum: 1, value: p });
  meter.setAttribute("aria-hidden", "true");
  cell.append(meter, `${format(100 * p, 2)} %`);
  return cell;
}

function plot(host, name, { edges, counts, spacing }, here) {
  const xLog = spacing === "geometric";
  if (!charts.has(host)) charts.set(host, new Chart(byId(host)));
  charts.get(host).show({
    title: `${name} of the calibration set`,
    x: counts.map((_, i) => (xLog ? Math.sqrt(edges[i] * edges[i + 1]) : (edges[i] + edges[i + 1]) / 2)),
    xLog,
    xLabel: name,
    yLabel: "calibration items",
    series: [{ label: "items", kind: "bars", color: "--truth", y: counts }],
    marks: [{ x: here, label: here > edges.at(-1) ? `this answer: ${format(here, 3)} →` : "this answer", color: "--observed" }],
    flush: true,
  });
}
