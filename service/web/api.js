// The service, as this page sees it: every failure is one ApiError with a sentence to show.

export class ApiError extends Error {
  constructor(title, detail, fields = []) {
    super(detail);
    this.title = title;
    this.fields = fields;
  }
}

const FINISHED = new Set(["succeeded", "partial", "failed", "canceled", "expired"]);

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service cannot be reached", "It may be starting or stopped. Try again in a moment.");
  }
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

async function problemOf(response) {
  const document = await response.json().catch(() => ({}));
  const retry = response.headers.get("retry-after");
  const detail = document.detail ?? `The service answered ${response.status}.`;
  const again = retry ? ` Try again in ${retry} s.` : "";
  return new ApiError(document.title ?? `Error ${response.status}`, detail + again, document.errors ?? []);
}

export const models = async () => (await request("models")).models;
export const examples = (name) => request(`models/${encodeURIComponent(name)}/examples`);

export async function isReady() {
  const response = await fetch("health/ready").catch(() => null);
  return response === null ? "unreachable" : response.ok ? "ready" : "not ready";
}

export async function cancel(job) {
  await request(`jobs/${encodeURIComponent(job)}`, { method: "DELETE" });
}

// Posts the request and follows its job to the end; `onProgress` gets each job document on the way.
export async function invert(body, onProgress, signal) {
  const headers = { "content-type": "application/json" };
  // A small request is answered at once; a large one is followed, so that its progress can be shown.
  if (body.observations.length <= 64) headers.prefer = "wait=10";
  let job = await request("invert", { method: "POST", headers, body: JSON.stringify(body), signal });
  onProgress(job);
  while (!FINISHED.has(job.status)) {
    job = await request(`jobs/${encodeURIComponent(job.id)}?wait=1`, { signal });
    onProgress(job);
  }
  if (job.status === "canceled") throw new ApiError("Canceled", "The job was canceled before it had finished.");
  if (job.status === "expired") throw new ApiError("Expired", "The result was kept for a while and is gone now. Run it again.");
  const result = job.result ?? (await request(`jobs/${encodeURIComponent(job.id)}/result`, { signal }));
  return { job, result };
}
