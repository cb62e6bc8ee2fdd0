"""`deceptron serve`, `api` and `worker`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from service.cli.show import DEMO_MODEL, DEMO_SEED, show_demo
from service.client.types import ClientError
from service.errors import ServiceError

F = TypeVar("F", bound=Callable[..., Any])

_DEVICE = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where the workers compute.")
_SUPERVISOR = click.option("--supervisor", type=int, hidden=True, help="End when this parent process is gone.")
_CHECKPOINTS = click.option("--checkpoints", type=click.Path(path_type=Path), help="The model repository.")


def _address(command: F) -> F:
    command = click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes any free one.  [8000]")(command)
    return click.option("--host", help="Address to listen on.  [127.0.0.1]")(command)


@click.command()
@_address
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the embedded queue server keeps its data.")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes.  [the cores but one, one to four]")
@_DEVICE
@_CHECKPOINTS
@click.option("--demo", is_flag=True, help="Once ready, invert one observation and print the answer.")
def serve(
    host: str | None,
    port: int | None,
    data_dir: Path | None,
    workers: int | None,
    device: str | None,
    checkpoints: Path | None,
    demo: bool,
) -> None:
    """The API, its workers and (unless REDIS_URL is set) the queue server, until Ctrl-C."""
    from service.logs import configure_logs
    from service.settings import load_settings
    from service.supervisor import serve as run

    given = {"host": host, "port": port, "data_dir": data_dir, "workers": workers}
    settings = load_settings({**given, "device": device, "checkpoints": checkpoints})
    configure_logs(settings.log_level, "serve")

    def on_ready(url: str) -> bool:
        click.echo(f"deceptron is ready at {url}  (documentation: {url}/docs)")
        if demo:
            _try_demo(url)
            click.echo(f"\nA page to play with: {url}   (Ctrl-C stops the service)")
        return True

    run(settings, on_ready)


def _try_demo(url: str) -> None:
    """A demonstration that fails must not end the service it demonstrates."""
    try:
        show_demo(url, DEMO_SEED, DEMO_MODEL)
    except (ClientError, ServiceError) as error:
        click.echo(f"the demonstration failed: {error}", err=True)


@click.command()
@_address
@_CHECKPOINTS
@click.option("--fd", type=int, hidden=True, help="Serve on this inherited socket.")
@_SUPERVISOR
def api(host: str | None, port: int | None, checkpoints: Path | None, fd: int | None, supervisor: int | None) -> None:
    """The API alone; its queue is at REDIS_URL."""
    from service.process import exit_with_supervisor

    exit_with_supervisor(supervisor)
    from service.settings import load_settings
    from service.wiring import require_redis

    settings = require_redis(load_settings({"host": host, "port": port, "checkpoints": checkpoints}))
    from service.mains import run_api

    run_api(settings, fd)


@click.command()
@_DEVICE
@_CHECKPOINTS
@_SUPERVISOR
def worker(device: str | None, checkpoints: Path | None, supervisor: int | None) -> None:
    """One worker alone; its queue is at REDIS_URL. Start as many as you like, on as many machines."""
    from service.process import exit_with_supervisor

    exit_with_supervisor(supervisor)
    from service.settings import load_settings
    from service.wiring import require_redis

    settings = require_redis(load_settings({"device": device, "checkpoints": checkpoints}))
    from service.mains import run_worker

    run_worker(settings)


@click.command(hidden=True)
@click.argument("fd", type=int)
def quarantine(fd: int) -> None:
    """Solve suspect items for a worker, which starts this process itself."""
    from service.mains import run_quarantine
    from service.settings import load_settings

    run_quarantine(load_settings(), fd)
