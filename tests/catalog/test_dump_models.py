"""The dump-models layout: each rule of the older script by a small case of its own, then every recorded listing."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nbllm.adapters.listing import Listed
from nbllm.catalog import dump_models
from nbllm.catalog.dump_models import curl_line, dump, error_text, profile_name, remembered
from nbllm.catalog.outputs import Writer
from nbllm.errors import (
    ExportError,
    MissingKeyError,
    NbllmError,
    ProviderError,
    RedirectError,
    ServerError,
    UnreachableError,
    UsageError,
)
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.workspace import Workspace

PEER = ProviderConfig(id="peer", base_url="https://peer.example/v1", env=("PEER_API_KEY", "PEER_TOKEN"))
NO_KEY = ProviderConfig(id="ab", base_url="https://ab.example/code", auth="none")


@dataclass(frozen=True)
class Came:
    """What a writer reads of a `FetchResult`."""

    provider: str
    outcome: str
    error: NbllmError | None = None
    listed: Listed | None = None
    models: tuple[ModelInfo, ...] = ()


def listed(*pages: Any, joined: tuple[Any, ...] = (), date: str | None = None) -> Listed:
    return Listed((), pages=pages, joined=joined, date=date)


def files(payload: Any, provider: ProviderConfig = PEER, **more: Any) -> dict[str, bytes]:
    return dict(dump(provider, listed(payload, **more)).files)


def profiles(payload: Any, provider: ProviderConfig = PEER) -> dict[str, Any]:
    return tomllib.loads(files(payload, provider)[f"models_{provider.id}.toml"].decode())["profiles"]


def rows(*ids: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": i} for i in ids]}


# ---------------------------------------------------------------- files


def test_the_three_files_of_a_small_listing() -> None:
    payload = {"object": "list", "data": [{"id": "b", "context_length": 8192}, {"id": "a/é-1.5", "max_tokens": 0}]}
    assert files(payload) == {
        "models_peer.json": b"""{
  "object": "list",
  "data": [
    {
      "id": "a/\\u00e9-1.5",
      "max_tokens": 0
    },
    {
      "id": "b",
      "context_length": 8192
    }
  ]
}""",
        "models_peer.txt": "a/é-1.5\nb".encode(),
        "models_peer.toml": """[model_providers.peer]
base_url = "https://peer.example/v1"
name = "peer"
wire_api = "chat"
env_key = "PEER_API_KEY"

[profiles.pee_a__1_5]
approval_policy = "never"
model = "a/é-1.5"
model_provider = "peer"
model_reasoning_effort = "high"

[profiles.pee_b]
approval_policy = "never"
model = "b"
model_provider = "peer"
model_reasoning_effort = "high"
model_context_window = 8192
""".encode(),
    }


def test_a_list_at_the_top_stays_a_list() -> None:
    made = files([{"id": "b"}, {"id": "B"}, {"id": "a"}])
    assert [r["id"] for r in json.loads(made["models_peer.json"])] == ["B", "a", "b"]
    assert made["models_peer.txt"] == b"B\na\nb"


def test_an_object_keyed_by_id_is_sorted_by_key_and_its_documentation_row_is_no_model() -> None:
    made = files({"b": {"max_tokens": 4}, "sample_spec": {"max_tokens": "text"}, "a": {}})
    assert list(json.loads(made["models_peer.json"])) == ["a", "b", "sample_spec"]
    assert made["models_peer.txt"] == b"a\nb"


def test_a_row_called_sample_spec_in_a_data_list_is_a_model() -> None:
    assert files(rows("sample_spec"))["models_peer.txt"] == b"sample_spec"


def test_a_row_without_id_comes_first_in_the_json_and_is_no_line_of_the_txt() -> None:
    made = files({"data": [{"id": "a"}, {"x": 1}, {"id": "", "x": 2}]})
    assert json.loads(made["models_peer.json"])["data"] == [{"x": 1}, {"id": "", "x": 2}, {"id": "a"}]
    assert made["models_peer.txt"] == b"a"
    assert list(profiles({"data": [{"x": 1}, {"id": "a"}]})) == ["pee_a"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": None}, "row 2 has a null id; it is left out"),
        ({"id": 7}, "row 2 has an id that is no text (7); it is left out"),
        ({"id": "\ud800"}, "row 2 has an id that UTF-8 cannot write; it is left out"),
        ("a string", "row 2 is no object; it is left out"),
    ],
)
def test_a_row_that_the_script_would_have_stumbled_over_is_left_out_and_said(row: Any, says: str) -> None:
    made = dump(PEER, listed({"data": [{"id": "z"}, row, {"id": "a"}]}))
    assert (made.refused, made.model_count) == ((says,), 2)
    assert made.files["models_peer.txt"] == b"a\nz"


def test_a_duplicate_id_stays_in_json_and_txt_and_its_first_row_gives_the_details() -> None:
    payload = {"data": [{"id": "a", "context_length": 1}, {"id": "a", "context_length": 2}]}
    made = files(payload)
    assert json.loads(made["models_peer.json"]) == payload
    assert made["models_peer.txt"] == b"a\na"
    assert profiles(payload)["pee_a"]["model_context_window"] == 1


def test_keys_inside_rows_and_other_keys_of_the_envelope_stay_in_place() -> None:
    payload = {"z": 1, "data": [{"y": 1, "id": "a", "b": 2}], "a": None}
    assert files(payload)["models_peer.json"] == json.dumps(payload, indent=2).encode()


@pytest.mark.parametrize("payload", [{"error": "no"}, {}, "text", None, 3, {"message": "m", "status_code": 401}])
def test_what_is_no_listing_is_not_written(payload: Any) -> None:
    with pytest.raises(ExportError, match="no listing"):
        dump(PEER, listed(payload))


def test_without_the_providers_own_answer_nothing_is_made() -> None:
    with pytest.raises(ExportError, match="its own answer is not at hand"):
        dump(PEER, Listed((ModelInfo("peer", "a"),)))


def test_an_answer_nested_too_deeply_is_refused_in_one_line() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ExportError, match="nested too deeply"):
        dump(PEER, listed({"data": [{"id": "a", "deep": deep}]}))


def test_a_shape_that_the_script_did_not_know_gets_the_ids_that_were_read() -> None:
    models = (ModelInfo("peer", "m2", context=4), ModelInfo("peer", "m1"))
    made = dump(PEER, Listed(models, pages=({"nextPageToken": "", "models": [{"name": "models/m2"}]},)))
    assert made.files["models_peer.txt"] == b"m1\nm2"
    assert list(json.loads(made.files["models_peer.json"])) == ["models", "nextPageToken"]
    assert b"model_context_window = 4" in made.files["models_peer.toml"]


def test_rows_of_later_pages_stand_in_the_envelope_of_the_first() -> None:
    first = {"data": [{"id": "b"}], "has_more": True, "first_id": "b", "last_id": "b"}
    last = {"data": [{"id": "a"}], "has_more": False, "first_id": "a", "last_id": "a"}
    made = dump(PEER, listed(first, last)).files["models_peer.json"]
    assert json.loads(made) == {"data": [{"id": "a"}, {"id": "b"}], "has_more": False, "first_id": "b", "last_id": "a"}


# ---------------------------------------------------------------- TOML


def test_profiles_that_are_called_alike_keep_the_first_place_and_the_last_value() -> None:
    long = "accounts/fireworks/models/"
    found = profiles(rows(long + "a", long + "b", "c"))
    assert [(name, p["model"]) for name, p in found.items()] == [
        ("pee_accounts_fireworks_m", long + "b"),
        ("pee_c", "c"),
    ]


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "GPT-4.1", "ope_gpt_4_1"),
        ("xai", "grok", "xai_grok"),
        ("ab", "a:b@c/é", "ab_abc_"),
        ("peer", "0123456789-0123456789-x", "pee_0123456789_012345678"),
        ("peer", "é", "pee_"),
    ],
)
def test_the_name_of_a_profile(provider: str, model: str, name: str) -> None:
    assert profile_name(provider, model) == name


@pytest.mark.parametrize(
    ("row", "context", "output"),
    [
        ({"context_length": 1, "context_window": 2}, 1, None),
        ({"context_length": 0, "context_window": 2}, 2, None),
        ({"context_length": None, "max_context_length": 3}, 3, None),
        ({"max_tokens": 4, "max_model_len": 5}, 4, None),
        ({"max_model_len": 5}, 5, None),
        ({"context_length": "32768"}, 32768, None),
        ({"context_length": "many"}, None, None),
        ({"context_length": 1.5}, None, None),
        ({"context_length": [1]}, None, None),
        ({"max_completion_tokens": 6, "max_output_tokens": 7}, None, 6),
        ({"max_completion_tokens": None, "max_tokens_output": 8}, None, 8),
        ({"context_length": 9, "top_provider": {"context_length": 10}}, 10, None),
        ({"context_length": 9, "max_output_tokens": 9, "top_provider": {"context_length": None}}, None, None),
        ({"context_length": 9, "top_provider": None}, None, None),
        ({"top_provider": {"max_completion_tokens": 11}}, None, 11),
    ],
)
def test_context_and_output_of_a_profile(row: dict[str, Any], context: int | None, output: int | None) -> None:
    found = profiles({"data": [{"id": "m", **row}]})["pee_m"]
    assert (found.get("model_context_window"), found.get("model_max_output_tokens")) == (context, output)


def test_letters_of_models_are_taken_off_the_end_of_the_address() -> None:
    toml = files(rows("a"), NO_KEY)["models_ab.toml"].decode()
    assert tomllib.loads(toml)["model_providers"]["ab"] == {
        "base_url": "https://ab.example/c",
        "name": "ab",
        "wire_api": "chat",
    }


def test_no_model_leaves_a_file_without_ids() -> None:
    made = files({"data": []})
    assert made["models_peer.txt"] == b""
    assert made["models_peer.toml"].endswith(b"[profiles]\n")


# ---------------------------------------------------------------- Chutes

CHUTES = ProviderConfig(id="chutes", base_url="https://llm.chutes.example/v1", env=("CHUTES_API_KEY",))
CHUTE = {
    "name": "m",
    "chute_id": "c1",
    "current_estimated_price": {"per_million_tokens": {"input": {"usd": 0.1}}},
    "supported_gpus": ["h100"],
    "node_selector": {"min_vram_gb_per_gpu": 80, "gpu_count": 2},
    "instances": [{"active": True}, {"active": False}, {}],
}


def test_facts_of_the_second_listing_follow_a_rows_own_in_the_order_of_the_script() -> None:
    made = files({"data": [{"id": "n"}, {"id": "m"}]}, CHUTES, joined=({"items": [CHUTE], "total": 1},))
    merged, other = json.loads(made["models_chutes.json"])["data"]
    assert other == {"id": "n"}
    assert list(merged.items()) == [
        ("id", "m"), ("chute_id", "c1"), ("tagline", ""), ("public", True), ("invocation_count", 0), ("hot", False),
        ("chutes_pricing", {"input": {"usd": 0.1}}), ("supported_gpus", ["h100"]), ("gpu_count", 2),
        ("min_vram_gb_per_gpu", 80), ("active_instances", 1), ("total_instances", 3),
    ]  # fmt: skip
    assert made["chutes_chutes.json"] == json.dumps({"items": [CHUTE], "total": 1}, indent=2).encode()


@pytest.mark.parametrize("second", [None, {}, {"items": None}, [], {"items": [None, {"name": 3}]}])
def test_a_second_listing_that_is_none_leaves_the_rows_alone(second: Any) -> None:
    made = files(rows("m"), CHUTES, joined=(second,))
    assert json.loads(made["models_chutes.json"]) == rows("m")


def test_without_a_second_listing_there_is_no_file_of_it() -> None:
    assert dump_models.CHUTES_FILE not in files(rows("m"), CHUTES)


# ---------------------------------------------------------------- the curl line


def test_the_curl_line_names_the_variable_and_never_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_API_KEY", "sk-never-shown")
    assert curl_line(PEER, "https://peer.example/v1/models") == (
        'curl -s -H "Authorization: Bearer $PEER_API_KEY" "https://peer.example/v1/models" | jq'
    )


def test_the_curl_line_of_the_other_kinds() -> None:
    ant = ProviderConfig(id="ant", kind="anthropic", base_url="https://a.example", env=("A_KEY",), auth="x-api-key")
    assert curl_line(ant, "https://a.example/v1/models") == (
        'curl -s -H "x-api-key: $A_KEY" -H "anthropic-version: 2023-06-01" "https://a.example/v1/models" | jq'
    )
    file = ProviderConfig(id="file", kind="url", base_url="https://f.example/x.json", auth="none")
    assert curl_line(file, "https://f.example/x.json") == 'curl "https://f.example/x.json" > models_file.json'


def test_nothing_in_an_address_is_run_by_the_shell() -> None:
    line = curl_line(NO_KEY, 'https://x.example/`id`/$(id)/"\\;')
    assert line == 'curl -s "https://x.example/%60id%60/%24(id)/%22%5C;" | jq'


# ---------------------------------------------------------------- failed_models.json

WHEN = datetime(2026, 11, 21, 12, 0, 0, 5)


def test_a_failure_replaces_an_entry_and_a_success_touches_one_that_is_there() -> None:
    before = {"a": {"failed": True, "error": "old", "last_attempt": "t", "extra": 1}, "b": {"last_success": "then"}}
    events = [
        dump_models.Event("a", None, "Sat, 21 Nov 2026 11:00:00 GMT"),
        dump_models.Event("b", "new", at=WHEN),
        dump_models.Event("c", None, "Sat, 21 Nov 2026 11:00:00 GMT"),
    ]
    assert remembered(before, events) == {
        "a": {"failed": False, "error": "old", "last_attempt": "t", "extra": 1,
              "last_success": "Sat, 21 Nov 2026 11:00:00 GMT"},
        "b": {"failed": True, "error": "new", "last_attempt": "2026-11-21T12:00:00.000005"},
    }  # fmt: skip


URL = "https://api.perplexity.ai/models"
CHECK = "\nFor more information check: https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ProviderError("x", status=404),
            f"Unexpected error: Client error '404 Not Found' for url '{URL}'{CHECK}404",
        ),
        (
            ServerError("x", status=503),
            f"Unexpected error: Server error '503 Service Unavailable' for url '{URL}'{CHECK}503",
        ),
        (
            RedirectError("x", status=301, location="https://new.example/v1/models"),
            f"Unexpected error: Redirect response '301 Moved Permanently' for url '{URL}'"
            f"\nRedirect location: 'https://new.example/v1/models'{CHECK}301",
        ),
        (UnreachableError("the name is not known", phase="dns"), "the name is not known"),
        (UnreachableError("no answer within 30 s", phase="timeout"), ""),
        (ProviderError("something that is no listing", status=200), "Unexpected error: something that is no listing"),
        (ProviderError("odd", status=599), f"Unexpected error: Server error '599 ' for url '{URL}'{CHECK}599"),
    ],
)
def test_errors_in_the_words_of_the_script(error: Any, text: str) -> None:
    assert error_text(error, URL) == text


# ---------------------------------------------------------------- the folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


def writer(folder: Path, *formats: str, **more: Any) -> Writer:
    return Writer(folder, "dump-models", formats, provider=lambda id: {"peer": PEER}[id], now=lambda: WHEN, **more)


def test_files_that_exist_make_asking_needless_until_one_is_missing(folder: Path) -> None:
    w = writer(folder)
    assert w.whole
    assert w.needless("peer") is None
    w.write(Came("peer", "ok", listed=listed(rows("a"))))
    assert "--force" in str(w.needless("peer"))
    (folder / "models_peer.toml").unlink()
    assert w.needless("peer") is None


def test_the_memory_is_written_at_the_end_and_a_missing_key_is_no_failure(folder: Path) -> None:
    w = writer(folder)
    w.write(Came("peer", "failed", error=ProviderError("no", status=404)))
    w.write(Came("peer", "skipped", error=MissingKeyError("no key", provider="other", env=())))
    w.write(Came("peer", "failed", error=MissingKeyError("no key", provider="peer", env=())))
    assert not folder.exists()
    path = w.finish()
    assert path is not None
    content = path.read_bytes()
    assert content.startswith(b'{\n  "peer": {\n    "failed": true,\n    "error": "Unexpected error: Client error')
    assert content.endswith(b'"last_attempt": "2026-11-21T12:00:00.000005"\n  }\n}')
    assert writer(folder).failed_ids() == ["peer"]
    again = writer(folder)
    again.write(Came("peer", "ok", listed=listed(rows("a"), date="Sat, 21 Nov 2026 11:00:00 GMT")))
    again.finish()
    entry = json.loads(path.read_bytes())["peer"]
    assert (entry["failed"], entry["last_success"]) == (False, "Sat, 21 Nov 2026 11:00:00 GMT")
    assert entry["error"].startswith("Unexpected error: Client error '404 Not Found'")
    assert writer(folder).failed_ids() == []


def test_a_success_without_an_entry_writes_no_memory(folder: Path) -> None:
    w = writer(folder)
    w.write(Came("peer", "ok", listed=listed(rows("a"))))
    assert w.finish() is None
    assert sorted(p.name for p in folder.iterdir()) == ["models_peer.json", "models_peer.toml", "models_peer.txt"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"peer": 3}'])
def test_a_broken_memory_stops_nothing(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "failed_models.json").write_bytes(content)
    w = writer(folder)
    assert w.failed_ids() == []
    w.write(Came("peer", "failed", error=ProviderError("no", status=404)))
    w.finish()
    assert writer(folder).failed_ids() == ["peer"]


def test_yaml_is_no_format_of_this_layout(folder: Path) -> None:
    with pytest.raises(UsageError, match="dump-models has no yaml"):
        writer(folder, "json", "yaml")


def test_of_the_three_only_those_asked_for(folder: Path) -> None:
    w = writer(folder, "txt")
    w.write(Came("peer", "ok", listed=listed(rows("a"))))
    assert [p.name for p in folder.iterdir()] == ["models_peer.txt"]


# ---------------------------------------------------------------- every recorded listing

ADDED_BY_CHUTES = {"chute_id", "tagline", "public", "invocation_count", "hot", "chutes_pricing", "supported_gpus",
                   "gpu_count", "min_vram_gb_per_gpu", "active_instances", "total_instances"}  # fmt: skip


def as_it_came(name: str, recorded: Any, seed: int) -> Any:
    """The recorded, sorted answer in another order; rows with one id keep theirs, since the sort is stable."""
    shuffle = random.Random(seed).shuffle
    items = list(recorded.items()) if isinstance(recorded, dict) and "data" not in recorded else None
    if items is not None:
        shuffle(items)
        return dict(items)
    given = recorded["data"] if isinstance(recorded, dict) else recorded
    if name == "chutes":
        given = [{k: v for k, v in row.items() if k not in ADDED_BY_CHUTES} for row in given]
    by_id: dict[str, list[Any]] = {}
    for row in given:
        by_id.setdefault(row.get("id", ""), []).append(row)
    groups = list(by_id.values())
    shuffle(groups)
    flat = [row for group in groups for row in group]
    return {**recorded, "data": flat} if isinstance(recorded, dict) else flat


@pytest.fixture
def recorded(shared: Path) -> Path:
    return shared / "data" / "listings"


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    # The script's own table named another variable for this address; who recorded the files had set this one.
    monkeypatch.setenv("ATLASCLOUD_API_OPENAI", "https://api.atlascloud.ai/v1")
    made = Workspace()
    yield made
    made.close()


def test_every_recorded_listing_is_written_byte_for_byte(recorded: Path, workspace: Workspace, folder: Path) -> None:
    w = Writer(folder, "dump-models", provider=workspace.registry.get)
    names = sorted(p.stem.removeprefix("models_") for p in recorded.glob("models_*.json"))
    assert len(names) == 20
    same = 0
    for seed, name in enumerate(names):
        payload = as_it_came(name, json.loads((recorded / f"models_{name}.json").read_bytes()), seed)
        joined = (json.loads((recorded / "chutes_chutes.json").read_bytes()),) if name == "chutes" else ()
        written = w.write(Came(name, "ok", listed=Listed((), pages=(payload,), joined=joined)))
        assert written.remarks == ()
        for path in written.paths:
            assert path.read_bytes() == (recorded / path.name).read_bytes(), path.name
            same += 1
    assert same == 61


def test_the_recorded_memory_is_read_and_written_byte_for_byte(recorded: Path, folder: Path) -> None:
    content = (recorded / "failed_models.json").read_bytes()
    folder.mkdir()
    (folder / "failed_models.json").write_bytes(content)
    w = writer(folder)
    assert len(w.failed_ids()) == 7
    # Its last entry is a timeout; taken away, and met again at the same moment, it is the same file.
    entries = json.loads(content)
    last = list(entries)[-1]
    at = datetime.fromisoformat(entries.pop(last)["last_attempt"])
    (folder / "failed_models.json").write_text(json.dumps(entries))
    again = Writer(folder, "dump-models", provider=lambda id: PEER, now=lambda: at)
    again.write(Came(last, "failed", error=UnreachableError("late", phase="timeout")))
    again.finish()
    assert (folder / "failed_models.json").read_bytes() == content
