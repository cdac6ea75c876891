"""A comparison as files, and read back."""

from __future__ import annotations

import csv
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbllm.compare.cells import COLUMNS, Arm
from nbllm.compare.frames import arrow_stream, to_arrow, to_frame_rows, to_pandas, to_polars
from nbllm.compare.reports import standalone_html, to_csv, to_html, to_jsonl, to_parquet
from nbllm.errors import ExportError, UnsupportedError
from payloads import PAYLOADS
from unit.compare.comparing import ARMS, SUMMARY, failed, many, row

ODD = [
    "line\nfeed", "carriage\r\nreturn", "alone\rreturn", 'quo"te', "com,ma", "", " spaces ", "\ttab", "nul\0l",
    "half \ud83d surrogate", "👩\u200d👧 emoji", "漢字", "\u2028separator", "'quoted'", "NA", "null", "1e5", "007",
    "true", "=1+1", "\ufeffmark", "\\backslash\\n",
]  # fmt: skip
SPELT = {"half \ud83d surrogate": "half <U+D83D> surrogate", "nul\0l": "nul<U+0000>l"}
ROWS = [row(prompt_id=f"p{n}", text=text, vars={"k": text, "n": n}, exact=n % 2) for n, text in enumerate(ODD)]
ROWS += [failed(prompt_id="e", exact=None), row(prompt_id="f", cost_usd=None, cached_input_tokens=3, exact=0.5)]


def spelt(text: str) -> str:
    return SPELT.get(text, text)


@pytest.fixture
def expected() -> list[dict[str, Any]]:
    return to_frame_rows(ROWS, ["exact"])


def test_rows_for_frames_hold_plain_values_of_fixed_types(expected: list[dict[str, Any]]) -> None:
    assert list(expected[0]) == [*COLUMNS, "exact"]
    assert expected[0]["params"] == "{}"
    assert json.loads(expected[0]["vars"]) == {"k": "line\nfeed", "n": 0}
    assert expected[0]["cost_usd"] == 0.00012
    assert [r["exact"] for r in expected[:2]] == [0.0, 1.0]
    assert expected[-2]["cost_usd"] is None
    assert {type(r["exact"]) for r in expected} == {float, type(None)}


def test_csv_reads_back_in_pythons_reader_with_every_text(tmp_path: Path, expected: list[dict[str, Any]]) -> None:
    path = to_csv(tmp_path / "c.csv", ROWS, ["exact"])
    with path.open(encoding="utf-8", newline="") as file:
        back = list(csv.DictReader(file))
    assert [r["text"] for r in back] == [spelt(str(r["text"])) for r in ROWS]
    assert back[-2]["cost_usd"] == ""
    assert [r["from_store"] for r in back[:1]] == ["false"]
    assert path.read_bytes().decode("utf-8").count("\r\n") == 1  # in the text that has one


def test_csv_reads_back_equal_in_pandas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = to_csv(tmp_path / "c.csv", ROWS, ["exact"])
    frame = to_pandas(ROWS, ["exact"])
    kinds = dict(frame.dtypes)
    back = pandas.read_csv(path, dtype=kinds, keep_default_na=False, na_values={n: [""] for n in kinds if n != "text"})
    frame["text"] = frame["text"].str.replace("\0", "<U+0000>", regex=False)
    pandas.testing.assert_frame_equal(back, frame)


def test_csv_reads_back_equal_in_polars(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    from polars.testing import assert_frame_equal

    path = to_csv(tmp_path / "c.csv", ROWS, ["exact"])
    frame = to_polars(ROWS, ["exact"])
    back = polars.read_csv(path, schema=frame.schema)
    nul = polars.col("text").str.replace("\0", "<U+0000>", literal=True)
    assert_frame_equal(back, frame.with_columns(nul))


def test_jsonl_reads_back_equal_in_json_pandas_and_polars(tmp_path: Path) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    path = to_jsonl(tmp_path / "c.jsonl", ROWS, ["exact"])
    back = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    texts = [str(r["text"]).replace("\ud83d", "<U+D83D>") for r in ROWS]
    assert [r["text"] for r in back] == texts
    assert back[3]["vars"] == {"k": 'quo"te', "n": 3}
    assert back[-2]["cost_usd"] is None
    assert list(back[0]) == [*COLUMNS, "exact"]
    seen = pandas.read_json(path, lines=True, dtype=False)
    assert seen["text"].tolist() == texts
    assert seen["vars"].tolist() == [r["vars"] for r in back]
    frame = polars.read_ndjson(path, infer_schema_length=None)
    assert frame["text"].to_list() == texts
    assert frame["cost_usd"].to_list() == [r["cost_usd"] for r in to_frame_rows(ROWS)]


@pytest.mark.parametrize("without", [(), ("pyarrow", "pyarrow.parquet")], ids=["pyarrow", "polars"])
def test_parquet_reads_back_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...], expected: list[dict[str, Any]]
) -> None:
    polars = pytest.importorskip("polars")
    for name in without:
        monkeypatch.setitem(sys.modules, name, None)
    path = to_parquet(tmp_path / "c.parquet", ROWS, ["exact"])
    assert polars.read_parquet(path).to_dicts() == expected


def test_without_pyarrow_and_polars_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnsupportedError, match="neither is installed") as caught:
        to_parquet(tmp_path / "c.parquet", ROWS)
    assert caught.value.hint == "pip install pyarrow"
    assert not (tmp_path / "c.parquet").exists()


def test_types_do_not_depend_on_what_is_missing() -> None:
    empty, full = [row(**dict.fromkeys(("latency_ms", "input_tokens", "error", "exact")))], [*ROWS]
    for make in (to_pandas, to_polars, to_arrow):
        one, other = make(empty, ["exact"]), make(full, ["exact"])
        kinds = [getattr(frame, "schema", getattr(frame, "dtypes", None)) for frame in (one, other)]
        assert all(kinds[0] == kinds[1]) if make is to_pandas else kinds[0] == kinds[1]
        assert len(make([], ["exact"])) == 0


def test_frames_of_pandas_polars_and_arrow_hold_the_same(expected: list[dict[str, Any]]) -> None:
    assert to_polars(ROWS, ["exact"]).to_dicts() == expected
    assert to_arrow(ROWS, ["exact"]).to_pylist() == expected
    pandas_rows = to_pandas(ROWS, ["exact"]).to_dict("records")
    known = [{k: v for k, v in r.items() if v is not None} for r in expected]
    assert [{k: r[k] for k in e} for r, e in zip(pandas_rows, known, strict=True)] == known


@pytest.mark.parametrize("without", [(), ("pyarrow",)], ids=["pyarrow", "polars"])
def test_arrow_readers_take_the_stream(monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]) -> None:
    polars = pytest.importorskip("polars")
    expected = to_frame_rows(ROWS, ["exact"])
    for name in without:
        monkeypatch.setitem(sys.modules, name, None)

    class Streams:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return arrow_stream(ROWS, ["exact"], requested_schema)

    assert polars.DataFrame(Streams()).to_dicts() == expected


def test_a_scorer_that_gives_words_is_a_column_of_text_and_what_is_not_finite_is_unknown() -> None:
    rows = [row(a="good", b=float("nan")), row(a=1, b=Decimal("0.5")), row(a={"x": 1}, b=True), row()]
    found = to_frame_rows(rows, ["a", "b"])
    assert [r["a"] for r in found] == ["good", "1", '{"x": 1}', None]
    assert [r["b"] for r in found] == [None, 0.5, 1.0, None]


def test_columns_that_only_some_rows_have_come_last() -> None:
    assert list(to_frame_rows([row(), row(exact_reason="x")], ["exact"])[0])[-2:] == ["exact", "exact_reason"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝"])
def test_safe_csv_has_no_formula(tmp_path: Path, start: str) -> None:
    text = start + 'cmd|"/c calc"!A1'
    rows = [row(text=text, prompt_id=text, exact=-1.5)]
    path = to_csv(tmp_path / "c.csv", rows, ["exact", start + "scorer"], safe=True)
    with path.open(encoding="utf-8", newline="") as file:
        back = next(csv.DictReader(file))
    assert back["text"] == "'" + text
    assert back["prompt_id"] == "'" + text
    assert back["exact"] == "-1.5"  # a number is a number
    assert "'" + start + "scorer" in back
    plain = to_csv(tmp_path / "d.csv", rows, ["exact"])
    with plain.open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["text"] == text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet=st.characters(codec=None), max_size=12), min_size=1, max_size=5))
def test_any_text_survives_csv_and_jsonl(tmp_path: Path, texts: list[str]) -> None:
    rows = [row(text=text) for text in texts]
    kept = [r["text"] for r in to_frame_rows(rows)]
    with to_csv(tmp_path / "c.csv", rows).open(encoding="utf-8", newline="") as file:
        assert [r["text"] for r in csv.DictReader(file)] == [t.replace("\0", "<U+0000>") for t in kept]
    lines = to_jsonl(tmp_path / "c.jsonl", rows).read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["text"] for line in lines if line] == kept


def test_no_rows_give_a_header_and_nothing_else(tmp_path: Path) -> None:
    assert to_csv(tmp_path / "c.csv", [], ["exact"]).read_text() == ",".join([*COLUMNS, "exact"]) + "\n"
    assert to_jsonl(tmp_path / "c.jsonl", []).read_text() == ""
    assert to_parquet(tmp_path / "c.parquet", []).stat().st_size > 0


def test_a_file_that_cannot_be_written_is_an_error_and_the_old_one_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="cannot be written") as caught:
        to_csv(tmp_path / "file" / "c.csv", ROWS)
    assert caught.value.hint
    assert (tmp_path / "file").read_text() == "x"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


# ---------------------------------------------------------------- the page


def test_the_page_holds_everything_in_full_and_loads_nothing(tmp_path: Path) -> None:
    rows, cases = many(250, words=8)
    rows[0] = {**rows[0], "text": "x" * 50_000}
    picture = "<svg><title>scores</title></svg>"
    parts: dict[str, Any] = {"scorers": ["exact"], "summary": SUMMARY, "notes": ["a note"], "title": "T <b>"}
    path = to_html(tmp_path / "c.html", rows, ARMS, cases, **parts, pictures=[picture], manifest={"seed": 7})
    html = path.read_text(encoding="utf-8")
    assert html.count('<th scope="row">') == 250 + len(SUMMARY)
    assert "x" * 50_000 in html
    assert f"<figure>{picture}</figure>" in html
    assert "&quot;seed&quot;: 7" in html
    assert "<title>T &lt;b&gt;</title>" in html
    assert "default-src 'none'" in html
    for word in ("<script", "<link", "url(", "http:", "https:", "Showing"):
        assert word not in html


def test_a_given_cap_is_kept_and_said() -> None:
    rows, cases = many(20)
    html = standalone_html(rows, ARMS, cases, limit=5)
    assert html.count('<th scope="row">') == 5
    assert "Showing 5 of 20 prompts" in html


def test_the_page_is_utf_8_and_hostile_words_stay_words(tmp_path: Path) -> None:
    arms = (Arm("demo/\ud83d"),)
    rows = [row(arms[0], f"p{n}", text, text) for n, text in enumerate((*PAYLOADS, *ODD))]
    parts: dict[str, Any] = {"title": "</title><script>\ud83d", "notes": PAYLOADS[:1], "manifest": {"</pre>": "\ud83d"}}
    html = to_html(tmp_path / "c.html", rows, arms, **parts).read_bytes().decode("utf-8")
    assert "<script" not in html.lower()
    assert "<img" not in html.lower()
    assert html.count("</title>") == html.count("</style>") == 1
