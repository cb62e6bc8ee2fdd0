"""Connections that stand still are closed; those that move, work or idle between requests are not."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from service.patience import Patience


@dataclass(eq=False)
class Connection:
    """As much of uvicorn's protocols as is looked at."""

    unsent: int = 0
    cycle: Any = None
    timeout_keep_alive_task: object = None
    closed: bool = False
    transport: Any = field(init=False)

    def __post_init__(self) -> None:
        self.transport = SimpleNamespace(get_write_buffer_size=lambda: self.unsent, abort=self.abort)

    def abort(self) -> None:
        self.closed = True


BUSY, DONE = SimpleNamespace(response_complete=False), SimpleNamespace(response_complete=True)


def test_who_stands_still_is_dropped() -> None:
    silent, half_a_head, deaf = Connection(), Connection(cycle=DONE), Connection(unsent=9, cycle=BUSY)
    working, idle, reading = Connection(cycle=BUSY), Connection(cycle=DONE, timeout_keep_alive_task=1), Connection(100)
    everybody = [silent, half_a_head, deaf, working, idle, reading]
    patience = Patience(10.0)
    for second in range(12):
        reading.unsent -= 1
        patience.look(everybody, float(second))
        assert not any(one.closed for one in everybody) or second > 10
    assert [one.closed for one in everybody] == [True, True, True, False, False, False]


def test_a_new_request_has_all_the_time_again() -> None:
    patience, one = Patience(10.0), Connection()
    patience.look([one], 0.0)
    one.cycle = BUSY
    patience.look([one], 9.0)
    one.cycle = DONE
    patience.look([one], 15.0)
    patience.look([one], 20.0)
    assert not one.closed
