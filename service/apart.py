"""Processes apart: forked from a copy of the worker that has all loaded, or started from nothing; and how they end.

Forking is what makes a quarantine cheap: a new process loads torch and the models for seconds, a copy is there at once.
The copy is made before the worker has threads that do anything, and sleeps; it is the one that forks the children, for
by then the worker is full of threads, and a fork of it might wait for ever for a lock whose holder was not copied.
"""

import gc
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Protocol

ASKED, ANSWERED = struct.Struct("=id"), struct.Struct("=i")  # pid (0: a new one), seconds of grace; pid or exit code
POLL_S = 0.005


class Apart(Protocol):
    """A process at the other end of ``line``."""

    line: Connection

    def end(self, grace_s: float = 0.0) -> int:
        """Kills it unless it ends by itself within ``grace_s``; its exit code, negative for a signal."""
        ...


class Spawned:
    """Started from nothing: ``command`` is given a descriptor of the line as its last argument."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self._process = subprocess.Popen(  # noqa: S603
                [*command, str(fd)], env=dict(env), pass_fds=(fd,), stdin=subprocess.DEVNULL
            )
        self.line = Connection(ours.detach())

    def end(self, grace_s: float = 0.0) -> int:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self._process.kill()
        return self._process.wait()


class Keeper:
    """A sleeping copy of this process. ``attend`` is what its children do with a descriptor of their line.

    Made while this process has one thread; it ends when this process does, and so do its children when they are idle.
    """

    def __init__(self, attend: Callable[[int], None]) -> None:
        self._line, theirs = socket.socketpair()
        gc.freeze()  # a collection in the copy would write to every page that the two share
        if os.fork() == 0:
            self._line.close()
            _and_exit(lambda: _keep(theirs, attend))
        theirs.close()

    def start(self) -> "Forked":
        """A new child; raises OSError when the copy is gone."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._line, [ASKED.pack(0, 0.0)], [theirs.fileno()])
            pid = self._answer()
        return Forked(self, pid, Connection(ours.detach()))

    def end(self, pid: int, grace_s: float) -> int:
        """As Apart.end does; raises OSError when the copy is gone."""
        self._line.sendall(ASKED.pack(pid, grace_s))
        return self._answer()

    def close(self) -> None:
        """Ends the copy."""
        self._line.close()

    def _answer(self) -> int:
        answer = self._line.recv(ANSWERED.size)
        if len(answer) < ANSWERED.size:
            raise ConnectionResetError("the copy of this process is gone")
        return int(ANSWERED.unpack(answer)[0])


class Forked:
    """A child of the copy."""

    def __init__(self, keeper: Keeper, pid: int, line: Connection) -> None:
        self._keeper, self._pid, self.line = keeper, pid, line

    def end(self, grace_s: float = 0.0) -> int:
        with suppress(OSError):
            return self._keeper.end(self._pid, grace_s)
        return -signal.SIGKILL  # its keeper was killed; its line is cut, so it ends, too


def _keep(line: socket.socket, attend: Callable[[int], None]) -> None:
    """The copy's life: forks and reaps until the worker hangs up, whatever signals the terminal sends to all."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        asked, fds, *_ = socket.recv_fds(line, ASKED.size, 1)
        if len(asked) < ASKED.size:
            return
        pid, grace_s = ASKED.unpack(asked)
        line.sendall(ANSWERED.pack(_reap(pid, grace_s) if pid else _fork(line, fds[0], attend)))


def _fork(line: socket.socket, fd: int, attend: Callable[[int], None]) -> int:
    pid = os.fork()
    if pid == 0:
        line.close()
        _and_exit(lambda: attend(fd))
    os.close(fd)
    return pid


def _reap(pid: int, grace_s: float) -> int:
    deadline = time.monotonic() + grace_s
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)
    return os.waitstatus_to_exitcode(ended[1])


def _and_exit(life: Callable[[], None]) -> None:
    """Lives, and ends without running what the process that was copied wanted to do at its own end."""
    code = 1
    try:
        life()
        code = 0
    finally:
        os._exit(code)
