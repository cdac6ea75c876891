"""What can be asked for with a question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """Everything that `%%chat`, `nbllm.chat` and `nbllm chat` have in common. None: not said."""

    model: str | None = None
    """A model reference; None: the default model."""
    system: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    attachments: Sequence[Any] = ()
    """Paths or objects; `(name, object)` pairs give the object a name."""
    tools: Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]] = ()
    max_rounds: int | None = None
    schema: Any = None
    schema_name: str | None = None
    conversation: str = "main"
    new: bool = False
    history: bool = True
    append: bool = False
    cell: str | None = None
    """The id of the cell that asks, so that running it again branches from where it stood."""
    stream: bool = True
