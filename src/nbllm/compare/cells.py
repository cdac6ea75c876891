"""The words of a comparison: arms, cases, cells, what is asked, what came, and who won.

A *cell* is one question: an arm (a model with one setting of parameters) x a case (a prompt) x a repeat. What is asked
and what came travel as plain data, so that an engine in another process can do the asking.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from nbllm.messages import ChatRequest, Usage, message_from_json, message_to_json

KEY_VERSION = 1
"""Goes into each key: another way to make keys must not find old cells."""

COLUMNS = (
    "cell_key", "prompt_id", "prompt", "vars", "model", "model_reported", "params", "repeat", "status", "text",
    "finish_reason", "error_type", "error", "ttft_ms", "latency_ms", "input_tokens", "cached_input_tokens",
    "output_tokens", "reasoning_tokens", "usage_source", "cost_usd", "price_version", "request_id", "started_at",
    "from_store",
)  # fmt: skip
"""The columns of `Comparison.cells`, in order; one for each scorer follows, and the judge's."""

Row = Mapping[str, Any]
"""One cell as a row: the columns above, and those of scorers."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A model with one setting of parameters: what is compared."""

    model: str
    """Its reference, `provider/model`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """As they are sent, `temperature` and `max_tokens` among them."""
    label: str = ""
    """What tables and pictures call it: the reference, and what is not the same in all arms of that model."""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.model)


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt, and the row of data that it was made of. `case["column"]` is a value of that row."""

    prompt_id: str
    prompt: str
    vars: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, column: str) -> Any:
        return self.vars[column]


@dataclass(frozen=True, slots=True)
class CellSpec:
    """What is asked in one cell. Holds no key and no client; `to_json` goes to another process."""

    key: str
    """SHA-256 over all that decides the answer; see `cell_key`."""
    request: ChatRequest

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        request = self.request
        fields = {name: getattr(request, name) for name in request.__dataclass_fields__ if name != "messages"}
        fields |= {
            "tools": [],
            "params": dict(request.params),
            "messages": [message_to_json(m) for m in request.messages],
        }
        return {"key": self.key, "request": fields}

    @classmethod
    def from_json(cls, shape: Mapping[str, Any]) -> CellSpec:
        """The reverse of `to_json`."""
        fields = dict(shape["request"])
        messages = tuple(message_from_json(m) for m in fields.pop("messages"))
        return cls(shape["key"], replace(ChatRequest("", "", messages), **fields | {"tools": ()}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one cell: an answer, or the error in its place. Plain data."""

    key: str
    status: Literal["ok", "error"]
    started_at: str
    """ISO, UTC."""
    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    model_reported: str | None = None
    usage: Usage = field(default_factory=Usage)
    ttft_ms: float | None = None
    latency_ms: float | None = None
    cost_usd: Decimal | None = None
    price_version: str | None = None
    request_id: str | None = None
    attempts: int = 1
    """Requests that were sent for it."""
    error_type: str | None = None
    """The class in `nbllm.errors`."""
    error: str | None = None
    """One line, redacted."""
    refused: bool = False
    """Whether the key was refused, so that no further cell of this provider can be answered."""
    replayed: str | None = None
    """The day of the recording that it comes from."""
    host: str | None = None
    """Of the base URL."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        shape = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "usage"}
        shape["cost_usd"] = None if self.cost_usd is None else str(self.cost_usd)
        shape["usage"] = {name: getattr(self.usage, name) for name in self.usage.__dataclass_fields__}
        return shape

    @classmethod
    def from_json(cls, shape: Mapping[str, Any]) -> Outcome:
        """The reverse of `to_json`; fields that are not known here are left out."""
        fields = {name: shape[name] for name in cls.__dataclass_fields__ if name in shape}
        cost = fields.get("cost_usd")
        fields["cost_usd"] = None if cost is None else Decimal(cost)
        fields["usage"] = Usage(**shape.get("usage", {}))
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Duel:
    """Two answers to the same prompt beside each other, and which was better."""

    prompt_id: str
    repeat: int
    a: str
    """The label of an arm."""
    b: str
    winner: Literal["a", "b", "tie"]
    source: Literal["judge", "vote", "score"] = "judge"
    consistent: bool | None = None
    """Whether a judge said the same in both orders; None: it was not asked twice."""
    reasons: tuple[str, ...] = ()


def cell_key(request: ChatRequest, *, address: str, repeat: int, copy: int = 0) -> str:
    """The key of a cell: the same for the same question, wherever it stands in whichever grid.

    Args:
        request: What is sent.
        address: The provider's base URL, or what else says who answers.
        repeat: From 0. Two repeats are two cells, so neither can be the other's answer.
        copy: From 0; counts prompts of one comparison that are the same to the letter.
    """
    shape = {**request.canonical(), "address": address, "repeat": repeat, "key_version": KEY_VERSION}
    if copy:
        shape["copy"] = copy
    text = json.dumps(shape, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
