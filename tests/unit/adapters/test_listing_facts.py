"""What is read of a model beside its prices: limits, kinds of input, abilities, dates, state; and where from."""

from __future__ import annotations

from typing import Any

import pytest

from nbllm.adapters.listing_fields import day, get_path
from nbllm.adapters.listing_rows import read_pages
from nbllm.adapters.listing_types import model_type
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import ModelInfo, ProviderConfig

DAY = "2026-11-21"


def models(rows: list[Any], *, like: str = "", **listing: Any) -> tuple[ModelInfo, ...]:
    """What is read of these rows, with the `listing` of a bundled row or with this one."""
    shape = {**bundled_rows().get(like, {}).get("listing", {}), "path": "data[]", "id": "id", **listing}
    provider = ProviderConfig(id="there", base_url="https://models.example/v1", listing=shape)
    return read_pages([{"data": rows}], provider, day=DAY).models


def model(row: dict[str, Any], *, like: str = "", **listing: Any) -> ModelInfo:
    """The same, of one row."""
    (found,) = models([{"id": "m", **row}], like=like, **listing)
    return found


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", 1),
        ("b.c", 2),
        ("x | b.c", 2),
        ("n | a", 1),  # null is not there
        ("l[].v", [1, None, 3]),
        ("l[]", [{"v": 1}, {}, {"v": 3}]),
        ("b.c.d", None),
        ("a[].v", 1),  # no list: as it is
        ("", None),
    ],
)
def test_a_path_leads_to_a_value(path: str, value: Any) -> None:
    row = {"a": 1, "b": {"c": 2}, "n": None, "l": [{"v": 1}, {}, {"v": 3}]}
    assert get_path(row, path) == value


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"context_length": 8192}, (8192, None, None)),
        ({"context_window": 8192, "max_completion_tokens": 4096}, (8192, None, 4096)),
        ({"max_context_length": 8192}, (8192, None, None)),
        ({"context_size": 8192, "max_output_tokens": 4096}, (8192, None, 4096)),
        ({"max_model_len": 8192}, (8192, None, None)),
        ({"limits": {"context": 8192, "completion": 4096}}, (8192, None, 4096)),
        ({"metadata": {"context_length": 8192, "max_tokens": 4096}}, (8192, None, 4096)),
        ({"max_prompt_length": 8192}, (None, 8192, None)),
        ({"inputTokenLimit": 8192, "outputTokenLimit": 4096}, (None, 8192, 4096)),
        ({"model_spec": {"availableContextTokens": 8192, "maxCompletionTokens": 4096}}, (8192, None, 4096)),
        ({"context_length": 8192, "top_provider": {"max_completion_tokens": None}}, (8192, None, None)),
        ({"context_length": 8192, "max_output_length": 4096}, (8192, None, 4096)),
        ({"max_tokens": 4096}, (None, None, None)),  # input or output, depending on who says it
    ],
)
def test_limits_have_many_names(row: dict[str, Any], expected: tuple[int | None, ...]) -> None:
    found = model(row)
    assert (found.context, found.max_input, found.max_output) == expected


@pytest.mark.parametrize("value", [0, -1, None, "", "many", True, [], {}, 1.5, 10**12, float("inf"), float("nan")])
def test_a_limit_that_is_none_is_unknown(value: Any) -> None:
    assert model({"context_length": value}).context is None


@pytest.mark.parametrize("value", [4096, "4096", 4096.0])
def test_a_limit_may_be_written_in_several_ways(value: Any) -> None:
    assert model({"context_length": value}).context == 4096


def test_the_price_list_of_litellm_tells_input_and_output_apart() -> None:
    row = {
        "max_tokens": 1,
        "max_input_tokens": 272000,
        "max_output_tokens": 128000,
        "mode": "chat",
        "supports_function_calling": True,
        "supports_reasoning": False,
        "deprecation_date": "2025-10-01",
    }
    found = model(row, like="litellm")

    assert (found.context, found.max_input, found.max_output) == (None, 272000, 128000)
    assert (found.tools, found.reasoning, found.structured_output) == (True, False, None)
    assert (found.type, found.status) == ("chat", "deprecated")


# ---------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1729555200, None, "2024-10-22"),
        (1729555200, "s", "2024-10-22"),
        ("1729555200", None, "2024-10-22"),
        (1729555200000, None, "2024-10-22"),
        (1729555200000, "ms", "2024-10-22"),
        (1729555200.5, None, "2024-10-22"),
        ("2024-10-22T00:00:00Z", None, "2024-10-22"),
        ("2024-10-22", "iso", "2024-10-22"),
        ("2025-03-12T20:06:59.776770Z", None, "2025-03-12"),
        (1729555200, "request", None),
        (0, None, None),
        (-5, None, None),
        (True, None, None),
        (None, None, None),
        ("soon", None, None),
        ("9999-99-99", None, None),
        (10**30, None, None),
        (float("nan"), None, None),
        (60, None, None),  # 1970 had no models
        ([], None, None),
    ],
)
def test_a_date_is_read_in_every_unit(value: Any, unit: str | None, expected: str | None) -> None:
    assert day(value, unit) == expected


def test_a_created_that_is_the_moment_of_the_request_is_no_date() -> None:
    now = 1795219200  # 2026-11-21
    assert model({"created": now}).created is None
    assert model({"created": now - 3600 * 24 * 30}).created == "2026-10-22"
    assert model({"created": now - 3600 * 24 * 30}, created_unit="request").created is None
    assert model({"created_at": "2026-11-20T00:00:00Z"}).created == "2026-11-20"  # nobody writes the request like this


def test_one_date_for_all_models_is_no_date() -> None:
    same = [{"id": f"m{n}", "created": 1626777600} for n in range(6)]
    assert {m.created for m in models(same)} == {None}
    assert {m.created for m in models(same[:2])} == {"2021-07-20"}
    assert {m.created for m in models([*same, {"id": "x", "created": 1729555200}])} == {"2021-07-20", "2024-10-22"}


# ---------------------------------------------------------------- modalities and abilities


@pytest.mark.parametrize(
    ("row", "like", "inputs", "outputs"),
    [
        ({"input_modalities": ["text", "image"], "output_modalities": ["text"]}, "", ("text", "image"), ("text",)),
        ({"architecture": {"input_modalities": ["text", "file"]}}, "", ("text", "file"), None),
        ({"architecture": {"modality": "text+image->text"}}, "", ("text", "image"), ("text",)),
        ({"modalities": {"input": ["Text", "image", "text"]}}, "", ("text", "image"), None),
        ({"capabilities": {"vision": True, "audio": False}}, "mistral", ("text", "image"), None),
        ({"supports_image_input": False}, "fireworks", ("text",), None),
        ({"input_modalities": []}, "", None, None),
        ({"input_modalities": [1, None, {}]}, "", None, None),
        ({}, "", None, None),
    ],
)
def test_what_goes_in_and_comes_out(row: dict[str, Any], like: str, inputs: Any, outputs: Any) -> None:
    found = model(row, like=like)
    assert (found.input_modalities, found.output_modalities) == (inputs, outputs)


def abilities(found: ModelInfo) -> tuple[bool | None, ...]:
    """Tools, reasoning, structured output."""
    return (found.tools, found.reasoning, found.structured_output)


def test_a_list_of_abilities_that_lacks_a_word_says_no_where_the_listing_knows_the_word() -> None:
    first, second, third = models(
        [
            {"id": "a", "supported_parameters": ["tools", "temperature"]},
            {"id": "b", "supported_parameters": ["structured_outputs"]},
            {"id": "c", "supported_parameters": []},
        ]
    )
    assert abilities(first) == (True, None, False)  # nobody here speaks of reasoning
    assert abilities(second) == (False, None, True)
    assert abilities(third) == (None, None, None)  # an empty list says nothing


@pytest.mark.parametrize(
    ("row", "listing", "expected"),
    [
        ({"features": ["function-calling", "reasoning"]}, {}, (True, True, None)),
        ({"supported_features": ["tools", "json_mode"]}, {}, (True, None, None)),
        ({"functionality": {"tool_call": True, "structured_output": False}}, {"features": "functionality"},
         (True, None, False)),
        ({"spec": {"supportsFunctionCalling": False, "supportsReasoning": True}}, {"features": "spec"},
         (False, True, None)),
        ({"supports_tools": True}, {"tools": "supports_tools"}, (True, None, None)),
        ({"tags": ["tool-use", "vision"]}, {"tools": "tags[] = tool-use", "reasoning": "tags[] = reasoning"},
         (True, False, None)),
        ({"tools": "yes"}, {"tools": "tools"}, (None, None, None)),
        ({"up": [{"t": True}, {"t": True}]}, {"routes": "up[]", "tools": "up[].t"}, (True, None, None)),
        ({"up": [{"t": True}, {}]}, {"routes": "up[]", "tools": "up[].t"}, (None, None, None)),
    ],
)  # fmt: skip
def test_abilities_are_said_in_many_ways(row: dict[str, Any], listing: dict[str, Any], expected: Any) -> None:
    assert abilities(model(row, **listing)) == expected


# ---------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("row", "id", "path", "expected"),
    [
        ({"type": "embedding"}, "m", "type", "embedding"),
        ({"type": "transcribe"}, "m", "type", "transcription"),
        ({"type": "language"}, "m", "type", "language"),  # a word of the provider's own stays
        ({"type": "language"}, "m", None, "chat"),
        ({"type": "model"}, "m", None, None),
        ({"mode": "image_generation"}, "m", None, "image"),
        ({"mode": "audio_speech"}, "m", None, "speech"),
        ({"endpoints": ["chat/completions", "completions"]}, "m", None, "chat"),
        ({"supported_endpoints": ["/v1/images/generations"]}, "m", None, "image"),
        ({"methods": ["embedContent", "countTokens"]}, "m", "methods[]", "embedding"),
        ({"caps": {"completion_chat": True, "moderation": True}}, "m", "caps", "chat"),
        ({"caps": {"completion_chat": False, "moderation": True}}, "m", "caps", "moderation"),
        ({"caps": {"completion_chat": False}}, "mistral-embed", "caps", "embedding"),
        ({"kind": "FLUMINA_BASE_MODEL", "supports_chat": True}, "m", "kind | supports_chat", "image"),
        ({"kind": "HF_BASE_MODEL", "supports_chat": True}, "m", "kind | supports_chat", "chat"),
        ({"kind": "HF_BASE_MODEL", "supports_chat": False}, "m", "kind | supports_chat", None),
        ({}, "text-embedding-3-small", None, "embedding"),
        ({}, "maker/bge-reranker-v2", None, "rerank"),
        ({}, "meta-llama/llama-guard-4-12b", None, "moderation"),
        ({}, "whisper-large-v3", None, "transcription"),
        ({}, "tts-1-hd", None, "speech"),
        ({}, "dall-e-3", None, "image"),
        ({}, "gpt-image-1", None, "image"),
        ({}, "veo-3.0-generate-preview", None, "video"),
        ({}, "gpt-4o-realtime-preview", None, "realtime"),
        ({}, "gpt-4o", None, "chat"),
        ({}, "maker/model-7b-instruct", None, "chat"),
        ({}, "babbage-002", None, "completion"),
        ({}, "maker/model-7b", None, None),
        ({"type": 7, "mode": None, "endpoints": {}}, "m", None, None),
    ],
)
def test_a_model_is_classified_and_never_dropped(row: dict[str, Any], id: str, path: str | None, expected: Any) -> None:
    assert model_type(row, id, path, None, None)[0] == expected


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        (("text", "image"), ("text",), "chat"),
        (("audio",), ("text",), "transcription"),
        (("text",), ("image",), "image"),
        (("text",), ("audio",), "speech"),
        (("text",), ("embeddings",), "embedding"),
        (("text",), None, None),
    ],
)
def test_what_comes_out_tells_the_type(inputs: Any, outputs: Any, expected: Any) -> None:
    assert model_type({}, "m", None, inputs, outputs)[0] == expected


# ---------------------------------------------------------------- state, names, sources


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Deprecated", "deprecated"),
        ("active", None),
        (True, None),
        (False, "unavailable"),
        (None, None),
        ("2025-10-01", "deprecated"),
        ("2027-01-31T00:00:00Z", "until 2027-01-31"),
        (3, None),
    ],
)
def test_a_state_is_said_where_there_is_one(value: Any, expected: Any) -> None:
    assert model({"state": value}, status="state").status == expected


def test_names_are_made_fit_to_be_shown() -> None:
    assert model({"display_name": "  A\nname\x1b[31m "}).name == "A name<U+001B>[31m"
    assert model({"name": " "}, name="name").name is None
    assert len(model({"display_name": "x" * 5000}).name or "") == 200


def test_each_fact_says_where_it_comes_from_and_of_which_day() -> None:
    row = {"context_length": 9, "pricing": {"prompt": "0.000001"}, "tools": True, "name": "M"}
    found = model(row, input_price="pricing.prompt", price_unit="usd_per_token", tools="tools")

    assert found.sources == {"context": "listing 2026-11-21", "input_price": "listing 2026-11-21",
                             "tools": "listing 2026-11-21"}  # fmt: skip
    assert models([{"id": "gpt-4o"}])[0].sources == {"type": "the id"}


def test_a_few_upstreams_that_agree_on_a_limit_are_enough() -> None:
    def context(*of: Any) -> int | None:
        return model({"providers": [{"context_length": c} for c in of]}, like="huggingface").context

    assert context(8192, None, 8192) == 8192
    assert context(8192, 4096) is None
    assert context(None, 0) is None
