"""`deceptron keys`: make, list and revoke API keys."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from service.cli.tables import table
from service.security import SCOPES

_DATA_DIR = click.option("--data-dir", type=click.Path(path_type=Path), help="The data directory of `deceptron serve`.")


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of the service on this machine.

    They lie, hashed, in the data directory (or where DECEPTRON_KEYS_FILE says); a running service sees a change within
    a second. Where there is a key, all requests need one.
    """


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, default=("submit", "read"))
@click.option("--days", type=click.IntRange(min=1, max=36500), help="Days until it expires.  [never]")
@_DATA_DIR
def create(name: str, scopes: tuple[str, ...], days: int | None, data_dir: Path | None) -> None:
    """Make a key for NAME (a person, a machine) and print it, once.

    Scopes: submit (post and cancel), read (results, models, health, metrics), admin (both, on everybody's jobs).
    """
    from service.security.keys import add_key

    path = _path(data_dir)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    text = add_key(path, name, scopes, expires_at)
    click.echo(text)
    click.echo(f"Keep it: {path} holds its hash only. Send it as `Authorization: Bearer ...`", err=True)


@keys.command(name="list")
@_DATA_DIR
def list_keys(data_dir: Path | None) -> None:
    """List the keys: all but their secrets, which nobody has."""
    from service.security.keys import read_keys

    now = datetime.now(UTC)
    rows = [["id", "name", "scopes", "state", "made", "expires"]]
    for key in read_keys(_path(data_dir)):
        shown = [key.id, key.name, " ".join(key.scopes), key.state(now), key.created_at, key.expires_at or "never"]
        rows.append(shown)
    for line in table(rows):
        click.echo(line)


@keys.command()
@click.argument("key_id")
@_DATA_DIR
def revoke(key_id: str, data_dir: Path | None) -> None:
    """Revoke the key KEY_ID (of `deceptron keys list`) for good."""
    from service.security.keys import revoke_key

    key = revoke_key(_path(data_dir), key_id)
    click.echo(f"revoked: {key.id} ({key.name}) since {key.revoked_at}")


def _path(data_dir: Path | None) -> Path:
    from service.settings import load_settings

    return load_settings({"data_dir": data_dir}).keys_path()
