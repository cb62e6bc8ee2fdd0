"""What a soak is to show, what it saw, and whether that is enough; phases that were not run count for nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LONGEST_RECOVERY_S = 45.0
MOST_SLOWER = 2.0
Goal = tuple[str, str, bool]


@dataclass(frozen=True)
class Seen:
    """The phases of one fault, both kinds of queue server together."""

    phases: list[dict[str, Any]]

    def total(self, key: str) -> int:
        return sum(phase[key] for phase in self.phases)

    @property
    def items(self) -> int:
        return self.total("items_accepted")

    @property
    def lost(self) -> int:
        """Items that did not end with the right answer."""
        return self.items - sum(phase["items"].get("succeeded", 0) for phase in self.phases)

    @property
    def clean(self) -> bool:
        """Run at all, and everything as promised."""
        return bool(self.phases) and not any(phase["failures"] for phase in self.phases)


def goals(phases: Sequence[dict[str, Any]]) -> list[Goal]:
    """(goal, what was seen, whether it holds)."""

    def of(fault: str) -> Seen:
        return Seen([phase for phase in phases if phase["fault"] == fault])

    return [
        *_of_kills(of("worker_kills"), of("machine_deaths")),
        *_of_outages(of("server_kills"), of("network_faults"), of("drains")),
        *_of_crowds(of("same_key"), of("slow_clients")),
    ]


def _of_kills(kills: Seen, elsewhere: Seen) -> list[Goal]:
    took = [one["recovery_longest_s"] or 0 for one in (*kills.phases, *elsewhere.phases)]
    count, longest = kills.total("mid_batch"), max(took, default=0)
    enough = count >= 200 and kills.items >= 20_000 and not kills.lost
    seen = f"{count} kills, {kills.items} items, {kills.lost} lost"
    return [
        ("200 kills of workers mid-batch over 20,000 items: 0 lost, 0 results in conflict", seen, enough),
        (f"longest recovery of them {LONGEST_RECOVERY_S:g} s", f"{longest} s", 0 < longest <= LONGEST_RECOVERY_S),
    ]


def _of_outages(server: Seen, network: Seen, drains: Seen) -> list[Goal]:
    told = sum(phase["refused"].get("503", 0) for phase in server.phases)
    killed, cut, drained = (seen.total("faults") for seen in (server, network, drains))
    again = drains.total("chunks_run_again")
    return [
        (
            "50 kills of the queue server: 0 accepted items lost, 503 meanwhile",
            f"{killed} kills, {server.lost} lost, {told} answers 503",
            killed >= 50 and not server.lost and told > 0,
        ),
        ("100 network faults: 0 items lost", f"{cut} faults, {network.lost} lost", cut >= 100 and not network.lost),
        (
            "50 drains: 0 chunks run again",
            f"{drained} drains, {again} run again",
            drained >= 50 and not again and not drains.lost,
        ),
    ]


def _of_crowds(keyed: Seen, slow: Seen) -> list[Goal]:
    ratios = [phase["ratio"] for phase in slow.phases if phase["ratio"] is not None]
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios) or "not run"
    return [
        ("1,000 POSTs at once with one Idempotency-Key: one job", f"{keyed.total('faults')} times", keyed.clean),
        (
            f"200 slow clients: others' p95 at most {MOST_SLOWER:g} times as long",
            shown,
            bool(ratios) and max(ratios) <= MOST_SLOWER,
        ),
    ]
