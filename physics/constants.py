"""Fixed tensors of a forward map, kept in float64 and handed out in the dtype and on the device of its input."""

import torch
from torch import Tensor


class Constants:
    """Casts each tensor once per dtype and device, and keeps it."""

    def __init__(self, *tensors: Tensor) -> None:
        self._tensors = tensors
        self._cast: dict[tuple[torch.dtype, torch.device], tuple[Tensor, ...]] = {}

    def like(self, x: Tensor) -> tuple[Tensor, ...]:
        """All tensors, in the order they came in."""
        key = (x.dtype, x.device)
        if key not in self._cast:
            # Born in inference mode they could never again take part in a gradient, and they are kept.
            with torch.inference_mode(mode=False):
                self._cast[key] = tuple(t.to(dtype=x.dtype, device=x.device).contiguous() for t in self._tensors)
        return self._cast[key]
