"""A conversation as it is shown and exported: plain data, a picture of one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbllm.foreign import escape, one_line
from nbllm.messages import Message, Role

_SHOWN_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and what came of it."""

    id: str
    parent_id: str | None
    """The exchange before it; None at the root."""
    messages: tuple[Message, ...]
    """What the user said, rounds of tools, the answer."""
    cell: str | None
    """The notebook cell that asked."""
    alone: bool
    """Whether it was asked without history, as a branch of its own."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Model, parameters, tokens and finish reason of the answer."""
    created_at: str = ""
    """ISO date and time, UTC."""

    @property
    def prompt(self) -> str:
        """What the user said."""
        return "\n\n".join(m.text for m in self.messages if m.role is Role.USER and m.text)

    @property
    def answer(self) -> str:
        """What the model said at last; empty when it said nothing."""
        return next((m.text for m in reversed(self.messages) if m.role is Role.ASSISTANT), "")


@dataclass(frozen=True, slots=True, repr=False)
class Conversation:
    """All exchanges of one name, and which of them lead to its head."""

    id: str
    name: str
    exchanges: tuple[Exchange, ...]
    """From the root to the head: what goes along with the next question."""
    branches: tuple[tuple[Exchange, ...], ...]
    """The other paths, oldest first, each from the root: earlier answers, and what was asked without history."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages from the root to the head."""
        return tuple(m for e in self.exchanges for m in e.messages)

    def __len__(self) -> int:
        return len(self.exchanges)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self.exchanges)

    def __getitem__(self, index: int) -> Exchange:
        return self.exchanges[index]

    def text(self) -> str:
        """The messages as text, each headed by who speaks. Without reasoning, tools and attachments."""
        return "\n\n".join(f"{m.role.value}: {m.text}" for m in self.messages if m.text)

    def __repr__(self) -> str:
        head = f"Conversation {one_line(self.name)!r}: {_count(len(self.exchanges), 'exchange', 'exchanges')}"
        head += f", {_count(len(self.branches), 'branch', 'branches')} beside" if self.branches else ""
        lines = [f"  {m.role.value}: {one_line(m.text, 100)}" for m in self.messages if m.text]
        return "\n".join((head, *lines))

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left;vertical-align:top'>{escape(m.role.value)}</th>"
            f"<td style='text-align:left'>{_lines(m.text)}</td></tr>"
            for m in self.messages
            if m.text
        )
        return f"<table><caption style='text-align:left'>{escape(self.name)}</caption><tbody>{rows}</tbody></table>"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _lines(text: str) -> str:
    cut = text[:_SHOWN_CHARS] + ("…" if len(text) > _SHOWN_CHARS else "")
    return "<br>".join(escape(line, _SHOWN_CHARS + 1) for line in cut.split("\n"))
