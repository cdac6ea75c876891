"""`fetch --format`: four files of a listing that say the same, and each is replaced as a whole or not at all."""

from __future__ import annotations

import errno
import io
import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml as yaml_1_1
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from nbllm.catalog.outputs import FORMATS, Writer, rows_of_listing
from nbllm.catalog.wanted import COLUMNS
from nbllm.errors import ExportError, NbllmError, ProviderError, UsageError
from nbllm.providers.spec import ModelInfo, ProviderConfig

PEER = ProviderConfig(id="peer", base_url="https://peer.example/v1", env=("PEER_API_KEY",))
FULL = ModelInfo(
    "peer", "org/m-1:free", name="no", type="chat", context=8192, input_price=0.00001, output_price=1.25,
    input_modalities=("text", "image"), tools=True, structured_output=False, created="2026-01-02",
    sources={"name": "listing 2026-11-21", "context": "models.dev 2026-07-02"},
)  # fmt: skip
BARE = ModelInfo("peer", "b é #: '\"")


@dataclass(frozen=True)
class Came:
    """What a writer reads of a `FetchResult`."""

    provider: str
    outcome: str
    models: tuple[ModelInfo, ...] = ()
    error: NbllmError | None = None
    listed: None = None


def writer(folder: Path, *formats: str, **more: Any) -> Writer:
    return Writer(folder, "plain", formats, provider=lambda id: PEER, **more)


def yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(io.StringIO(text))


def test_the_four_files_say_the_same(tmp_path: Path) -> None:
    done = writer(tmp_path, *FORMATS).write(Came("peer", "ok", (FULL, BARE)))
    assert [p.name for p in done.paths] == [f"models_peer.{f}" for f in FORMATS]
    texts = {p.suffix[1:]: p.read_text(encoding="utf-8") for p in done.paths}
    rows = json.loads(texts["json"])
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert yaml(texts["yaml"]) == rows
    assert tomllib.loads(texts["toml"])["models"] == [{k: v for k, v in r.items() if v is not None} for r in rows]
    assert texts["txt"] == f"{FULL.id}\n{BARE.id}\n"
    assert rows[0] == {
        "ref": "peer/org/m-1:free", "provider": "peer", "id": "org/m-1:free", "name": "no", "type": "chat",
        "context": 8192, "max_input": None, "max_output": None, "input_price": 0.00001, "output_price": 1.25,
        "cached_input_price": None, "input_modalities": ["text", "image"],
        "output_modalities": None, "tools": True, "reasoning": None, "structured_output": False,
        "created": "2026-01-02", "status": None, "favourite": False, "groups": [],
        "sources": {"context": "models.dev 2026-07-02", "name": "listing 2026-11-21"},
    }  # fmt: skip


def test_the_same_listing_gives_the_same_bytes(tmp_path: Path) -> None:
    first = writer(tmp_path / "a", *FORMATS).write(Came("peer", "ok", (FULL, BARE)))
    turned = replace(FULL, sources=dict(reversed(FULL.sources.items())))
    second = writer(tmp_path / "b", *FORMATS).write(Came("peer", "cached", (turned, BARE)))
    assert [p.read_bytes() for p in first.paths] == [p.read_bytes() for p in second.paths]


def test_a_reader_of_older_yaml_takes_no_word_for_a_boolean_and_no_price_for_a_word(tmp_path: Path) -> None:
    path = writer(tmp_path, "yaml").write(Came("peer", "ok", (FULL,))).paths[0]
    row = yaml_1_1.safe_load(path.read_text(encoding="utf-8"))[0]
    assert (row["name"], row["input_price"], row["created"]) == ("no", 0.00001, "2026-01-02")


@given(st.lists(st.text(), max_size=4), st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_survives_every_format(words: list[str], price: float) -> None:
    def rows(provider: str, models: Sequence[ModelInfo]) -> list[dict[str, Any]]:
        return [{"ref": "r", "id": w, "name": w, "input_price": price, "groups": words} for w in words]

    from nbllm.catalog.outputs import _RENDER

    wanted = [{"id": w, "name": w, "input_price": price, "groups": words} for w in words]
    made = rows("peer", ())
    assert [{k: r[k] for k in wanted[0]} for r in json.loads(_RENDER["json"](made))] == wanted
    assert [{k: r[k] for k in wanted[0]} for r in yaml(_RENDER["yaml"](made).decode())] == wanted
    assert [{k: r[k] for k in wanted[0]} for r in tomllib.loads(_RENDER["toml"](made).decode())["models"]] == wanted
    assert len(_RENDER["txt"](made).splitlines()) == len(words)


def test_a_lone_surrogate_from_a_server_breaks_no_file(tmp_path: Path) -> None:
    done = writer(tmp_path, *FORMATS).write(Came("peer", "ok", (ModelInfo("peer", "a\ud800b"),)))
    assert [p.read_bytes().decode().count("b") > 0 for p in done.paths] == [True] * 4


def test_no_models_are_an_empty_list(tmp_path: Path) -> None:
    done = writer(tmp_path, *FORMATS).write(Came("peer", "ok"))
    assert [p.read_bytes() for p in done.paths] == [b"[]\n", b"", b"models = []\n", b"[]\n"]


def test_who_failed_or_was_skipped_keeps_the_old_files(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    w = writer(folder, *FORMATS)
    w.write(Came("peer", "ok", (FULL,)))
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert len(before) == 4
    assert w.write(Came("peer", "failed", error=ProviderError("no", status=500))).paths == ()
    assert w.write(Came("peer", "skipped")).paths == ()
    assert w.finish() is None
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_an_id_from_elsewhere_names_a_file_of_this_folder(tmp_path: Path) -> None:
    path = writer(tmp_path / "out").write(Came("../../x y", "ok")).paths[0]
    assert path == tmp_path / "out" / "models_..%2F..%2Fx%20y.json"
    assert path.exists()


def test_on_a_full_disk_the_old_file_stays_and_one_line_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = writer(tmp_path / "out")
    path = w.write(Came("peer", "ok", (FULL,))).paths[0]
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match=r"cannot write .*models_peer\.json: No space left on device"):
        w.write(Came("peer", "ok", (BARE,)))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_where_the_folder_should_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(ExportError, match="cannot write"):
        writer(tmp_path / "out").write(Came("peer", "ok", (FULL,)))


@pytest.mark.parametrize(
    ("layout", "format", "says", "hint"),
    [
        ("plain", "jsn", "there is no format 'jsn'", "formats: json"),
        ("dump_models", "json", "there is no layout 'dump_models'", "layouts: dump-models"),
        ("plain", "zzz", "there is no format 'zzz'", "formats: json, txt, toml, yaml"),
    ],
)
def test_an_unknown_word_is_refused_with_the_nearest(
    tmp_path: Path, layout: str, format: str, says: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        Writer(tmp_path, layout, [format], provider=lambda id: PEER)
    assert caught.value.hint == hint


def test_json_is_written_when_no_format_is_named(tmp_path: Path) -> None:
    w = writer(tmp_path)
    assert (w.formats, w.whole, w.needless("peer")) == (("json",), False, None)


def test_rows_of_another_maker_are_written(tmp_path: Path) -> None:
    def marked(provider: str, models: Sequence[ModelInfo]) -> list[dict[str, Any]]:
        return [r | {"favourite": True} for r in rows_of_listing(provider, models)]

    path = writer(tmp_path, "json", rows=marked).write(Came("peer", "ok", (FULL,))).paths[0]
    assert json.loads(path.read_bytes())[0]["favourite"] is True
