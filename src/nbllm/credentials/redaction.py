"""Takes keys out of texts: messages, log records, bodies that are stored.

Two sieves. The keys that this process holds are removed in every form in which servers and libraries are known to
echo them, whole and in pieces of twelve characters or more. What merely looks like a key, or stands where one
belongs, is removed by pattern; patterns miss things, so no text of a 401 is shown at all (see `adapters/bodies`).
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
import string
import traceback
import weakref
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any
from urllib.parse import quote, quote_plus

from nbllm.credentials.secret import Secret, alive

MASK = "****"
WINDOW = 12
"""Characters of a key that must not appear in a row."""
LOGGERS = ("nbllm", "httpx2", "httpcore2", "httpx", "httpcore", "openai", "asyncio")
"""Loggers, with all below them, whose records are cleaned. asyncio reports what a task raised."""

_WHOLE_WORD_BELOW = 8
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

Span = tuple[int, int]
Finder = Callable[[str, frozenset[str]], list[Span]]


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    """`text` without keys: those in `secrets`, those this process holds, and what looks like one.

    Each is replaced by `****`; a text without any comes back as it is.
    """
    # Both look at the text as it came: what one of them masks could be the half that the other knows a key by.
    return _masked(text, [*_known_spans(text, [*secrets, *alive()]), *_pattern_spans(text)])


def without_key(body: bytes, key: str) -> bytes:
    """A long answer without this key in any form of twelve bytes or more; `redact` is for texts of a line or a page."""
    for form in sorted(_forms(key), key=len, reverse=True):
        if len(form) >= WINDOW:
            body = body.replace(form.encode(), MASK.encode())
    return body


def holds_secret(text: str) -> bool:
    """Whether a text that is to be kept has a key in it: one that this process holds, or what looks like one.

    Keys shorter than 12 characters do not count: they are words such as `lm-studio`, which local servers take.
    """
    folded = text.translate(_LOWER)
    windows = frozenset(folded[i : i + WINDOW] for i in range(len(folded) - WINDOW + 1))
    known = (secret for secret in alive() if len(secret.reveal()) >= WINDOW)
    return any(_finder(secret)(folded, windows) for secret in known) or bool(_pattern_spans(text))


def looks_like_key(text: str) -> bool:
    """Whether a text typed as an argument is probably a key: to be refused, and never echoed."""
    text = text.strip()
    return bool(_PREFIXED.fullmatch(text) or _JWT.fullmatch(text) or _is_random(text))


class Redactor(logging.Filter):
    """Cleans texts and log records; as a filter it may also be put on a handler."""

    def __call__(self, text: str, secrets: Iterable[Secret] = ()) -> str:
        """The same as `redact`."""
        return redact(text, secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record; it is never dropped."""
        clean_record(record)
        return True


redactor = Redactor()


# ---------------------------------------------------------------- keys that are known


def _known_spans(text: str, secrets: Iterable[Secret]) -> list[Span]:
    folded = text.translate(_LOWER)  # one character stays one character, so positions hold
    windows = frozenset(folded[i : i + WINDOW] for i in range(len(folded) - WINDOW + 1))
    spans: list[Span] = []
    for secret in secrets:
        spans += _finder(secret)(folded, windows)
    return spans


def _masked(text: str, spans: list[Span]) -> str:
    parts, done = [], 0
    for start, end in _joined(spans):
        parts += [text[done:start], MASK]
        done = end
    return "".join([*parts, text[done:]])


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


_finders: weakref.WeakKeyDictionary[Secret, Finder] = weakref.WeakKeyDictionary()


def _finder(secret: Secret) -> Finder:
    found = _finders.get(secret)
    if found is None:
        found = _finders[secret] = _make_finder(secret)
    return found


def _make_finder(secret: Secret) -> Finder:
    """A function that finds the secret's forms. They live in its closure, where no repr shows them."""
    forms = {form.translate(_LOWER) for form in _forms(secret.reveal())}
    pieces = frozenset(form[i : i + WINDOW] for form in forms for i in range(len(form) - WINDOW + 1))
    short = [form for form in forms if len(form) < WINDOW]

    def find(folded: str, windows: frozenset[str]) -> list[Span]:
        spans = [span for form in short for span in _occurrences(form, folded)]
        if not pieces.isdisjoint(windows):
            starts = (i for i in range(len(folded) - WINDOW + 1) if folded[i : i + WINDOW] in pieces)
            spans += [(i, i + WINDOW) for i in starts]
        return spans

    return find


def _occurrences(form: str, folded: str) -> list[Span]:
    pattern = re.escape(form)
    if len(form) < _WHOLE_WORD_BELOW:  # local servers take keys such as "none"; they must not eat into words
        pattern = rf"(?<![a-z0-9]){pattern}(?![a-z0-9])"
    return [match.span() for match in re.finditer(pattern, folded)]


def _forms(key: str) -> set[str]:
    """The key as it may stand in a text. Case does not matter: it is folded on both sides."""
    raw = key.encode()
    forms = {
        key,
        repr(key)[1:-1],
        html.escape(key),
        json.dumps(key)[1:-1],
        json.dumps(key, ensure_ascii=False)[1:-1],
        json.dumps(key)[1:-1].replace("/", "\\/"),  # PHP
        "".join(c if c.isalnum() or c in "-._~" else f"\\u{ord(c):04x}" for c in key),  # Go, .NET
        raw.hex(),
    }
    for once in (quote(key, safe=""), quote(key), quote_plus(key)):
        forms |= {once, quote(once, safe="")}
    if len(raw) >= _WHOLE_WORD_BELOW:
        forms |= _base64_forms(raw)
    return {form for form in forms if form}


def _base64_forms(raw: bytes) -> set[str]:
    """The key inside a longer text that was encoded, as in `Basic user:key`: one form for each alignment."""
    forms = set()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw).decode()
        first = (0, 2, 3)[shift]  # characters that also depend on what stands before
        last = len(encoded.rstrip("=")) - (1 if (shift + len(raw)) % 3 else 0)  # and on what stands behind
        inner = encoded[first:last]
        forms |= {inner, inner.replace("+", "-").replace("/", "_"), quote(inner, safe="")}
    return forms


# ---------------------------------------------------------------- what looks like a key

_PREFIXED = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        (?:sk|pk|rk|gsk|xai|pplx|nvapi|fw|csk|tgp|esecret|jina|r8|hf|glpat|ghp|gho|ghs|key)[-_][A-Za-z0-9_-]{12,}
      | github_pat_[A-Za-z0-9_]{20,}
      | AIza[A-Za-z0-9_-]{20,}
      | AQ\.[A-Za-z0-9_-]{20,}
      | AKIA[A-Z0-9]{16}
    )""",
    re.VERBOSE,
)
_JWT = re.compile(r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
_HEADER = re.compile(
    r"""(?i)(
        (?<![a-z0-9])(?:proxy-)?authorization|(?<![a-z0-9])(?:x-|x-goog-|[a-z]+-)?api[-_]?key|
        (?<![a-z0-9])(?:access_token|set-cookie|cookie)
    )
    (["']{0,2}\)?\s*[:=,]\s*b?\\?["']?)((?:bearer|basic|api-key|token|key)\s+)?([^\s"',;&<>)}\]]+)""",
    re.VERBOSE,
)
_SCHEME = re.compile(r"(?i)(?<![a-z0-9])(bearer|basic)(\s+)([A-Za-z0-9_~+/=.:-]{8,})")
_QUERY = re.compile(r"(?i)([?&](?:key|api[-_]?key|token|access_token)=)([^\s&#\"']+)")


def _pattern_spans(text: str) -> list[Span]:
    spans = [(m.end(1), m.end()) for m in _QUERY.finditer(text)]
    spans += [m.span(4) for m in _HEADER.finditer(text) if _is_token(m[4])]
    spans += [m.span(3) for m in _SCHEME.finditer(text) if _is_token(m[3])]
    spans += [m.span() for m in _JWT.finditer(text)]
    spans += [m.span() for m in _PREFIXED.finditer(text) if _is_token(m[0])]
    return [(start, end) for start, end in spans if text[start:end] != MASK]


def _is_token(value: str) -> bool:
    """Not a word of a sentence such as `api-key: required`."""
    return len(value) >= 8 and (any(c.isdigit() for c in value) or len(value) >= 24)


def _is_random(text: str) -> bool:
    """Letters and digits in an order in which no name, path or model id has them."""
    if re.fullmatch(r"[0-9a-fA-F]{16,}", text):
        return len(re.findall(r"[a-fA-F]", text)) >= 3 and len(re.findall(r"[0-9]", text)) >= 3
    kinds = ["d" if c.isdigit() else "u" if c.isupper() else "l" for c in text if c.isalnum()]
    changes = sum(one != other for one, other in pairwise(kinds))
    # In random text small letters, capitals and digits change places at 0.6 of the steps, in CamelCase at 0.3.
    return len(kinds) >= 20 and not re.search(r"\s", text) and {"u", "l"} <= set(kinds) and changes >= 0.4 * len(kinds)


# ---------------------------------------------------------------- log records

_Factory = Callable[..., logging.LogRecord]
_installed: tuple[_Factory, _Factory] | None = None


def install_log_filter() -> None:
    """Clean every record of the loggers in `LOGGERS` and of all below them. Calling it again changes nothing.

    A filter on a logger does not see the records of its children, and children appear later; so the place where
    all records are made, the record factory, is wrapped, and whichever handler takes them gets clean ones.
    """
    global _installed
    if _installed is not None:
        return
    before = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        if _installed is not None and record.name.partition(".")[0] in LOGGERS:
            clean_record(record)
        return record

    _installed = before, make
    logging.setLogRecordFactory(make)


def uninstall_log_filter() -> None:
    """Undo `install_log_filter`, also when another library has wrapped the factory since."""
    global _installed
    if _installed is not None and logging.getLogRecordFactory() is _installed[1]:
        logging.setLogRecordFactory(_installed[0])
    _installed = None  # a factory of ours that others still call passes everything through


def clean_record(record: logging.LogRecord) -> None:
    """Replace message, arguments and traceback by text without keys."""
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that do not fit: logging would print them raw
        message = f"{record.msg} (arguments left out: they do not fit)"
    clean = redact(message)
    if clean != message or record.args:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[1] is not None:
        # Formatters print `exc_text`; the exception itself may hold a request with its headers.
        record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        record.exc_info = None
    if record.stack_info:
        record.stack_info = redact(record.stack_info)
