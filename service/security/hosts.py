"""Which names the service answers to, and which pages may call it.

A service on 127.0.0.1 can be reached by every page that its user's browser shows. Two checks keep those out: the Host
must be one of ours (else a page whose own name resolves to 127.0.0.1 would count as same-origin: DNS rebinding), and a
request that names its Origin must come from our own page.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from service.errors import ForeignOrigin, Misdirected

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[a-z0-9._~-]+)(?::\d{1,5})?")


@dataclass(frozen=True)
class Hosts:
    """Names that are answered; None: any. `trusted` are pages of other origins that may call."""

    names: frozenset[str] | None
    trusted: frozenset[str] = frozenset()

    def check(self, headers: Headers) -> None:
        """Raises Misdirected, ForeignOrigin."""
        host = headers.get("host", "").lower()
        name = host_name(host)
        if name is None or (self.names is not None and name not in self.names):
            raise Misdirected(
                "this service does not answer to that host name; DECEPTRON_ALLOWED_HOSTS lists what it does"
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(origin.lower(), host):
            raise ForeignOrigin("a page of another origin may not call this service")

    def _is_ours(self, origin: str, host: str) -> bool:
        try:
            place = urlsplit(origin).netloc
        except ValueError:
            return False
        return place == host or host_name(place) in self.trusted


def hosts_for(listening: str, allowed: str) -> Hosts:
    """The rule for an address that is listened on and the names of DECEPTRON_ALLOWED_HOSTS (comma-separated)."""
    given = frozenset(name.strip().lower() for name in allowed.split(",") if name.strip())
    if not given and not is_loopback(listening):
        return Hosts(None)
    shown = f"[{listening}]" if ":" in listening else listening
    return Hosts(LOCAL | given | {shown.lower()}, given)


def host_name(host: str) -> str | None:
    """The name in a Host header, without its port; None when it is none."""
    match = _HOST.fullmatch(host)
    return match[1].rstrip(".") if match else None


def is_loopback(listening: str) -> bool:
    """Whether only this machine reaches an address that is listened on."""
    if listening.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(listening).is_loopback
    except ValueError:
        return False
