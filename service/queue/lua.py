"""Loads the Lua scripts: key names, shared functions and the script itself, as one text."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

import redis
import redis.asyncio

from service.queue.keys import Keys

# A full server may refuse new jobs, but must let work be finished, canceled and freed.
_REFUSED_WHEN_FULL = frozenset({"submit"})


@lru_cache(maxsize=64)
def source(name: str, keys: Keys) -> str:
    """Full text of script ``name``. Key names are built inside: one server, not Redis Cluster."""
    folder = files("service.queue").joinpath("scripts")
    flags = "" if name in _REFUSED_WHEN_FULL else " flags=allow-oom"
    common = folder.joinpath("common.lua").read_text("utf-8")
    return "\n".join((f"#!lua{flags}", keys.lua(), common, folder.joinpath(f"{name}.lua").read_text("utf-8")))


class AsyncScripts:
    """Runs scripts by name on an asyncio client; arguments only, no declared keys."""

    def __init__(self, client: redis.asyncio.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._loaded: dict[str, Any] = {}

    async def run(self, name: str, *args: str | bytes | int | float) -> Any:
        """The script's answer; lost scripts (server restarted) are loaded again by redis-py."""
        return await self._script(name)(args=args)

    def sha(self, name: str) -> str:
        """By which the server knows the script, once it has been run there."""
        return str(self._script(name).sha)

    def _script(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self._client.register_script(source(name, self._keys))
        return self._loaded[name]


class Scripts:
    """Runs scripts by name on a blocking client; arguments only, no declared keys."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._loaded: dict[str, Any] = {}

    def run(self, name: str, *args: str | bytes | int | float) -> Any:
        """The script's answer; lost scripts (server restarted) are loaded again by redis-py."""
        if name not in self._loaded:
            self._loaded[name] = self._client.register_script(source(name, self._keys))
        return self._loaded[name](args=args)
