"""Where keys are asked for, and where the service refuses to start without."""

import os
import subprocess
from pathlib import Path

import pytest

from service.security.keys import add_key, read_keys, revoke_key
from service.security.policy import access_policy
from service.settings import Settings, SettingsError
from tests.service.conftest import DECEPTRON, ROOT


@pytest.mark.parametrize(
    ("auth", "host", "keys", "asked"),
    [
        ("auto", "127.0.0.1", 0, False),
        ("auto", "127.0.0.1", 1, True),
        ("auto", "0.0.0.0", 1, True),
        ("auto", "0.0.0.0", 0, None),
        ("auto", "box.example", 0, None),
        ("on", "127.0.0.1", 0, None),
        ("on", "127.0.0.1", 1, True),
        ("off", "0.0.0.0", 0, False),
        ("off", "127.0.0.1", 1, False),
    ],
)
def test_keys_are_asked_for(tmp_path: Path, auth: str, host: str, keys: int, asked: bool | None) -> None:
    for _ in range(keys):
        add_key(tmp_path / "keys.json", "somebody", ["read"])
    settings = Settings(auth=auth, host=host, data_dir=tmp_path)  # type: ignore[arg-type]
    if asked is None:
        with pytest.raises(SettingsError, match="deceptron keys create"):
            access_policy(settings)
        return
    assert (access_policy(settings).keys is not None) is asked


def test_the_last_key_revoked_does_not_open_the_doors(tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "somebody", ["read"])
    revoke_key(tmp_path / "keys.json", read_keys(tmp_path / "keys.json")[0].id)
    assert access_policy(Settings(data_dir=tmp_path)).keys is not None


@pytest.mark.parametrize(("command", "code"), [("serve", 1), ("api", 78)])
def test_an_open_address_without_keys_is_one_clear_line(tmp_path: Path, command: str, code: int) -> None:
    env = {**os.environ, "DECEPTRON_DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:9/0"}
    words = [*DECEPTRON, command, "--host", "0.0.0.0", "--port", "0"]
    ran = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=500)
    assert ran.returncode == code, ran.stderr
    assert ran.stdout == ""
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("Error: DECEPTRON_AUTH: 0.0.0.0 can be reached from other machines")
    assert "DECEPTRON_AUTH=off" in last
    assert "Traceback" not in ran.stderr
