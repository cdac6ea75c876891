"""`config.toml`: read, changed, taken back, and shared by processes."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nbllm.errors import SettingsError
from nbllm.settings import ConfigFile, Paths, Settings

SRC = Path(__file__).resolve().parents[3] / "src"


@pytest.fixture
def config(home: Path) -> ConfigFile:
    return ConfigFile(Paths.from_environment())


def _write(config: ConfigFile, text: str) -> None:
    config.path.parent.mkdir(parents=True, exist_ok=True)
    config.path.write_text(text)


def _put(config: ConfigFile, name: str, value: object) -> None:
    config.update(f"set {name}", lambda document: document.__setitem__(name, value))


def test_without_a_file_everything_is_empty_and_nothing_is_made(config: ConfigFile, home: Path) -> None:
    assert dict(config.read()) == {}
    assert config.history() == []
    assert not home.exists()


def test_a_change_of_the_file_is_seen(config: ConfigFile) -> None:
    _write(config, "a = 1\n")
    assert config.read()["a"] == 1
    _write(config, "a = 22\n")
    assert config.read()["a"] == 22


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = \nc = 3\n", 2), ("a = 1\n[x", 2), ('a = """\nno end\n', 3), ("a = 1\na = 2\n", 2)],
)
def test_a_broken_file_names_itself_and_the_line_and_is_left_alone(config: ConfigFile, text: str, line: int) -> None:
    _write(config, text)
    with pytest.raises(SettingsError) as caught:
        config.read()
    assert (caught.value.file, caught.value.line) == (str(config.path), line)
    assert f"line {line}" in str(caught.value)
    with pytest.raises(SettingsError):
        _put(config, "x", 1)
    assert config.path.read_text() == text


def test_bytes_that_are_no_text_are_one_line(config: ConfigFile) -> None:
    config.path.parent.mkdir(parents=True)
    config.path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot read"):
        config.read()


def test_comments_and_order_survive_a_change(config: ConfigFile) -> None:
    _write(config, "# mine\nz = 1  # why\n\n[a]\nb = 2\n")
    _put(config, "z", 5)
    assert config.path.read_text() == "# mine\nz = 5  # why\n\n[a]\nb = 2\n"


def test_each_change_can_be_taken_back(config: ConfigFile) -> None:
    for value in (1, 2, 3):
        _put(config, "x", value)
    assert [c.what for c in config.history()] == ["set x"] * 3
    assert config.undo().what == "set x"
    assert config.read()["x"] == 2
    config.undo()
    config.undo()
    assert dict(config.read()) == {}
    with pytest.raises(SettingsError, match="no earlier version"):
        config.undo()


@pytest.mark.parametrize(
    "clock",
    [
        pytest.param(lambda n: 1_764_374_399_999_999_998 + n, id="a second ends"),
        pytest.param(lambda n: 1_764_374_400_000_000_000, id="a coarse clock"),
        pytest.param(lambda n: 1_764_374_400_500_000_000 - n * 700_000_000, id="set back"),
    ],
)
def test_changes_are_taken_back_in_their_order_whatever_the_clock_says(
    config: ConfigFile, clock: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "time_ns", lambda: clock(next(ticks)))
    for value in range(1, 6):
        _put(config, "x", value)
    assert len({change.backup for change in config.history()}) == 5
    for value in range(4, 0, -1):
        config.undo()
        assert config.read()["x"] == value


def test_a_change_that_changes_nothing_leaves_no_version(config: ConfigFile) -> None:
    _put(config, "x", 1)
    _put(config, "x", 1)
    assert len(config.history()) == 1


def test_fifty_versions_are_kept(config: ConfigFile) -> None:
    for value in range(53):
        _put(config, "x", value)
    assert len(config.history()) == 50


def test_what_is_written_is_for_its_owner_only(config: ConfigFile, home: Path) -> None:
    _put(config, "x", 1)
    _put(config, "x", 2)
    for path in home.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NBLLM_HOME", str(tmp_path / "file" / "home"))
    config = ConfigFile(Paths.from_environment())
    with pytest.raises(SettingsError, match="cannot write") as caught:
        _put(config, "x", 1)
    assert "NBLLM_HOME" in str(caught.value.hint)


_WRITER = """
import sys
from nbllm.settings import ConfigFile, Paths
config = ConfigFile(Paths.from_environment())
me, times = sys.argv[1], int(sys.argv[2])
for number in range(times):
    def change(document):
        document["count"] = document.get("count", 0) + 1
        document.setdefault("seen", {})[f"p{me}n{number}"] = True
    config.update("count", change)
"""


@pytest.mark.campaign
def test_eight_processes_lose_no_change(config: ConfigFile, campaign: bool) -> None:
    times = 100 if campaign else 15
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(i), str(times)], env=env) for i in range(8)]
    assert [w.wait(timeout=150) for w in writers] == [0] * 8
    assert config.read()["count"] == 8 * times
    assert len(config.read()["seen"]) == 8 * times


# ---------------------------------------------------------------- settings


def _settings(config: ConfigFile, **environ: str) -> Settings:
    return Settings(config, environ)


def test_later_sources_win(config: ConfigFile) -> None:
    settings = _settings(config)
    assert (settings.lookup("model").value, settings.lookup("model").source) == (None, "default")
    settings.set("model", "a/file")
    assert (settings["model"], settings.lookup("model").source) == ("a/file", "config.toml")
    settings = _settings(config, NBLLM_MODEL=" a/environment ")
    assert (settings["model"], settings.lookup("model").source) == ("a/environment", "NBLLM_MODEL")
    settings.set("model", "a/session", keep=False)
    assert (settings["model"], settings.lookup("model").source) == ("a/session", "session")


def test_an_empty_variable_is_not_set_and_an_older_name_counts(config: ConfigFile) -> None:
    assert _settings(config, NBLLM_MODEL=" ").lookup("model").source == "default"
    assert _settings(config, MODELS="a/b").lookup("models").source == "MODELS"
    assert _settings(config, MODELS="a/b", NBLLM_MODELS="c/d")["models"] == "c/d"


def test_an_empty_value_goes_back_to_the_default(config: ConfigFile) -> None:
    settings = _settings(config)
    settings.set("max_rounds", "3")
    assert settings.set("max_rounds", "").source == "default"


@pytest.mark.parametrize(
    ("name", "text"),
    [("max_rounds", "many"), ("max_rounds", "0"), ("max_rounds", "1.5"), ("offline", "perhaps"), ("debug", "often"),
     ("attachment_mb", "nan"), ("attachment_mb", "-1"), ("live", "2")],
)  # fmt: skip
def test_a_value_that_is_not_allowed_changes_nothing(config: ConfigFile, name: str, text: str) -> None:
    settings = _settings(config)
    for keep in (True, False):
        with pytest.raises(SettingsError, match=name):
            settings.set(name, text, keep=keep)
    assert settings.lookup(name).source == "default"
    assert not config.path.exists()


def test_a_bad_value_of_the_environment_names_the_variable_and_of_the_file_the_file(config: ConfigFile) -> None:
    with pytest.raises(SettingsError, match="NBLLM_OFFLINE takes 1 or 0"):
        _settings(config, NBLLM_OFFLINE="perhaps")["offline"]
    _write(config, "[settings]\nmax_rounds = 'x'\n")
    with pytest.raises(SettingsError, match=r"config.toml, settings.max_rounds"):
        _settings(config)["max_rounds"]


@pytest.mark.parametrize(("written", "value"), [("true", True), ("'on'", True), ("0", False)])
def test_a_switch_in_the_file_may_be_a_word_or_a_truth_value(config: ConfigFile, written: str, value: bool) -> None:
    _write(config, f"[settings]\noffline = {written}\n")
    assert _settings(config)["offline"] is value


def test_an_unknown_setting_names_the_closest(config: ConfigFile) -> None:
    for use in (lambda s: s["max_round"], lambda s: s.set("max_round", "3")):
        with pytest.raises(SettingsError, match="max_rounds"):
            use(_settings(config))


def test_paths_follow_home_and_without_it_the_platform(tmp_path: Path) -> None:
    paths = Paths.from_environment({"NBLLM_HOME": str(tmp_path)})
    assert (paths.config_file, paths.cache_dir) == (tmp_path / "config.toml", tmp_path / "cache")
    assert "nbllm" in str(Paths.from_environment({}).config_dir)
