"""Settings: documented, read from the environment, and handed on to children unchanged."""

from pathlib import Path

import pytest

from service.settings import Settings, SettingsError, load_settings, settings_table, to_env

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in to_env(Settings()):
        monkeypatch.delenv(name, raising=False)


def test_documentation_lists_every_setting_with_its_default() -> None:
    assert DOCS.read_text().endswith(settings_table())


def test_environment_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DECEPTRON_PORT", "9001")
    monkeypatch.setenv("DECEPTRON_CHUNK_ITEMS", "7")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere:1/0")
    settings = load_settings({"port": 9002, "host": None})
    assert (settings.port, settings.host, settings.chunk_items) == (9002, "127.0.0.1", 7)
    assert settings.redis_url == "redis://elsewhere:1/0"


def test_children_read_back_what_the_parent_had(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings({"port": 0, "redis_url": "unix:///x", "data_dir": Path("/d"), "lease_s": 2.5})
    for name, value in to_env(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


@pytest.mark.parametrize(("name", "value"), [("DECEPTRON_PORT", "http"), ("DECEPTRON_DEVICE", "tpu")])
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_state_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Settings().state_dir() == tmp_path / "deceptron"
    assert Settings(data_dir=tmp_path / "d").state_dir() == tmp_path / "d"
