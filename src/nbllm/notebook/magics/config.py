"""`%llm_config`: settings, presets, and going back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from nbllm.errors import UsageError
from nbllm.notebook.magics.arguments import Arguments, assignment, pairs, split
from nbllm.notebook.magics.manual import described, described_verbs, manual, shown_by_question_mark, wants_manual
from nbllm.notebook.session import running, workspace
from nbllm.settings import SETTINGS
from nbllm.tables import Sentences, Table, rows_of


@magics_class
class ConfigMagics(Magics):
    """The settings magic."""

    @no_var_expand
    @line_magic
    @shown_by_question_mark(lambda: page())
    def llm_config(self, line: str) -> Any:
        """Settings: `%llm_config`, `%llm_config NAME`, `%llm_config NAME VALUE [--session]`.

        `preset NAME -p k=v ...` keeps parameters under a name (without -p it is removed), `preset` lists them;
        `history` lists earlier versions of the file, `undo` goes back to the last one.
        `%llm_config?` and `--help` show the whole page.
        """
        with running():
            words = split(line)
            if wants_manual(words):
                return print(page())  # noqa: T201
            return VERBS[words[0]](words[1:]) if words and words[0] in VERBS else _settings(words)


def parser(verb: str = "") -> Arguments:
    """What a verb takes, or the magic without one."""
    found = Arguments(f"%llm_config {verb if verb in VERBS else ''}".strip())
    if verb == "preset":
        found.add_argument("name", nargs="?", metavar="NAME")
        found.add_argument(
            "-p",
            "--param",
            type=assignment,
            action="append",
            metavar="KEY=VALUE",
            help="VALUE is JSON, else a string; repeatable",
        )
    elif verb not in VERBS:
        found.add_argument("name", nargs="?", metavar="NAME", help="the setting to show or to set")
        found.add_argument("value", nargs="?", metavar="VALUE", help="the new value; '' goes back to the default")
        found.add_argument("--session", action="store_true", help="hold for this kernel only")
        found.add_argument("--help", action="store_true", help="show this page")
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


# ---------------------------------------------------------------- the page


def page() -> str:
    """What `%llm_config?` shows."""
    verbs = described_verbs((verb, does, parser(verb)) for verb, does in _DOES.items())
    return manual(
        "Settings, presets, and going back.",
        synopsis="%llm_config [NAME [VALUE]] [--session]\n\n%llm_config VERB ...",
        notes=f"{_NOTES}\n\nSettings: {', '.join(SETTINGS)}.",
        options=f"{described(parser(), 'Settings')}\n\n{verbs}",
        examples=EXAMPLES,
    )


_DOES = {
    "preset": "keep parameters under a name; without -p remove it; without NAME show all",
    "history": "earlier versions of config.toml",
    "undo": "go back to the version before the last change",
}
_NOTES = """
Without an argument it shows every setting, its value, where that came from and what it does. A VALUE is kept in
`config.toml`. Later wins: default, `config.toml`, environment, session.
"""
EXAMPLES = (
    ("Every setting, with its source", "%llm_config"),
    ("Make a model the default", "%llm_config model demo/guide"),
    ("Show answers only when they are complete, in this kernel", "%llm_config live 0 --session"),
    (
        "Parameters under a name, for `%%chat --preset calm`",
        "%llm_config preset calm -p temperature=0 -p max_tokens=200",
    ),
    ("Go back", "%llm_config undo"),
)
"""What each does, and the line."""
