"""A connection that is lost is an outage, whichever event loop tells of it, and however."""

import asyncio

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from service.queue.connection import connect_async
from service.queue.embedded import EmbeddedServer


async def _write_to_what_was_closed(url: str) -> None:
    client = connect_async(url)
    connection = client.connection_pool.make_connection()
    await connection.connect()
    connection._writer.transport.abort()
    await asyncio.sleep(0.05)
    with pytest.raises(RedisConnectionError, match=r"lost|closed"):
        await connection.send_command("PING")
    await connection.send_command("PING", check_health=False)  # connects anew
    assert await connection.read_response() == b"PONG"
    await connection.disconnect()
    await client.aclose()


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_a_write_to_a_connection_that_was_just_closed_is_an_outage(server: EmbeddedServer, loop: object) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(_write_to_what_was_closed(server.url))
