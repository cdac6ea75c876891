"""models.dev's file is read leniently and kept small; a number that is not there stays unknown."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbllm.catalog import models_dev
from nbllm.catalog.models_dev import Copy, bundled_copy, make_copy, read_api, read_copy


def api(**models: Any) -> dict[str, Any]:
    """An `api.json` with one provider."""
    return {"there": {"id": "there", "env": ["A_KEY", "${B}"], "api": "https://${HOST}/v1", "models": models}}


def facts_of(row: Any) -> Any:
    return read_api(api(m=row))["there"]["m"]


FULL = {
    "id": "m",
    "name": "Model M",
    "release_date": "2025-08-07",
    "attachment": True,
    "reasoning": True,
    "tool_call": True,
    "structured_output": False,
    "status": "beta",
    "limit": {"context": 400000, "input": 272000, "output": 128000},
    "modalities": {"input": ["text", "image"], "output": ["text"]},
    "cost": {"input": 1.25, "output": 10, "cache_read": 0.125, "cache_write": 2.5, "cache_input": 7, "image": 3},
}


def test_a_model_in_our_words() -> None:
    assert facts_of(FULL) == {
        "name": "Model M",
        "context": 400000,
        "max_input": 272000,
        "max_output": 128000,
        "input_modalities": ["text", "image"],
        "output_modalities": ["text"],
        "tools": True,
        "reasoning": True,
        "structured_output": False,
        "created": "2025-08-07",
        "status": "beta",
        "input_price": 1.25,
        "output_price": 10.0,
        "cached_input_price": 0.125,
        "cache_write_price": 2.5,
    }


@dataclass(frozen=True)
class Case:
    id: str
    row: dict[str, Any]
    facts: dict[str, Any]


CASES = [
    Case("no cost is unknown, not free", {"name": "M"}, {"name": "M"}),
    Case("a price of 0 is what it says", {"cost": {"input": 0, "output": 0}}, {"input_price": 0, "output_price": 0}),
    Case("a limit of 0 is unknown", {"limit": {"context": 0, "output": 0}}, {}),
    Case("null where an object is expected", {"limit": None, "cost": None, "modalities": None}, {}),
    Case("a list where an object is expected", {"limit": [1], "cost": [2], "modalities": [3]}, {}),
    Case("prices that are none", {"cost": {"input": "1.5", "output": -1, "cache_read": True, "cache_write": None}}, {}),
    Case("a price that is no number", {"cost": {"input": float("nan"), "output": float("inf")}}, {}),
    Case("limits that are none", {"limit": {"context": "8k", "input": True, "output": 10**30}}, {}),
    Case("flags that are none", {"tool_call": "yes", "reasoning": 1, "structured_output": None}, {}),
    Case("a month is what is known of the day", {"release_date": "2025-04"}, {"created": "2025-04"}),
    Case("a day that is none", {"release_date": "soon"}, {}),
    Case("words that are none", {"modalities": {"input": [1, None, ""], "output": "text"}}, {}),
    Case(
        "the base price is the first tier's, and says how far it holds",
        {"cost": {"input": 1, "output": 2, "tiers": [{"tier": {"size": 200000}, "input": 2, "output": 4},
                                                     {"tier": {"size": 32000}, "input": 1.5, "output": 3}]}},
        {"input_price": 1.0, "output_price": 2.0, "price_holds_to": 32000},
    ),
    Case(
        "tiers that cost the same are none",
        {"cost": {"input": 1, "output": 2, "tiers": [{"tier": {"size": 200000}, "input": 1, "output": 2}]}},
        {"input_price": 1.0, "output_price": 2.0},
    ),
    Case(
        "tiers that are none",
        {"cost": {"input": 1, "tiers": [None, {"tier": None, "input": 2}, {"input": 3}]}},
        {"input_price": 1.0},
    ),
    Case(
        "a price of reasoning counts where it is another",
        {"cost": {"input": 1, "output": 2, "reasoning": 3}},
        {"input_price": 1.0, "output_price": 2.0, "reasoning_price": 3.0},
    ),
    Case(
        "and not where it is the same",
        {"cost": {"input": 1, "output": 2, "reasoning": 2}},
        {"input_price": 1.0, "output_price": 2.0},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_what_is_missing_or_malformed_is_unknown(case: Case) -> None:
    assert facts_of(case.row) == case.facts


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(FULL)) | st.text(), inner),
    max_leaves=12,
)
_MODELS = st.dictionaries(st.text(max_size=8) | st.just("\ud800"), _JSON, max_size=4)


@given(st.dictionaries(st.text(max_size=5), st.fixed_dictionaries({"models": _MODELS}), max_size=3))
@settings(max_examples=200)
def test_whatever_they_send_is_read_or_refused(payload: Any) -> None:
    try:
        found = read_api(payload)
    except ValueError:
        return
    copy = read_copy(make_copy(payload, date="2026-07-02").to_bytes())
    assert copy.providers == tuple(sorted(found))
    for facts in (facts for provider in copy.providers for facts in copy.models(provider).values()):
        assert all(facts[name] >= 0 for name in facts if name.endswith("_price"))
        assert all(facts[name] > 0 for name in ("context", "max_input", "max_output") if name in facts)


@pytest.mark.parametrize(
    "payload",
    [None, [], "text", 3, {}, {"error": {"message": "no"}}, {"there": {"models": {}}}, {"a": {"models": [1]}}],
)
def test_what_is_not_their_file_is_refused(payload: Any) -> None:
    with pytest.raises(ValueError, match="provider"):
        read_api(payload)


def test_one_broken_provider_or_model_does_not_take_the_others_along() -> None:
    found = read_api({"a": None, "b": {"models": {"x": "text", "y": {"name": "Y"}}}, "c": {"models": None}})

    assert found == {"b": {"y": {"name": "Y"}}}


def test_a_copy_goes_round_and_equal_data_are_equal_bytes() -> None:
    payload = {**api(m=FULL, n={"name": "ü"}), "other": {"models": {"x": {"name": "X"}}}}
    reversed_ = dict(reversed(payload.items()))

    data = make_copy(payload, date="2026-07-02", commit="abc").to_bytes()
    copy = read_copy(data)

    assert make_copy(reversed_, date="2026-07-02", commit="abc").to_bytes() == data
    assert copy.date == "2026-07-02"
    assert copy.providers == ("other", "there")
    assert copy.models("there") == read_api(payload)["there"]
    assert copy.models("other") == {"x": {"name": "X"}}
    assert copy.models("nobody") == {}


def test_a_person_can_read_the_file_with_zcat() -> None:
    copy = make_copy(api(m=FULL), date="2026-07-02")
    lines = []
    rest = copy.to_bytes()
    while rest:
        member = zlib.decompressobj(31)
        lines.append(json.loads(member.decompress(rest)))
        rest = member.unused_data

    assert lines[0]["notice"].startswith("Data from https://models.dev, MIT License")
    assert lines[1]["m"]["name"] == "Model M"


def test_models_that_were_removed_there_are_kept_with_their_last_day() -> None:
    first = make_copy(api(old={"name": "Old"}, new={"name": "New"}), date="2026-01-01")
    second = make_copy(api(new={"name": "Newer"}), date="2026-02-01", keep=first)
    third = make_copy({"other": {"models": {"x": {}}}}, date="2026-03-01", keep=second)

    assert second.models("there") == {"new": {"name": "Newer"}, "old": {"name": "Old", "last_seen": "2026-01-01"}}
    assert third.models("there")["old"]["last_seen"] == "2026-01-01"
    assert third.models("there")["new"]["last_seen"] == "2026-02-01"


@pytest.mark.parametrize(
    "data", [b"", b"text", zlib.compress(b"{}"), make_copy(api(m={"name": "M"}), date="x").to_bytes()[:30]]
)
def test_a_file_that_is_no_copy_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"copy of models\.dev"):
        read_copy(data)


def test_a_copy_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="another version"):
        read_copy(make_copy(api(m={}), date="2026-01-01").marked(format=99).to_bytes())


def test_a_cut_copy_knows_nothing_of_what_was_cut_off() -> None:
    whole = make_copy({"a": {"models": {"x": {"name": "X"}}}, "b": {"models": {"y": {"name": "Y"}}}}, date="2026-01-01")
    cut = read_copy(whole.to_bytes()[:-5])

    assert cut.models("a") == {"x": {"name": "X"}}
    assert cut.models("b") == {}


def test_the_copy_of_the_package_is_dated_licensed_and_small() -> None:
    copy = bundled_copy()
    folder = Path(models_dev.__file__).parent

    assert copy.date == "2026-07-02"
    assert (len(copy.providers), sum(len(copy.models(p)) for p in copy.providers)) == (147, 5276)
    assert "MIT" in copy.head["notice"]
    assert "Copyright (c) 2025 models.dev" in (folder / "models_dev.LICENSE").read_text(encoding="utf-8")
    assert (folder / models_dev.FILE).stat().st_size < 200_000
    assert copy.models("openai")["gpt-5"]["max_input"] == 272000


def test_every_model_of_the_recorded_file_is_read(shared: Path) -> None:
    payload = json.loads((shared / "data" / "models_dev_api.json").read_text(encoding="utf-8"))
    copy = make_copy(payload, date="2026-07-02")
    models = [facts for provider in copy.providers for facts in copy.models(provider).values()]
    prices = Counter("none" if "input_price" not in m else "zero" if m["input_price"] == 0 else "some" for m in models)

    assert (len(copy.providers), len(models)) == (147, 5276)
    assert (prices["some"] + prices["zero"], prices["zero"], prices["none"]) == (4894, 432, 382)
    assert sum(m.get("status") == "deprecated" for m in models) == 121
    assert sum("cached_input_price" in m for m in models) == 2180
    assert all("output_price" in m for m in models if "input_price" in m)
    # The package has the same data; bytes may differ with the zlib that packed them.
    bundled = bundled_copy()
    assert {p: copy.models(p) for p in copy.providers} == {p: bundled.models(p) for p in bundled.providers}


def test_the_copy_of_the_package_is_made_by_its_own_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "api.json"
    source.write_text(json.dumps(api(m=FULL)), encoding="utf-8")
    monkeypatch.setattr(models_dev, "__file__", str(tmp_path / "models_dev.py"))
    said: list[str] = []

    models_dev._main([str(source), "2026-07-02", "abc"], say=said.append)

    made = read_copy((tmp_path / models_dev.FILE).read_bytes())
    assert said[0].startswith("models_dev.jsonl.gz: 1 models of 1 providers, ")
    assert (made.date, made.head["commit"], made.models("there")["m"]["context"]) == ("2026-07-02", "abc", 400000)


def test_no_copy_at_all_knows_nothing() -> None:
    assert Copy().models("openai") == {}
    assert Copy().providers == ()
