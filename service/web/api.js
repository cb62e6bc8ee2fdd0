// The service, as this page sees it: every failure is one ApiError with a sentence to show.

export class ApiError extends Error {
  constructor(title, detail, { status = 0, fields = [] } = {}) {
    super(detail);
    this.title = title;
    this.status = status;
    this.fields = fields;
  }
}

const FINISHED = new Set(["succeeded", "partial", "failed", "canceled", "expired"]);
export const isFinished = (job) => FINISHED.has(job.status);

// The key lives as long as the tab, and goes nowhere but into the header.
const KEY = "deceptron.key";
export const savedKey = () => sessionStorage.getItem(KEY) ?? "";
export function saveKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (savedKey()) headers.set("authorization", `Bearer ${savedKey()}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service cannot be reached", "It may be starting or stopped. Try again in a moment.");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  const document_ = await response.json().catch(() => ({}));
  if (response.status === 401) return keyWanted();
  const retry = response.headers.get("retry-after");
  const detail = document_.detail ?? `The service answered ${response.status}.`;
  const again = retry ? ` Try again in ${retry} s.` : "";
  const status = response.status;
  return new ApiError(document_.title ?? `Error ${status}`, detail + again, { status, fields: document_.errors ?? [] });
}

// What the service says of headers is for programs: here there is a field to mend it.
function keyWanted() {
  document.dispatchEvent(new CustomEvent("keywanted"));
  return savedKey()
    ? new ApiError("This API key is not valid", "It is unknown, revoked or expired. Enter another one under Key.", { status: 401 })
    : new ApiError("An API key is needed", "Enter it under Key. Whoever runs this service gives one out.", { status: 401 });
}

const read = async (path, options) => (await request(path, options)).json();
const named = (name) => encodeURIComponent(name);

export const models = async () => (await read("models")).models;
export const examples = (name) => read(`models/${named(name)}/examples`);
export const calibration = (name, version) => read(`models/${named(name)}/calibration?version=${version}`);
export const healthOf = (name) => read(`health/rjcp/${named(name)}`);
export const healthOfAll = async () => (await read("health/rjcp")).models;
export const jobOf = (id, waitS = 0, signal) => read(`jobs/${named(id)}${waitS ? `?wait=${waitS}` : ""}`, { signal });
export const cancel = (id) => request(`jobs/${named(id)}`, { method: "DELETE" });
export const purge = (id) => request(`jobs/${named(id)}?purge=true`, { method: "DELETE" });
export const resultAs = async (id, media, signal) =>
  (await request(`jobs/${named(id)}/result`, { headers: { accept: media }, signal })).blob();

export async function isReady() {
  const response = await fetch("health/ready").catch(() => null);
  return response === null ? "unreachable" : response.ok ? "ready" : "not ready";
}

// Posts a request (an object, or a form); a small one is answered at once, a large one comes back as a job to follow.
export function submit(path, body, { signal, waitS = 0 } = {}) {
  const headers = waitS ? { prefer: `wait=${waitS}` } : {};
  if (body instanceof FormData) return read(path, { method: "POST", headers, body, signal });
  headers["content-type"] = "application/json";
  return read(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

// The job once it has finished; `onProgress` gets each job document on the way.
export async function follow(job, onProgress, signal) {
  let seen = job;
  onProgress(seen);
  if (!isFinished(seen)) {
    for await (const next of events(job.id, signal)) {
      seen = next;
      onProgress(seen);
    }
  }
  while (!isFinished(seen)) { // the stream was cut short
    seen = await jobOf(job.id, 1, signal);
    onProgress(seen);
  }
  return seen;
}

// Server-sent events by fetch and not by EventSource, which can send no key.
async function* events(id, signal) {
  const response = await request(`jobs/${named(id)}/events`, { headers: { accept: "text/event-stream" }, signal });
  let rest = "";
  try {
    for await (const piece of pieces(response.body.pipeThrough(new TextDecoderStream()))) {
      const blocks = (rest + piece).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const { event, data } = fieldsOf(block);
        if (event === "progress" || event === "end") yield JSON.parse(data);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
}

async function* pieces(stream) {
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

function fieldsOf(block) {
  return Object.fromEntries(block.split(/\r?\n/).map((line) => {
    const at = line.indexOf(":");
    return [line.slice(0, at), line.slice(at + 1).trim()];
  }));
}

// The result document of a finished job, fetched where it did not come along.
export async function resultOf(job, signal, query = "") {
  if (job.status === "canceled") throw new ApiError("Canceled", "The job was canceled before it had finished.");
  if (job.status === "expired") throw new ApiError("Expired", "The result was kept for a while and is gone now. Run it again.");
  const result = job.result ?? (await read(`jobs/${named(job.id)}/result${query}`, { headers: { accept: "application/json" }, signal }));
  if (!result.items && !result.results) throw new ApiError("The job failed", job.error ?? "No reason was given.");
  return result;
}
