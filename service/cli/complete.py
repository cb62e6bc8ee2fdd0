"""Shell completion: `deceptron completion SHELL`, and the model names that a Tab offers."""

import os
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from service.client import ClientError, Retries

SHELLS = ("bash", "zsh", "fish")
NAME, VARIABLE = "deceptron", "_DECEPTRON_COMPLETE"
AT_ONCE = Retries(attempts=1)  # somebody has pressed Tab


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print what makes SHELL complete our commands; for bash: eval "$(deceptron completion bash)"."""
    shell = shell or os.path.basename(os.environ.get("SHELL", "")) or "bash"
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}; name one of {', '.join(SHELLS)}")
    click.echo(found(_root(), {}, NAME, VARIABLE).source())


def model_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The models of `--url`, or of the local checkpoints, that begin with what was typed."""
    url = context.params.get("url")
    names = _names_at(url, context.params.get("key")) if url else _local_names()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _names_at(url: str, key: str | None) -> Sequence[str]:
    from service.client import Client

    try:
        with Client(url, key=key, retries=AT_ONCE) as client:
            return [card["name"] for card in client.models()]
    except ClientError:
        return []


def _local_names() -> Sequence[str]:
    try:
        from service.settings import load_settings
    except ModuleNotFoundError:  # the base install has no checkpoints either
        return []
    folder = load_settings().checkpoints
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _root() -> click.Command:
    context: Any = click.get_current_context().find_root()
    command: click.Command = context.command
    return command
