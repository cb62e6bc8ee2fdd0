// The verdict in plain words.

import { byId, element, show } from "./dom.js";
import { errorText, methodName, verdictKind, verdictWords } from "./words.js";

const INDICATIVE = "Only indicative: the calibration set was solved by the automatic method without options.";

const MOST = 5; // reasons; with a strange observation most scores have something to say

// `prefix` says in which view; `method` is named where several have answered.
export function showVerdict(item, method = null, prefix = "") {
  const part = (name) => byId(`${prefix}verdict${name}`);
  const kind = verdictKind(item);
  const [mark, title, text] = verdictWords(kind);
  part("").dataset.kind = kind;
  part("-mark").textContent = mark;
  part("-title").textContent = method ? `${title} (${methodName(method)})` : title;
  part("-text").textContent = item.error ? errorText(item.error) : text;
  const reasons = item.diagnostics?.reasons ?? [];
  const indicative = item.diagnostics?.calibrated === false ? [INDICATIVE] : [];
  const more = reasons.length > MOST ? [`${reasons.length - MOST} more: see what the verdict rests on, below`] : [];
  const shown = [...reasons.slice(0, MOST), ...more, ...indicative];
  part("-reasons").replaceChildren(...shown.map((reason) => element("li", reason)));
  show(`${prefix}verdict`, true);
}
