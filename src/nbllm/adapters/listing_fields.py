"""The notation in which a row's `listing` names fields, and how their values are read.

A listing is foreign text: whatever stands in it, nothing here raises. A value that is not usable is None.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from nbllm.foreign import one_line

T = TypeVar("T")

_TOKENS_CAP = 10**10
"""A limit beyond this is no limit of tokens."""
_NAME_LENGTH = 200
_MODALITIES_CAP = 16
_EARLIEST, _LATEST = date(2000, 1, 1), date(2100, 1, 1)
_MISSING = object()
_SPLIT = re.compile(r"[^a-z0-9-]+")


# ---------------------------------------------------------------- paths


@functools.lru_cache(maxsize=4096)
def _alternatives(path: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(part.strip().split(".")) for part in path.split("|"))


def _walk(value: Any, keys: tuple[str, ...]) -> Any:
    for at, key in enumerate(keys):
        if not isinstance(value, dict):
            return _MISSING
        if key.endswith("[]"):
            value = value.get(key[:-2], _MISSING)
            rest = keys[at + 1 :]
            if not rest or not isinstance(value, list):
                return value
            return [None if (found := _walk(item, rest)) is _MISSING else found for item in value]
        value = value.get(key, _MISSING)
    return value


def pruned(path: str | None, keys: Collection[str]) -> str:
    """A path without the alternatives that begin with a key that no row has; most usual names are of this kind."""
    parts = (part.strip() for part in (path or "").split("|"))
    return " | ".join(part for part in parts if part.partition(".")[0].partition("=")[0].strip(" []") in keys)


def get_path(row: Any, path: str) -> Any:
    """The value at `a.b`, or at the first of `a | b` that is there and not null; else None.

    Behind a list (`a[].b`) it is the list of values, None where an item has none.
    """
    return next(values(row, path), None)


def values(row: Any, path: str | None) -> Iterator[Any]:
    """The value of each alternative of a path that is there and not null."""
    for keys in _alternatives(path) if path else ():
        value = _walk(row, keys)
        if value is not None and value is not _MISSING:
            yield value


def first_there(row: Any, path: str) -> Any:
    """As `get_path`, but a null counts as being there; `_MISSING` becomes an empty tuple."""
    for keys in _alternatives(path):
        value = _walk(row, keys)
        if value is not _MISSING:
            return value
    return ()


def first(row: Any, path: str | None, read: Callable[[Any], T | None]) -> T | None:
    """What `read` makes of the first alternative that it can use."""
    for value in values(row, path):
        found = read(value)
        if found is not None:
            return found
    return None


def agreed(found: Iterable[T | None], *, all_say: bool) -> T | None:
    """The one value that several upstreams give; None when they differ.

    Args:
        found: What each gives, None for nothing.
        all_say: Whether one that gives nothing leaves it unknown.
    """
    known = list(found)
    said = [value for value in known if value is not None]
    if not said or (all_say and len(said) < len(known)):
        return None
    return said[0] if all(value == said[0] for value in said) else None


# ---------------------------------------------------------------- values


def text(value: Any) -> str | None:
    """A text on one line; None when it is blank or no text."""
    if not isinstance(value, str) or not value.strip():
        return None
    return one_line(value.strip(), _NAME_LENGTH)


def count(value: Any) -> int | None:
    """A number of tokens; 0, null and nonsense are None. Behind a list: what its items agree on."""
    if isinstance(value, list):
        return agreed(map(count, value[:1000]), all_say=False)
    if isinstance(value, str) and len(value) < 12 and value.strip().isdecimal() and value.isascii():
        value = int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _TOKENS_CAP:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _TOKENS_CAP:
        return value
    return None


def day(value: Any, unit: str | None) -> str | None:
    """The ISO date of a moment: seconds or milliseconds since 1970, or ISO text. 0 and nonsense are None."""
    if unit == "request":
        return None
    if isinstance(value, str) and not value.strip().isdecimal():
        return _iso_day(value.strip())
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    if not 0 < seconds < 1e15:
        return None
    if unit == "ms" or (unit is None and seconds > 1e11):
        seconds /= 1000
    return _plausible((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(seconds, 1e10))).date())


def _iso_day(value: str) -> str | None:
    try:
        return _plausible(date.fromisoformat(value[:10]))
    except ValueError:
        return None


def _plausible(found: date) -> str | None:
    return found.isoformat() if _EARLIEST <= found <= _LATEST else None


# ---------------------------------------------------------------- words


def plain(word: str) -> str:
    """A word without case, hyphens and the like, so that `function-calling` is `functioncalling`."""
    return re.sub(r"[^a-z0-9]", "", word[:80].lower())


def words(value: Any, name: str = "") -> list[str]:
    """The words that a value says yes to, plainly written.

    A text is one word, a list has one in each item, an object those with a true value; a bare true stands for the
    `name` of its field.
    """
    if isinstance(value, str):
        return [plain(value)]
    if isinstance(value, list):
        return [plain(item) for item in value[:200] if isinstance(item, str)]
    if isinstance(value, dict):
        return [plain(key) for key, said in list(value.items())[:200] if said is True]
    return [plain(name)] if value is True else []


def denied(value: Any) -> list[str]:
    """The words that an object says no to."""
    return [plain(key) for key, said in list(value.items())[:200] if said is False] if isinstance(value, dict) else []


def last_name(path: str) -> str:
    """The name of the field that a path ends in."""
    return path.rsplit("|", 1)[-1].rsplit(".", 1)[-1].strip().removesuffix("[]")


def yes_or_no(row: Any, path: str | None) -> bool | None:
    """What a field says: `a.b` holds true or false; `a[] = word` is whether the list has the word.

    Behind a list of upstreams all must say the same.
    """
    for part in (path or "").split("|"):
        field, sign, word = part.partition("=")
        value = get_path(row, field.strip()) if field.strip() else None
        if sign and isinstance(value, list) and value:
            return plain(word) in words(value)
        if isinstance(value, bool):
            return value
        if isinstance(value, list):
            found = agreed((v if isinstance(v, bool) else None for v in value), all_say=True)
            if found is not None:
                return found
    return None


FLAGS: Mapping[str, frozenset[str]] = {
    "tools": frozenset({"tools", "tool", "toolcall", "toolcalls", "toolcalling", "tooluse", "functioncalling",
                        "functioncall", "functions"}),
    "reasoning": frozenset({"reasoning", "includereasoning", "thinking", "think"}),
    "structured_output": frozenset({"structuredoutput", "structuredoutputs", "jsonschema", "responseschema"}),
}  # fmt: skip
"""Words of `features`, without hyphens and a `supports` in front, that say what a model can do."""


def flags(row: Any, path: str | None, known: Iterable[str] = ()) -> dict[str, bool]:
    """What `features` says of tools, reasoning and structured output.

    Args:
        row: A row of the listing.
        path: The field, a list of words or an object of yes and no.
        known: Flags for which a list that lacks the word means no: those that the listing names elsewhere.
    """
    value = get_path(row, path) if path else None
    yes = {w.removeprefix("supports") for w in words(value)}
    no = {w.removeprefix("supports") for w in denied(value)}
    found: dict[str, bool] = {}
    for flag, names in FLAGS.items():
        if yes & names:
            found[flag] = True
        elif no & names or (flag in known and isinstance(value, list) and value):
            found[flag] = False
    return found


_MODALITIES: Mapping[str, str] = {
    "vision": "image", "supportsvision": "image", "supportsimageinput": "image", "imageinput": "image",
    "images": "image", "audio": "audio", "supportsaudioinput": "audio", "video": "video",
    "supportsvideoinput": "video", "supportspdfinput": "pdf",
}  # fmt: skip
"""Words that stand for a kind of input, beside those that name it."""


def modalities(value: Any, name: str, *, output: bool) -> tuple[str, ...] | None:
    """What goes in or comes out: a list of words, `text+image->text`, or an object of yes and no.

    Yes or no is said of what comes beside text.
    """
    if isinstance(value, str):
        before, arrow, after = value[:200].lower().partition("->")
        found = _SPLIT.split(after if arrow and output else before)
    elif isinstance(value, list):
        found = [item.lower() for item in value[:_MODALITIES_CAP] if isinstance(item, str) and len(item) < 30]
    elif isinstance(value, dict | bool):
        found = ["text", *(_MODALITIES[w] for w in words(value, name) if w in _MODALITIES)]
    else:
        return None
    named = (_MODALITIES.get(w, w) for w in (one_line(w, 30) for w in found) if w)
    return tuple(dict.fromkeys(named)) or None


def status(value: Any, today: str | None) -> str | None:
    """A word such as `deprecated`. A date is the end of the model's life; false says that it is not to be had."""
    if value is False:
        return "unavailable"
    if not isinstance(value, str) or not value.strip():
        return None
    until = _iso_day(value.strip())
    if until is None:
        word = one_line(value.strip().lower(), 40)
        return None if word in ("active", "live", "available", "ready", "ok", "normal") else word
    return f"until {until}" if today is not None and until > today else "deprecated"
