"""Every setting of the service: the environment variable DECEPTRON_<NAME>, or REDIS_URL (docs/settings.md)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import ServiceError

PREFIX = "DECEPTRON_"
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class SettingsError(ServiceError):
    """A setting is wrong; the text names the environment variable."""

    title = "Wrong setting"


class Settings(BaseSettings):
    """One value per setting. Built in `main` or `create_app`, never at import."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, populate_by_name=True)

    redis_url: str = Field(
        default="",
        validation_alias="REDIS_URL",
        repr=False,
        description="The Redis-protocol server to use; empty: `deceptron serve` starts its own.",
    )
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port the API listens on; 0 takes any free one.")
    data_dir: Path | None = Field(
        default=None,
        description="Where the embedded server keeps its queue; empty: `$XDG_STATE_HOME/deceptron`, "
        "else `~/.local/state/deceptron`.",
    )
    checkpoints: Path = Field(default=CHECKPOINTS, description="The model repository (NAME/VERSION folders).")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Where the workers compute.")
    engine: Literal["auto", "torch", "onnxruntime"] = Field(
        default="auto", description="What the workers compute with; auto: what measured quicker, model by model."
    )
    workers: int = Field(
        default=0, ge=0, le=256, description="Worker processes of `deceptron serve`; 0: the cores but one, one to four."
    )
    threads: int = Field(
        default=1, ge=1, le=256, description="Threads a worker computes with; more workers do more than more threads."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    commit: str = Field(default="", description="Commit shown by /health; empty: read from the checkout's .git.")

    auth: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether API keys are needed; auto: once there is one, and wherever other machines reach the API.",
    )
    keys_file: Path | None = Field(
        default=None, description="The file of API keys (`deceptron keys`); empty: `keys.json` in the data directory."
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names answered besides localhost, comma-separated; empty: on loopback no other, else any.",
    )
    rate_per_s: float = Field(default=200.0, ge=0, description="Requests a second that one API key may send; 0: any.")
    rate_burst: Positive = Field(default=400, description="Requests that one API key may send at once.")

    max_body_bytes: Positive = Field(default=32 * 2**20, description="Largest request body; beyond it: 413.")
    body_s: Seconds = Field(default=120.0, description="How long a request's body may take to arrive; beyond it: 408.")
    stall_s: Seconds = Field(
        default=30.0,
        description="How long a client may take over a request's head, or read nothing, before it is cut off.",
    )
    max_items: Positive = Field(default=1_000_000, description="Most observations in one request.")
    max_iterations: Positive = Field(default=10_000, description="Largest `max_iterations` a request may ask for.")
    max_image_pixels: Positive = Field(
        default=16 * 2**20, description="Most pixels of a picture to deblur, or of its result."
    )
    max_kernel_side: Positive = Field(default=65, description="Most pixels along a side of a point spread function.")
    inline_pixels: int = Field(
        default=2**16, ge=0, description="Largest picture that stands as numbers in GET /jobs/{id} itself."
    )
    json_pixels: Positive = Field(
        default=4 * 2**20, description="Largest picture that is written as JSON numbers at all."
    )
    decode_threads: Positive = Field(default=2, description="Bodies decoded and results encoded at the same time.")
    chunk_items: Positive = Field(default=256, description="Observations per chunk: the unit of work and of progress.")
    inline_items: int = Field(default=64, ge=0, description="Largest job whose result stands in GET /jobs/{id} itself.")
    max_wait_s: Seconds = Field(default=30.0, description="Longest `Prefer: wait` and `?wait`.")

    max_queued_items: Positive = Field(default=200_000, description="Observations that may queue; beyond: 429.")
    max_queued_bytes: Positive = Field(default=512 * 2**20, description="Payload bytes that may queue; beyond: 429.")
    queue_memory_bytes: int = Field(
        default=2 * 2**30, ge=0, description="Most memory of the embedded server; beyond it new jobs get 429; 0: any."
    )
    result_ttl_s: Positive = Field(default=3_600, description="How long a result is kept after its job ended.")
    record_ttl_s: Positive = Field(default=90_000, description="How long a job is remembered; without result: 410.")
    idempotency_ttl_s: Positive = Field(default=86_400, description="How long an Idempotency-Key is remembered.")
    deadline_s: Seconds = Field(
        default=86_400.0, description="How long a job may take; a request can ask for less (header Deadline-Seconds)."
    )
    lease_s: Seconds = Field(default=10.0, description="Silence after which a worker's chunks go to another.")
    max_attempts: int = Field(default=3, ge=2, description="Attempts at a chunk before it is declared failed.")

    batch_items: Positive = Field(default=1024, description="Most observations a worker solves as one batch.")
    overlap: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether the next full batch is taken and decoded, and the last written, while one is solved; "
        "auto: on a GPU.",
    )
    buckets: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether batches have one of a few sizes (4, 8, 16 ... rows), each run before the worker is ready; "
        "auto: on a GPU.",
    )
    solve_limit_s: Seconds = Field(
        default=300.0, description="Longest a batch may take: beyond, its worker is ended, and the item at fault found."
    )
    window_ms: float = Field(
        default=2.0, ge=0, description="How long a worker waits for the rest of a batch, where the last one was larger."
    )
    heartbeat_s: Seconds = Field(default=2.0, description="Interval of a worker's sign of life.")
    reclaim_every_s: Seconds = Field(default=2.0, description="Interval of the search for abandoned chunks.")
    drain_s: Seconds = Field(default=5.0, description="How long a stopping process may finish what it holds.")

    metrics_host: str = Field(default="127.0.0.1", description="Address a worker's /metrics listens on.")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of a worker's /metrics; 0, or when it is taken: any free one."
    )
    traces: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="OTLP/HTTP collector that traces go to, like http://127.0.0.1:4318 (extra `otel`); empty: none.",
    )
    rjcp_window_items: int = Field(
        default=1000, ge=200, description="Answers per model that /health/rjcp judges: the last so many."
    )
    rjcp_window_s: Seconds = Field(default=21_600.0, description="Age beyond which an answer is judged no more.")
    out_of_range_warning: Share = Field(default=0.05, description="Share of answers out of range that is a warning.")
    out_of_range_critical: Share = Field(default=0.20, description="Share of answers out of range that is critical.")
    drift_warning: Share = Field(
        default=0.15, description="Kolmogorov-Smirnov distance from the calibration set that is a warning."
    )
    drift_significance: Share = Field(
        default=1e-4, description="A figure counts only where chance makes it rarer than this."
    )

    def state_dir(self) -> Path:
        """The data directory, with its default resolved."""
        if self.data_dir is not None:
            return self.data_dir
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(state) / "deceptron"

    def keys_path(self) -> Path:
        """The file of API keys, with its default resolved."""
        return self.keys_file or self.state_dir() / "keys.json"

    def worker_count(self) -> int:
        """The number of worker processes, with its default resolved."""
        return self.workers or max(1, min(4, (os.cpu_count() or 1) - 1))


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment; `overrides` (options given on a command line) win. Raises SettingsError."""
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise SettingsError(f"{env_name(str(first['loc'][0]))}: {first['msg']}") from None


def env_name(field: str) -> str:
    """The environment variable of a setting."""
    return "REDIS_URL" if field in ("redis_url", "REDIS_URL") else PREFIX + field.upper()


def to_env(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a child process to read back."""
    values = {env_name(name): getattr(settings, name) for name in Settings.model_fields}
    return {name: str(value) for name, value in values.items() if value is not None}


def settings_table() -> str:
    """The Markdown table of docs/settings.md."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "`checkpoints/` beside the code" if name == "checkpoints" else f"`{field.default}`"
        shown = "(empty)" if field.default in ("", None) else default
        rows.append(f"| `{env_name(name)}` | {shown} | {(field.description or '').replace('|', '/')} |")
    return "\n".join(rows) + "\n"
