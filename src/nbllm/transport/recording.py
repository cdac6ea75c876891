"""An exchange with a provider as one line of JSON, for people to review and to answer from.

A line begins with its format, the hash of its request, and the run that wrote it, so that a file can be opened by
looking at the beginnings of its lines (`recording_file`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1
_LONG = 1000
"""A text of base64 this long is a picture or a file: its digest stands for it."""
_BASE64 = re.compile(r"(data:[\w./+-]+;base64,)?[A-Za-z0-9+/_-]+={0,2}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as far as an answer depends on it: no key, no header, no host."""

    provider: str
    """The row's id. It is part of the hash, the address is not: servers of this machine change their ports."""
    method: str
    path: str
    """Behind the origin, with its query."""
    body: Any
    """JSON; what is long and base64 is replaced by its digest."""

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON."""
        return hashlib.sha256(canonical(self.as_json() | {"provider": self.provider}).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """What stands under `request` in a line."""
        return {"method": self.method, "path": self.path, "body": self.body}


def canonical(value: Any) -> str:
    """JSON with sorted keys and without spaces: the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def asked(provider: str, method: str, path: str, content: bytes) -> Asked | None:
    """The request, or None when its body is no JSON object."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return Asked(provider, method, path, _shortened(body)) if isinstance(body, dict) else None


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _shortened(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_shortened(v) for v in value]
    if isinstance(value, str) and len(value) > _LONG and _BASE64.fullmatch(value):
        return f"base64, {len(value)} characters, sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    return value


@dataclass(slots=True)
class Exchange:
    """One request and what came back."""

    asked: Asked
    run: str
    when: str
    """UTC, ISO 8601."""
    origin: str
    status: int
    headers: Mapping[str, str]
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    """Milliseconds since the request was sent, and the bytes that came then."""
    ends: str = "complete"
    """`complete`, `closed` (we had all and hung up), or `broken`."""
    failure: Mapping[str, str] | None = None
    """How a broken one broke: `error`, `message`, `hint`, `phase`."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def day(self) -> str:
        """When it was recorded, as it is shown."""
        return self.when[:10]

    def to_line(self) -> str:
        """The line, without its end."""
        return json.dumps(
            {
                "nbllm_replay": FORMAT,
                "hash": self.asked.hash,
                "run": self.run,
                "provider": self.asked.provider,
                "when": self.when,
                "origin": self.origin,
                "request": self.asked.as_json(),
                "status": self.status,
                "headers": dict(self.headers),
                "chunks": _as_text(self.chunks),
                "ends": self.ends,
                "failure": self.failure,
                "usage": usage_in(self.chunks),
                "versions": dict(self.versions),
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )


def _as_text(chunks: list[tuple[float, bytes]]) -> list[Any]:
    """Pieces of text; where a piece ends inside a character, the bytes in hex, so that nothing is changed."""
    rows: list[Any] = []
    for at, piece in chunks:
        try:
            rows.append([round(at, 1), piece.decode()])
        except UnicodeDecodeError:
            rows.append([round(at, 1), {"hex": piece.hex()}])
    return rows


def _as_bytes(rows: Any) -> list[tuple[float, bytes]]:
    return [(float(at), bytes.fromhex(p["hex"]) if isinstance(p, dict) else p.encode()) for at, p in rows]


def events_in(chunks: list[tuple[float, bytes]]) -> Iterator[Any]:
    """The JSON values in a body, whichever way they are separated."""
    body = b"".join(piece for _, piece in chunks).decode(errors="replace")
    try:
        yield json.loads(body)
        return
    except (ValueError, RecursionError):
        pass
    for line in body.splitlines():
        try:
            yield json.loads(line.removeprefix("data:").strip())
        except (ValueError, RecursionError):
            continue


def usage_in(chunks: list[tuple[float, bytes]]) -> dict[str, Any] | None:
    """The last count of tokens in an answer, in the provider's own words; None when there is none."""
    found: dict[str, Any] = {}
    for event in events_in(chunks):
        if not isinstance(event, dict):
            continue
        inner = event.get("message")
        for holder in (inner if isinstance(inner, dict) else {}, event):
            for name in ("usage", "usageMetadata"):
                if isinstance(holder.get(name), dict):
                    found |= holder[name]
        found |= {k: event[k] for k in ("prompt_eval_count", "eval_count") if isinstance(event.get(k), int)}
    return found or None


def said_in(chunks: list[tuple[float, bytes]]) -> str:
    """What the events of an answer say when their texts are put together: a key may come in pieces."""
    texts: dict[str, list[str]] = {}
    for event in events_in(chunks):
        for path, text in _texts(event, ""):
            texts.setdefault(path, []).append(text)
    return "\n".join("".join(pieces) for pieces in texts.values() if len(pieces) > 1)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)
    elif isinstance(value, str):
        yield path, value


def from_line(line: str | bytes) -> Exchange:
    """The exchange in a line.

    Raises:
        ValueError: It is broken, or of another format; the message says which.
    """
    try:
        row = json.loads(line)
        if row["nbllm_replay"] != FORMAT:
            raise ValueError(format_words(row["nbllm_replay"]))
        request = row["request"]
        return Exchange(
            asked=Asked(row["provider"], request["method"], request["path"], request["body"]),
            run=row["run"],
            when=row["when"],
            origin=row.get("origin", ""),
            status=int(row["status"]),
            headers={str(k): str(v) for k, v in row["headers"].items()},
            chunks=_as_bytes(row["chunks"]),
            ends=row["ends"],
            failure=row.get("failure"),
            versions=row.get("versions") or {},
        )
    except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError):
        raise ValueError("is broken") from None


def format_words(found: Any) -> str:
    """What is wrong with a line of another format."""
    return f"is of format {found!r}, and this version of nbllm reads {FORMAT}: update nbllm"
