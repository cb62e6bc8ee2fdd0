"""From settings to the parts they describe: the queue's limits, a worker's rhythm, the commit that runs."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from service.queue.neighbours import Neighbours
from service.queue.records import Limits
from service.queue.window import Bounds
from service.queue.worker import WorkerConfig
from service.settings import Settings, SettingsError
from trust.drift import Thresholds

OVERLAP_UP_TO_S = 2.0  # decoding and writing are nothing beside a longer solve, and others could have its next batch
_CHECKOUT = Path(__file__).resolve().parent.parent


def require_redis(settings: Settings) -> Settings:
    """The settings, if they name a Redis server; raises SettingsError otherwise."""
    if not settings.redis_url:
        raise SettingsError("REDIS_URL: is not set; `deceptron serve` brings its own server, the parts alone need one")
    return settings


def queue_limits(settings: Settings) -> Limits:
    return Limits(
        max_queued_items=settings.max_queued_items,
        max_queued_bytes=settings.max_queued_bytes,
        result_ttl_s=settings.result_ttl_s,
        record_ttl_s=settings.record_ttl_s,
        idempotency_ttl_s=settings.idempotency_ttl_s,
        deadline_s=settings.deadline_s,
        lease_s=settings.lease_s,
        max_attempts=settings.max_attempts,
    )


def worker_config(settings: Settings, device: str) -> WorkerConfig:
    return WorkerConfig(
        overlap_up_to_s=OVERLAP_UP_TO_S if on_where_it_pays(settings.overlap, device) else 0.0,
        batch_items=settings.batch_items,
        window_ms=settings.window_ms,
        heartbeat_s=settings.heartbeat_s,
        reclaim_every_s=settings.reclaim_every_s,
    )


def on_where_it_pays(asked: str, device: str) -> bool:
    """What ``auto`` means for what pays on a GPU only."""
    return device == "cuda" if asked == "auto" else asked == "on"


def neighbours(settings: Settings) -> Neighbours:
    return Neighbours(settings.state_dir() / "workers", settings.redis_url)


def window_bounds(settings: Settings) -> Bounds:
    return Bounds(settings.rjcp_window_items, settings.rjcp_window_s)


def thresholds(settings: Settings) -> Thresholds:
    return Thresholds(
        out_of_range_warning=settings.out_of_range_warning,
        out_of_range_critical=settings.out_of_range_critical,
        drift_warning=settings.drift_warning,
        significance=settings.drift_significance,
    )


def running_version() -> str:
    try:
        return version("deceptron-service")
    except PackageNotFoundError:
        return "unknown"


def running_commit(settings: Settings) -> str:
    """The commit of the code that runs: as set, else read from the checkout, else 'unknown'."""
    return settings.commit or _head(_CHECKOUT / ".git") or "unknown"


def _head(git: Path) -> str | None:
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        ref = head.removeprefix("ref: ")
        if (git / ref).is_file():
            return (git / ref).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[0] for line in packed if line.endswith(f" {ref}")), None)
