"""The command line. Importing it needs the base install only; each command imports what it uses."""

import sys

import click

from service.cli.complete import completion
from service.cli.deblur import deblur
from service.cli.invert import invert, models
from service.cli.keys import keys
from service.cli.measure import bench, export, recalibrate, train
from service.cli.new_problem import new_problem
from service.cli.serve import api, quarantine, serve, worker
from service.cli.show import demo
from service.client.types import ClientError, Unreachable
from service.errors import DeviceUnavailable, ServiceError

_EXTRA = "this command needs the server's packages: pip install 'deceptron-service[server,cpu]'"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deceptron-service")
def cli() -> None:
    """Inversion as a service: from an observation to the unknowns behind it, and whether to believe them."""


for command in (
    serve,
    api,
    worker,
    quarantine,
    invert,
    deblur,
    demo,
    models,
    keys,
    bench,
    train,
    export,
    recalibrate,
    new_problem,
    completion,
):
    cli.add_command(command)


def main() -> None:
    """Run a command. Errors are one sentence: exit code 2 for a wrong call, 1 for a failure, 78 for a wrong set-up."""
    try:
        cli.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("Aborted.", err=True)
        sys.exit(130)
    except Exception as error:
        click.echo(f"Error: {_sentence(error)}", err=True)
        sys.exit(_exit_code(error))


def _sentence(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, Unreachable):
        return f"{error}; is it running there? `deceptron serve` starts one"
    if isinstance(error, ServiceError | ClientError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"{_EXTRA} (no module named {error.name})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"


def _exit_code(error: Exception) -> int:
    from service.process import EXIT_CONFIG

    wrong_setup = isinstance(error, DeviceUnavailable) or getattr(error, "title", "") == "Wrong setting"
    return EXIT_CONFIG if wrong_setup and sys.argv[1:2] in (["api"], ["worker"]) else 1
