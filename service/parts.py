"""The parts that a worker stores of a chunk, by name, and what stands in for a chunk that has none."""

from collections.abc import Mapping
from typing import Any

from service.queue.records import ERROR_PART

X_PART, ITEMS, META = "x", "items", "meta"
Parts = Mapping[str, bytes]


def items_part(k: int) -> str:
    """The part that holds the items of a solve's k-th method, as JSON objects with commas between them."""
    return f"{ITEMS}:{k}"


def reason_of(parts: Parts) -> str:
    """Why a chunk has no result."""
    return parts.get(ERROR_PART, b"this part of the job was lost").decode(errors="replace")


def failed_item(reason: str) -> dict[str, Any]:
    """The item of what failed with its chunk."""
    empty: dict[str, Any] = dict.fromkeys(("status", "solved_by", "iterations", "residual_rms", "diagnostics"))
    return {**empty, "status": "failed", "error": {"type": "failed", "detail": reason}}
