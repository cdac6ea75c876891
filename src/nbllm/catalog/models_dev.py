"""What models.dev says of models: limits, abilities and list prices. Reading its file, and keeping it small.

Its `api.json` (2.4 MB) is kept as a file of our own (170 kB): gzip members one behind the other, each one line of
JSON. The first is the head, which says where the others stand; each other one holds the models of one provider, in
the words of `ModelInfo`. So one provider is read in less than a millisecond, and `zcat` shows the file to a person.

The copy of a known day comes with the package; `python -m nbllm.catalog.models_dev api.json DATE` makes it. Keeping
it young is the affair of `nbllm.catalog.metadata`.

models.dev is MIT licensed, Copyright (c) 2025 models.dev; the licence stands beside the copy.
"""

from __future__ import annotations

import json
import math
import re
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

URL = "https://models.dev/api.json"
FILE = "models_dev.jsonl.gz"
"""The name of our copy, in the package and in the cache."""
NOTICE = "Data from https://models.dev, MIT License, Copyright (c) 2025 models.dev; see models_dev.LICENSE"

_FORMAT = 1
_GZIP = 31  # zlib's `wbits` for a gzip member; its time of change is 0, so equal data are equal bytes
_LONGEST_HEAD = 2_000_000
_MOST_TOKENS = 1_000_000_000
"""A limit beyond is a mistake."""
_DATE = re.compile(r"\d{4}-\d\d(-\d\d)?")

Facts = Mapping[str, Any]
"""What is known of one model, by the names of `ModelInfo`; what is unknown is not there. Beside those
`price_holds_to` (prompt tokens up to which the prices hold; larger prompts cost more) and `reasoning_price` (only
where it is not the output's), and `last_seen` (the last day it was there, where models.dev has removed it)."""


# ---------------------------------------------------------------- their file


def read_api(payload: Any) -> dict[str, dict[str, Facts]]:
    """The models of every provider in `api.json`, by their ids there.

    Read leniently: what is missing, malformed or not known to us is left out, never guessed. A limit of 0 is
    unknown, since nothing has it; a price of 0 is what it says; no `cost` is an unknown price.

    Raises:
        ValueError: It is not that file.
    """
    if not isinstance(payload, Mapping):
        raise ValueError("not an object of providers")
    found = {}
    for id, provider in payload.items():
        models = provider.get("models") if isinstance(provider, Mapping) else None
        if isinstance(models, Mapping) and models:
            found[str(id)] = {str(m): _facts(row) for m, row in models.items() if isinstance(row, Mapping)}
    if not any(found.values()):
        raise ValueError("no provider with models in it")
    return found


def _facts(row: Mapping[str, Any]) -> Facts:
    limit, modalities, cost = (_object(row, name) for name in ("limit", "modalities", "cost"))
    facts = {
        "name": _text(row.get("name")),
        "context": _count(limit.get("context")),
        "max_input": _count(limit.get("input")),
        "max_output": _count(limit.get("output")),
        "input_modalities": _words(modalities.get("input")),
        "output_modalities": _words(modalities.get("output")),
        "tools": _flag(row.get("tool_call")),
        "reasoning": _flag(row.get("reasoning")),
        "structured_output": _flag(row.get("structured_output")),
        "created": _day(row.get("release_date")),
        "status": _text(row.get("status")),
        **_prices(cost),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _prices(cost: Mapping[str, Any]) -> dict[str, Any]:
    output, reasoning = _price(cost.get("output")), _price(cost.get("reasoning"))
    return {
        "input_price": _price(cost.get("input")),
        "output_price": output,
        "cached_input_price": _price(cost.get("cache_read")),
        "cache_write_price": _price(cost.get("cache_write")),
        "reasoning_price": None if reasoning == output else reasoning,
        "price_holds_to": _first_step(cost),
    }


def _first_step(cost: Mapping[str, Any]) -> int | None:
    """The prompt tokens beyond which other prices hold; None where they are the same for all."""
    steps = cost.get("tiers")
    sizes = []
    for step in steps if isinstance(steps, list) else ():
        differs = isinstance(step, Mapping) and any(
            name != "tier" and value != cost.get(name) for name, value in step.items()
        )
        if differs and (size := _count(_object(step, "tier").get("size"))):
            sizes.append(size)
    return min(sizes, default=None)


def _object(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value.strip()[:200] or None if isinstance(value, str) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _words(value: Any) -> list[str] | None:
    words = [w for w in value if isinstance(w, str) and w] if isinstance(value, list) else []
    return words or None


def _day(value: Any) -> str | None:
    return value if isinstance(value, str) and _DATE.fullmatch(value) else None


def _count(value: Any) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_TOKENS
    return int(value) if known else None


def _price(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if known else None


# ---------------------------------------------------------------- our file


@dataclass(frozen=True, slots=True)
class Copy:
    """models.dev as it was on one day, read a provider at a time."""

    date: str = ""
    """YYYY-MM-DD; empty: there is no copy, and nothing is known."""
    head: Mapping[str, Any] = field(default_factory=dict)
    """`date`, `source`, `notice`, and where a copy was fetched `etag`, `last_modified`, `url` and `checked_at`."""
    body: bytes = field(default=b"", repr=False)

    @property
    def providers(self) -> tuple[str, ...]:
        """The ids that models.dev gives providers."""
        return tuple(self._places)

    @property
    def _places(self) -> Mapping[str, Any]:
        places = self.head.get("providers")
        return places if isinstance(places, Mapping) else {}

    def models(self, provider: str) -> dict[str, Facts]:
        """The models of one provider by their ids; empty when it is not there or cannot be read."""
        try:
            start, length = self._places[provider]
            line = zlib.decompress(self.body[start : start + length], _GZIP)
            models = json.loads(line)
        except (KeyError, ValueError, TypeError, zlib.error, RecursionError):
            return {}
        return models if isinstance(models, dict) else {}

    def marked(self, **head: Any) -> Copy:
        """The same models with another head."""
        new = {**self.head, **head}
        return Copy(str(new.get("date", "")), new, self.body)

    def to_bytes(self) -> bytes:
        """The file."""
        return _pack({**self.head, "date": self.date}) + self.body


def make_copy(payload: Any, *, date: str, keep: Copy | None = None, **head: Any) -> Copy:
    """Our copy of an `api.json`.

    Args:
        payload: The file, as JSON.
        date: The day it is of.
        keep: An earlier copy. models.dev removes models that are retired; what was known of those stays, with the
            day on which they were last there (`last_seen`), since somebody may have used them.
        head: What else is to be known of it.

    Raises:
        ValueError: It is not that file.
    """
    body = bytearray()
    places = {}
    for id, models in sorted(_with_gone(read_api(payload), keep or Copy()).items()):
        member = _pack(models)
        places[id] = [len(body), len(member)]
        body += member
    known = {"format": _FORMAT, "source": URL, "notice": NOTICE, "date": date, **head, "providers": places}
    return Copy(date, known, bytes(body))


def _with_gone(found: dict[str, dict[str, Facts]], before: Copy) -> dict[str, dict[str, Facts]]:
    for id in before.providers:
        now = found.setdefault(id, {})
        for model, facts in before.models(id).items():
            now.setdefault(model, {"last_seen": before.date, **facts})
    return found


def read_copy(data: bytes) -> Copy:
    """What `Copy.to_bytes` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        member = zlib.decompressobj(_GZIP)
        head = json.loads(member.decompress(data, _LONGEST_HEAD))
    except (zlib.error, ValueError, RecursionError) as exc:
        raise ValueError(f"not a copy of models.dev: {exc}") from None
    if not isinstance(head, dict) or head.get("format") != _FORMAT or not isinstance(head.get("date"), str):
        raise ValueError("a copy of models.dev in a format of another version")
    return Copy(head["date"], head, member.unused_data)


def bundled_copy() -> Copy:
    """The copy that comes with the package; an empty one where it is missing, so that nothing is known."""
    try:
        return read_copy(resources.files("nbllm.catalog").joinpath(FILE).read_bytes())
    except (OSError, ValueError):
        return Copy()


def _pack(content: Any) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    line = json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"
    return packer.compress(line.encode(errors="replace")) + packer.flush()


def _main(arguments: list[str], *, say: Callable[[str], object] = sys.stdout.write) -> None:
    """`api.json DATE [COMMIT]`: write the copy of the package anew."""
    source, date, *commit = arguments
    copy = make_copy(json.loads(Path(source).read_bytes()), date=date, commit=commit[0] if commit else None)
    target = Path(__file__).with_name(FILE)
    target.write_bytes(copy.to_bytes())
    count = sum(len(copy.models(id)) for id in copy.providers)
    say(f"{target.name}: {count} models of {len(copy.providers)} providers, {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
