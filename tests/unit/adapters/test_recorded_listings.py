"""Listings as providers sent them in 2025: counts, and numbers compared by hand with the files."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nbllm.adapters.base import Endpoint
from nbllm.adapters.listing import Listed, ask_listing
from nbllm.adapters.listing_rows import Reading, read_pages
from nbllm.providers.rows import BUNDLED, CONFIG, Layer, bundled_rows, merge
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.transport.http import Http
from wire_server import WireServer, answer

DAY = "2025-09-08"
_ROW = re.compile(r"\| (\w+) \| (?:object|top-level)[^|]*\| (\d+) \| (\d+) \|")


def recorded(shared: Path, name: str) -> Any:
    """A recorded file."""
    return json.loads((shared / "data/listings" / f"{name}.json").read_text(encoding="utf-8"))


def reading(shared: Path, id: str, *, joined: Any = ()) -> Reading:
    """What the bundled row makes of the recording."""
    row = ProviderConfig(id=id, **bundled_rows()[id])
    return read_pages([recorded(shared, f"models_{id}")], row, joined=joined, day=DAY)


def counts(shared: Path) -> dict[str, tuple[int, int]]:
    """Provider to its rows and the lines of its list, as the README has them."""
    text = (shared / "data/listings/README.md").read_text(encoding="utf-8")
    return {name: (int(rows), int(lines)) for name, rows, lines in _ROW.findall(text)}


def test_every_recorded_listing_has_the_count_that_is_written_down(shared: Path) -> None:
    expected = counts(shared)
    assert len(expected) == 20
    for id, (rows, lines) in expected.items():
        got = reading(shared, id)
        assert (got.row_count, len(got.ids)) == (rows, lines), id
        assert got.warnings == (), id
    assert sum(rows for rows, _ in expected.values()) == 2566


def test_the_ids_are_those_of_the_recorded_lists(shared: Path) -> None:
    for id in counts(shared):
        listed = (shared / f"data/listings/models_{id}.txt").read_text(encoding="utf-8").split("\n")
        strip = bundled_rows()[id].get("listing", {}).get("strip", "")
        assert sorted(reading(shared, id).ids) == sorted(i.removeprefix(strip) for i in listed), id


def test_ids_that_come_twice_are_told_once(shared: Path) -> None:
    got = reading(shared, "mistral")

    assert len(got.models) == 65
    assert {i for i, n in Counter(got.ids).items() if n > 1} == {"voxtral-mini-2507", "voxtral-mini-latest"}
    # The first of the two rows hears.
    assert {m.input_modalities for m in got.models if m.id == "voxtral-mini-2507"} == {("text", "audio")}


def facts(m: ModelInfo) -> tuple[Any, ...]:
    """Limits, then prices."""
    return (m.context, m.max_output, m.input_price, m.output_price, m.cached_input_price, m.cache_write_price)


SPOTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "openrouter": {
        "anthropic/claude-3.5-sonnet": (200000, 8192, 3.0, 15.0, 0.3, 3.75),
        "agentica-org/deepcoder-14b-preview": (96000, None, 0.015, 0.015, None, None),
        "agentica-org/deepcoder-14b-preview:free": (96000, None, 0.0, 0.0, None, None),
        "openrouter/auto": (2000000, None, None, None, None, None),
    },
    "togetherai": {
        "Qwen/QwQ-32B": (131072, 32768, 1.2, 1.2, None, None),
        "black-forest-labs/FLUX.1-dev": (None, None, None, None, None, None),
    },
    "chutes": {
        "ByteDance-Seed/Seed-OSS-36B-Instruct": (131072, None, 0.10366159999999999, 0.41484799999999994, None, None),
        "NousResearch/Hermes-4-14B": (40960, None, 0.0, 0.0, None, None),
    },
    "sambanova": {
        "DeepSeek-R1-0528": (32768, 7168, 5.0, 7.0, None, None),
        "Whisper-Large-v3": (4096, 4096, None, None, None, None),
    },
    "targon": {"Qwen/Qwen3-235B-A22B-Instruct-2507": (262144, 262144, 0.12, 0.59, 0.0, 0.0)},
    "atlascloud": {"Qwen/Qwen3-235B-A22B-Instruct-2507": (262144, 262144, 0.35, 1.2, None, None)},
    "baseten": {"Qwen/Qwen3-235B-A22B-Instruct-2507": (262144, 262144, 0.22, 0.8, None, None)},
    "litellm": {
        "gpt-4o": (None, 16384, 2.5, 10.0, 1.25, None),
        "claude-3-5-sonnet-20241022": (None, 8192, 3.0, 15.0, 0.3, 3.75),
        "text-embedding-3-small": (None, None, 0.02, 0.0, None, None),
        "whisper-1": (None, None, None, None, None, None),
    },
    "huggingface": {
        "NousResearch/Hermes-3-Llama-3.1-405B": (131072, None, 1.0, 3.0, None, None),
        "Qwen/Qwen3-30B-A3B": (None, None, None, None, None, None),
        "NousResearch/Hermes-3-Llama-3.1-70B": (12288, None, None, None, None, None),
    },
    "groq": {"whisper-large-v3": (448, 448, None, None, None, None)},
    "hyperbolic": {"FLUX.1-dev": (None, None, None, None, None, None)},
}  # fmt: skip


@pytest.mark.parametrize("id", SPOTS)
def test_numbers_are_those_of_the_file(shared: Path, id: str) -> None:
    models = {m.id: m for m in reading(shared, id).models}

    assert {name: facts(models[name]) for name in SPOTS[id]} == SPOTS[id]


KNOWN = {
    "openrouter": {"input_price": 325, "context": 326, "max_output": 174, "tools": 325, "created": 326},
    "togetherai": {"input_price": 74, "output_price": 72, "context": 76, "type": 90},
    "chutes": {"input_price": 66, "context": 66, "created": 0},
    "baseten": {"input_price": 10, "structured_output": 11},
    "sambanova": {"input_price": 10},
    "huggingface": {"input_price": 22, "output_price": 23, "context": 52},
    "mistral": {"tools": 65, "type": 65, "created": 0},
    "fireworks": {"context": 32, "type": 37},
    "hyperbolic": {"context": 19, "created": 0},
    "cerebras": {"created": 0},
    "moonshot": {"created": 0},
    "llm7": {"created": 0, "input_modalities": 38},
    "anthropic": {"created": 9, "name": 9},
    "openai": {"created": 83, "input_price": 0, "context": 0},
}


@pytest.mark.parametrize("id", KNOWN)
def test_as_much_is_known_as_the_file_says(shared: Path, id: str) -> None:
    models = reading(shared, id).models

    assert {f: sum(getattr(m, f) is not None for m in models) for f in KNOWN[id]} == KNOWN[id]


def test_models_that_do_not_chat_are_listed_as_what_they_are(shared: Path) -> None:
    def types(id: str) -> Counter[str | None]:
        return Counter(m.type for m in reading(shared, id).models)

    assert types("togetherai") == {"chat": 63, "image": 10, "embedding": 5, "moderation": 5, "rerank": 2, "audio": 2,
                                   "language": 2, "transcription": 1}  # fmt: skip
    assert types("fireworks")["image"] == 4
    assert types("openai")["embedding"] == 3
    assert types("gemini")["embedding"] == 6
    assert types("litellm")["rerank"] == 13


def test_every_fact_names_its_source_and_day(shared: Path) -> None:
    for id in counts(shared):
        for m in reading(shared, id).models:
            for field, source in m.sources.items():
                assert getattr(m, field) is not None, (id, m.id, field)
                assert source == f"listing {DAY}" or (field, source) == ("type", "the id"), (id, m.id, field)


def test_chutes_second_listing_adds_nothing_wrong(shared: Path) -> None:
    alone = {m.id: m for m in reading(shared, "chutes").models}
    joined = {m.id: m for m in reading(shared, "chutes", joined=[recorded(shared, "chutes_chutes")]).models}

    assert {i: facts(m) for i, m in joined.items()} == {i: facts(m) for i, m in alone.items()}


def test_each_recorded_listing_comes_over_the_wire_as_it_was_recorded(shared: Path) -> None:
    """The bundled rows, moved to a server on this machine; Chutes' second listing follows them there."""
    expected = counts(shared)
    for id, (rows, lines) in expected.items():
        body = (shared / f"data/listings/models_{id}.json").read_bytes()
        second = (shared / "data/listings/chutes_chutes.json").read_bytes()
        plans = [answer(body, kind="application/json"), answer(second, kind="application/json")]
        with WireServer(plans) as server:
            moved = Layer(CONFIG, {"base_url": server.url, "auth": "none"})
            got = over_the_wire(merge(id, [Layer(BUNDLED, bundled_rows()[id]), moved]).config)

        assert (got.row_count, len(got.ids)) == (rows, lines), id
        assert got.pages == (json.loads(body),), id
        assert len(server.requests) == (3 if id == "chutes" else 1), id
        # The recording is one page of many, so the second page asked for is the first again.
        assert [w[:40] for w in got.warnings] == (
            ["the listing says that there is more, but"] if id == "chutes" else []
        )
        assert len(got.joined) == (2 if id == "chutes" else 0)


def over_the_wire(row: ProviderConfig) -> Listed:
    """What a provider answers."""

    async def go() -> Listed:
        http = Http()
        try:
            return await ask_listing(Endpoint(row, None, http))
        finally:
            await http.aclose()

    return asyncio.run(go())


def test_recorded_answers_of_geminis_own_format_are_read(shared: Path) -> None:
    raw = (shared / "data/wire/llmock/gem_models.raw").read_bytes()
    body = json.loads(raw[raw.index(b"{") : raw.rindex(b"}") + 1])
    models = read_pages([body], ProviderConfig(id="google", **bundled_rows()["google"])).models

    assert models
    assert not any(m.id.startswith("models/") for m in models)
