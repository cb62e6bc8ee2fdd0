"""How much better one deblurring method is than another, scene by scene, and the goals that hang on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator

from benchmarks.goals import Goal, at_least

BOOTSTRAPS = 2000
OVER_CLASSICAL, OVER_ONESHOT, WORST_SCENE = 1.5, 0.3, -0.3  # dB


@dataclass(frozen=True)
class Gain:
    """In dB: the mean over scenes, its 95 % interval from resampling them, the least scene's; and the share of wins."""

    mean: float
    interval: tuple[float, float]
    least: tuple[str, float]
    won: float

    @classmethod
    def of(cls, gains: Mapping[str, Sequence[float]]) -> "Gain":
        """From the gains of each scene's cases."""
        means = {scene: sum(values) / len(values) for scene, values in gains.items()}
        found = torch.tensor(list(means.values()))
        picks = torch.randint(len(found), (BOOTSTRAPS, len(found)), generator=Generator().manual_seed(0))
        low, high = found[picks].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
        every = [value for values in gains.values() for value in values]
        least = min(means, key=lambda scene: means[scene])
        won = sum(value > 0 for value in every) / len(every)
        return cls(found.mean().item(), (low, high), (least, means[least]), won)

    def row(self) -> list[str]:
        """The cells of its table row."""
        low, high = self.interval
        least = f"{self.least[1]:+.2f} ({self.least[0]})"
        return [f"{self.mean:+.2f}", f"{low:+.2f} to {high:+.2f}", least, f"{self.won:.2f}"]


def gain_goals(gains: Mapping[tuple[str, str], Gain], best: str, oneshot: str) -> list[Goal]:
    """What the shipped network is to be better by, and never worse by."""
    goals = []
    for (_, other), gain in gains.items():
        bound = OVER_CLASSICAL if other == best else OVER_ONESHOT
        why = WHY_CLASSICAL if other == best else ""
        name = f"the best tuned classical method ({best})" if other == best else oneshot
        goals.append(at_least(f"photographs: mean gain in dB over {name}", bound, [gain.mean], why))
        if other == best:
            figure = "photographs: least mean gain in dB of a scene over it"
            goals.append(at_least(figure, WORST_SCENE, [gain.least[1]]))
    return goals


WHY_CLASSICAL = (
    "total variation, tuned camera by camera, is 1 dB better than Wiener and Richardson-Lucy; the network has "
    "196k parameters and was trained for some hours of one core"
)
