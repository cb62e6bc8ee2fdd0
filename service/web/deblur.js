// The deblur view: a picture, what blurred it, a method; before and after under one slider.

import * as api from "./api.js";
import { byId, copy, element, fillFigures, save, show } from "./dom.js";
import { remember, runOf } from "./jobs.js";
import { KINDS, blurred, drawGrey, drawKernel, kernelOf, psnr, scene, specOf } from "./kernels.js";
import { NumbersError, readNpy, readPicture } from "./numbers.js";
import { guarded } from "./problem.js";
import { deblurCommand, deblurScript } from "./request.js";
import { showTrust } from "./trust.js";
import { showVerdict } from "./verdict.js";
import { format, methodName, methodNote, seconds, statusWords } from "./words.js";

const CLASSICS = ["wiener", "richardson_lucy", "lm", "gd", "lbfgs"];
const EXAMPLE_NOISE = 0.01;

const state = {
  started: null, // a promise
  truth: null, // of the example
  own: null, // {file, url} of the person's picture
  before: null, // the same of what is shown
  kernel: null, // {file, kernel} of the person's own
  turn: 0, // counts changes of the form
  running: null,
  shown: null, // {job, after: blob}
};

const source = () => document.querySelector("input[name=deblur-source]:checked").value;
const kind = () => byId("psf-kind").value;

// Once, whoever asks; again only where it failed.
export function startDeblur() {
  state.started ??= start().catch((error) => { state.started = null; throw error; });
  return state.started;
}

async function start() {
  const networks = (await api.models()).filter((card) => card.kind === "network").map((card) => card.name);
  const methods = networks.includes("deblur") ? ["dnet", ...CLASSICS] : CLASSICS;
  byId("deblur-method").replaceChildren(...methods.map((name) => new Option(methodName(name), name)));
  showMethod();
  state.truth = scene();
  await changed();
}

const showMethod = () => { byId("deblur-method-note").textContent = methodNote(byId("deblur-method").value); };

// ------------------------------------------------------------------------------------------------ picture and kernel

// The kernel that the form describes: {side, values}, or null while a file is missing.
const kernel = () => (kind() === "file" ? state.kernel?.kernel ?? null : kernelOf(specOf(kind())));

async function changed() {
  const turn = (state.turn += 1);
  clear();
  for (const name of Object.keys(KINDS)) show(`psf-${name}`, name === kind());
  show("psf-own", kind() === "file");
  for (const [id] of Object.values(KINDS).flat()) byId(`${id}-value`).textContent = byId(id).value;
  show("deblur-own", source() === "own");
  const now = kernel();
  show("psf-preview", Boolean(now));
  if (now) drawKernel(byId("psf-preview"), now);
  const before = source() === "own" ? state.own : now && (await example(now));
  if (turn !== state.turn) return; // the slider has moved on meanwhile
  state.before = before;
  if (state.before) showBefore();
  byId("deblur-run").disabled = !state.before || !now || Boolean(state.running);
}

// The drawn scene under the chosen kernel, as the file that is posted.
async function example(now) {
  const { width, height } = state.truth;
  const values = blurred(state.truth, now, EXAMPLE_NOISE);
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [width, height];
  drawGrey(canvas, values);
  const blob = await new Promise((done) => { canvas.toBlob(done, "image/png"); });
  return { file: new File([blob], "example.png", { type: "image/png" }), url: URL.createObjectURL(blob), values };
}

async function readImage(file) {
  if (!file) return;
  document.querySelector("input[name=deblur-source][value=own]").checked = true;
  state.own = null;
  try {
    if (file.name.endsWith(".npy")) state.own = { file, url: await urlOfNpy(await file.arrayBuffer()) };
    else {
      await readPicture(file);
      state.own = { file, url: URL.createObjectURL(file) };
    }
    note("deblur-note", `${file.name}, ${format(file.size / 1024, 3)} kB`);
  } catch (error) {
    if (!(error instanceof NumbersError)) throw error;
    note("deblur-note", error.message, "bad");
  }
  await changed();
}

async function urlOfNpy(buffer) {
  const { values, sizes } = readNpy(buffer);
  if (sizes.length !== 2) throw new NumbersError("Only grey arrays (H × W) can be previewed here.");
  const canvas = element("canvas");
  [canvas.height, canvas.width] = sizes;
  drawGrey(canvas, values);
  return URL.createObjectURL(await new Promise((done) => { canvas.toBlob(done, "image/png"); }));
}

async function readKernel(file) {
  if (!file) return;
  state.kernel = null;
  try {
    const { values, side } = file.name.endsWith(".npy") ? squareNpy(await file.arrayBuffer()) : squarePicture(await readPicture(file));
    state.kernel = { file, kernel: { side, values } };
    note("psf-note", `${side} × ${side} pixels`);
  } catch (error) {
    if (!(error instanceof NumbersError)) throw error;
    note("psf-note", error.message, "bad");
  }
  await changed();
}

function squareNpy(buffer) {
  const { values, sizes } = readNpy(buffer);
  if (sizes.length !== 2 || sizes[0] !== sizes[1]) throw new NumbersError("A kernel is a square array here.");
  return { values, side: sizes[0] };
}

function squarePicture({ values, width, height }) {
  if (width !== height) throw new NumbersError("A kernel is a square picture here.");
  return { values, side: width };
}

function note(id, text, mood = "") {
  Object.assign(byId(id), { textContent: text }).dataset.kind = mood;
}

// ------------------------------------------------------------------------------------------------ running

function formOf() {
  const form = new FormData();
  form.append("image", state.before.file);
  form.append("method", byId("deblur-method").value);
  if (kind() === "file") form.append("psf", state.kernel.file);
  else form.append("psf", JSON.stringify(specOf(kind())));
  const noise = byId("deblur-noise").value;
  if (noise) form.append("noise_std", noise);
  return form;
}

async function deblur() {
  if (state.running || !state.before) return;
  const { before, truth } = state;
  const form = formOf();
  state.running = { controller: new AbortController(), job: null };
  const { signal } = state.running.controller;
  clear();
  setBusy("Deblurring…");
  const began = performance.now();
  try {
    const first = await api.submit("deblur", form, { signal, waitS: 5 });
    state.running.job = first.id;
    const job = await api.follow(first, showProgress, signal);
    const made = { before, form, truth: before.values ? truth : null, tookS: (performance.now() - began) / 1000 };
    remember(job, made);
    await showAnswer({ job, ...made }, signal);
  } finally {
    state.running = null;
    setBusy(null);
  }
}

function setBusy(text) {
  show("deblur-busy", text !== null);
  byId("deblur-run").disabled = text !== null || !state.before;
  byId("deblur-progress").removeAttribute("value");
  if (text !== null) byId("deblur-busy-text").textContent = text;
}

function showProgress(job) {
  remember(job);
  const { done, total } = job.progress;
  if (total > 1) Object.assign(byId("deblur-progress"), { max: total, value: done });
  byId("deblur-busy-text").textContent = `Job ${job.status}`;
}

async function stop() {
  const { controller, job } = state.running ?? {};
  controller?.abort();
  if (job) await api.cancel(job);
}

// A job of the list, with the picture before where this page still has it.
export async function openImageJob(job) {
  const run = { job, before: null, form: null, truth: null, tookS: NaN, ...runOf(job.id) };
  if (window.location.hash !== "#deblur") window.location.hash = "deblur";
  await startDeblur();
  await showAnswer(run);
}

// ------------------------------------------------------------------------------------------------ before and after

function clear() {
  state.shown = null;
  for (const id of ["deblur-verdict", "deblur-figures", "deblur-more", "deblur-trust-panel", "deblur-scores-panel", "deblur-after", "deblur-split", "deblur-split-label"]) show(id, false);
}

function showBefore() {
  byId("deblur-before").src = state.before.url;
  show("deblur-before", true);
  split(1);
}

// The share of the width, from the left, that shows the picture before.
function split(share) {
  byId("deblur-before").style.clipPath = `inset(0 ${100 * (1 - share)}% 0 0)`;
  byId("deblur-split").value = String(Math.round(100 * share));
}

async function showAnswer(run, signal) {
  const result = await api.resultOf({ ...run.job, result: undefined }, signal, "?arrays=false");
  const [item] = result.items;
  showVerdict(item, null, "deblur-");
  const figures = [
    ["Residual to noise", Number.isFinite(item.diagnostics?.residual_to_noise) ? `${format(item.diagnostics.residual_to_noise, 3)}×` : "–", statusWords(item)],
    ["Noise", format(item.noise_std, 3), "of a pixel, white being 1"],
    ["Iterations", String(item.iterations ?? "–"), item.solved_by ? `by ${methodName(item.solved_by)}` : ""],
    ["Time", seconds(result.timing?.solve_s), Number.isFinite(run.tookS) ? `to solve; ${seconds(run.tookS)} in all` : "to solve"],
  ];
  if (Number.isFinite(item.diagnostics?.rjcp)) figures.unshift(["RJCP", format(item.diagnostics.rjcp, 3), Number.isFinite(item.diagnostics.rjcp_p_value) ? `p = ${format(item.diagnostics.rjcp_p_value, 2)}` : ""]);
  if (!item.error) await showPicture(run, figures, signal);
  fillFigures(byId("deblur-figures"), figures);
  show("deblur-figures", true);
  const forgotten = "What was posted is not known to this page any more.";
  byId("deblur-curl").textContent = run.form ? deblurCommand(run.form) : forgotten;
  byId("deblur-python").textContent = run.form ? deblurScript(run.form) : forgotten;
  for (const id of ["deblur-copy", "deblur-copy-python", "deblur-input"]) byId(id).disabled = !run.form;
  show("deblur-more", !item.error);
  await showTrust(result.model, result.version, item, { prefix: "deblur-", main: "rjcp_over_floor" });
}

async function showPicture(run, figures, signal) {
  const after = await api.resultAs(run.job.id, "image/png", signal);
  state.shown = { job: run.job, after };
  byId("deblur-after").src = URL.createObjectURL(after);
  show("deblur-after", true);
  const both = Boolean(run.before);
  show("deblur-before", both);
  show("deblur-split", both);
  show("deblur-split-label", both);
  if (both) {
    byId("deblur-before").src = run.before.url;
    split(0.5);
  }
  if (!run.truth) return;
  const [first, last] = [run.before.values, (await readPicture(after)).values];
  figures.push(["PSNR", `${format(psnr(last, run.truth.values), 3)} dB`, `${format(psnr(first, run.truth.values), 3)} dB before, against the drawn scene`]);
}

async function saveAs(media, ending) {
  save(`deblurred.${ending}`, await api.resultAs(state.shown.job.id, media));
}

byId("deblur-form").addEventListener("submit", (event) => { event.preventDefault(); guarded(deblur); });
byId("deblur-method").addEventListener("change", showMethod);
byId("deblur-file").addEventListener("change", (event) => guarded(() => readImage(event.target.files[0])));
byId("psf-file").addEventListener("change", (event) => guarded(() => readKernel(event.target.files[0])));
byId("deblur-cancel").addEventListener("click", () => guarded(stop));
byId("deblur-split").addEventListener("input", (event) => split(Number(event.target.value) / 100));
byId("deblur-copy").addEventListener("click", (event) => guarded(() => copy(byId("deblur-curl").textContent, event.target)));
byId("deblur-copy-python").addEventListener("click", (event) => guarded(() => copy(byId("deblur-python").textContent, event.target)));
byId("deblur-png").addEventListener("click", () => guarded(() => saveAs("image/png", "png")));
byId("deblur-npy").addEventListener("click", () => guarded(() => saveAs("application/x-npy", "npy")));
byId("deblur-input").addEventListener("click", () => save(state.before.file.name, state.before.file));
byId("psf-kind").addEventListener("change", () => guarded(changed));
for (const [id] of Object.values(KINDS).flat()) byId(id).addEventListener("input", () => guarded(changed));
for (const radio of document.querySelectorAll("input[name=deblur-source]")) radio.addEventListener("change", () => guarded(changed));
byId("view-deblur").addEventListener("dragover", (event) => event.preventDefault());
byId("view-deblur").addEventListener("drop", (event) => {
  event.preventDefault();
  guarded(() => readImage(event.dataTransfer.files[0]));
});
