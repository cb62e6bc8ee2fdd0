// Is this answer usual? Its scores among those of the calibration set.

import { calibration } from "./api.js";
import { Chart } from "./chart.js";
import { byId, element, fillTable, show } from "./dom.js";
import { format, scoreName, scoreNote, usual } from "./words.js";

const histograms = new Map(); // "model/version" -> promise
let chart = null;

function histogramsOf(model, version) {
  const name = `${model}/${version}`;
  if (!histograms.has(name)) {
    const asked = calibration(model, version);
    asked.catch(() => histograms.delete(name));
    histograms.set(name, asked);
  }
  return histograms.get(name);
}

export async function showTrust(card, version, item) {
  const scores = item.diagnostics;
  for (const id of ["trust-panel", "scores-panel"]) show(id, Boolean(scores));
  if (!scores) return;
  const { scores: spread, items } = await histogramsOf(card.name, version);
  const rows = Object.entries(scores.p_values ?? {}).map(([name, p]) => [scoreName(name), format(scores[name], 3), share(p), scoreNote(name)]);
  rows.push(["All together", "", share(scores.p_value), "the verdict: take with care below 5 %, do not rely on it below 1 %"]);
  fillTable(byId("trust-table"), ["score", "here", "calibration items as large", "what it is"], [["", rows]]);
  byId("trust-text").textContent = sentence(scores, spread.rjcp, items);
  show("trust-plot", spread.rjcp.counts.length > 1);
  if (spread.rjcp.counts.length > 1) plot(spread.rjcp, scores.rjcp);
}

function sentence(scores, { counts }, items) {
  const combined = `All scores together: p = ${format(scores.p_value, 2)}.`;
  if (counts.length === 1) return `RJCP is the same for every observation here: this inverse is (nearly) linear, and RJCP cannot tell one request from another. ${combined}`;
  return `RJCP is ${format(scores.rjcp, 3)}: ${usual(scores.rjcp_p_value)} (${items} of them, never trained on). ${combined}`;
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

function plot({ edges, counts, spacing }, here) {
  const xLog = spacing === "geometric";
  chart ??= new Chart(byId("trust-plot"));
  chart.show({
    title: "RJCP of the calibration set",
    x: counts.map((_, i) => (xLog ? Math.sqrt(edges[i] * edges[i + 1]) : (edges[i] + edges[i + 1]) / 2)),
    xLog,
    xLabel: "RJCP",
    yLabel: "calibration items",
    series: [{ label: "items", kind: "bars", color: "--truth", y: counts }],
    marks: [{ x: here, label: here > edges.at(-1) ? `this answer: ${format(here, 3)} →` : "this answer", color: "--observed" }],
    flush: true,
  });
}
