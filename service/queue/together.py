"""Script calls that come while others are under way go as one: one write, one read, one wait for the disk."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from service.queue.lua import AsyncScripts

LARGE_BYTES = 65_536  # whoever sends more goes alone, so that nobody waits behind it
MOST = 64  # calls that go together
Word = str | bytes | int | float


@dataclass(frozen=True)
class _Call:
    words: Sequence[Word]
    answer: asyncio.Future[Any]


class Together:
    """Runs one script for many callers at a time, as one trip after the other.

    A server that writes to its disk before it answers does so once a trip; for calls that each went their own way it
    would for each. An error is told to each caller whom it concerns, an outage also to those who wait for the next
    trip: they would only wait twice as long for the same. Calls must bear being repeated: a connection that breaks is
    tried once more, with all that went over it.
    """

    def __init__(self, client: redis.asyncio.Redis, scripts: AsyncScripts, name: str) -> None:
        self._client, self._scripts, self._name = client, scripts, name
        self._waiting: list[_Call] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, words: Sequence[Word], size: int) -> Any:
        """The script's answer to these arguments, of so many bytes; raises as `AsyncScripts.run` does."""
        if size > LARGE_BYTES:
            return await self._scripts.run(self._name, *words)
        call = _Call(words, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._trips(), name="queue-together")
        return await call.answer

    async def _trips(self) -> None:
        """Begins in the loop's next turn: whoever came in this one goes along."""
        while self._waiting:
            calls, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            try:
                answers = await self._answers(calls)
            except Exception as error:
                calls, self._waiting = calls + self._waiting, []
                answers = [error] * len(calls)
            for call, answer in zip(calls, answers, strict=True):
                _tell(call.answer, answer)

    async def _answers(self, calls: list[_Call]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(self._scripts.sha(self._name), 0, *call.words)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        lost = [k for k, answer in enumerate(answers) if isinstance(answer, NoScriptError)]  # the server is a new one
        again = (self._scripts.run(self._name, *calls[k].words) for k in lost)
        for k, answer in zip(lost, await asyncio.gather(*again, return_exceptions=True), strict=True):
            answers[k] = answer
        return answers


def _tell(answer: asyncio.Future[Any], value: Any) -> None:
    if answer.done():
        return  # its caller has gone
    if isinstance(value, Exception):
        answer.set_exception(value)
    else:
        answer.set_result(value)
