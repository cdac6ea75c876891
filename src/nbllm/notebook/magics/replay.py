"""`%llm_replay`: notebooks that run again without a key, without a network, to the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from nbllm.errors import SettingsError, UsageError
from nbllm.notebook.magics.arguments import Arguments, split
from nbllm.notebook.magics.manual import described_verbs, manual, shown_by_question_mark, wants_manual
from nbllm.notebook.session import running, workspace
from nbllm.tables import Sentences

VERBS = {
    "status": "which mode, which file, how much was written and answered here; also without a verb",
    "record": "ask the providers, and write each exchange",
    "replay": "the recording answers; no key is needed, nobody is asked",
    "auto": "the provider where there is a key for it, else the recording",
    "off": "neither",
}
"""Verb to what it does."""


@magics_class
class ReplayMagics(Magics):
    """The magic of recordings."""

    @no_var_expand
    @line_magic
    @shown_by_question_mark(lambda: page())
    def llm_replay(self, line: str) -> Any:
        """Recordings: `%llm_replay record [PATH]`, `replay [PATH] [--pace X]`, `auto [PATH]`, `off`, `status`.

        Without PATH the recording is `<notebook>.replay.jsonl` beside the notebook. It holds for this kernel.
        `%llm_replay?` and `--help` show the whole page.
        """
        with running():
            verb, *words = split(line) or ["status"]
            if wants_manual([verb, *words]):
                return print(page())  # noqa: T201
            if verb not in VERBS:
                raise UsageError(f"%llm_replay: there is no verb {verb!r}", hint=f"one of {', '.join(VERBS)}")
            asked = parser(verb).read(words)
            if verb != "status":
                _switch(verb, getattr(asked, "path", None), getattr(asked, "pace", None))
            return Sentences([workspace().recordings.status()])


def parser(verb: str) -> Arguments:
    """What a verb takes."""
    found = Arguments(f"%llm_replay {verb}")
    if verb in ("record", "replay", "auto"):
        found.add_argument("path", nargs="?", metavar="PATH", help="the recording; default: beside the notebook")
    if verb in ("replay", "auto"):
        found.add_argument("--pace", metavar="X", help="times the recorded time; 0: at once, 1: as recorded")
    return found


def _switch(mode: str, path: str | None, pace: str | None) -> None:
    settings, recordings = workspace().settings, workspace().recordings
    if pace is not None:
        settings.set("replay_pace", pace, keep=False)
    before = settings["replay"]
    where = f":{Path(path).expanduser().absolute()}" if path else ""  # it stays the same when the folder changes
    settings.set("replay", mode + where, keep=False)
    try:
        recordings.begin()
    except SettingsError:
        settings.set("replay", before, keep=False)
        raise


# ---------------------------------------------------------------- the page


def page() -> str:
    """What `%llm_replay?` shows."""
    return manual(
        "Notebooks that run again without a key and without a network, to the same answers.",
        synopsis="%llm_replay [VERB] [PATH] [--pace X]",
        notes=_NOTES,
        options=described_verbs((verb, does, parser(verb)) for verb, does in VERBS.items()),
        examples=EXAMPLES,
    )


_NOTES = """
Without PATH the recording is `<notebook>.replay.jsonl` beside the notebook. It is text, a line an exchange, and
holds no key. What is chosen holds for this kernel; the setting `replay`, or NBLLM_REPLAY, holds for all.

A request that the recording does not have fails with ReplayMissError, which names the nearest one and the first
difference. Answers from a recording say so, with their day.
"""
EXAMPLES = (
    ("Write down what is asked and answered from here on", "%llm_replay record"),
    ("Answer from it, in this kernel", "%llm_replay replay"),
    ("The same, at the pace at which the answers came", "%llm_replay replay --pace 1"),
    (
        "A notebook for others: with their key if they have one, else from the file",
        "%llm_replay auto course.replay.jsonl",
    ),
    ("What is going on", "%llm_replay status"),
)
"""What each does, and the line."""
