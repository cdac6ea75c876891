"""How an answer is shown: live while it arrives, and one exact bundle at the end.

One output holds the whole: `text/html` for notebooks, `text/plain` with the raw answer and nothing else, provenance in
the metadata. With a front end the output is updated while deltas arrive; runners without one get it once; a terminal
gets the text as it comes. `install` shows a `Reply` that is a cell's value, unless that cell has just shown it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from nbllm.foreign import escape, one_line
from nbllm.messages import Delta, Reply
from nbllm.notebook.frame import Frame, footer_of, tools_of, warnings_of
from nbllm.notebook.rendering import GrowingText, render_markdown, show_hidden

__all__ = ["LiveAnswer", "bundle", "decide_live", "escape", "install", "is_terminal", "render_markdown", "uninstall"]

MIN_INTERVAL_S = 0.1
BYTES_PER_S = 200_000
RENDER_SHARE = 5
"""Rendering takes at most one part in this many of the time."""

_COUNTDOWN = re.compile(r"\bin (\d+(?:\.\d+)?) ?s\b")
"""A notice that says "in 12 s" counts down."""


def bundle(reply: Reply) -> tuple[dict[str, str], dict[str, Any]]:
    """A finished answer as a MIME bundle and its metadata.

    Returns:
        `text/html` (sanitised; headed by the reference, footed by tokens and cost, nothing that varies when the same
        answer comes again) with `text/plain` (the raw text and nothing else), and `{"nbllm": provenance}`.
    """
    frame = Frame(
        ref=reply.ref,
        body=render_markdown(reply.text, highlight=True),
        reasoning=render_markdown(reply.reasoning),
        tool_rounds=tools_of(reply),
        warnings=warnings_of(reply),
        footer=footer_of(reply),
        recorded=reply.recorded,
    )
    provenance = json.loads(json.dumps(reply.provenance(), default=str))
    return _mime(frame.html(), reply.text), {"nbllm": provenance}


def _mime(html: str, text: str) -> dict[str, str]:
    return {"text/html": _encodable(html), "text/plain": _encodable(text)}


def _encodable(text: str) -> str:
    """Half a surrogate pair cannot be sent or saved: it becomes U+FFFD, everything else stays."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


# ---------------------------------------------------------------- who is looking


def is_terminal() -> bool:
    """Whether there is no kernel, so that text goes to standard output."""
    return not hasattr(get_ipython(), "kernel")


def decide_live(live: bool | None = None) -> bool:
    """Whether updates of an output will be seen.

    In this order: NBLLM_LIVE; what the caller wants; not under pytest (nbval compares the first bundle and ignores
    updates); not where the client cannot be asked for input, which is how nbclient and papermill show themselves; not
    while output is captured.
    """
    wanted = {"0": False, "1": True}.get(os.environ.get("NBLLM_LIVE", "").strip())
    if wanted is not None:
        return wanted
    if live is not None:
        return live
    return "PYTEST_CURRENT_TEST" not in os.environ and _front_end_listens()


def _front_end_listens() -> bool:
    shell = get_ipython()
    if type(getattr(shell, "display_pub", None)).__name__ == "CapturingDisplayPublisher":
        return False
    # Private, and set with each request; where it is missing there is no sign of a runner.
    return getattr(getattr(shell, "kernel", None), "_allow_stdin", True) is not False


# ---------------------------------------------------------------- while it arrives


class LiveAnswer:
    """One answer on the screen, from its first word to its exact end.

    All methods are called on one thread, the one that runs the cell.

    Args:
        ref: The model in use, `provider/model`.
        live: Update while deltas arrive; None decides by `decide_live`.
        quiet: Show nothing at all, not even the end.
    """

    def __init__(self, ref: str, *, live: bool | None = None, quiet: bool = False) -> None:
        self.ref = ref
        self._arrived = _Arrived()
        self._screen: _Output | _Terminal | None = None
        if not quiet:
            updates = decide_live(live)
            self._screen = _Terminal(updates) if is_terminal() else _Output(ref, updates)

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._arrived.text)

    def add(self, delta: Delta) -> None:
        """Take in one delta, and show it when an update is due."""
        self._arrived.add(delta)
        if self._screen is not None:
            self._screen.changed(self._arrived, delta)

    def tick(self) -> None:
        """Show what is due; to be called about ten times a second while nothing arrives."""
        if self._screen is not None:
            self._screen.tick(self._arrived)

    def finish(self, reply: Reply) -> None:
        """Show the finished answer, exactly. As the value of this cell it is not shown again."""
        _shown_here.add(reply)
        if self._screen is not None:
            self._screen.finish(reply)

    def fail(self, partial: str) -> None:
        """Keep on the screen what arrived before an error; nothing when nothing arrived and nothing is shown."""
        if self._screen is not None:
            self._screen.fail(partial, "".join(self._arrived.reasoning))


class _Arrived:
    """What has come so far."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.notice = _Notice()

    def add(self, delta: Delta) -> None:
        if delta.notice is not None:
            self.notice.say(delta.notice)  # an empty one takes the last away
        elif delta.text or delta.reasoning:
            self.notice.say("")
        if delta.tool_call is not None and delta.tool_call.name:
            self.notice.say(f"calling {one_line(delta.tool_call.name, 80)} …")
        if delta.text:
            self.text.append(delta.text)
        if delta.reasoning:
            self.reasoning.append(delta.reasoning)


class _Notice:
    """A word of ours that stands until the model goes on; one that says "in 12 s" counts down."""

    def __init__(self) -> None:
        self._text = ""
        self._since = 0.0

    def say(self, text: str) -> None:
        self._text, self._since = one_line(text, 300), time.monotonic()

    def now(self) -> str:
        passed = time.monotonic() - self._since
        return _COUNTDOWN.sub(lambda m: f"in {max(0, round(float(m[1]) - passed))} s", self._text)


class _Output:
    """An output of a notebook."""

    def __init__(self, ref: str, updates: bool) -> None:
        self._ref = ref
        self._updates = updates
        self._handle: Any = None
        self._body = GrowingText()
        self._thoughts = GrowingText()
        self._pending = False
        self._notice = ""
        self._due_at = 0.0

    def changed(self, arrived: _Arrived, delta: Delta) -> None:
        self._pending = self._pending or bool(delta.text or delta.reasoning)
        self.tick(arrived)

    def tick(self, arrived: _Arrived) -> None:
        if not self._updates or time.monotonic() < self._due_at:
            return
        notice = arrived.notice.now()
        if self._pending or notice != self._notice:
            self._notice = notice
            self._update("".join(arrived.text), "".join(arrived.reasoning))

    def _update(self, text: str, reasoning: str) -> None:
        started = time.monotonic()
        frame = Frame(
            ref=self._ref,
            body=self._body.render(text) if text else "",
            reasoning=self._thoughts.render(reasoning) if reasoning else "",
            reasoning_open=not text,
            notice=self._notice,
            busy=True,
        )
        data = _mime(frame.html(), text)
        self._publish(data, _partial(self._ref))
        self._pending = False
        now = time.monotonic()
        size = sum(len(part.encode()) for part in data.values())
        self._due_at = now + max(MIN_INTERVAL_S, size / BYTES_PER_S, RENDER_SHARE * (now - started))

    def finish(self, reply: Reply) -> None:
        self._publish(*bundle(reply))

    def fail(self, partial: str, reasoning: str) -> None:
        if not partial and not reasoning and self._handle is None:
            return
        frame = Frame(
            ref=self._ref,
            body=render_markdown(partial, highlight=True),
            reasoning=render_markdown(reasoning),
            warnings=("Broken off: this is what had arrived." if partial else "No answer arrived.",),
        )
        self._publish(_mime(frame.html(), partial), _partial(self._ref))

    def _publish(self, data: dict[str, str], metadata: dict[str, Any]) -> None:
        if self._handle is not None:
            self._handle.update(data, raw=True, metadata=metadata)
        elif self._updates:
            self._handle = display(data, raw=True, metadata=metadata, display_id=True)
        else:
            display(data, raw=True, metadata=metadata)


def _partial(ref: str) -> dict[str, Any]:
    """Stays in the file when the kernel dies in the middle of an answer, or when the answer broke off."""
    provider, _, model = ref.partition("/")
    return {"nbllm": {"provider": provider, "model": model, "partial": True}}


class _Terminal:
    """Standard output: the text as it comes. What is not the answer goes to standard error."""

    def __init__(self, updates: bool) -> None:
        self._updates = updates
        self._last = ""
        self._held = ""
        self._printed = False
        self._at_line_start = True
        self._thinking = False
        self._said = ""

    def changed(self, arrived: _Arrived, delta: Delta) -> None:
        if delta.notice:
            self._say(one_line(delta.notice, 300))
        if not self._updates:
            return
        if delta.reasoning and not self._thinking and not self._printed:
            self._thinking = True
            _aside("reasoning …")
        if delta.text:
            self._print(delta.text)

    def tick(self, arrived: _Arrived) -> None:
        """A terminal shows everything at once."""

    def _say(self, notice: str) -> None:
        """Once: a countdown does not fill the screen."""
        said = re.sub(r"\d+", "", notice)
        if said != self._said:
            self._said = said
            _aside(notice)

    def _print(self, text: str, *, last: bool = False) -> None:
        """Write `text` so that it cannot move the cursor, set the title or fill the clipboard.

        A joiner is judged by its neighbours: the last character goes along, and a joiner at the end waits.
        """
        text = self._held + text
        self._held = text[-1] if text[-1:] in ("\u200c", "\u200d") and not last else ""
        text = text.removesuffix(self._held)
        if not text:
            return
        sys.stdout.write(_encodable(show_hidden(self._last + text)[len(self._last) :]))
        sys.stdout.flush()
        self._last = text[-1] if show_hidden(text[-1]) == text[-1] else ""
        self._printed, self._at_line_start = True, text[-1] == "\n"

    def finish(self, reply: Reply) -> None:
        if not self._printed and reply.text:
            self._print(reply.text)
        self._end_line()
        for warning in warnings_of(reply):
            _aside(warning)
        _aside(f"{one_line(reply.ref)} · {footer_of(reply)}")

    def fail(self, partial: str, reasoning: str) -> None:
        if not self._printed and partial:
            self._print(partial)
        self._end_line()

    def _end_line(self) -> None:
        if self._held:
            self._print("", last=True)
        if not self._at_line_start:
            sys.stdout.write("\n")
            sys.stdout.flush()


def _aside(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


# ---------------------------------------------------------------- a reply as the value of a cell


class _ShownHere:
    """The replies that the running cell has shown already."""

    def __init__(self) -> None:
        self._count: int | None = None
        self._replies: list[Reply] = []

    def add(self, reply: Reply) -> None:
        self._renew()
        self._replies.append(reply)

    def has(self, reply: Reply) -> bool:
        self._renew()
        return any(reply is known for known in self._replies)

    def _renew(self) -> None:
        count = getattr(get_ipython(), "execution_count", None)
        if count != self._count:
            self._count, self._replies = count, []


_shown_here = _ShownHere()


def install(ip: Any) -> None:
    """Have `ip` show a `Reply` as its bundle, and not at all where the same cell has just shown it."""
    ip.display_formatter.ipython_display_formatter.for_type(Reply, _show)


def uninstall(ip: Any) -> None:
    """Undo `install`."""
    ip.display_formatter.ipython_display_formatter.pop(Reply, None)


def _show(reply: Reply) -> None:
    if _shown_here.has(reply):
        return
    if is_terminal():
        _Terminal(updates=False).finish(reply)
        return
    data, metadata = bundle(reply)
    display(data, raw=True, metadata=metadata)
