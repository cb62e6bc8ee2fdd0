"""Ports for servers that cannot take whichever is free."""

import socket
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
BELOW = 10_000


def free_port() -> int:
    """One that nobody listens on, and that the system gives to no connection by itself.

    A server that is away for a moment finds its port again, and who knocks there meanwhile never meets itself.
    """
    first = int(RANGE.read_text().split()[0]) if RANGE.exists() else 32_768
    while True:
        port = SystemRandom().randrange(max(1025, first - BELOW), first)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
