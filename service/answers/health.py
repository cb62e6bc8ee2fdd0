"""Whether the process lives, whether the service can solve, and how its last answers stand."""

from typing import Literal

from pydantic import Field

from service.answers.base import Answer, Real, UnixTime
from trust.drift import State
from trust.verdict import Verdict


class Live(Answer):
    status: Literal["ok"]


class Check(Answer):
    ok: bool
    detail: str


class Checks(Answer):
    queue: Check
    worker: Check
    models: Check
    device: Check


class Worker(Answer):
    id: str
    host: str
    pid: int
    device: str
    engine: str


class BriefReady(Answer):
    """What is told without an API key, where keys are in use."""

    status: Literal["ready", "not_ready"]


class Ready(BriefReady):
    checks: Checks
    workers: list[Worker]


class Health(Answer):
    status: Literal["ok", "unavailable"]
    version: str
    commit: str
    database: Literal["ok", "unreachable"] = Field(description="the job queue")
    device: str | None = Field(description="null while no worker is alive")
    rjcp: dict[str, State] = Field(description="of each model")


class Window(Answer):
    count: int
    span_s: float


class Recent(Answer):
    """null before there is any."""

    median: Real
    p95: Real


class Reference(Answer):
    """The calibration items' RJCP."""

    count: int
    p5: Real
    median: Real
    p95: Real
    p99: Real


class Test(Answer):
    """Two-sample Kolmogorov-Smirnov."""

    statistic: float
    p_value: float


class Drift(Test):
    """The less likely of the two tests, and both."""

    rjcp: Test
    p_values: Test


class Report(Answer):
    state: State
    since: UnixTime | None
    version: int
    reasons: list[str]
    window: Window
    rjcp: Recent
    calibration: Reference
    out_of_range: float = Field(description="share of the window")
    suspect_or_worse: float = Field(description="share of the window")
    drift: Drift | None = Field(description="null while the window holds too little to tell")


class Reports(Answer):
    models: dict[str, Report]


class Samples(Answer):
    """The window, oldest first."""

    at: list[UnixTime]
    rjcp: list[Real]
    p_value: list[Real]
    verdict: list[Verdict]


class ReportWithSamples(Report):
    samples: Samples


class Scraped(Answer):
    """One entry of Prometheus' HTTP service discovery."""

    targets: list[str]
