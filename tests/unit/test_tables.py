"""Tables as text, as HTML and as DataFrames."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from nbllm.tables import Sentences, Table, cell_text, rows_of
from payloads import PAYLOADS

ROWS = [
    {"name": "a", "count": 3, "price": None, "tags": ["x", "y"], "on": True},
    {"name": "b\u202e", "count": None, "price": 0.25, "tags": [], "on": False},
]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert {name for name, _ in attrs} <= {"style", "scope"}


def test_hostile_cells_make_no_html() -> None:
    texts = [str(getattr(p, "text", p)) for p in PAYLOADS]
    table = Table([{"<b>": t} for t in texts], title=texts[0], note=texts[0])
    tags = _Tags()
    tags.feed(table._repr_html_())
    assert tags.seen <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}


def test_text_has_a_line_a_row_and_fits() -> None:
    lines = Table(ROWS, title="T", note="N").to_text(80).splitlines()
    assert lines[0] == "T"
    assert lines[1].split() == ["name", "count", "price", "tags", "on"]
    assert lines[4].startswith("b<U+202E>")
    assert lines[-1] == "N"
    wide = Table([{"a": "x" * 300, "b": "y" * 300}]).to_text(60)
    assert max(map(len, wide.splitlines())) <= 60


def test_a_narrow_terminal_still_shows_every_column() -> None:
    lines = Table(ROWS).to_text(10).splitlines()
    assert len(lines) == 4
    assert "name" in lines[0]


def test_unknown_is_empty_and_never_zero() -> None:
    assert (cell_text(None), cell_text(0), cell_text(0.0), cell_text(False)) == ("", "0", "0", "no")


def test_an_empty_table_says_so() -> None:
    assert Table([], columns=("a",), note="why").to_text() == "(nothing)\nwhy"
    assert "<th" in Table([], columns=("a",))._repr_html_()
    assert len(Table([])) == 0


def test_rows_are_counted_walked_and_picked() -> None:
    table = Table(ROWS)
    assert (len(table), next(iter(table))["name"], table[0]["count"]) == (2, "a", 3)


@pytest.mark.parametrize("rows", [ROWS, []], ids=["rows", "empty"])
def test_all_columns_travel_to_pandas_and_polars(rows: list[dict[str, object]]) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    table = Table(rows, columns=("name",))
    assert isinstance(table.to_pandas(), pandas.DataFrame)
    assert isinstance(table.to_polars(), polars.DataFrame)
    assert table.to_polars().to_dicts() == rows
    assert list(table.to_pandas().columns) == (list(ROWS[0]) if rows else [])


def test_sentences_are_lines() -> None:
    said = Sentences(["one <b>", "two"])
    assert repr(said) == "one <b>\ntwo"
    assert said._repr_html_() == "<div>one &lt;b&gt;</div><div>two</div>"
    assert rows_of([]) == []


def test_title_and_note_cannot_drive_a_terminal() -> None:
    for table in (Table(ROWS, title="\x1b[31mT", note="N\u202e\nM"), Table([], title="\x1b[31mT", note="N\u202e\nM")):
        assert "\x1b" not in repr(table)
        assert repr(table).endswith("N<U+202E>\nM")


def test_where_there_is_no_terminal_the_width_is_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the saved outputs of a notebook would depend on who starts it."""
    table = Table([{"a": "word " * 200}])
    monkeypatch.setenv("COLUMNS", "150")
    assert len(table.to_text().splitlines()[1]) == 120
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert len(table.to_text().splitlines()[1]) == 150
