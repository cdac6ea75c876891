"""What each model of the demo provider says. None of them is a model: all of it is looked up or made by rule."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nbllm.transport.demo.guide import reply_from_guide
from nbllm.transport.demo.schema import instance_of

LABEL = "*demo: no model is behind this answer*"
"""Stands at the head of every text, so that a cut answer has it too."""

MODELS: Mapping[str, str] = {
    "guide": "answers questions about nbllm from its own documentation",
    "echo": "shows exactly what it was sent",
    "slow": "tells a story for about a minute: something to interrupt",
    "tools": "calls the first tool that is offered, then reports its result",
    "cut": "breaks off in the middle, without saying that it is done",
    "error-429": "refuses twice, asks for a second each time, then answers",
    "error-401": "refuses the key",
}
"""Model id to its purpose."""

SLOW_FACTOR = 12.5
"""`slow` takes this many times the pace for each word: ten words a second at the default pace."""

_SLOW_SENTENCES = 60
_RETRY_AFTER_S = 1
_REFUSALS = 2


class Refusal(Exception):
    """The demo answers with an error status."""

    def __init__(self, status: int, message: str, code: str, *, kind: str = "invalid_request_error",
                 headers: Mapping[str, str] | None = None) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.message, self.code, self.kind = status, message, code, kind
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Said:
    """An answer before it becomes bytes."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: Literal["stop", "length", "tool_calls"] = "stop"
    slowness: float = 1.0
    ends: Literal["clean", "cut"] = "clean"

    def first(self, limit: int) -> Said:
        """No more than `limit` words; calls that do not fit are cut as a real server cuts them."""
        reasoning = tokens(self.reasoning)[:limit]
        left = limit - len(reasoning)
        text = tokens(self.text)[:left]
        left -= len(text)
        calls: list[Call] = []
        for call in self.calls:
            arguments = tokens(call.arguments)[:left]
            left -= len(arguments)
            if arguments:
                calls.append(replace(call, arguments="".join(arguments)))
        short = replace(self, reasoning="".join(reasoning), text="".join(text), calls=tuple(calls))
        return self if short == self else replace(short, finish_reason="length", ends="clean")


def tokens(text: str) -> list[str]:
    """The text in words, each with the space after it. The demo counts one token for each."""
    return re.findall(r"\s*\S+(?:\s+(?=\S)|\s*$)|\s+$", text)


def say(request: Mapping[str, Any], *, refused: int = 0) -> Said:
    """What the model of this request says.

    Args:
        request: The body of Chat Completions.
        refused: How often the same request was refused before.

    Raises:
        Refusal: The model's answer is an error.
    """
    model = request.get("model")
    speak = _SPEAKERS.get(model) if isinstance(model, str) else None
    if speak is None:
        raise Refusal(404, f"demo: there is no model {model!r}; there are {', '.join(MODELS)}", "model_not_found")
    return speak(request, refused)


def count_tokens(request: Mapping[str, Any]) -> int:
    """Words of all messages' texts: the demo's own way of counting, and a true count of it."""
    return sum(len(tokens(text_of(m))) for m in request["messages"])


# ---------------------------------------------------------------- reading the request


@dataclass(frozen=True, slots=True)
class Attached:
    """An attachment as it came over the wire."""

    kind: str
    media_type: str
    size: int
    """Bytes."""
    name: str | None = field(default=None)

    def __str__(self) -> str:
        name = f"{self.name}, " if self.name else ""
        return f"{self.kind} ({name}{self.media_type}, {self.size:,} bytes)"


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, whose content may be a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(p.get("text", "")) for p in parts if isinstance(p, dict) and p.get("type") == "text")


def attachments_of(messages: list[dict[str, Any]]) -> Iterator[Attached]:
    """What is attached to the messages, in order."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and part.get("type") != "text":
                yield _attached(part)


def _attached(part: Mapping[str, Any]) -> Attached:
    kind = str(part.get("type"))
    inner = part.get(kind)
    inner = inner if isinstance(inner, dict) else {}
    data = str(inner.get("url") or inner.get("file_data") or inner.get("data") or "")
    head, comma, payload = data.partition(",")
    media_type = head.removeprefix("data:").partition(";")[0] if comma else "unknown type"
    encoded = payload if comma else data
    size = len(encoded) * 3 // 4 - encoded[-2:].count("=")
    return Attached(kind.removesuffix("_url"), media_type, size, inner.get("filename"))


def _questions(request: Mapping[str, Any]) -> list[str]:
    return [text_of(m).strip() for m in request["messages"] if m.get("role") == "user"]


def _tools(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    offered = request.get("tools")
    functions = [t.get("function") for t in offered if isinstance(t, dict)] if isinstance(offered, list) else []
    return [f for f in functions if isinstance(f, dict) and f.get("name")]


def _labelled(*paragraphs: str) -> str:
    return "\n\n".join((LABEL, *(p for p in paragraphs if p)))


# ---------------------------------------------------------------- the models


def _guide(request: Mapping[str, Any], refused: int) -> Said:
    made = _answer_in_json(request)
    if made is not None:
        return made
    questions = _questions(request)
    notes = [f"You attached {a}. The guide cannot look at it; `demo/echo` shows what arrived."
             for a in attachments_of(request["messages"][-1:])]  # fmt: skip
    if _tools(request):
        notes.append("You offered a tool. The guide calls none; `demo/tools` does.")
    return Said(text=_labelled(*notes, reply_from_guide(questions)))


def _answer_in_json(request: Mapping[str, Any]) -> Said | None:
    """The smallest thing that fits the schema. JSON has no room for the label, so the reasoning has it."""
    wanted = request.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("json_schema", "json_object"):
        return None
    named = wanted.get("json_schema") if isinstance(wanted, dict) else None
    schema = named.get("schema") if isinstance(named, dict) else None
    made = instance_of(schema) if isinstance(schema, dict) else {"demo": "no model is behind this answer"}
    why = "The answer is the smallest value that fits the schema; nothing was understood."
    return Said(text=json.dumps(made, ensure_ascii=False), reasoning=_labelled(why))


def _echo(request: Mapping[str, Any], refused: int) -> Said:
    sent = json.dumps(_without_payloads(request), indent=2, ensure_ascii=False)
    longest = max((len(run) for run in re.findall(r"`+", sent)), default=0)
    fence = "`" * max(3, longest + 1)
    attached = "\n".join(f"- {a}" for a in attachments_of(request["messages"]))
    return Said(text=_labelled("This is what arrived:", f"{fence}json\n{sent}\n{fence}",
                               f"Attachments:\n\n{attached}" if attached else ""))  # fmt: skip


def _without_payloads(value: Any) -> Any:
    """The same JSON with the bytes of attachments as their length, which is what a person can read."""
    if isinstance(value, Mapping):
        return {k: _without_payloads(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_payloads(v) for v in value]
    if isinstance(value, str) and value.startswith("data:") and ";base64," in value[:200]:
        head, _, payload = value.partition(",")
        return f"{head},<{len(payload):,} characters of base64>"
    return value


def _slow(request: Mapping[str, Any], refused: int) -> Said:
    sentences = [
        f"Part {n} of {_SLOW_SENTENCES} of a slow story: one more line came down the wire."
        for n in range(1, _SLOW_SENTENCES + 1)
    ]
    start = "This takes about a minute; stop it whenever you like, and what arrived stays."
    return Said(text=_labelled(start, "\n".join(sentences)), slowness=SLOW_FACTOR)


def _cut(request: Mapping[str, Any], refused: int) -> Said:
    text = "The connection breaks in the middle of this sentence, before the answer has said that it is"
    return Said(text=_labelled(text), ends="cut")


def _error_429(request: Mapping[str, Any], refused: int) -> Said:
    if refused % (_REFUSALS + 1) < _REFUSALS:
        raise Refusal(
            429,
            f"demo: rate limit reached, try again in {_RETRY_AFTER_S}s",
            "rate_limit_exceeded",
            kind="rate_limit_error",
            headers={"retry-after": str(_RETRY_AFTER_S)},
        )
    return Said(text=_labelled(
        f"This request was refused {_REFUSALS} times with status 429 and `Retry-After: {_RETRY_AFTER_S}`. "
        "You saw the countdown; the next attempt came through. The same request starts over when you ask again."
    ))  # fmt: skip


def _error_401(request: Mapping[str, Any], refused: int) -> Said:
    raise Refusal(401, "demo: this model refuses every key", "invalid_api_key", kind="authentication_error")


def _use_tools(request: Mapping[str, Any], refused: int) -> Said:
    results = _results(request["messages"])
    if results:
        return Said(text=_labelled("The tool gave back:", *results))
    offered = _tools(request)
    if not offered or request.get("tool_choice") == "none":
        return Said(
            text=_labelled("No tool was offered. Try `%%chat demo/tools --tool NAME` with a function of yours.")
        )
    first = _chosen(offered, request.get("tool_choice"))
    schema = first.get("parameters")
    made = instance_of(schema, usual=3) if isinstance(schema, dict) else {}
    arguments = json.dumps(made, ensure_ascii=False)
    name = str(first["name"])
    call_id = "call_demo_" + hashlib.sha256(f"{name}{arguments}".encode("utf-8", "replace")).hexdigest()[:12]
    return Said(reasoning=LABEL, calls=(Call(call_id, name, arguments),), finish_reason="tool_calls")


def _chosen(offered: list[dict[str, Any]], choice: Any) -> dict[str, Any]:
    """The tool that `tool_choice` names, else the first."""
    function = choice.get("function") if isinstance(choice, dict) else None
    wanted = function.get("name") if isinstance(function, dict) else None
    return next((f for f in offered if f["name"] == wanted), offered[0])


def _results(messages: list[dict[str, Any]]) -> list[str]:
    """What the tools gave back since the user last spoke."""
    found: list[str] = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        found.append(f"```text\n{text_of(message)}\n```")
    return found[::-1]


_SPEAKERS: Mapping[str, Callable[[Mapping[str, Any], int], Said]] = {
    "guide": _guide,
    "echo": _echo,
    "slow": _slow,
    "tools": _use_tools,
    "cut": _cut,
    "error-429": _error_429,
    "error-401": _error_401,
}
