// The console: choose a model, an observation and a method; run; look.

import { ApiError, cancel, examples as fetchExamples, invert, isReady, models as fetchModels } from "./api.js";
import { NumbersError, parseNpy, parseText } from "./numbers.js";
import { Plot } from "./plot.js";
import {
  byId, element, methodName, methodNote, plotObservation, seconds, showFigures, showModel, showMore, showUnknown, showVerdict,
  summary,
} from "./view.js";

const MANY = 256; // observations above which fits and histories are not asked for: they would dwarf the answer
const LONGEST_PREVIEW = 20_000; // characters of a file that are shown in the text box

const state = {
  cards: new Map(),
  card: null,
  examples: { observations: [], unknowns: [], labels: [] },
  chosen: 0, // which example; -1: all of them
  own: { rows: [], problem: "" },
  run: null, // the last run: {body, rows, truths, job, result, tookS}
  row: 0, // which of its observations is shown
  running: null, // {controller, job}
};
const observationPlot = new Plot(byId("observation-plot"), byId("observation-readout"));
const unknownPlot = new Plot(byId("unknown-plot"), byId("unknown-readout"));

const source = () => document.querySelector("input[name=source]:checked").value;

// The rows to be solved, and their truths where they are known.
function input() {
  if (source() === "own") return { rows: state.own.rows, truths: [] };
  const { observations, unknowns } = state.examples;
  if (state.chosen < 0) return { rows: observations, truths: unknowns };
  const at = state.chosen;
  return { rows: observations.slice(at, at + 1), truths: unknowns.slice(at, at + 1) };
}

// ------------------------------------------------------------------------------------------------ choosing

async function start() {
  showTheme();
  watchHealth();
  await guarded(async () => {
    const cards = await fetchModels();
    if (!cards.length) throw new ApiError("No models", "The service has no checkpoints. Train one: deceptron train heat1d");
    state.cards = new Map(cards.map((card) => [card.name, card]));
    byId("model").replaceChildren(...cards.map((card) => new Option(card.name, card.name)));
    byId("model").disabled = false;
    await chooseModel();
  });
}

async function chooseModel() {
  const card = state.cards.get(byId("model").value);
  Object.assign(state, { card, run: null, chosen: 0 });
  showModel(card);
  const before = byId("method").value;
  byId("method").replaceChildren(...card.methods.map((name) => new Option(methodName(name), name)));
  byId("method").value = card.methods.includes(before) ? before : card.methods[0];
  byId("preset").value = card.preset ?? "product";
  showMethod();
  state.examples = { observations: [], unknowns: [], labels: [] };
  readText();
  const examples = await fetchExamples(card.name);
  if (state.card !== card) return; // another model was chosen meanwhile
  state.examples = examples;
  showExamples();
  showInput();
}

function showMethod() {
  byId("method-note").textContent = methodNote(byId("method").value);
}

function showExamples() {
  const { observations, labels } = state.examples;
  const chips = observations.map((_, i) => chip(labels[i] ?? `example ${i + 1}`, i));
  if (observations.length > 1) chips.push(chip(`all ${observations.length}`, -1));
  byId("examples").replaceChildren(...(chips.length ? chips : [element("p", "This model has no stored examples.", "note")]));
}

function chip(text, value) {
  const label = element("label");
  const radio = element("input");
  Object.assign(radio, { type: "radio", name: "example", value: String(value), checked: value === state.chosen });
  radio.addEventListener("change", () => {
    state.chosen = value;
    showInput();
  });
  label.append(radio, element("span", text));
  return label;
}

function readText() {
  if (state.card) setOwn(() => parseText(byId("numbers").value, state.card.observation.shape[0]));
}

function setOwn(read) {
  try {
    state.own = { rows: read(), problem: "" };
  } catch (error) {
    if (!(error instanceof NumbersError)) throw error;
    state.own = { rows: [], problem: error.message };
  }
  const { rows, problem } = state.own;
  const count = rows.length === 1 ? "1 observation" : `${rows.length} observations`;
  byId("numbers-note").textContent = problem || (rows.length ? `${count} read.` : `${state.card.observation.shape[0]} numbers make one observation.`);
  byId("numbers-note").dataset.kind = problem ? "bad" : "";
  byId("numbers").setAttribute("aria-invalid", String(Boolean(problem)));
  if (source() === "own") showInput();
}

async function readFile(file) {
  if (!file || !state.card) return;
  document.querySelector("input[name=source][value=own]").checked = true;
  const width = state.card.observation.shape[0];
  const buffer = await file.arrayBuffer();
  const npy = file.name.endsWith(".npy");
  const text = npy ? "" : new TextDecoder().decode(buffer);
  byId("numbers").value = text.length <= LONGEST_PREVIEW ? text : "";
  showSource();
  setOwn(() => (npy ? parseNpy(buffer, width) : parseText(text, width)));
}

function showSource() {
  byId("own").hidden = source() !== "own";
  byId("examples").hidden = source() === "own";
  showInput();
}

// A changed input leaves no old answer on the screen that it could be mistaken for.
function showInput() {
  state.run = null;
  for (const id of ["verdict", "figures", "more", "problem"]) byId(id).hidden = true;
  const { rows } = input();
  byId("run").disabled = !rows.length || Boolean(state.running);
  plotObservation(observationPlot, state.card, rows[0] ?? null, null);
  showUnknown(unknownPlot, state.card, null, null);
}

// ------------------------------------------------------------------------------------------------ running

function bodyOf(rows) {
  const options = { preset: byId("preset").value, history: rows.length <= MANY };
  const most = byId("iterations").value;
  if (most) options.max_iterations = Number(most);
  return { model: state.card.name, method: byId("method").value, observations: rows, options };
}

async function run() {
  const { rows, truths } = input();
  if (!rows.length || state.running) return;
  const body = bodyOf(rows);
  const card = state.card;
  state.running = { controller: new AbortController(), job: null };
  setBusy(`Solving ${rows.length === 1 ? "one observation" : `${rows.length} observations`}…`);
  const began = performance.now();
  await guarded(async () => {
    const { job, result } = await invert(body, showProgress, state.running.controller.signal);
    if (!result?.items) throw new ApiError("The job failed", job.error ?? "No reason was given.");
    if (state.card !== card) return;
    showInput();
    Object.assign(state, { run: { body, rows, truths, job, result, tookS: (performance.now() - began) / 1000 }, row: 0 });
    showRow();
    byId("output").focus({ preventScroll: window.innerWidth > 900 });
  });
  state.running = null;
  setBusy(null);
}

function setBusy(text) {
  byId("busy").hidden = text === null;
  byId("output").setAttribute("aria-busy", String(text !== null));
  byId("run").disabled = text !== null || !input().rows.length;
  byId("run").dataset.busy = String(text !== null);
  byId("progress").removeAttribute("value");
  if (text === null) return;
  byId("busy-text").textContent = text;
  byId("problem").hidden = true;
}

function showProgress(job) {
  if (state.running) state.running.job = job.id;
  const { done, total } = job.progress;
  if (total > 1) Object.assign(byId("progress"), { max: total, value: done });
  const waiting = job.status === "queued" ? "waiting for a worker" : `${done} of ${total} done`;
  byId("busy-text").textContent = `Job ${job.status}: ${waiting}`;
}

async function stop() {
  const { controller, job } = state.running ?? {};
  controller?.abort();
  if (job) await guarded(() => cancel(job));
}

// Whatever goes wrong is said on the page, once, in words.
async function guarded(action) {
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof ApiError)) console.error(error);
    const known = error instanceof ApiError ? error : new ApiError("Something went wrong on this page", error.message);
    const fields = element("ul");
    fields.append(...known.fields.map(({ field, detail }) => element("li", `${field}: ${detail}`)));
    const text = known.fields.length ? [fields] : [element("p", known.message)];
    byId("problem").replaceChildren(element("h2", known.title), ...text);
    byId("problem").hidden = false;
    showHealth();
  }
}

function showRow() {
  const { run: last, row, card } = state;
  const item = last.result.items[row];
  const truth = last.truths[row];
  showVerdict(item);
  showFigures(item, truth, card, last);
  plotObservation(observationPlot, card, last.rows[row], item);
  showUnknown(unknownPlot, card, item, truth);
  showMore(item, last);
  const count = last.result.items.length;
  byId("pager").hidden = count < 2;
  byId("summary").textContent = summary(last.result.items);
  byId("position").textContent = `${row + 1} of ${count}`;
  byId("previous").disabled = row === 0;
  byId("next").disabled = row === count - 1;
}

function turn(step) {
  state.row = Math.min(state.run.result.items.length - 1, Math.max(0, state.row + step));
  showRow();
}

// ------------------------------------------------------------------------------------------------ the rest

function save(name, type, text) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

function saveCsv() {
  const { components, shape } = state.card.unknown;
  const names = components?.length ? components : Array.from({ length: shape[0] }, (_, i) => `x${i}`);
  const rows = state.run.result.items.map((item) => (item.x ?? names.map(() => "")).join(","));
  save(`${state.card.name}.csv`, "text/csv", [names.join(","), ...rows, ""].join("\n"));
}

async function copyCommand() {
  await navigator.clipboard.writeText(byId("command").textContent);
  byId("copy").textContent = "Copied";
  setTimeout(() => { byId("copy").textContent = "Copy the command"; }, 1500);
}

async function showHealth() {
  const now = await isReady();
  Object.assign(byId("health"), { textContent: now }).dataset.state = now;
  return now;
}

async function watchHealth() {
  setTimeout(watchHealth, (await showHealth()) === "ready" ? 15_000 : 2_000);
}

function showTheme(choice = localStorage.getItem("theme")) {
  if (choice) document.documentElement.dataset.theme = choice;
  observationPlot.draw();
  unknownPlot.draw();
}

function switchTheme() {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const choice = dark === "dark" ? "light" : "dark";
  localStorage.setItem("theme", choice);
  showTheme(choice);
}

byId("request").addEventListener("submit", (event) => { event.preventDefault(); run(); });
byId("model").addEventListener("change", () => guarded(chooseModel));
byId("method").addEventListener("change", showMethod);
byId("numbers").addEventListener("input", readText);
byId("file").addEventListener("change", (event) => guarded(() => readFile(event.target.files[0])));
byId("cancel").addEventListener("click", stop);
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
byId("copy").addEventListener("click", () => guarded(copyCommand));
byId("download-json").addEventListener("click", () => save(`${state.card.name}.json`, "application/json", JSON.stringify(state.run.result, null, 1)));
byId("download-csv").addEventListener("click", saveCsv);
byId("theme").addEventListener("click", switchTheme);
for (const radio of document.querySelectorAll("input[name=source]")) radio.addEventListener("change", showSource);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  guarded(() => readFile(event.dataTransfer.files[0]));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showTheme());

start();
