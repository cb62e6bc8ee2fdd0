// The request that the form describes: options, constraint, and the same thing for a shell and for Python.

import { byId, show } from "./dom.js";
import { savedKey } from "./api.js";

export const MANY = 256; // observations above which fits and histories are not asked for: they would dwarf the answer

const FEW = 8; // observations up to which error bars are asked for whatever they cost

export class ConstraintError extends Error {}

const numberOf = (id) => (byId(id).value.trim() === "" ? null : Number(byId(id).value));

// What each kind of constraint needs, from the few fields it has.
const CONSTRAINTS = {
  none: () => null,
  nonnegative: () => ({ nonnegative: true }),
  box: () => {
    const sides = Object.entries({ lower: numberOf("constraint-lower"), upper: numberOf("constraint-upper") });
    const given = sides.filter(([, value]) => value !== null);
    if (!given.length) throw new ConstraintError("A box needs a lower bound, an upper bound or both.");
    return { box: Object.fromEntries(given) };
  },
  l2_ball: () => ({ l2_ball: { radius: required("constraint-size", "A ball needs a radius.") } }),
  simplex: () => ({ simplex: { total: required("constraint-size", "Give the total that the unknowns add up to.") } }),
  json: () => {
    try {
      return JSON.parse(byId("constraint-json").value);
    } catch (error) {
      throw new ConstraintError(`The constraint is not JSON: ${error.message}`);
    }
  },
};

function required(id, complaint) {
  const value = numberOf(id);
  if (value === null || !Number.isFinite(value)) throw new ConstraintError(complaint);
  return value;
}

export function showConstraint() {
  const kind = byId("constraint").value;
  show("constraint-bounds", kind === "box");
  show("constraint-single", kind === "l2_ball" || kind === "simplex");
  show("constraint-text", kind === "json");
  byId("constraint-size-label").textContent = kind === "simplex" ? "Total" : "Radius";
}

// {path, body}: raises ConstraintError.
export function requestOf(card, rows) {
  const method = byId("method").value;
  const options = { preset: byId("preset").value };
  const most = numberOf("iterations");
  if (most !== null) options.max_iterations = most;
  const constraint = CONSTRAINTS[byId("constraint").value]();
  const body = { model: card.name, observations: rows, options, ...(constraint ? { constraint } : {}) };
  if (method === "compare") return { path: "compare", body };
  options.history = rows.length <= MANY;
  if (rows.length <= FEW) body.uncertainty = true;
  return { path: "invert", body: { ...body, method } };
}

const serviceUrl = (path = "") => new URL(path, window.location.href.split("#")[0]).href;

const keyHeader = () => (savedKey() ? ` -H "authorization: Bearer $DECEPTRON_API_KEY"` : "");

// The same request for a shell. Many observations are read from the file that the page saves beside it.
export function shellCommand({ path, body }) {
  const head = `curl -s '${serviceUrl(path)}'${keyHeader()} -H 'prefer: wait=30'`;
  const quoted = (value) => JSON.stringify(value).replaceAll("'", "'\\''");
  if (body.observations.length <= 4) return `${head} -H 'content-type: application/json' \\\n  -d '${quoted(body)}'`;
  const { observations, options, constraint, ...rest } = body;
  const query = new URLSearchParams({ ...rest, ...options, ...(constraint ? { constraint: JSON.stringify(constraint) } : {}) });
  return `curl -s '${serviceUrl(path)}?${query}'${keyHeader()} -H 'prefer: wait=30' -H 'content-type: application/x-npy' \\\n  --data-binary @observations.npy`;
}

const PYTHON_WORDS = { true: "True", false: "False", null: "None" };
// JSON as Python: only its three words differ.
const python = (value) => JSON.stringify(value).replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (found) => PYTHON_WORDS[found] ?? found).replace(/,(?=\S)/g, ", ");

export function pythonScript({ path, body }) {
  const { model, method, observations, constraint, uncertainty } = body;
  const options = uncertainty ? { ...body.options, uncertainty } : body.options;
  const rows = observations.length <= 4 ? `np.array(${python(observations)})` : 'np.load("observations.npy")';
  const named = [
    ...(method ? [`method="${method}"`] : []),
    `options=Options(${Object.entries(options).map(([name, value]) => `${name}=${python(value)}`).join(", ")})`,
    ...(constraint ? [`constraint=${python(constraint)}`] : []),
  ];
  const use = path === "compare"
    ? "for answer in result.results:\n    print(answer.method, answer.items[0].iterations, answer.x)"
    : "print(result.x)\nprint(result.verdicts)";
  return [
    "import numpy as np",
    "from service.client import Client, Options",
    "",
    `y = ${rows}`,
    `with Client("${serviceUrl().replace(/\/$/, "")}") as client:`,
    `    result = client.${path}("${model}", y, ${named.join(", ")})`,
    use,
  ].join("\n");
}

// The deblur form for Python: files are named as they were chosen.
export function deblurScript(form) {
  const { image, psf, method, noise_std: noise } = Object.fromEntries(form);
  const options = [`method="${method}"`, ...(noise ? [`noise_std=${Number(noise)}`] : [])];
  const kernel = psf instanceof File ? JSON.stringify(psf.name) : python(JSON.parse(psf));
  return [
    "from pathlib import Path",
    "",
    "from service.client import Client, DeblurOptions",
    "",
    `with Client("${serviceUrl().replace(/\/$/, "")}") as client:`,
    `    found = client.deblur(${JSON.stringify(image.name)}, psf=${kernel}, options=DeblurOptions(${options.join(", ")}))`,
    '    Path("deblurred.png").write_bytes(client.picture(found.job))',
    "print(found.item.diagnostics.verdict)",
  ].join("\n");
}

// The deblur form for a shell: files are named as they were chosen.
export function deblurCommand(form) {
  const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;
  const fields = [...form].map(([name, value]) => `-F ${quoted(`${name}=${value instanceof File ? `@${value.name}` : value}`)}`);
  return `curl -s '${serviceUrl("deblur")}'${keyHeader()} -H 'prefer: wait=30' -H 'accept: image/png' \\\n  ${fields.join(" ")} -o deblurred.png`;
}
