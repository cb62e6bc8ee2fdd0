"""What every benchmark is handed: the checkpoints, how many items, how many repeats."""

from dataclasses import dataclass

from models.engine import one_thread
from models.registry import Registry


@dataclass(frozen=True)
class Setup:
    """``repeats`` draws of ``items`` held-out items each; ``quick`` cuts whatever takes long, to see that all runs."""

    registry: Registry
    items: int = 500
    repeats: int = 3
    quick: bool = False
    cost_s: float = 1.0

    @property
    def budget_s(self) -> float:
        """CPU time that one cost may be measured for."""
        return 0.01 if self.quick else self.cost_s

    def at_most(self, items: int) -> int:
        """How many items of a draw what takes them one at a time gets."""
        return min(self.items, 2 if self.quick else items)

    def command(self, name: str) -> str:
        """The command line that runs benchmark ``name`` like this."""
        cost = "" if self.cost_s == Setup.cost_s else f" --cost-s {self.cost_s:g}"
        quick = " --quick" * self.quick
        return f"deceptron bench {name} --items {self.items} --repeats {self.repeats}{cost}{quick}"


__all__ = ["Setup", "one_thread"]
