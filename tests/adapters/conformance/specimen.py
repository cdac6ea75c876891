"""What a wire format must be able to say, and the words in which the suite asks for it.

Each wire format has one module here, named as its kind, with a `SPECIMEN`: how a logical answer looks on that wire.
The suite (`test_conformance.py`) finds it by the kinds that `nbllm.adapters` knows.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbllm.adapters import BUNDLED
from nbllm.messages import FinishReason, Usage


@dataclass(frozen=True)
class Call:
    """A tool call; its arguments arrive in these pieces."""

    id: str
    name: str
    arguments: tuple[str, ...]

    @property
    def whole(self) -> str:
        """The arguments' text."""
        return "".join(self.arguments)


@dataclass(frozen=True)
class Logical:
    """An answer, whatever the wire."""

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    usage: Usage | None = None
    finish: FinishReason | None = FinishReason.STOP
    model: str = "tiny-2026"


@dataclass(frozen=True)
class Sent:
    """What a request's body says, whatever the wire."""

    system: str | None = None
    turns: tuple[tuple[str, str], ...] = ()
    """Role (`user`, `assistant`) and text, in order; turns without text are left out."""
    images: tuple[str, ...] = ()
    """base64"""
    results: tuple[tuple[str, str], ...] = ()
    """The tool's call id (its name, where the wire has no ids) and what it gave back."""
    tools: tuple[str, ...] = ()
    schema: Any = None
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class Specimen:
    """One wire format."""

    kind: str
    events: Callable[[Logical], list[bytes]]
    """The stream, an event (or a line) each; without the last ones it is unfinished."""
    document: Callable[[Logical], bytes]
    """The same answer as one JSON document."""
    refused: Callable[[str], bytes]
    """An error body with this sentence."""
    error_event: Callable[[str], bytes]
    """An error in the middle of a stream."""
    listing: Callable[[Sequence[str]], bytes]
    """The model listing."""
    sent: Callable[[dict[str, Any]], Sent]
    """What a request's body says."""
    zero_usage: Callable[[Logical], list[bytes]]
    """The stream with a usage that is all zero."""
    keepalive: tuple[bytes, ...] = ()
    """What servers send to keep a silent stream open."""
    end_events: int = 1
    """How many of the last events may be missing while the answer still counts as complete."""
    schema_call: bool = False
    """Whether an answer by schema travels as the call of a tool, named by the schema."""
    stream_kind: str = "text/event-stream"
    has_signed_reasoning: bool = False
    has_call_ids: bool = True
    has_cache_write: bool = False
    has_cache_read: bool = True
    finishes: tuple[FinishReason, ...] = field(
        default=(FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS, FinishReason.CONTENT_FILTER)
    )
    """The finish reasons that the wire can say."""


def specimens() -> list[Specimen]:
    """One for each adapter that comes with nbllm; a kind that shares its adapter needs none of its own."""
    found: dict[str, Specimen] = {}
    for kind, target in BUNDLED.items():
        if target not in found:
            if importlib.util.find_spec(f"adapters.conformance.wire_{kind}") is None:
                continue  # `test_every_adapter_has_a_specimen` says so
            module = importlib.import_module(f"adapters.conformance.wire_{kind}")
            found[target] = module.SPECIMEN
    return list(found.values())
