// What things are called on this page, and how numbers are written.

const METHOD_WORDS = {
  auto: ["Automatic", "Learned inverse first; rows that stall go on to Levenberg–Marquardt."],
  dipg: ["D-IPG, the learned inverse", "Descends in the observation and pulls each step back through the learned inverse."],
  oneshot: ["One shot, g(y)", "The learned inverse applied once: no iterations, no check against the physics."],
  lm: ["Levenberg–Marquardt", "Classical damped Gauss–Newton."],
  gn: ["Gauss–Newton", "Classical; linearises the physics at each step."],
  gd: ["Gradient descent", "Classical projected gradient; many cheap steps."],
  lbfgs: ["L-BFGS", "Classical quasi-Newton with a short memory."],
  compare: ["Compare all methods", "Every method under the same rules, side by side, with its convergence."],
  dnet: ["DeceptronNet", "A learned corrector, unrolled a few steps, that sees the blur at each of them."],
  wiener: ["Wiener filter", "Classical and linear; one division in the frequency domain."],
  richardson_lucy: ["Richardson–Lucy", "Classical and multiplicative; keeps the image positive."],
};
export const methodName = (method) => METHOD_WORDS[method]?.[0] ?? method;
export const methodNote = (method) => METHOD_WORDS[method]?.[1] ?? "";

const VERDICTS = {
  in_range: ["✓", "Believable", "The observation and its answer look like those this model was calibrated on.", "believable"],
  suspect: ["!", "Take with care", "Something about this observation is unusual for this model.", "to take with care"],
  out_of_range: ["×", "Do not rely on this", "This observation is unlike anything this model was calibrated on.", "not to rely on"],
  none: ["?", "No verdict", "There are no calibrated scores to judge this answer by.", "without a verdict"],
  failed: ["×", "No answer", "This observation could not be solved.", "without an answer"],
};
export const verdictKind = (item) => (item.error ? "failed" : item.diagnostics?.verdict ?? "none");
export const verdictWords = (kind) => VERDICTS[kind] ?? VERDICTS.none;

const STATUS_WORDS = {
  converged: "reached the noise level",
  max_iterations: "stopped at the most iterations allowed",
  stalled: "stalled before the noise level",
  nonfinite: "ran into numbers beyond range",
  failed: "failed",
};
export function statusWords({ status, solved_by: method }) {
  if (method === "oneshot" && status === "max_iterations") return "above the noise level, and does not iterate";
  return STATUS_WORDS[status] ?? status ?? "";
}

const SCORE_WORDS = {
  rjcp: ["RJCP", "how far the learned inverse is from undoing the physics, at the answer"],
  rjcp_observed: ["RJCP at the observation", "the same, with the inverse's slope taken at what was observed"],
  jacobian_jump: ["Jacobian jump", "how much the inverse's slope changes between observation and fit"],
  residual_to_noise: ["Residual to noise", "what the fit leaves unexplained; near one only noise is left"],
  step_disagreement: ["Step disagreement", "how far solving had to go from the one-shot answer"],
  physics_residual_to_noise: ["Residual under the physics", "the same against the true physics; the same figure where the model is the physics"],
  residual_trend: ["Residual trend", "what is left along the sensors' slow modes: drift, offset"],
  baseline: ["Baseline", "how much an offset or a tilt of all sensors would explain"],
  stillness: ["Stillness", "how still the stillest stretch of sensors is"],
  unknown_oddness: ["Oddness of the answer", "how unlike those of training the unknowns are"],
  active_bounds: ["Active bounds", "how many bounds hold the answer back"],
  rjcp_over_floor: ["RJCP over its floor", "how far small changes of the picture fail to come back, beside what this blur and noise let any linear filter return"],
  residual_correlation: ["Structure of the residual", "whether neighbouring pixels of what is left are alike; noise is not"],
  statistics: ["Statistics of the picture", "how unlike those of photographs its contrast, slopes and flat areas are"],
  mahalanobis: ["Distance", "how far the observation lies from those of training"],
};
export const scoreName = (score) => SCORE_WORDS[score]?.[0] ?? capital(score.replaceAll("_", " "));
export const scoreNote = (score) => SCORE_WORDS[score]?.[1] ?? "";

// How usual a value is: `p` is the share of calibration items at least as large.
export function usual(p) {
  if (!Number.isFinite(p)) return "not ranked";
  if (p >= 0.9995) return "all calibration items are as large";
  if (p >= 0.05) return `${format(100 * p, 2)} % of calibration items are as large`;
  return `only ${format(100 * p, 2)} % of calibration items are as large`;
}

export function format(value, digits = 4) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

export function seconds(s) {
  if (!Number.isFinite(s)) return "–";
  if (s < 1) return `${format(s * 1000, 3)} ms`;
  if (s < 120) return `${format(s, 3)} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${format(s / 3600, 3)} h`;
}
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const withUnit = (name, unit) => (unit && unit !== "1" ? `${name} in ${unit}` : name);
export const errorText = (error) => (typeof error === "string" ? error : error?.detail ?? "No reason was given.");
export const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

// "4 believable, 2 to take with care"
export function summary(items) {
  const counts = new Map();
  for (const item of items) {
    const words = verdictWords(verdictKind(item))[3];
    counts.set(words, (counts.get(words) ?? 0) + 1);
  }
  return [...counts].map(([words, n]) => `${n} ${words}`).join(", ");
}
