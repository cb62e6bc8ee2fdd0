"""Script calls of one turn of the event loop go to the server as one: one write, one read, one look at its disk."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from service.queue.lua import AsyncScripts

LARGE_BYTES = 65_536  # whoever sends more goes alone, so that nobody waits behind it
Word = str | bytes | int | float


@dataclass(frozen=True)
class _Call:
    words: Sequence[Word]
    answer: asyncio.Future[Any]


class Together:
    """Runs one script for many callers at a time. An error is told to each caller whom it concerns.

    Calls must bear being repeated: a connection that breaks is tried once more, with all that went over it.
    """

    def __init__(self, client: redis.asyncio.Redis, scripts: AsyncScripts, name: str) -> None:
        self._client, self._scripts, self._name = client, scripts, name
        self._waiting: list[_Call] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def run(self, words: Sequence[Word], size: int) -> Any:
        """The script's answer to these arguments, of so many bytes; raises as `AsyncScripts.run` does."""
        if size > LARGE_BYTES:
            return await self._scripts.run(self._name, *words)
        call = _Call(words, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if len(self._waiting) == 1:
            task = asyncio.create_task(self._send(), name="queue-together")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        return await call.answer

    async def _send(self) -> None:
        """Begins in the loop's next turn: whoever came in this one goes along."""
        calls, self._waiting = self._waiting, []
        try:
            answers = await self._answers(calls)
        except Exception as error:
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
