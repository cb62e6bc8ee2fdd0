// How the models have been doing: RJCP of their last answers over time, and the state that follows from it.

import * as api from "./api.js";
import { Chart } from "./chart.js";
import { byId, element, fillFigures, show } from "./dom.js";
import { guarded } from "./problem.js";
import { count, format, seconds } from "./words.js";

const EVERY_MS = 5_000;

const STATES = {
  ok: ["✓", "As usual", "The last answers look like the calibration set."],
  warning: ["!", "Look at what is posted", "The last answers differ from the calibration set."],
  critical: ["×", "Believe the verdicts, not the averages", "A large share of the last answers is out of range."],
  no_data: ["–", "Too few answers yet", "A model is judged from 50 answers on."],
};

const cards = new Map(); // model -> its parts on the page

export function showHealth() {
  guarded(refresh);
  const timer = setInterval(() => guarded(refresh), EVERY_MS);
  return () => clearInterval(timer);
}

async function refresh() {
  const models = await api.healthOfAll();
  byId("health-empty").textContent = "The service has no models.";
  show("health-empty", !Object.keys(models).length);
  // Those with something to say first.
  const names = Object.keys(models).sort((a, b) => models[b].window.count - models[a].window.count);
  for (const name of names) {
    if (!cards.has(name)) cards.set(name, newCard(name));
    fill(cards.get(name), models[name]);
  }
  byId("health-list").replaceChildren(...names.map((name) => cards.get(name).panel));
  for (const name of names) await plot(name, models[name]);
}

function newCard(name) {
  const panel = element("section", undefined, "panel model");
  panel.setAttribute("aria-label", name);
  const head = element("div", undefined, "verdict-line");
  const [mark, title, text] = [element("span", "", "mark"), element("h3", name), element("p", "", "note")];
  mark.setAttribute("aria-hidden", "true");
  const words = element("div");
  words.append(title, text);
  head.append(mark, words);
  const [figures, host] = [element("dl", undefined, "figures"), element("div")];
  panel.append(head, figures, host);
  return { name, panel, mark, title, text, figures, host, chart: null, seen: null };
}

function fill(card, report) {
  const [mark, title, text] = STATES[report.state] ?? STATES.no_data;
  card.panel.dataset.state = report.state;
  card.mark.textContent = mark;
  card.title.textContent = `${card.name}: ${title}`;
  card.text.textContent = report.reasons.length ? `${report.reasons.join("; ")}.` : text;
  const { count: n, span_s: span } = report.window;
  fillFigures(card.figures, [
    ["Answers", String(n), n > 1 ? `over ${seconds(span)}` : "in the window"],
    ["Out of range", `${format(100 * report.out_of_range, 3)} %`, "1 % is normal"],
    ["RJCP", format(report.rjcp.median, 3), `median; ${format(report.calibration.median, 3)} when calibrated`],
    ["Drift", format(report.drift?.statistic, 2), "distance from the calibration set"],
  ]);
}

// Asked again only when the window has moved.
async function plot(name, report) {
  const card = cards.get(name);
  const stamp = `${report.window.count} ${report.window.span_s}`;
  card.host.hidden = report.window.count < 2;
  if (report.window.count < 2 || card.seen === stamp) return;
  const { samples, calibration } = await api.healthOf(name);
  card.seen = stamp;
  card.chart ??= new Chart(card.host);
  const of = (verdict) => samples.rjcp.map((value, i) => (samples.verdict[i] === verdict ? value : NaN));
  card.chart.show({
    title: `RJCP of ${name}, ${count(samples.at.length, "answer")}`,
    x: samples.at,
    xTime: true,
    xLabel: "",
    yLabel: "RJCP",
    series: [
      { label: "in range", kind: "dots", color: "--found", y: of("in_range") },
      { label: "suspect", kind: "dots", color: "--observed", y: of("suspect") },
      { label: "out of range", kind: "dots", color: "--bad", y: of("out_of_range") },
    ],
    levels: [
      { y: calibration.median, label: "calibration median", color: "--muted" },
      { y: calibration.p99, label: "99 %", color: "--muted" },
    ],
    least: 0.01 * Math.abs(calibration.median), // less than that is rounding
    alwaysLegend: true,
  });
}
