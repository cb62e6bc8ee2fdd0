"""The channels of a picture put together again, and the three forms it is answered in: JSON, npy, PNG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.arrays import decode_npy, encode_npy
from service.deblurring.spec import DeblurSpec
from service.errors import NotAcceptable
from service.images import encode_png
from service.parts import ITEMS, META, X_PART, Parts, failed_item, reason_of
from trust.verdict import verdict

Item = dict[str, Any]


@dataclass(frozen=True)
class DeblurResult:
    """A finished picture: x (H, W) or (H, W, 3), or None where a channel failed; the item of the API without x."""

    spec: DeblurSpec
    x: np.ndarray | None
    item: Item
    device: str
    engine: str
    solve_s: float
    diagnose_s: float

    def document(self, queued_s: float | None, with_x: bool) -> dict[str, Any]:
        """The API's result document; x is null where it is left out."""
        spec = self.spec
        timing = {"queued_s": queued_s, "solve_s": self.solve_s, "diagnose_s": self.diagnose_s}
        head = {"model": spec.model, "version": spec.version, "method": spec.method}
        shape = [spec.height, spec.width] + ([spec.channels] if spec.channels > 1 else [])
        x = self.x if with_x else None
        items = [{"x": x, "shape": shape, **self.item}]
        return {**head, "device": self.device, "engine": self.engine, "timing": timing, "items": items}

    def npy(self) -> bytes:
        """The picture as float32. Raises NotAcceptable where there is none."""
        return encode_npy(self._picture())

    def png(self) -> bytes:
        """The picture as PNG, of the depth of what was sent. Raises NotAcceptable where there is none."""
        return encode_png(self._picture(), self.spec.bits)

    def _picture(self) -> np.ndarray:
        if self.x is None:
            raise NotAcceptable(f"the job has no picture: {self.item['error']['detail']}")
        return self.x


def assemble_picture(spec: DeblurSpec, chunks: Sequence[Parts]) -> DeblurResult:
    """The stored channels together. One that failed leaves no picture, only the reason."""
    metas = [orjson.loads(parts[META]) for parts in chunks if META in parts]
    first = metas[0] if metas else {"device": "", "engine": ""}
    solve_s, diagnose_s = (sum(meta[name] for meta in metas) for name in ("solve_s", "diagnose_s"))
    lost = [parts for parts in chunks if X_PART not in parts]
    if lost:
        item = failed_item(reason_of(lost[0]))
        return DeblurResult(spec, None, item, first["device"], first["engine"], solve_s, diagnose_s)
    planes = [decode_npy(parts[X_PART]) for parts in chunks]
    item = joined([orjson.loads(parts[ITEMS]) for parts in chunks])
    return DeblurResult(spec, merged(planes), item, first["device"], first["engine"], solve_s, diagnose_s)


def merged(planes: Sequence[np.ndarray]) -> np.ndarray:
    """(H, W) of one channel, (H, W, C) of several."""
    return np.stack(planes, axis=-1) if len(planes) > 1 else planes[0]


def joined(items: Sequence[Item]) -> Item:
    """One item of the items of all channels: root mean squares of residual and noise, the most iterations."""
    rms = {name: _rms([item[name] for item in items]) for name in ("residual_rms", "noise_std")}
    return {
        **items[0],
        **rms,
        "status": "converged" if all(item["status"] == "converged" for item in items) else "max_iterations",
        "iterations": max(item["iterations"] for item in items),
        "diagnostics": _diagnostics([item["diagnostics"] for item in items]),
    }


def _diagnostics(channels: Sequence[Item]) -> Item:
    """Scores by their means; p-values by Bonferroni, which holds however alike the channels are."""
    worst = min(channels, key=lambda channel: channel.get("p_value", 1.0))
    found = {name: _joint(name, [channel[name] for channel in channels], value) for name, value in worst.items()}
    return found | ({"verdict": str(verdict(found["p_value"]))} if "p_value" in found else {})


def _joint(name: str, values: Sequence[Any], worst: Any) -> Any:
    if isinstance(worst, dict):
        return {key: _joint("p_value", [value[key] for value in values], p) for key, p in worst.items()}
    if not isinstance(worst, float):
        return worst
    return min(1.0, len(values) * min(values)) if name.endswith("p_value") else sum(values) / len(values)


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))
