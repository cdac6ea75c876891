"""Which settings there are, what each is worth now, and where that came from.

Later wins: default, `config.toml` (`[settings]`), environment, what was set in the session.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nbllm.errors import SettingsError
from nbllm.settings.config import ConfigFile


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    name: str
    parse: Callable[[str], Any]
    """From text to value; raises ValueError with what is allowed."""
    default: Any
    env: tuple[str, ...]
    doc: str


@dataclass(frozen=True, slots=True)
class SettingValue:
    """What a setting is worth, and why."""

    name: str
    value: Any
    source: str
    """`default`, `config.toml`, `session`, or the name of the environment variable."""
    doc: str


def _text(value: str) -> str | None:
    return value or None


def _switch(value: str) -> bool:
    if value.lower() in ("1", "true", "yes", "on"):
        return True
    if value.lower() in ("", "0", "false", "no", "off"):
        return False
    raise ValueError("takes 1 or 0")


def _live(value: str) -> bool | None:
    return None if value.lower() in ("", "auto") else _switch(value)


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        number = float(value)
        if not low <= number <= high:
            raise ValueError(f"takes a number from {low:g} to {high:g}")
        return number

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"takes a whole number from {low} to {high}")
        return number

    return parse


def _address(value: str) -> str:
    if value == "off" or re.fullmatch(r"https://\S+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/\S*)?", value):
        return value
    raise ValueError("takes an https:// address, one of this machine, or off")


def _replay(value: str) -> str:
    mode, colon, path = value.partition(":")
    if mode not in ("off", "auto", "record", "replay") or (colon and (mode == "off" or not path)):
        raise ValueError("takes off, auto, record or replay, and the last three also with a path: replay:PATH")
    return value


SETTINGS: Mapping[str, Setting] = {
    s.name: s
    for s in (
        Setting("model", _text, None, ("NBLLM_MODEL",), "model that is asked when none is named"),
        Setting("models", _text, None, ("NBLLM_MODELS", "MODELS"), "list of models to choose from"),
        Setting("database_url", _text, None, ("NBLLM_DATABASE_URL",), "SQLAlchemy URL of the store"),
        Setting("live", _live, None, ("NBLLM_LIVE",), "stream (1), show once (0), or by front end (auto)"),
        Setting("offline", _switch, False, ("NBLLM_OFFLINE",), "no request leaves this machine"),
        Setting("debug", _switch, False, ("NBLLM_DEBUG",), "full tracebacks"),
        Setting("replay", _replay, "off", ("NBLLM_REPLAY",), "off, record, replay or auto; replay:PATH names the file"),
        Setting("replay_pace", _number(0, 100), 0.0, (), "times the recorded time that a replay takes; 0: at once"),
        Setting("attachment_mb", _number(0.001, 500), 20.0, (), "largest attachment, MB (10^6 bytes)"),
        Setting("max_rounds", _whole(1, 100), 8, (), "rounds of tool calls in one answer"),
        Setting("max_wait_s", _number(0, 3600), 60.0, (), "seconds of waiting for retries, in all"),
        Setting("listing_ttl_s", _number(0, 1e9), 86400.0, (), "seconds before a model list counts as old"),
        Setting(
            "models_dev_url",
            _address,
            "https://models.dev/api.json",
            ("NBLLM_MODELS_DEV_URL",),
            "where models.dev's list of models is; off: it is never asked",
        ),
    )
}


class Settings:
    """The settings of one workspace. Reads file and environment each time, so a change holds at once.

    Args:
        config: The user's file.
        environ: The environment; None means the process's own, read live.
    """

    def __init__(self, config: ConfigFile, environ: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environ = environ
        self._session: dict[str, Any] = {}

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment that counts for this workspace."""
        return os.environ if self._environ is None else self._environ

    def __getitem__(self, name: str) -> Any:
        """The value of a setting.

        Raises:
            SettingsError: There is no such setting, or its value is not allowed.
        """
        return self.lookup(name).value

    def lookup(self, name: str) -> SettingValue:
        """The value of a setting and where it came from."""
        setting = find_setting(name)
        if name in self._session:
            return SettingValue(name, self._session[name], "session", setting.doc)
        for variable in setting.env:
            if (text := self.environ.get(variable)) is not None and text.strip():
                return SettingValue(name, _parse(setting, text.strip(), variable), variable, setting.doc)
        in_file = self._config.read().get("settings", {})
        if isinstance(in_file, Mapping) and name in in_file:
            value = _parse(setting, _as_text(in_file[name]), f"{self._config.path}, settings.{name}")
            return SettingValue(name, value, "config.toml", setting.doc)
        return SettingValue(name, setting.default, "default", setting.doc)

    def all(self) -> list[SettingValue]:
        """Every setting, in the order of the reference."""
        return [self.lookup(name) for name in SETTINGS]

    def set(self, name: str, value: str, *, keep: bool = True) -> SettingValue:
        """Set `name`; an empty value goes back to the default.

        Args:
            keep: True writes `config.toml`, False holds for this session only.

        Raises:
            SettingsError: No such setting, or the value is not allowed. Nothing was changed.
        """
        setting = find_setting(name)
        parsed = None if value == "" else _parse(setting, value, name)
        if not keep:
            if value == "":
                self._session.pop(name, None)
            else:
                self._session[name] = parsed
            return self.lookup(name)

        def change(document: Any) -> None:
            import tomlkit  # noqa: PLC0415  (30 ms, and only writers need it)

            table = document.setdefault("settings", tomlkit.table())
            if value == "":
                table.pop(name, None)
            else:
                table[name] = parsed if parsed is not None else value

        self._config.update(f"set {name}", change)
        self._session.pop(name, None)
        return self.lookup(name)


def find_setting(name: str) -> Setting:
    """The setting called `name`.

    Raises:
        SettingsError: There is none; the hint names the closest.
    """
    if name in SETTINGS:
        return SETTINGS[name]
    close = difflib.get_close_matches(name, SETTINGS, n=3)
    raise SettingsError(
        f"there is no setting {name!r}",
        hint=f"did you mean {', '.join(close)}?" if close else "`%llm_config` lists them all",
        key=name,
    )


def _parse(setting: Setting, text: str, where: str) -> Any:
    try:
        return setting.parse(text)
    except ValueError as exc:
        said = str(exc) if "takes" in str(exc) else "has a value that is not allowed"
        raise SettingsError(f"{where} {said}", hint=setting.doc, key=setting.name) from None


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)
