"""From an error's body, in whichever of the many shapes, to the right error with the server's own words.

Nothing here raises: a body that cannot be read still makes an error with status, request id and a hint.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbllm.adapters import signals
from nbllm.adapters.signals import Said
from nbllm.credentials.redaction import redact
from nbllm.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    ModelNotFoundError,
    OverloadedError,
    ProviderError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)
from nbllm.foreign import one_line
from nbllm.transport.faults import redirected
from nbllm.transport.retry import is_retryable, retry_after_s

EXCERPT = 500
"""Characters of a server's words that an error keeps."""

REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-amzn-requestid",
    "x-goog-request-id",
    "cf-ray",
)

_ANSWER_KEYS = frozenset({"choices", "content", "candidates", "models", "data", "output", "response", "done", "delta"})
_GENERIC = re.compile(r"(provider returned error|upstream error|error|internal error|bad request)\.?", re.IGNORECASE)
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_DEPTH = 4  # an error inside an error inside ...; OpenRouter has two levels


# ---------------------------------------------------------------- the public things


def error_from_response(
    *, provider: str, status: int, headers: Mapping[str, str], body: bytes, model: str | None
) -> ProviderError:
    """The error that a response with a status other than 2xx stands for.

    Args:
        provider: The provider's id.
        status: The HTTP status.
        headers: The response's headers; names in lower case, or a mapping that does not mind.
        body: The body, capped by the caller.
        model: The model that was asked for; None for a listing.
    """
    if 300 <= status < 400:
        return redirected(provider=provider, status=status, url="", headers=headers)
    payload = _parse(body)
    said = read_error(payload)
    return _classify(said, provider=provider, status=status, headers=headers, model=model, payload=payload)


def error_in_body(payload: Any) -> bool:
    """Whether a decoded 200 body, or an event of a stream, is an error in disguise."""
    if isinstance(payload, list):
        return bool(payload) and isinstance(payload[0], dict) and bool(payload[0].get("error"))
    if not isinstance(payload, dict):
        return False
    if payload.get("error") or payload.get("type") == "error" or payload.get("object") == "error":
        return True
    if payload.keys() & _ANSWER_KEYS:
        return False
    return isinstance(payload.get("message"), str) or "detail" in payload or "error_description" in payload


def error_from_payload(
    payload: Any, *, provider: str, headers: Mapping[str, str], model: str | None, status: int = 200
) -> ProviderError:
    """The error that a decoded body or event stands for, when `error_in_body` said that it is one."""
    said = read_error(payload)
    return _classify(said, provider=provider, status=status, headers=headers, model=model, payload=payload)


def request_id(headers: Mapping[str, str], payload: Any = None) -> str | None:
    """The provider's own id of this request, for its support."""
    for name in REQUEST_ID_HEADERS:
        if found := headers.get(name):
            return one_line(found, 120)
    if isinstance(payload, dict) and isinstance(payload.get("request_id"), str):
        return one_line(payload["request_id"], 120)
    return None


# ---------------------------------------------------------------- reading the body


def _parse(body: bytes) -> Any:
    """JSON where it is JSON, the error event where it is an event stream, else the text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _from_event_stream(text) or text


def _from_event_stream(text: str) -> Any:
    # litellm answers a refused stream with its status and `data: {"error": ...}`.
    for line in text.splitlines():
        name, _, data = line.partition(":")
        if name == "data" and data.strip().startswith("{"):
            try:
                return json.loads(data)
            except (ValueError, RecursionError):
                return None
    return None


def read_error(payload: Any) -> Said:
    """The words and codes of an error, in whichever shape it came."""
    words, marks, status = "", [], None
    for level in _levels(payload):
        found = _words(level)
        # An inner level is nearer to the cause; it counts unless it only says "error".
        if found and not (words and _GENERIC.fullmatch(found)):
            words = found
        marks += _marks(level)
        for key in ("code", "status", "statusCode", "status_code"):
            status = status or signals.as_status(level.get(key) if isinstance(level, dict) else None)
    return Said(words=_excerpt(words), marks=" ".join(dict.fromkeys(marks)), status=status)


def _levels(payload: Any) -> Iterator[Any]:
    """The payload and what it wraps, outermost first."""
    for _ in range(_DEPTH):
        if isinstance(payload, list) and payload and isinstance(payload[0], dict) and "msg" not in payload[0]:
            payload = payload[0]
        yield payload
        inner = _inner(payload)
        if inner is None:
            return
        payload = inner


def _inner(level: Any) -> Any:
    if not isinstance(level, dict):
        return None
    if level.get("error"):
        return level["error"]
    metadata = level.get("metadata")
    if isinstance(metadata, dict) and metadata.get("raw"):  # OpenRouter: the upstream's own body, as text or as JSON
        raw = metadata["raw"]
        return _parse(raw.encode("utf-8", "replace")) if isinstance(raw, str) else raw
    for key in ("innererror", "detail", "message"):  # Azure, FastAPI, Mistral
        if isinstance(level.get(key), dict):
            return level[key]
    return None


def _words(level: Any) -> str:
    if isinstance(level, str):
        return _plain_text(level)
    if isinstance(level, list):
        return _validation_words(level)
    if not isinstance(level, dict):
        return ""
    for key in ("message", "detail", "error_description", "msg", "reason"):
        value = level.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list):
            return _validation_words(value)
    return ""


def _validation_words(rows: list[Any]) -> str:
    """FastAPI's and Mistral's lists: `body.temperature: must be a number; ...`."""
    said = []
    for row in rows[:10]:
        if isinstance(row, dict):
            place = ".".join(str(p) for p in row.get("loc", ()) if isinstance(p, (str, int)))
            text = str(row.get("msg") or row.get("message") or "")
            said.append(f"{place}: {text}" if place else text)
        elif isinstance(row, str):
            said.append(row)
    return "; ".join(s for s in said if s)


def _plain_text(text: str) -> str:
    if "<" not in text[:2000]:
        return text
    title = _TITLE.search(text[:20_000])
    if title and title[1].strip():
        return html.unescape(title[1])
    return html.unescape(_TAG.sub(" ", text[:20_000]))


def _marks(level: Any) -> list[str]:
    if not isinstance(level, dict):
        return []
    keys = ("code", "type", "status", "param", "error_type", "reason", "object")
    marks = [str(level[k]).lower().replace(" ", "_")[:80] for k in keys if isinstance(level.get(k), (str, int))]
    details = level.get("details")
    if isinstance(details, list):  # Google puts API_KEY_INVALID there
        marks += [str(d["reason"]).lower()[:80] for d in details[:10] if isinstance(d, dict) and d.get("reason")]
    return marks


def _excerpt(words: str) -> str:
    return one_line(redact(words[:20_000]), EXCERPT)


def _as_text(payload: Any) -> str:
    try:
        return payload if isinstance(payload, str) else json.dumps(payload, default=str)
    except (ValueError, RecursionError):
        return ""


# ---------------------------------------------------------------- which class


def _classify(
    said: Said, *, provider: str, status: int, headers: Mapping[str, str], model: str | None, payload: Any
) -> ProviderError:
    effective = status
    if 200 <= status < 300:
        effective = said.status or signals.status_of_marks(said.marks) or 200
    wait = retry_after_s(headers, _as_text(payload))
    kind = _class_of(said, effective, hinted=wait is not None)
    shown = effective if said.status or status >= 300 else status
    facts: dict[str, Any] = {
        "provider": provider,
        "status": shown,
        "request_id": request_id(headers, payload),
        "retry_after_s": wait,
        "retryable": _retryable(kind, effective, headers),
        "hint": _hint(kind, said, provider=provider, model=model),
    }
    if kind is AuthenticationError:  # own words: servers echo keys, even masked
        return kind(_refused(provider, shown, said), **facts)
    message = f"{provider} {_VERB[kind]} ({shown})"
    return kind(f"{message}: {said.words}" if said.words else message, body=said.words or None, **facts)


def _class_of(said: Said, status: int, *, hinted: bool) -> type[ProviderError]:
    if status in (401, 403):
        return AuthenticationError
    if status == 402:
        return QuotaError
    if status == 429:
        spent = signals.QUOTA_MARK.search(said.marks) or (signals.QUOTA_WORDS.search(said.all) and not hinted)
        return QuotaError if spent else RateLimitError
    if status == 529 or signals.OVERLOADED.search(said.marks):
        return OverloadedError
    if status in (400, 404, 413, 422):
        return _class_of_refusal(said, status)
    if status >= 500 or status < 300:
        return _class_of_failure(said, status)
    return ProviderError


def _class_of_refusal(said: Said, status: int) -> type[ProviderError]:
    everything = said.all
    if signals.KEY_REFUSED.search(everything):
        return AuthenticationError
    if signals.QUOTA_MARK.search(said.marks) or signals.QUOTA_WORDS.search(everything):
        return QuotaError
    if signals.CONTEXT_LENGTH.search(everything):
        return ContextLengthError
    if signals.CONTENT_FILTER.search(everything):
        return ContentFilterError
    if signals.IMAGE_REFUSED.search(everything):
        return UnsupportedError
    if status == 404 or signals.MODEL_MISSING.search(everything):
        return ModelNotFoundError
    return UnsupportedError if signals.UNSUPPORTED.search(everything) else BadRequestError


def _class_of_failure(said: Said, status: int) -> type[ProviderError]:
    """5xx, and errors in a 200 that name no status. Some servers answer 500 to what is the request's own fault."""
    if signals.CONTEXT_LENGTH.search(said.all):
        return ContextLengthError
    if signals.IMAGE_REFUSED.search(said.all) or status == 501:
        return UnsupportedError
    if status < 300:
        refused = _class_of_refusal(said, status)
        return ServerError if refused is BadRequestError else refused
    return ServerError


def _retryable(kind: type[ProviderError], status: int, headers: Mapping[str, str]) -> bool:
    if issubclass(kind, (AuthenticationError, QuotaError, BadRequestError, ModelNotFoundError)):
        return False
    return kind.retryable_by_default if status < 300 else is_retryable(status, headers)


_VERB: Mapping[type[ProviderError], str] = {
    QuotaError: "has no credit left for this account",
    ModelNotFoundError: "does not offer this",
    RateLimitError: "asks to slow down",
    ContextLengthError: "cannot fit the prompt into the model's context",
    ContentFilterError: "refused by its content filter",
    UnsupportedError: "cannot do what was asked",
    BadRequestError: "refused the request",
    OverloadedError: "has no capacity at the moment",
    ServerError: "failed",
    ProviderError: "answered with an error",
}


def _refused(provider: str, status: int, said: Said) -> str:
    if status == 403:
        return f"{provider} does not allow this request with this key (403)"
    return f"{provider} refused the key ({status})"


def _hint(kind: type[ProviderError], said: Said, *, provider: str, model: str | None) -> str:
    if kind is AuthenticationError:
        if signals.QUOTA_WORDS.search(said.all):
            return "the answer speaks of billing or credit: look at the account on the provider's site"
        return f"check the key, or give a new one with `%llm_providers key {provider}`"
    if kind is ModelNotFoundError:
        if model is not None and (signals.MODEL_MISSING.search(said.all) or "model" in said.all):
            return f"`%llm_providers models {provider}` shows what it offers; {one_line(model, 80)!r} was asked for"
        return f"check the base URL with `%llm_providers show {provider}`, and the model's id"
    return _HINTS[kind].format(provider=provider)


_HINTS: Mapping[type[ProviderError], str] = {
    QuotaError: "add credit on the provider's site, or use another provider",
    RateLimitError: "wait, ask for less at once, or set a rate limit for {provider}",
    ContextLengthError: "shorten the prompt, start afresh with --new, or take a model with more context",
    ContentFilterError: "change the prompt, or use another model",
    UnsupportedError: "leave that option out, or use a model that has it",
    BadRequestError: "look at the options with --dry-run",
    OverloadedError: "try again in a while, or use another model",
    ServerError: "try again; if it stays, look at the provider's status page",
    ProviderError: "try again; if it stays, run `%llm_providers test {provider}`",
}
