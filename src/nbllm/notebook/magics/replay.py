"""`%llm_replay`: notebooks that run again without a key, without a network, to the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from nbllm.errors import SettingsError, UsageError
from nbllm.notebook.magics.arguments import Arguments, split
from nbllm.notebook.session import running, workspace
from nbllm.tables import Sentences

VERBS = ("status", "record", "replay", "auto", "off")


@magics_class
class ReplayMagics(Magics):
    """The magic of recordings."""

    @no_var_expand
    @line_magic
    def llm_replay(self, line: str) -> Any:
        """Recordings: `%llm_replay record [PATH]`, `replay [PATH] [--pace X]`, `auto [PATH]`, `off`, `status`.

        Without PATH the recording is `<notebook>.replay.jsonl` beside the notebook. It holds for this kernel.
        """
        with running():
            verb, *words = split(line) or ["status"]
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
