"""A TCP proxy that misbehaves on demand: it cuts, refuses, delays, holds back and truncates."""

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

PIECE = 65_536


class Proxy:
    """Forwards 127.0.0.1:``port`` to 127.0.0.1:``target``, in a thread of its own; use as a context manager."""

    def __init__(self, target: int, seed: int = 0) -> None:
        self.target = target
        self.port = 0
        self.carried = 0  # bytes, both ways
        self._random = random.Random(seed)
        self._delay_s = 0.0
        self._truncate = 0
        self._refuse = False
        self._flowing = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> "Proxy":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def cut(self) -> None:
        """Aborts every connection; new ones are taken."""
        self._call(self._abort_all)

    def partition(self, on: bool) -> None:
        """While on: connections are aborted and new ones are cut off as they come."""
        self._refuse = on
        if on:
            self.cut()

    def hold(self, on: bool) -> None:
        """While on: connections stay open and nothing goes through, as with a stalled peer."""
        self._call(self._flowing.clear if on else self._flowing.set)

    def delay(self, seconds: float) -> None:
        """Every piece is this late, from now on."""
        self._delay_s = seconds

    def truncate(self, times: int = 1) -> None:
        """The next pieces that the server sends arrive in part, and their connections end there."""
        self._truncate = times

    def _call(self, what: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            what()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)

    def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuse:
            writer.transport.abort()
            return
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_writer}
        with suppress(asyncio.CancelledError):
            await asyncio.gather(self._pump(reader, to_writer, False), self._pump(to_reader, writer, True))
        self._writers -= {writer, to_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                await self._flowing.wait()
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if answers and self._truncate > 0:
                    self._truncate -= 1
                    piece = piece[: self._random.randrange(len(piece))]
                    writer.write(piece)
                    await writer.drain()
                    break
                self.carried += len(piece)
                writer.write(piece)
                await writer.drain()
        _close(writer)


def _close(writer: Any) -> None:
    with suppress(OSError, RuntimeError):
        writer.close()
