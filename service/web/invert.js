// The first view: choose a model, an observation and a method; run; look.

import * as api from "./api.js";
import { byId, element, show } from "./dom.js";
import { remember, runOf } from "./jobs.js";
import { NumbersError, parseNpy, parseText, pictureRows, readPicture } from "./numbers.js";
import { guarded } from "./problem.js";
import { ConstraintError, requestOf, showConstraint } from "./request.js";
import { clearResult, showInput, showRun, watchResult } from "./result.js";
import { count, format, methodName, methodNote } from "./words.js";

const LONGEST_PREVIEW = 20_000; // characters of a file that are shown in the text box
const AT_ONCE = 64; // observations up to which the answer comes with the request

const state = {
  started: null, // a promise
  cards: new Map(),
  card: null,
  examples: { observations: [], unknowns: [], labels: [] },
  chosen: 0, // which example; -1: all of them
  own: { rows: [], problem: "" },
  picture: null,
  running: null, // {controller, job}
};

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

// Once, whoever asks; again only where it failed.
export function startInvert() {
  state.started ??= start().catch((error) => {
    state.started = null;
    byId("model").firstElementChild.textContent = "not loaded";
    throw error;
  });
  return state.started;
}

async function start() {
  const cards = (await api.models()).filter((card) => card.observation);
  if (!cards.length) throw new api.ApiError("No models", "The service has no checkpoints. Train one: deceptron train heat1d");
  state.cards = new Map(cards.map((card) => [card.name, card]));
  byId("model").replaceChildren(...cards.map((card) => new Option(card.name, card.name)));
  byId("model").disabled = false;
  if (state.cards.has("heat1d_nonlinear")) byId("model").value = "heat1d_nonlinear"; // the plainest picture first
  await chooseModel();
}

async function chooseModel() {
  const card = state.cards.get(byId("model").value);
  Object.assign(state, { card, chosen: 0, picture: null });
  showCard(card);
  const before = byId("method").value;
  const methods = [...card.methods, "compare"];
  byId("method").replaceChildren(...methods.map((name) => new Option(methodName(name), name)));
  byId("method").value = methods.includes(before) ? before : methods[0];
  byId("preset").value = card.preset ?? "product";
  showMethod();
  state.examples = { observations: [], unknowns: [], labels: [] };
  readText();
  changed();
  const examples = await api.examples(card.name);
  if (state.card !== card) return; // another model was chosen meanwhile
  state.examples = examples;
  showExamples();
  changed();
}

function showCard(card) {
  const { unknown, observation } = card;
  const size = ({ shape, grid }) => (grid?.length ? grid.join(" × ") : shape[0]);
  byId("model-title").textContent = card.title ?? "";
  const facts = [
    ["looks for", `${unknown.name} (${size(unknown)})`],
    ["from", `${observation.name} (${size(observation)})`],
    ["noise", `${format(observation.noise_std)} ${observation.unit === "1" ? "" : observation.unit}`],
  ];
  byId("model-facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function showMethod() {
  byId("method-note").textContent = methodNote(byId("method").value);
  byId("run").firstElementChild.textContent = byId("method").value === "compare" ? "Compare" : "Reconstruct";
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
    changed();
  });
  label.append(radio, element("span", text));
  return label;
}

// ------------------------------------------------------------------------------------------------ one's own numbers

const width = () => state.card.observation.shape[0];

function readText() {
  if (state.card) setOwn(() => parseText(byId("numbers").value, width()));
}

function setOwn(read) {
  try {
    state.own = { rows: read(), problem: "" };
  } catch (error) {
    if (!(error instanceof NumbersError)) throw error;
    state.own = { rows: [], problem: error.message };
  }
  const { rows, problem } = state.own;
  byId("numbers-note").textContent = problem || (rows.length ? `${count(rows.length, "observation")} read.` : `${width()} numbers make one observation.`);
  byId("numbers-note").dataset.kind = problem ? "bad" : "";
  byId("numbers").setAttribute("aria-invalid", String(Boolean(problem)));
  if (source() === "own") changed();
}

async function readFile(file) {
  if (!file || !state.card) return;
  document.querySelector("input[name=source][value=own]").checked = true;
  showSource();
  byId("numbers").value = "";
  state.picture = null;
  if (/\.(png|jpe?g|webp)$/i.test(file.name)) {
    state.picture = await readPicture(file).catch((error) => { setOwn(() => { throw error; }); return null; });
    readAgain();
  } else if (file.name.endsWith(".npy")) {
    const buffer = await file.arrayBuffer();
    setOwn(() => parseNpy(buffer, width()));
  } else {
    const text = await file.text();
    byId("numbers").value = text.length <= LONGEST_PREVIEW ? text : "";
    setOwn(() => parseText(text, width()));
  }
  show("picture-range", Boolean(state.picture));
}

// The picture once more: black and white may mean something else now.
function readAgain() {
  const range = ["black", "white"].map((id) => Number(byId(id).value));
  if (state.picture) setOwn(() => pictureRows(state.picture, width(), range));
}

function showSource() {
  show("own", source() === "own");
  show("examples", source() !== "own");
  changed();
}

// A changed input leaves no old answer on the screen that it could be mistaken for.
function changed() {
  clearResult();
  show("problem", false);
  const { rows } = input();
  byId("run").disabled = !rows.length || Boolean(state.running);
  showInput(state.card, rows[0] ?? null);
}

// ------------------------------------------------------------------------------------------------ running

async function run() {
  const { rows, truths } = input();
  if (!rows.length || state.running || !state.card) return;
  const { card } = state;
  const request = requestOf(card, rows);
  state.running = { controller: new AbortController(), job: null };
  const { signal } = state.running.controller;
  setBusy(`Solving ${count(rows.length, "observation")}…`);
  const began = performance.now();
  try {
    const waitS = rows.length <= AT_ONCE ? 10 : 0;
    const first = await api.submit(request.path, request.body, { signal, waitS });
    state.running.job = first.id;
    const job = await api.follow(first, showProgress, signal);
    const made = { card, request, rows, truths, job, tookS: (performance.now() - began) / 1000 };
    remember(job, made);
    made.result = await api.resultOf(job, signal);
    if (state.card !== card) return;
    changed();
    showRun(made);
    byId("output").focus({ preventScroll: window.innerWidth > 900 });
  } finally {
    state.running = null;
    setBusy(null);
  }
}

function setBusy(text) {
  show("busy", text !== null);
  byId("output").setAttribute("aria-busy", String(text !== null));
  byId("run").disabled = text !== null || !input().rows.length;
  byId("progress").removeAttribute("value");
  if (text === null) return;
  byId("busy-text").textContent = text;
  show("problem", false);
}

function showProgress(job) {
  remember(job);
  const { done, total } = job.progress;
  if (total > 1) Object.assign(byId("progress"), { max: total, value: done });
  const waiting = job.status === "queued" ? "waiting for a worker" : `${done} of ${total} done`;
  byId("busy-text").textContent = `Job ${job.status}: ${waiting}`;
}

async function stop() {
  const { controller, job } = state.running ?? {};
  controller?.abort();
  if (job) await api.cancel(job);
}

// A job of the list: with what was posted where this page still has it.
export async function openJob(job) {
  const known = runOf(job.id);
  const result = await api.resultOf(job);
  if (window.location.hash !== "#invert") window.location.hash = "invert";
  await startInvert();
  const card = state.cards.get(job.model);
  if (!card) throw new api.ApiError("Unknown model", `The service has no model ${job.model} any more.`);
  byId("model").value = card.name;
  await chooseModel();
  showRun({ card, request: null, rows: [], truths: [], tookS: NaN, ...known, job, result });
}

async function compare() {
  byId("method").value = "compare";
  showMethod();
  await run();
}

const attempt = () => guarded(async () => {
  try {
    await run();
  } catch (error) {
    throw error instanceof ConstraintError ? new api.ApiError("The constraint", error.message) : error;
  }
});

byId("request").addEventListener("submit", (event) => { event.preventDefault(); attempt(); });
byId("model").addEventListener("change", () => guarded(chooseModel));
byId("method").addEventListener("change", showMethod);
byId("constraint").addEventListener("change", showConstraint);
byId("numbers").addEventListener("input", () => { state.picture = null; readText(); });
byId("file").addEventListener("change", (event) => guarded(() => readFile(event.target.files[0])));
for (const id of ["black", "white"]) byId(id).addEventListener("input", readAgain);
byId("cancel").addEventListener("click", () => guarded(stop));
for (const radio of document.querySelectorAll("input[name=source]")) radio.addEventListener("change", showSource);
watchResult(() => guarded(compare));
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !byId("view-invert").hidden) attempt();
});
byId("view-invert").addEventListener("dragover", (event) => event.preventDefault());
byId("view-invert").addEventListener("drop", (event) => {
  event.preventDefault();
  guarded(() => readFile(event.dataTransfer.files[0]));
});
