// What came of a run, one observation and one method at a time.

import { byId, button, copy, fillFigures, fillTable, save, show } from "./dom.js";
import { writeNpy } from "./numbers.js";
import { clearPlots, identifiablePairs, pictureOf, plotConvergence, plotObservation, plotResidual, plotResolution, plotUnknown } from "./panels.js";
import { guarded } from "./problem.js";
import { pythonScript, shellCommand } from "./request.js";
import { showTrust } from "./trust.js";
import { showVerdict } from "./verdict.js";
import { capital, format, methodName, seconds, statusWords, summary, verdictKind, verdictWords } from "./words.js";

const PANELS = ["verdict", "figures", "comparison", "more", "residual-panel", "resolution-panel", "trust-panel", "scores-panel", "convergence-panel"];
const state = { run: null, row: 0, method: 0, compare: () => {} };

// The answers of a run as one list, whether one method was asked or all: [{method, items, solve_s}].
function answersOf({ result }) {
  return result.results ?? [{ method: result.method, items: result.items, solve_s: result.timing?.solve_s }];
}

export function clearResult() {
  state.run = null;
  for (const id of PANELS) show(id, false);
  clearPlots();
}

export function showInput(card, observation) {
  byId("observation-title").textContent = capital(card.observation.name);
  byId("unknown-title").textContent = capital(card.unknown.name);
  plotObservation(card, observation, null);
  plotUnknown(card, null, null);
}

export function showRun(run) {
  Object.assign(state, { run, row: 0, method: 0 });
  showRow();
}

function showRow() {
  const { run, row } = state;
  const { card } = run;
  const answers = answersOf(run);
  const answer = answers[state.method];
  const item = answer.items[row];
  const truth = run.truths[row];
  const observation = run.rows[row] ?? null;
  showVerdict(item, answers.length > 1 ? answer.method : null);
  fillFigures(byId("figures"), figuresOf(item, truth, answer, run));
  show("figures", true);
  showComparison(answers);
  plotObservation(card, observation, item);
  plotUnknown(card, item, truth);
  plotResidual(card, observation, item);
  plotResolution(card, item);
  plotConvergence(answers.map(({ method, items }) => ({ method, item: items[row] })));
  guarded(() => showTrust(card.name, run.result.version, item));
  showMore(item);
  showPager(answer.items);
}

function figuresOf(item, truth, answer, run) {
  const scores = item.diagnostics ?? {};
  const p = Number.isFinite(scores.rjcp_p_value) ? `p = ${format(scores.rjcp_p_value, 2)}` : "";
  const left = scores.residual_to_noise;
  const figures = [
    ["RJCP", format(scores.rjcp, 3), p, "How far the learned inverse is from undoing the physics at this answer; 0 is perfect. p says how usual that is."],
    ["Residual to noise", Number.isFinite(left) ? `${format(left, 3)}×` : "–", statusWords(item), "What the fit leaves unexplained. Near one, nothing but noise is left."],
    ["Iterations", String(item.iterations ?? "–"), item.solved_by ? `by ${methodName(item.solved_by)}` : "", "Steps until the stopping rule was met."],
    ["Time", seconds(answer.solve_s), Number.isFinite(run.tookS) ? `to solve; ${seconds(run.tookS)} in all` : "to solve", "Solving alone, and the whole way there and back, for all observations of the request."],
  ];
  if (scores.resolution) figures.push(resolvedFigure(scores.resolution));
  if (truth && item.x) figures.push(errorFigure(item, truth, run.card));
  return figures;
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

// ------------------------------------------------------------------------------------------------ many of them

function showPager(items) {
  show("pager", items.length > 1);
  byId("summary").textContent = summary(items);
  byId("position").textContent = `${state.row + 1} of ${items.length}`;
  byId("previous").disabled = state.row === 0;
  byId("next").disabled = state.row === items.length - 1;
}

function turn(step) {
  state.row = Math.min(answersOf(state.run)[0].items.length - 1, Math.max(0, state.row + step));
  showRow();
}

function showComparison(answers) {
  show("comparison", answers.length > 1);
  if (answers.length < 2) return;
  const rows = answers.map(({ method, items, solve_s }, i) => {
    const item = items[state.row];
    const left = item.diagnostics?.residual_to_noise;
    const [, title] = verdictWords(verdictKind(item));
    return [choice(method, i), item.iterations ?? "–", Number.isFinite(left) ? `${format(left, 3)}×` : "–", seconds(solve_s), title, statusWords(item)];
  });
  const time = answers[0].items.length > 1 ? "time for all" : "time";
  fillTable(byId("comparison-table"), ["method", "iterations", "residual to noise", time, "verdict", "how it ended"], [["", rows]]);
}

// The method whose answer the plots below show.
function choice(method, index) {
  const chooser = button(methodName(method), () => {
    state.method = index;
    showRow();
    byId("comparison-table").querySelectorAll("button")[index].focus();
  });
  chooser.setAttribute("aria-pressed", String(index === state.method));
  return chooser;
}

// ------------------------------------------------------------------------------------------------ to take along

function showMore(item) {
  const { run } = state;
  const flat = Object.entries({ ...item, ...item.diagnostics, device: run.result.device, engine: run.result.engine, job: run.job.id });
  const rows = flat.filter(([, value]) => ["string", "number"].includes(typeof value))
    .map(([name, value]) => [name.replaceAll("_", " "), typeof value === "number" ? format(value) : value]);
  fillTable(byId("diagnostics"), [], [["", rows]]);
  byId("curl").textContent = run.request ? shellCommand(run.request) : "What was posted is not known to this page any more.";
  byId("python").textContent = run.request ? pythonScript(run.request) : byId("curl").textContent;
  for (const id of ["copy-curl", "copy-python", "download-input"]) byId(id).disabled = !run.request;
  show("more", true);
}

const fileName = (ending) => `${state.run.card.name}.${ending}`;

function saveNpy() {
  const answers = answersOf(state.run);
  const n = state.run.card.unknown.shape[0];
  const rows = answers.flatMap(({ items }) => items.map((item) => item.x ?? Array(n).fill(NaN)));
  const sizes = answers.length > 1 ? [answers.length, answers[0].items.length, n] : [rows.length, n];
  save(fileName("npy"), writeNpy(rows.flat(), sizes));
}

function saveCsv() {
  const { components, shape } = state.run.card.unknown;
  const names = components?.length ? components : Array.from({ length: shape[0] }, (_, i) => `x${i}`);
  const { items } = answersOf(state.run)[state.method];
  const rows = items.map((item) => (item.x ?? names.map(() => "")).join(","));
  save(fileName("csv"), [names.join(","), ...rows, ""].join("\n"), "text/csv");
}

const DOWNLOADS = {
  "download-npy": saveNpy,
  "download-csv": saveCsv,
  "download-json": () => save(fileName("json"), JSON.stringify(state.run.result, null, 1), "application/json"),
  "download-png": async () => save(fileName("png"), await pictureOf(state.run.card)),
  "download-input": () => save("observations.npy", writeNpy(state.run.rows.flat(), [state.run.rows.length, state.run.rows[0].length])),
};

// Called once; `compare` runs all methods on what is shown.
export function watchResult(compare) {
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("copy-curl").addEventListener("click", (event) => guarded(() => copy(byId("curl").textContent, event.target)));
  byId("copy-python").addEventListener("click", (event) => guarded(() => copy(byId("python").textContent, event.target)));
  for (const [id, action] of Object.entries(DOWNLOADS)) byId(id).addEventListener("click", () => guarded(action));
  byId("convergence-note").append(button("Compare all methods on this", compare));
}
