"""What every benchmark is handed: the checkpoints, how many items, how many repeats."""

from dataclasses import dataclass

from models.registry import Registry


@dataclass(frozen=True)
class Setup:
    """``repeats`` draws of ``items`` held-out items each."""

    registry: Registry
    items: int = 500
    repeats: int = 3
