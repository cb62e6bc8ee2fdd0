"""Keys: what the file holds, who is let in by it, and that a change there counts at once."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import cli
from service.security import keys as module
from service.security.keys import KeyFileError, KeyRing, NoSuchKey, add_key, make_key, read_keys, revoke_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ring looks at its file each time."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)


def test_the_file_holds_no_secret_and_is_private(path: Path) -> None:
    text = add_key(path, "alice", ["read"])
    secret = text.split("_", 2)[2]
    assert len(secret) == 43
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_opens_until_it_is_revoked(path: Path) -> None:
    text, other = add_key(path, "alice", ["read", "submit"]), add_key(path, "bob", ["admin"])
    ring = KeyRing(path)
    found = ring.find(text)
    assert found is not None
    assert (found.name, found.scopes) == ("alice", ("submit", "read"))
    revoked = revoke_key(path, found.id)
    assert ring.find(text) is None
    assert ring.find(other) is not None
    assert revoke_key(path, found.id).revoked_at == revoked.revoked_at


@pytest.mark.parametrize("change", ["", "x", "swap", "truncate", "prefix", "other id"])
def test_only_the_very_text_opens(path: Path, change: str) -> None:
    text, other = add_key(path, "alice", ["read"]), add_key(path, "bob", ["read"])
    _, key_id, secret = text.split("_", 2)
    swapped = ("B" if secret[0] == "A" else "A") + secret[1:]
    wrong = {
        "": "",
        "x": text + "x",
        "swap": f"dk_{key_id}_{swapped}",
        "truncate": text[:-1],
        "prefix": text.replace("dk_", "dq_"),
        "other id": f"dk_{other.split('_')[1]}_{secret}",
    }
    ring = KeyRing(path)
    assert ring.find(text) is not None
    assert ring.find(wrong[change]) is None


def test_keys_expire(path: Path) -> None:
    past, future = datetime.now(UTC) - timedelta(seconds=5), datetime.now(UTC) + timedelta(days=1)
    over, good = add_key(path, "a", ["read"], past), add_key(path, "b", ["read"], future)
    ring = KeyRing(path)
    assert ring.find(over) is None
    assert ring.find(good) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        '{"format_version": 2, "keys": []}',
        '{"format_version": 1, "keys": [{"id": 1}]}',
        '{"format_version": 1, "keys": [{"id": "a", "name": "n", "scopes": ["all"], "sha256": "", "created_at": ""}]}',
    ],
)
def test_a_damaged_file_lets_nobody_in(path: Path, text: str) -> None:
    key = add_key(path, "alice", ["read"])
    ring = KeyRing(path)
    assert ring.find(key) is not None
    path.write_text(text)
    assert ring.find(key) is None
    with pytest.raises(KeyFileError, match="DECEPTRON_KEYS_FILE"):
        read_keys(path)


def test_a_removed_file_lets_nobody_in(path: Path) -> None:
    key = add_key(path, "alice", ["read"])
    ring = KeyRing(path)
    assert ring.find(key) is not None
    path.unlink()
    assert ring.find(key) is None


def test_no_two_keys_are_alike() -> None:
    made = [make_key("n", ["read"])[1] for _ in range(100)]
    assert len({key.split("_")[1] for key in made}) == len({key.split("_", 2)[2] for key in made}) == 100


def test_an_unknown_key_cannot_be_revoked(path: Path) -> None:
    with pytest.raises(NoSuchKey, match="0123456789ab"):
        revoke_key(path, "0123456789ab")


def test_the_command_line(tmp_path: Path) -> None:
    def run(*words: str) -> str:
        return CliRunner().invoke(cli, ["keys", *words, "--data-dir", str(tmp_path)], catch_exceptions=False).stdout

    text = run("create", "a sensor", "--scope", "submit", "--days", "7").strip()
    (key,) = json.loads((tmp_path / "keys.json").read_text())["keys"]
    assert KeyRing(tmp_path / "keys.json").find(text) is not None
    assert (key["name"], key["scopes"]) == ("a sensor", ["submit"])
    assert "a sensor" in run("list")
    assert "live" in run("list")
    assert text.split("_", 2)[2] not in run("list")
    assert key["id"] in run("revoke", key["id"])
    assert "revoked" in run("list")
