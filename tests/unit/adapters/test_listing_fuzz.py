"""Whatever a listing holds, it is read, or refused with an error of nbllm; and no number is invented."""

from __future__ import annotations

import copy
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbllm.adapters.listing import _parsed
from nbllm.adapters.listing_pages import Turner
from nbllm.adapters.listing_prices import PRICES
from nbllm.adapters.listing_rows import Reading, read_pages
from nbllm.errors import NbllmError
from nbllm.foreign import one_line
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import ProviderConfig

ROWS = {id: ProviderConfig(id=id, **row) for id, row in bundled_rows().items()}
SHAPED = sorted(id for id, row in ROWS.items() if row.listing != ROWS["demo"].listing)
_NAMES = sorted({
    part.strip().removesuffix("[]")
    for row in bundled_rows().values()
    for path in row.get("listing", {}).values() if isinstance(path, str)
    for alternative in path.split("|") for part in alternative.split(".")
} | {"id", "data", "models", "error", "has_more", "last_id", "nextPageToken", "total", "page", "items"})  # fmt: skip

odd = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["", "-1", "0", "1e999", "0.000001", "TOKEN", "SECOND", 0, -1, 10**400, "\ud800", "a\nb", 1e308])
)  # fmt: skip
names = st.sampled_from(_NAMES) | st.text(max_size=8)
json_values = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=30
)


def check(got: Reading) -> None:
    """What holds of anything that is read."""
    assert len(got.models) == len({m.id for m in got.models}) == len(set(got.ids))
    assert {m.id for m in got.models} == set(got.ids)
    assert len(got.ids) <= got.row_count
    for m in got.models:
        m.id.encode()  # can be written
        assert m.id.strip() == m.id != ""
        for name in PRICES:
            price = getattr(m, name)
            assert price is None or (isinstance(price, float) and math.isfinite(price) and price >= 0)
        for name in ("context", "max_input", "max_output"):
            limit = getattr(m, name)
            assert limit is None or (type(limit) is int and 0 < limit < 10**10)
        for name in ("tools", "reasoning", "structured_output"):
            assert getattr(m, name) in (None, True, False)
        for name in ("name", "type", "created", "status"):
            text = getattr(m, name)
            assert text is None or (isinstance(text, str) and text == one_line(text) != "")
            (text or "").encode()
        assert set(m.sources) <= {f for f in m.__slots__ if getattr(m, f) is not None}
    json.dumps([m.sources for m in got.models])


def read(payload: Any, id: str, *joined: Any) -> Reading | None:
    """What the row of a provider makes of it; None when it refuses."""
    try:
        got = read_pages([payload], ROWS[id], joined=joined, day="2026-11-21")
    except NbllmError:
        return None
    check(got)
    return got


@settings(max_examples=150)
@given(payload=json_values, id=st.sampled_from(SHAPED))
def test_any_json_is_read_or_refused(payload: Any, id: str) -> None:
    read(payload, id)


@settings(max_examples=120)
@given(rows=st.lists(st.dictionaries(names, json_values, max_size=8), max_size=8), id=st.sampled_from(SHAPED),
       others=st.lists(json_values, max_size=2))  # fmt: skip
def test_any_rows_are_read_or_refused(rows: list[Any], id: str, others: list[Any]) -> None:
    for row in rows[:-1]:
        row["id"] = f"m{len(row)}"
    read({"data": rows}, id, *others)
    read(rows, id, *others)


@settings(max_examples=100)
@given(pages=st.lists(json_values, min_size=1, max_size=5), paging=st.sampled_from(["after_id", "page_token", "page"]))
def test_any_pages_are_turned_to_an_end(pages: list[Any], paging: str) -> None:
    turner = Turner("https://models.example/v1/models", paging, "data[]")
    url: str | None = turner.first()
    asked = 0
    while url is not None:
        assert url.startswith("https://models.example/v1/models")
        url = turner.next(pages[asked % len(pages)])
        asked += 1
        assert asked <= 200
    assert asked == turner.pages


@settings(max_examples=100)
@given(body=st.binary(max_size=200) | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        payload = _parsed(body, ROWS["openai"])
    except NbllmError:
        return
    read(payload, "openai")


# ---------------------------------------------------------------- what was good before

SMALL: dict[str, Any] = {
    "openrouter": {"data": [{"id": "a/b", "created": 1729555200, "context_length": 5, "name": "A",
                             "architecture": {"input_modalities": ["text"], "modality": "text->text"},
                             "pricing": {"prompt": "0.000003", "completion": "-1"},
                             "top_provider": {"max_completion_tokens": None}, "supported_parameters": ["tools"]}]},
    "huggingface": {"data": [{"id": "a", "providers": [{"status": "live", "context_length": 5, "supports_tools": True,
                                                        "pricing": {"input": 1, "output": 2.5}}, {"status": "x"}]}]},
    "litellm": {"sample_spec": {"mode": "text"}, "m": {"mode": "chat", "input_cost_per_token": 1e-06,
                                                       "max_input_tokens": 5, "deprecation_date": "2025-01-01"}},
    "mistral": {"data": [{"id": "a", "capabilities": {"completion_chat": True, "vision": False}, "deprecation": None}]},
    "togetherai": [{"id": "a", "type": "chat", "pricing": {"input": 0, "output": 1, "hourly": 0}}],
    "google": {"models": [{"name": "models/a", "supportedGenerationMethods": ["generateContent"], "thinking": True}]},
    "chutes": {"data": [{"id": "a", "pricing": {"prompt": 0.1}, "price": {"input": {"usd": 1, "tao": 2}}}]},
    "friendli": {"data": [{"id": "a", "pricing": {"input": 1, "unit_type": "TOKEN"}, "functionality": {}}]},
}  # fmt: skip


def mutate(payload: Any, rng: random.Random) -> Any:
    """The payload with some of its values replaced, removed, repeated or moved."""
    payload = copy.deepcopy(payload)
    for _ in range(rng.randint(1, 8)):
        place = payload
        for _ in range(rng.choice((1, 2, 3, 3, 4, 5))):
            inner = list(place.values()) if isinstance(place, dict) else place if isinstance(place, list) else []
            inner = [v for v in inner if isinstance(v, dict | list) and v]
            if not inner:
                break
            place = rng.choice(inner)
        if isinstance(place, dict) and place:
            key = rng.choice(list(place))
            _change(place, key, rng)
        elif isinstance(place, list) and place:
            _change(place, rng.randrange(len(place)), rng)
    return payload


def _change(place: Any, key: Any, rng: random.Random) -> None:
    kind = rng.randrange(4)
    if kind == 0:
        del place[key]
    elif kind == 1:
        place[key] = [place[key]]
    elif kind == 2:
        place[key] = {"x": place[key]}
    else:
        place[key] = rng.choice(
            [None, 0, -1, 1.5, "", "-1", "x", True, [], {}, [[]], {"id": 3}, 10**40, "nan", "\ud800", float("inf"),
             "ü" * 300, [None], {"a": None}, -0.0, "0" * 70, "1e-400"]
        )  # fmt: skip


@pytest.mark.parametrize("id", SMALL)
def test_small_listings_with_faults_are_read_or_refused(id: str, campaign: bool) -> None:
    read_ones = sum(
        read(mutate(SMALL[id], random.Random(seed)), id) is not None for seed in range(5000 if campaign else 150)
    )
    assert read_ones > 30  # most faults leave the rest as it is


def test_recorded_listings_with_faults_are_read_or_refused(shared: Path, campaign: bool) -> None:
    second = json.loads((shared / "data/listings/chutes_chutes.json").read_text(encoding="utf-8"))
    read_ones = 0
    for path in sorted((shared / "data/listings").glob("models_*.json")):
        id = path.stem.removeprefix("models_")
        good = json.loads(path.read_text(encoding="utf-8"))
        if not campaign and len(str(good)) > 100_000:
            continue
        for seed in range(100 if campaign else 6):
            rng = random.Random(f"{id} {seed}")
            joined = [mutate(second, rng)] if id == "chutes" else []
            read_ones += read(mutate(good, rng), id, *joined) is not None
    assert read_ones > 50
