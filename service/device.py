"""Which device to compute on."""

import torch

from service.errors import DeviceUnavailable


def choose_device(asked: str) -> str:
    """``auto`` takes CUDA where it is; ``cuda`` insists; raises DeviceUnavailable."""
    if asked not in ("auto", "cpu", "cuda"):
        raise DeviceUnavailable(f"device {asked!r} is none of auto, cpu, cuda")
    if asked == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise DeviceUnavailable("device cuda was asked for, but torch sees no CUDA device on this machine")
    return "cpu"
