"""What loading the extension does, and that unloading undoes all of it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import nbllm
from chatting import says
from shell import bare, loaded

DENIED = ("openai", "httpx2", "httpcore2", "pydantic", "sqlalchemy", "alembic", "keyring", "cryptography", "ipywidgets",
          "anywidget", "pandas", "numpy", "scipy", "polars", "pyarrow", "distributed", "nh3", "markdown_it",
          "pygments.lexers.python", "tomlkit", "typer", "rich", "genai_prices", "platformdirs.macos", "jsonschema",
          "filelock")  # fmt: skip


def fresh(code: str) -> dict[str, Any]:
    """Run code in a new Python that has a shell `ip`; what it prints as JSON."""
    start = """
    import json, socket, sys, threading
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config
    config = Config(); config.HistoryManager.enabled = False
    ip = InteractiveShell.instance(config=config)
    """
    script = textwrap.dedent(start) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=_environ())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _environ() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}


def test_loading_is_silent_and_light_and_opens_nothing(home: Path) -> None:
    found = fresh(f"""
    before, threads = set(sys.modules), threading.active_count()
    opened = []
    def watch(event, args):
        if event.startswith("socket."): opened.append(event)
        path = str(args[0])
        if event == "open" and "nbllm-home" in path and "config.toml" not in path: opened.append(path)
    sys.addaudithook(watch)
    from IPython.utils.capture import capture_output
    with capture_output() as caught:
        result = ip.run_cell("%load_ext nbllm")
    result.raise_error()
    heavy = [m for m in {DENIED!r} if m in set(sys.modules) - before]
    print(json.dumps(dict(said=caught.stdout + caught.stderr, heavy=heavy, opened=opened,
                          threads=threading.active_count() - threads)))
    """)
    assert found == {"said": "", "heavy": [], "opened": [], "threads": 0}
    assert not home.exists()


def test_the_control_sees_what_is_heavy_and_what_is_opened() -> None:
    found = fresh("""
    opened = []
    sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
    import pydantic
    socket.socket().close()
    print(json.dumps(dict(heavy="pydantic" in sys.modules, opened=opened)))
    """)
    assert found["heavy"]
    assert found["opened"]


@pytest.mark.parametrize("text", ["[settings\nmodel = 1", "model = ", "\x00", "[settings]\nmodel = 'x\n"])
def test_a_broken_config_is_one_warning_with_its_line_and_nothing_else(home: Path, text: str) -> None:
    home.mkdir()
    (home / "config.toml").write_text(text)
    with bare() as shell:
        with pytest.warns(UserWarning, match="config.toml, line ") as warned:
            shell.good("%load_ext nbllm")
        assert len(warned) == 1
        assert str(home) in str(warned[0].message)
        error = shell.fails("%chat -m demo/echo hi")
        assert isinstance(error, nbllm.errors.SettingsError)
        assert error.file == str(home / "config.toml")
        assert error.line in (1, 2, 3)
        (home / "config.toml").unlink()
        shell.good("%chat -m demo/echo hi")
        shell.run("%unload_ext nbllm")


def test_a_broken_config_does_not_fail_the_load_where_warnings_are_errors(home: Path) -> None:
    import warnings

    home.mkdir()
    (home / "config.toml").write_text("[")
    with bare() as shell, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "config.toml, line 1" in shell.good("%load_ext nbllm").err
        shell.run("%unload_ext nbllm")


@pytest.mark.filterwarnings("ignore:nbllm goes on")
@pytest.mark.parametrize("place", ["/proc/nowhere", "~nosuchuser/x", "/dev/null/x"])
def test_a_home_that_cannot_be_used_does_not_fail_the_load(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("NBLLM_HOME", place)
    with bare() as shell:
        done = shell.good("%load_ext nbllm")
        assert (done.out + done.err).count("Warning") <= 1
        shell.run("%unload_ext nbllm")


def state(shell: Any) -> dict[str, Any]:
    """All that an extension may change."""
    ip = shell.ip
    return {
        "magics": {kind: sorted(names) for kind, names in ip.magics_manager.magics.items()},
        "registry": sorted(ip.magics_manager.registry),
        "matchers": list(ip.Completer.custom_matchers),
        "transformers": list(ip.input_transformer_manager.token_transformers),
        "cleanup": list(ip.input_transformers_cleanup),
        "post": list(ip.input_transformers_post),
        "formatters": list(ip.display_formatter.ipython_display_formatter.type_printers),
        "log records": logging.getLogRecordFactory(),
        "events": {k: list(v) for k, v in ip.events.callbacks.items()},
        "names": sorted(n for n in ip.user_ns if not n.startswith("_")),
        "excepthooks": (ip.custom_exceptions, ip.showtraceback.__func__),
    }


def test_unloading_undoes_everything_and_loading_works_again() -> None:
    with bare() as shell:
        shell.run("%unload_ext nosuch")  # brings in IPython's own magics for extensions
        before = state(shell)
        for _ in range(2):
            shell.good("%load_ext nbllm")
            assert state(shell) != before
            assert shell.good("%chat -m demo/echo hi").value.text
            assert state(shell)["log records"] is not before["log records"]
            shell.good("%unload_ext nbllm")
            assert state(shell) == before
        assert shell.run("%chat hi").error is not None


def test_after_unloading_no_thread_of_ours_works_on() -> None:
    import threading

    others = set(threading.enumerate())
    with loaded(says("hello")) as (shell, _):
        shell.good("%chat -m peer/m hi")
        shell.good("%unload_ext nbllm")
        new = set(threading.enumerate()) - others
        left = [t.name for t in new if t.name.startswith("nbllm") and t.name != "nbllm-loop"]
    assert left == []


def test_loading_twice_changes_nothing() -> None:
    with bare() as shell:
        shell.good("%load_ext nbllm")
        before = state(shell)
        shell.good("import nbllm; nbllm.load_ipython_extension(get_ipython())")
        after = state(shell)
        assert after["matchers"] == before["matchers"]
        assert after["transformers"] == before["transformers"]
        shell.run("%unload_ext nbllm")


# ---------------------------------------------------------------- questions end in a question mark


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("%chat -m peer/m what's up?", "what's up?"),
        ("%chat -m peer/m why?", "why?"),
        ("%chat -m peer/m really??", "really??"),
        ("r = %chat -m peer/m and now?", "and now?"),
        ("if True:\n    %chat -m peer/m indented?", "indented?"),
        ("x = 1\n%chat -m peer/m {x} or $HOME?\ny = 2", "{x} or $HOME?"),
        ("%time %chat -m peer/m timed?", "timed?"),
        ("%%chat peer/m\nin a cell?", "in a cell?"),
    ],
)
def test_a_question_may_end_in_a_question_mark(code: str, asked: str) -> None:
    from chatting import sent

    with loaded(says("because")) as (shell, server):
        shell.good(code)
        assert [m["content"] for m in sent(server)["messages"]] == [asked]


def test_help_on_the_magic_and_on_names_still_works() -> None:
    with loaded(says("no")) as (shell, server):
        assert "Ask a model" in shell.good("%chat?").out + shell.good("%%chat?").out
        shell.good("chatty = 1")
        assert "int" in shell.good("chatty?").out
        assert server.requests == []
        kept = 'text = """\n%chat is this a question?\n"""'
        shell.good(kept)
        assert shell.names["text"] == "\n%chat is this a question?\n"
