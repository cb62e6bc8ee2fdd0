"""Answers on their way out: from the solver's arrays to stored chunk parts, and from parts to the API's result.

A worker writes every answer once, as it will be sent: x as npy, and the items of each method as JSON text. The API puts
texts side by side and decodes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.arrays import decode_npy, encode_npy
from service.errors import SolveFailed
from service.inference import Answer, SolveSpec
from service.parts import META, X_PART, Parts, failed_item, items_part, reason_of
from service.queue.records import ITEMS_PART
from service.queue.worker import Outcome
from service.responses import dump_json

# ------------------------------------------------------------------------------------------- worker's side: encode


@dataclass(frozen=True)
class Notes:
    """What the worker's monitor is told of a chunk: the items of each method, and the seconds they took."""

    items: list[list[dict[str, Any]]]
    solve_s: float
    diagnose_s: float


def split_answers(answers: Sequence[Answer], sizes: Sequence[int], device: str, engine: str) -> list[Outcome]:
    """One outcome per chunk from the answers to several chunks solved as one batch; `sizes` are the chunks' rows."""
    stops = np.cumsum(sizes)
    rows = [slice(int(stop) - size, int(stop)) for stop, size in zip(stops, sizes, strict=True)]
    return [_outcome(answers, part, device, engine) for part in rows]


def _outcome(answers: Sequence[Answer], rows: slice, device: str, engine: str) -> Outcome:
    items = [answer.items[rows] for answer in answers]
    share = (rows.stop - rows.start) / len(answers[0].items)
    solve_s = share * sum(answer.solve_s for answer in answers)
    diagnose_s = share * sum(answer.diagnose_s for answer in answers)
    each = [share * answer.solve_s for answer in answers]
    meta = {"device": device, "engine": engine, "solve_s": solve_s, "diagnose_s": diagnose_s, "method_solve_s": each}
    failed = sum(any(row.get("error") for row in column) for column in zip(*items, strict=True))
    parts = {X_PART: encode_npy(np.stack([answer.x[rows] for answer in answers])), META: dump_json(meta)}
    texts = (_text(answer.x[rows], column) for answer, column in zip(answers, items, strict=True))
    return Outcome(
        parts | {items_part(k): text for k, text in enumerate(texts)}, failed, Notes(items, solve_s, diagnose_s)
    )


def _text(x: np.ndarray, items: Sequence[dict[str, Any]]) -> bytes:
    """Items as JSON, comma-separated; x is null where it is not finite."""
    known = np.isfinite(x).all(axis=1) & (x.shape[1] > 0)
    rows = zip(np.ascontiguousarray(x), known, items, strict=True)
    return dump_json([{"x": row if ok else None, **item} for row, ok, item in rows])[1:-1]


def _failed_text(reason: str, count: int) -> bytes:
    return b",".join([dump_json({"x": None, **failed_item(reason)})] * count)


def join_outcomes(answers: Sequence[Outcome | str], methods: int) -> Outcome:
    """One outcome from those of a chunk's items, each solved by itself; a str says why an item has none.

    Raises SolveFailed when no item has an answer.
    """
    found = [answer.parts for answer in answers if isinstance(answer, Outcome)]
    if not found:
        raise SolveFailed(str(answers[0]))
    lost = np.full((methods, 1, decode_npy(found[0][X_PART]).shape[-1]), np.nan)
    xs = [decode_npy(answer.parts[X_PART]) if isinstance(answer, Outcome) else lost for answer in answers]
    metas = [orjson.loads(parts[META]) for parts in found]
    meta = metas[0] | {name: sum(meta[name] for meta in metas) for name in ("solve_s", "diagnose_s")}
    parts = {X_PART: encode_npy(np.concatenate(xs, axis=1)), META: dump_json(meta)}
    for k in range(methods):
        parts[items_part(k)] = b",".join(
            answer.parts[items_part(k)] if isinstance(answer, Outcome) else _failed_text(answer, 1)
            for answer in answers
        )
    return Outcome(parts, sum(1 if isinstance(answer, str) else answer.failed for answer in answers))


# --------------------------------------------------------------------------------------- API's side: put side by side


@dataclass(frozen=True)
class Heading:
    """What a result says once, of all its items; seconds by method in `method_solve_s`."""

    device: str
    engine: str
    solve_s: float
    diagnose_s: float
    method_solve_s: tuple[float, ...]

    @classmethod
    def of(cls, spec: SolveSpec, chunks: Iterable[Parts]) -> "Heading":
        """From the chunks' META; a chunk that failed as a whole has none."""
        metas = [orjson.loads(parts[META]) for parts in chunks if META in parts]
        first = metas[0] if metas else {"device": "", "engine": ""}
        solve_s, diagnose_s = (sum(meta[name] for meta in metas) for name in ("solve_s", "diagnose_s"))
        each = tuple(sum(meta["method_solve_s"][k] for meta in metas) for k in range(len(spec.methods)))
        return cls(first["device"], first["engine"], solve_s, diagnose_s, each)


def frame(spec: SolveSpec, kind: str, queued_s: float | None, heading: Heading) -> list[tuple[bytes, bytes]]:
    """The API's result document without its items: for each method, the text before and after them."""
    timing = {"queued_s": queued_s, "solve_s": heading.solve_s, "diagnose_s": heading.diagnose_s}
    head: dict[str, Any] = {"model": spec.model, "version": spec.version}
    tail: dict[str, Any] = {"device": heading.device, "engine": heading.engine, "timing": timing}
    if kind != "compare":
        return [(dump_json({**head, "method": spec.methods[0], **tail, "items": []})[:-2], b"]}")]
    pairs = zip(spec.methods, heading.method_solve_s, strict=True)
    texts = [dump_json({"method": method, "solve_s": solve_s, "items": []})[:-2] for method, solve_s in pairs]
    texts[0] = dump_json({**head, "rules": rules(spec), **tail, "results": []})[:-2] + texts[0]
    return [(text, b"]}," if k < len(texts) - 1 else b"]}]}") for k, text in enumerate(texts)]


def items_text(parts: Parts, k: int) -> bytes:
    """A chunk's items of method k, comma-separated; what failed with its chunk carries the reason."""
    found = parts.get(items_part(k))
    return _failed_text(reason_of(parts), int(parts.get(ITEMS_PART, b"0"))) if found is None else found


def result_json(spec: SolveSpec, kind: str, queued_s: float | None, chunks: Sequence[Parts]) -> bytes:
    """The API's result document of a job whose chunks are all there."""
    ends = frame(spec, kind, queued_s, Heading.of(spec, chunks))
    texts = [b",".join(items_text(parts, k) for parts in chunks) for k in range(len(ends))]
    return b"".join(before + text + after for (before, after), text in zip(ends, texts, strict=True))


def result_npy(kind: str, chunks: Sequence[Parts]) -> bytes:
    """The reconstructions stacked: (B, n), or (methods, B, n) for a comparison; NaN rows where there is none."""
    x = stacked(chunks)
    return encode_npy(x if kind == "compare" else x[0])


def stacked(chunks: Sequence[Parts]) -> np.ndarray:
    """x of all methods (methods, B, n), from the chunks' X_PART; (1, B, 0) where no chunk has any."""
    found = [decode_npy(parts[X_PART]) if X_PART in parts else None for parts in chunks]
    methods, _, n = next((x.shape for x in found if x is not None), (1, 0, 0))
    counts = (int(parts.get(ITEMS_PART, b"0")) for parts in chunks)
    filled = [
        np.full((methods, count, n), np.nan, np.float32) if x is None else x
        for x, count in zip(found, counts, strict=True)
    ]
    return np.concatenate(filled, axis=1)


def items_of_method(chunks: Sequence[Parts], k: int) -> list[dict[str, Any]]:
    """The items as documents, for those who take them apart again."""
    found: list[dict[str, Any]] = orjson.loads(b"[" + b",".join(items_text(parts, k) for parts in chunks) + b"]")
    return found


def rules(spec: SolveSpec) -> dict[str, Any]:
    """The rules that every method of a comparison shared, as they were asked for (null: the preset's own)."""
    return {
        "preset": spec.preset,
        "max_iterations": spec.max_iterations,
        "relaxation": spec.relaxation,
        "tolerance": spec.tolerance,
        "constraint": orjson.loads(spec.constraint) if spec.constraint else None,
    }
