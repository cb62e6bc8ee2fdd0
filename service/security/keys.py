"""API keys: made, hashed, kept in a file, looked up.

A key reads ``dk_<id>_<secret>``. The id names it in lists and logs; the secret is 256 random bits, of which the file
holds the SHA-256 alone. (A slow password hash would guard nothing more: nobody guesses 256 bits.)
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from service.errors import ServiceError
from service.security import SCOPES

FORMAT_VERSION = 1
LOOK_EVERY_S = 1.0  # how long a revoked key may still be taken
_KEY = re.compile(r"dk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = "0" * 64
log = structlog.get_logger(__name__)


class KeyFileError(ServiceError):
    """The file of keys cannot be used; the text names it and says why."""

    title = "Wrong setting"


class NoSuchKey(ServiceError):
    """There is no key of that id."""

    title = "No such key"


@dataclass(frozen=True)
class Key:
    """One key as it lies in the file; times are RFC 3339 in UTC."""

    id: str
    name: str
    scopes: tuple[str, ...]
    sha256: str
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None

    def __post_init__(self) -> None:
        texts = (self.id, self.name, self.sha256, self.created_at)
        if not all(isinstance(text, str) for text in texts) or not set(self.scopes) <= set(SCOPES):
            raise ValueError("not a key")
        for moment in (self.created_at, self.expires_at or self.created_at):
            if datetime.fromisoformat(moment).tzinfo is None:
                raise ValueError("a time without its zone")

    def state(self, now: datetime) -> str:
        """live, revoked or expired."""
        if self.revoked_at is not None:
            return "revoked"
        over = self.expires_at is not None and datetime.fromisoformat(self.expires_at) <= now
        return "expired" if over else "live"


def make_key(name: str, scopes: Sequence[str], expires_at: datetime | None = None) -> tuple[Key, str]:
    """A new key, and its text, which exists nowhere else."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    expires = None if expires_at is None else _stamp(expires_at)
    key = Key(key_id, name, tuple(s for s in SCOPES if s in scopes), _hash(secret), _stamp(_now()), expires)
    return key, f"dk_{key_id}_{secret}"


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file; none when there is no file. Raises KeyFileError."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeyFileError(f"DECEPTRON_KEYS_FILE: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise KeyFileError(f"DECEPTRON_KEYS_FILE: {path} is not a file of keys (it is not JSON)") from None
    try:
        if document["format_version"] != FORMAT_VERSION:
            raise KeyFileError(f"DECEPTRON_KEYS_FILE: {path} is of another format than this software reads")
        return tuple(Key(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in document["keys"])
    except (KeyError, TypeError, ValueError):
        raise KeyFileError(f"DECEPTRON_KEYS_FILE: {path} is not a file of keys") from None


def add_key(path: Path, name: str, scopes: Sequence[str], expires_at: datetime | None = None) -> str:
    """Makes a key and files it; gives its text. Raises KeyFileError."""
    key, text = make_key(name, scopes, expires_at)
    with _changing(path) as keys:
        keys.append(key)
    return text


def revoke_key(path: Path, key_id: str) -> Key:
    """Marks a key as revoked; it stays in the file, so that a log's id can still be explained. Raises NoSuchKey."""
    with _changing(path) as keys:
        for index, key in enumerate(keys):
            if key.id == key_id:
                keys[index] = replace(key, revoked_at=key.revoked_at or _stamp(_now()))
                return keys[index]
    raise NoSuchKey(f"there is no key {key_id} in {path}; `deceptron keys list` shows what there is")


class KeyRing:
    """The keys as the file has them now; a change there is seen within LOOK_EVERY_S, without a restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._look_at = 0.0
        self._keys: dict[str, Key] = {}

    def find(self, text: str) -> Key | None:
        """The live key of this text, compared in constant time; None when there is none."""
        self._refresh()
        parts = _KEY.fullmatch(text)
        key = self._keys.get(parts[1]) if parts else None
        same = hmac.compare_digest(_hash(parts[2] if parts else ""), key.sha256 if key else _NOBODY)
        return key if key is not None and same and key.state(_now()) == "live" else None

    def _refresh(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_EVERY_S
        seen = _fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = {key.id: key for key in read_keys(self._path)}
        except KeyFileError as error:
            self._keys = {}  # nobody comes in: a revocation may be what could not be read
            log.error("no key is valid", reason=str(error))


@contextmanager
def _changing(path: Path) -> Iterator[list[Key]]:
    """The keys, to be changed in place; written back in one step, and by one process at a time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_name(f".{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = list(read_keys(path))
            yield keys
            _write(path, keys)
    except OSError as error:
        raise KeyFileError(f"DECEPTRON_KEYS_FILE: {path} cannot be written: {error.strerror}") from None


def _write(path: Path, keys: Sequence[Key]) -> None:
    document: dict[str, Any] = {"format_version": FORMAT_VERSION, "keys": [asdict(key) for key in keys]}
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(json.dumps(document, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _fingerprint(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
