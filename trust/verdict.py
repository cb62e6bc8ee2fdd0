"""From p-values to a word: in_range, suspect or out_of_range, with reasons a scientist can act on."""

from enum import StrEnum

SUSPECT_BELOW = 0.05
OUT_OF_RANGE_BELOW = 0.01


class Verdict(StrEnum):
    """Whether the training range covers this item."""

    IN_RANGE = "in_range"
    SUSPECT = "suspect"
    OUT_OF_RANGE = "out_of_range"


REASONS = {
    "rjcp": "at this reconstruction the learned inverse does not undo the forward map as on known data (RJCP)",
    "rjcp_observed": "at this observation the learned inverse does not undo the forward map as on known data (RJCP)",
    "jacobian_jump": "the learned inverse behaves differently at the observation and at its fit",
    "step_disagreement": "the learned inverse's first answer lies far from the one that fits",
    "residual_to_noise": "the fit misses the observation by more than the noise explains",
    "physics_residual_to_noise": "by the true physics, the answer misses the observation by more than on known data",
    "residual_trend": "what the fit leaves over varies slowly, as an offset, a drift or missing physics would",
    "mahalanobis": "the observation lies far from those the model was trained on",
    "baseline": "an offset or a tilt of all sensors would explain how the observation differs from known ones",
    "stillness": "a stretch of the observation varies less than its noise: a stuck sensor, or filtered data",
    "unknown_oddness": "the answer is larger, or plainer, than those the model was trained on",
    "active_bounds": "more bounds than usual hold the answer back",
}


def verdict(p_value: float) -> Verdict:
    """The verdict for a combined p-value."""
    if p_value < OUT_OF_RANGE_BELOW:
        return Verdict.OUT_OF_RANGE
    return Verdict.SUSPECT if p_value < SUSPECT_BELOW else Verdict.IN_RANGE


def reasons(p_value: float, p_values: dict[str, float]) -> list[str]:
    """The scores behind a verdict that is not in_range, the strangest first; never empty for such a verdict."""
    if p_value >= SUSPECT_BELOW:
        return []
    ordered = sorted(p_values, key=lambda name: p_values[name])
    if p_values["physics_residual_to_noise"] == p_values["residual_to_noise"]:  # f is the physics: one reason, not two
        ordered.remove("physics_residual_to_noise")
    chosen = [name for name in ordered if p_values[name] < SUSPECT_BELOW] or ordered[:1]
    return [f"{REASONS[name]}; p = {p_values[name]:.2g}" for name in chosen]
