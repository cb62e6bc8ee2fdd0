"""Jobs and their results."""

from typing import Annotated, Any, Literal

from pydantic import Field

from service.answers.base import Answer, Real, Timestamp, absent
from service.deblurring.schemas import Method as PictureMethod
from service.schemas import Method, Preset
from trust.images import IMAGE_SCORES
from trust.scores import SCORES
from trust.verdict import Verdict

Image = list[list[Real]] | list[list[list[Real]]]


class Timing(Answer):
    queued_s: Real = Field(description="how long the job waited for a worker")
    solve_s: float
    diagnose_s: float = Field(description="what the diagnostics took")


class Cost(Answer):
    """Evaluations that the item was charged."""

    forward: int
    vjp: int
    jvp: int
    inverse: int
    linear_solve: int


class NonFinite(Answer):
    type: Literal["nonfinite"]
    detail: str


class Failure(Answer):
    type: Literal["failed"]
    detail: str


class Ranked(Answer):
    """Scores as ranks among the calibration items, and what follows from them."""

    rjcp: Real = Field(description="Jacobian composition error at the answer")
    rjcp_p_value: float
    residual_to_noise: Real
    p_value: float = Field(description="of all scores together")
    verdict: Verdict
    reasons: list[str]


class Diagnostics(Ranked):
    """docs/trust.md says what each score asks."""

    rjcp_standard_error: float = Field(description="of its estimate; 0 where it is exact")
    rjcp_observed: Real
    jacobian_jump: Real
    step_disagreement: Real
    physics_residual_to_noise: Real
    residual_trend: Real
    mahalanobis: Real
    baseline: Real
    stillness: Real
    unknown_oddness: Real
    active_bounds: int
    p_values: dict[str, float] = Field(json_schema_extra={"required": list(SCORES)})
    calibrated: bool = Field(description="false: solved otherwise than the calibration items, the verdict is a hint")
    resolution: list[Real] = absent(
        "how far the data determine each unknown: 0 not at all, 1 wholly; only with `uncertainty`"
    )
    std: list[Real] = absent("standard deviation of each unknown, in its unit; only with `uncertainty`")


class Item(Answer):
    """The answer to one observation."""

    x: list[float] | None = Field(description="the unknowns; null where there is no finite answer")
    status: Literal["converged", "max_iterations", "stalled", "nonfinite"]
    solved_by: Method = Field(description="whose answer this is")
    iterations: int
    residual_rms: Real = Field(description="rms of f(x) - y, in the observation's unit")
    residual_normalised: Real = Field(description="the same in the unit that the preset's tolerance counts in")
    cost: Cost
    diagnostics: Diagnostics | None
    error: NonFinite | None
    identifiable: dict[str, Real] = absent("what the data can determine, where that is less than x")
    history: list[float] = absent("`residual_normalised` before the first and after every iteration; only if asked for")
    fit: list[Real] = absent("f(x); only with a history")


class FailedItem(Answer):
    """What failed with its part of the job."""

    x: None
    status: Literal["failed"]
    solved_by: None
    iterations: None
    residual_rms: None
    diagnostics: None
    error: Failure


AnyItem = Annotated[Item | FailedItem, Field(discriminator="status")]


class Head(Answer):
    model: str
    device: str = Field(description="empty where every part of the job failed")
    engine: str
    timing: Timing


class InvertResult(Head):
    version: int
    method: Method
    items: list[AnyItem] = Field(description="one for each observation, in their order")


class ComparedRules(Answer):
    """What every method was given; null: the preset's own."""

    preset: Preset
    max_iterations: int | None
    relaxation: Real
    tolerance: Real
    constraint: dict[str, Any] | None


class Compared(Answer):
    method: Method
    solve_s: float
    items: list[AnyItem]


class CompareResult(Head):
    version: int
    rules: ComparedRules
    results: list[Compared] = Field(description="one for each method, in the order asked")


class ResidualDiagnostics(Answer):
    """Of a method that has no calibration."""

    residual_to_noise: Real
    residual_correlation: Real = Field(description="of neighbouring pixels of the residual; noise has none")


class PictureDiagnostics(Ranked):
    rjcp_floor: Real = Field(description="what a linear estimator leaves of the same directions")
    rjcp_over_floor: Real
    residual_correlation: Real
    statistics: Real = Field(description="how unlike known photographs brightness and slopes are")
    p_values: dict[str, float] = Field(json_schema_extra={"required": list(IMAGE_SCORES)})


class Picture(Answer):
    """A deblurred picture; of several channels the worst p-values, corrected for their number."""

    x: Image | None = Field(description="H x W, or H x W x 3; null where left out: GET .../result has it as PNG or npy")
    shape: list[int]
    status: Literal["converged", "max_iterations"]
    solved_by: PictureMethod
    iterations: int
    residual_rms: Real
    noise_std: float = Field(description="as given, or estimated; black is 0 and white 1")
    diagnostics: PictureDiagnostics | ResidualDiagnostics
    error: None


class FailedPicture(FailedItem):
    shape: list[int]


AnyPicture = Annotated[Picture | FailedPicture, Field(discriminator="status")]


class DeblurResult(Head):
    version: int | None = Field(description="null where the method needs no network")
    method: PictureMethod
    items: list[AnyPicture]


Result = InvertResult | CompareResult | DeblurResult


class Progress(Answer):
    done: int
    total: int


class Links(Answer):
    self: str
    result: str
    events: str


class JobDocument(Answer):
    id: str
    kind: Literal["invert", "compare", "deblur"]
    model: str
    status: Literal["queued", "running", "succeeded", "partial", "failed", "canceled", "expired"]
    progress: Progress
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    expires_at: Timestamp | None
    error: str | None
    links: Links


class JobWithResult(JobDocument):
    result: Result = absent("when the job is done and small")
