// The jobs that this browser has posted: a list that outlives the page, with live progress.

import * as api from "./api.js";
import { byId, button, element, show } from "./dom.js";
import { guarded } from "./problem.js";
import { count } from "./words.js";

const STORE = "deceptron.jobs";
const MOST = 50;
const STREAMS = 3; // event streams at once: a browser opens six connections to a host, and the page needs some itself
const POLL_MS = 3_000;

const WORDS = {
  queued: "waiting for a worker",
  running: "running",
  succeeded: "done",
  partial: "done, some observations failed",
  failed: "failed",
  canceled: "canceled",
  expired: "expired",
  unknown: "unknown to the service",
};

const runs = new Map(); // id -> what was posted, as long as this page lives
let opener = () => {};

export const runOf = (id) => runs.get(id) ?? {};

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? [];
  } catch {
    return [];
  }
}

function store(jobs) {
  localStorage.setItem(STORE, JSON.stringify(jobs.slice(0, MOST)));
  const open = jobs.filter((job) => !api.isFinished(job) && job.status !== "unknown").length;
  byId("jobs-count").textContent = String(open);
  show("jobs-count", open > 0);
}

// Notes how a job stands; `run` is what was posted.
export function remember(job, run) {
  if (run) runs.set(job.id, run);
  const { id, kind, model, status, progress, created_at, expires_at, error } = job;
  const jobs = stored();
  const entry = { id, kind, model, status, progress, created_at, expires_at, error };
  const at = jobs.findIndex((known) => known.id === id);
  if (at >= 0) jobs[at] = entry;
  else jobs.unshift(entry);
  store(jobs);
}

function forget(id) {
  runs.delete(id);
  store(stored().filter((job) => job.id !== id));
}

// ------------------------------------------------------------------------------------------------ the view

export function startJobs(open) {
  opener = open;
  store(stored());
  byId("job-form").addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(lookUp);
  });
}

async function lookUp() {
  const id = byId("job-id").value.trim();
  if (!id) return;
  remember(await api.jobOf(id));
  byId("job-id").value = "";
  render();
  watch(id);
}

let leaving = null;

export function showJobs() {
  leaving = new AbortController();
  render();
  refresh();
  const timer = setInterval(refresh, POLL_MS);
  return () => {
    clearInterval(timer);
    leaving.abort();
  };
}

const watched = new Set();

// The first few unfinished jobs are followed by their events, the others are asked for now and then.
function refresh() {
  const open = stored().filter((job) => !api.isFinished(job) && job.status !== "unknown");
  for (const job of open) {
    if (watched.has(job.id)) continue;
    if (watched.size < STREAMS) watch(job.id);
    else ask(job.id);
  }
}

async function ask(id) {
  const job = await api.jobOf(id).catch((error) => lost(id, error));
  if (job) note(job);
}

async function watch(id) {
  watched.add(id);
  try {
    const job = await api.jobOf(id);
    note(job);
    await api.follow(job, note, leaving.signal);
  } catch (error) {
    if (error.name !== "AbortError") lost(id, error);
  } finally {
    watched.delete(id);
  }
}

function note(job) {
  remember(job);
  render();
}

// A job that is gone says so in the list; a service that is away is left for the next look.
function lost(id, error) {
  const known = stored().find((job) => job.id === id);
  if (known && error.status === 404) note({ ...known, status: "unknown" });
}

function render() {
  const jobs = stored();
  show("jobs-empty", !jobs.length);
  const held = document.activeElement?.dataset?.job;
  byId("jobs-list").replaceChildren(...jobs.map(cardOf));
  if (held) byId("jobs-list").querySelector(`[data-job="${CSS.escape(held)}"]`)?.focus();
}

function cardOf(job) {
  const item = element("li", undefined, "panel job");
  item.dataset.status = job.status;
  const { done, total } = job.progress;
  const picture = job.kind === "deblur"; // counted in tiles: they mean nothing to people
  const head = element("h3", `${job.model}, ${picture ? "1 picture" : count(total, "observation")}`);
  const status = element("p", undefined, "status");
  status.append(element("span", WORDS[job.status] ?? job.status, "chip"), ` ${job.kind}, ${when(job.created_at)}`);
  if (job.status === "running" || job.status === "queued") {
    const bar = element("progress");
    Object.assign(bar, { max: Math.max(1, total), value: done });
    const far = picture ? `${Math.round((100 * done) / Math.max(1, total))} %` : `${done} of ${total}`;
    bar.setAttribute("aria-label", `${far} done`);
    status.append(bar, element("span", far));
  }
  item.append(head, status, element("code", job.id, "note"));
  if (job.error) item.append(element("p", job.error, "note"));
  if (job.status === "expired") item.append(element("p", "Its result was kept for a while and is gone now.", "note"));
  item.append(actionsOf(job));
  return item;
}

function actionsOf(job) {
  const actions = element("p", undefined, "buttons");
  const add = (text, action) => {
    const one = button(text, () => guarded(action), `${text} job ${job.id}`);
    one.dataset.job = `${job.id} ${text}`;
    actions.append(one);
  };
  if (["succeeded", "partial", "failed"].includes(job.status)) add("Open", async () => opener(await api.jobOf(job.id)));
  if (job.status === "queued" || job.status === "running") add("Cancel", async () => { await api.cancel(job.id); await ask(job.id); });
  add("Forget", async () => {
    await api.purge(job.id).catch((error) => { if (![404, 410].includes(error.status)) throw error; });
    forget(job.id);
    render();
  });
  return actions;
}

function when(iso) {
  return iso ? new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
}
