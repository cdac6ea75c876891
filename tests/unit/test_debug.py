"""Whole tracebacks on request."""

from __future__ import annotations

import pytest

from nbllm.errors import PromptError, tracebacks_wanted
from nbllm.workspace import Workspace


def shown() -> str:
    try:
        raise PromptError("no", hint="say more")
    except PromptError as error:
        return "\n".join(error._render_traceback_())


def test_an_error_is_two_lines_unless_more_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown() == "PromptError: no\n  hint: say more"

    monkeypatch.setenv("NBLLM_DEBUG", "1")
    assert "Traceback" in shown()


def test_the_setting_asks_for_whole_tracebacks_at_once() -> None:
    workspace = Workspace()
    assert not tracebacks_wanted()

    workspace.settings.set("debug", "1", keep=False)
    assert "Traceback" in shown()


def test_settings_that_cannot_be_read_hide_no_error(home) -> None:
    Workspace()
    home.mkdir()
    (home / "config.toml").write_text("[settings")
    assert "hint: say more" in shown()
