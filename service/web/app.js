// The page as a whole: which view is shown, light or dark, the key, and whether the service is up.

import { isReady, saveKey, savedKey } from "./api.js";
import { redrawAll } from "./chart.js";
import { openImageJob, startDeblur } from "./deblur.js";
import { byId, show } from "./dom.js";
import { showHealth } from "./health.js";
import { openJob, startInvert } from "./invert.js";
import { showJobs, startJobs } from "./jobs.js";
import { guarded } from "./problem.js";

const VIEWS = { invert: startInvert, deblur: startDeblur, jobs: showJobs, health: showHealth };
let leave = null; // ends what the shown view does in the background

function showView() {
  const asked = window.location.hash.slice(1);
  const view = asked in VIEWS ? asked : "invert";
  leave?.();
  leave = null;
  show("problem", false);
  for (const name of Object.keys(VIEWS)) show(`view-${name}`, name === view);
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  guarded(async () => { leave = await VIEWS[view](); });
}

async function watchReadiness() {
  const now = await isReady();
  Object.assign(byId("readiness"), { textContent: now }).dataset.state = now;
  setTimeout(watchReadiness, now === "ready" ? 15_000 : 2_000);
}

function setTheme(choice = localStorage.getItem("theme")) {
  if (choice) document.documentElement.dataset.theme = choice;
  redrawAll();
}

function switchTheme() {
  const now = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const choice = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", choice);
  setTheme(choice);
}

function useKey(event) {
  event.preventDefault();
  saveKey(byId("key").value.trim());
  window.location.reload();
}

// A 401 anywhere: the field that mends it opens.
document.addEventListener("keywanted", () => { byId("key-box").open = true; });
byId("key-form").addEventListener("submit", useKey);
byId("key").value = savedKey();
byId("theme").addEventListener("click", switchTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme());
window.addEventListener("hashchange", (event) => {
  if (new URL(event.newURL).hash !== "#output") showView();
});

setTheme();
watchReadiness();
startJobs((job) => (job.kind === "deblur" ? openImageJob(job) : openJob(job)));
showView();
