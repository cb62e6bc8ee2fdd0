"""Answers on their way out: from the solver's arrays to stored chunk parts, and from parts to the API's result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.arrays import decode_npy, encode_npy
from service.errors import SolveFailed
from service.inference import Answer, SolveSpec
from service.parts import ITEMS, META, X_PART, Parts, failed_item, reason_of
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
    x = encode_npy(np.stack([answer.x[rows] for answer in answers]))
    parts = {X_PART: x, ITEMS: dump_json(items), META: dump_json(meta)}
    return Outcome(parts, failed, Notes(items, solve_s, diagnose_s))


def join_outcomes(answers: Sequence[Outcome | str], methods: int) -> Outcome:
    """One outcome from those of a chunk's items, each solved by itself; a str says why an item has none.

    Raises SolveFailed when no item has an answer.
    """
    found = [answer.parts for answer in answers if isinstance(answer, Outcome)]
    if not found:
        raise SolveFailed(str(answers[0]))
    width = decode_npy(found[0][X_PART]).shape[-1]
    xs, columns = [], []
    for answer in answers:
        if isinstance(answer, Outcome):
            xs.append(decode_npy(answer.parts[X_PART]))
            columns.append(orjson.loads(answer.parts[ITEMS]))
        else:
            xs.append(np.full((methods, 1, width), np.nan))
            columns.append([[failed_item(answer)] for _ in range(methods)])
    items = [[item for column in columns for item in column[k]] for k in range(methods)]
    metas = [orjson.loads(parts[META]) for parts in found]
    meta = metas[0] | {name: sum(meta[name] for meta in metas) for name in ("solve_s", "diagnose_s")}
    parts = {X_PART: encode_npy(np.concatenate(xs, axis=1)), ITEMS: dump_json(items), META: dump_json(meta)}
    return Outcome(parts, sum(1 if isinstance(answer, str) else answer.failed for answer in answers))


# ---------------------------------------------------------------------------------------------- API's side: decode


@dataclass(frozen=True)
class MethodResult:
    """One method's answers to all observations: x (B, n) with NaN rows where there is none, and the items without x."""

    method: str
    x: np.ndarray
    items: list[dict[str, Any]]
    solve_s: float


@dataclass(frozen=True)
class JobResult:
    """A whole job's result, assembled from its chunks."""

    methods: list[MethodResult]
    device: str
    engine: str
    solve_s: float
    diagnose_s: float


def assemble(spec: SolveSpec, chunks: Sequence[Parts]) -> JobResult:
    """Join the chunks of a job, in order; a chunk that failed as a whole becomes items that carry its error."""
    metas = [orjson.loads(parts[META]) for parts in chunks if META in parts]
    xs = {i: decode_npy(parts[X_PART]) for i, parts in enumerate(chunks) if X_PART in parts}
    width = next((x.shape[-1] for x in xs.values()), 0)
    methods = []
    for k, method in enumerate(spec.methods):
        rows = [_chunk_rows(parts, xs.get(i), k, width) for i, parts in enumerate(chunks)]
        items = [item for _, part in rows for item in part]
        solve_s = sum(meta["method_solve_s"][k] for meta in metas)
        methods.append(MethodResult(method, np.concatenate([x for x, _ in rows]), items, solve_s))
    first = metas[0] if metas else {}
    totals = {name: sum(meta[name] for meta in metas) for name in ("solve_s", "diagnose_s")}
    return JobResult(methods, first.get("device", ""), first.get("engine", ""), totals["solve_s"], totals["diagnose_s"])


def _chunk_rows(parts: Parts, x: np.ndarray | None, k: int, width: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    if x is not None:
        return x[k], orjson.loads(parts[ITEMS])[k]
    count = int(parts.get(ITEMS_PART, b"0"))
    return np.full((count, width), np.nan), [failed_item(reason_of(parts)) for _ in range(count)]


def result_json(spec: SolveSpec, kind: str, queued_s: float | None, result: JobResult) -> dict[str, Any]:
    """The API's result document (numpy rows inside; write it with `dump_json`)."""
    timing = {"queued_s": queued_s, "solve_s": result.solve_s, "diagnose_s": result.diagnose_s}
    head: dict[str, Any] = {"model": spec.model, "version": spec.version}
    tail: dict[str, Any] = {"device": result.device, "engine": result.engine, "timing": timing}
    if kind == "compare":
        results = [{"method": m.method, "solve_s": m.solve_s, "items": _items(m)} for m in result.methods]
        return {**head, "rules": rules(spec), **tail, "results": results}
    only = result.methods[0]
    return {**head, "method": only.method, **tail, "items": _items(only)}


def result_npy(kind: str, result: JobResult) -> bytes:
    """The reconstructions stacked: (B, n), or (methods, B, n) for a comparison; NaN rows where there is none."""
    if kind == "compare":
        return encode_npy(np.stack([m.x for m in result.methods]))
    return encode_npy(result.methods[0].x)


def rules(spec: SolveSpec) -> dict[str, Any]:
    """The rules that every method of a comparison shared, as they were asked for (null: the preset's own)."""
    return {
        "preset": spec.preset,
        "max_iterations": spec.max_iterations,
        "relaxation": spec.relaxation,
        "tolerance": spec.tolerance,
        "constraint": orjson.loads(spec.constraint) if spec.constraint else None,
    }


def _items(result: MethodResult) -> list[dict[str, Any]]:
    known = np.isfinite(result.x).all(axis=1) & (result.x.shape[1] > 0)
    rows = zip(result.x, known, result.items, strict=True)
    return [{"x": np.ascontiguousarray(x) if ok else None, **item} for x, ok, item in rows]
