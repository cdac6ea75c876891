"""`%llm_config`: settings, presets, and going back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from nbllm.errors import UsageError
from nbllm.notebook.magics.arguments import Arguments, assignment, pairs, split
from nbllm.notebook.session import running, workspace
from nbllm.tables import Sentences, Table, rows_of


@magics_class
class ConfigMagics(Magics):
    """The settings magic."""

    @no_var_expand
    @line_magic
    def llm_config(self, line: str) -> Any:
        """Settings: `%llm_config`, `%llm_config NAME`, `%llm_config NAME VALUE [--session]`.

        `preset NAME -p k=v ...` keeps parameters under a name (without -p it is removed), `preset` lists them;
        `history` lists earlier versions of the file, `undo` goes back to the last one.
        """
        with running():
            words = split(line)
            return VERBS[words[0]](words[1:]) if words and words[0] in VERBS else _settings(words)


def parser(verb: str = "") -> Arguments:
    """What a verb takes, or the magic without one."""
    found = Arguments(f"%llm_config {verb if verb in VERBS else ''}".strip())
    if verb == "preset":
        found.add_argument("name", nargs="?", metavar="NAME")
        found.add_argument("-p", "--param", type=assignment, action="append", metavar="KEY=VALUE")
    elif verb not in VERBS:
        found.add_argument("name", nargs="?", metavar="NAME")
        found.add_argument("value", nargs="?", metavar="VALUE")
        found.add_argument("--session", action="store_true", help="hold for this kernel only")
    return found


def _settings(words: list[str]) -> Any:
    asked = parser().read(words)
    settings = workspace().settings
    if asked.name is None:
        return Table(rows_of(settings.all()), columns=("name", "value", "source", "doc"))
    if asked.value is None:
        return Table(rows_of([settings.lookup(asked.name)]), columns=("name", "value", "source", "doc"))
    value = settings.set(asked.name, asked.value, keep=not asked.session)
    return Table(rows_of([value]), columns=("name", "value", "source", "doc"))


def _history(words: list[str]) -> Any:
    parser("history").read(words)
    return Table(rows_of(workspace().config.history()), columns=("when", "what"), title="config.toml, newest first")


def _undo(words: list[str]) -> Any:
    parser("undo").read(words)
    return Sentences([f"undone: {workspace().config.undo().what}"])


def _preset(words: list[str]) -> Any:
    asked = parser("preset").read(words)
    if asked.name is None and asked.param:
        raise UsageError("%llm_config preset: the preset needs a name", hint="%llm_config preset NAME -p k=v")
    if asked.name is not None:
        workspace().set_preset(asked.name, pairs(asked.param))
    presets = workspace().presets()
    rows = [
        {"preset": name, "parameters": ", ".join(f"{k}={v!r}" for k, v in p.items())} for name, p in presets.items()
    ]
    return Table(rows, columns=("preset", "parameters"))


VERBS: Mapping[str, Callable[[list[str]], Any]] = {"preset": _preset, "history": _history, "undo": _undo}
