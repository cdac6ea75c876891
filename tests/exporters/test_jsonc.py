"""JSON with comments: read as others read it, changed without touching the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.exporters.jsonc import Editor, JsoncError, dumps, parse

_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.floats(0, 1) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
_blanks = st.sampled_from(["", " ", "\n", "\n  ", ' // note, "x": {\n', "/* c } */", "\t"])


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A text as people write it, and what it says."""

    def text(value: Any) -> str:
        if isinstance(value, dict):
            parts = [
                f"{draw(_blanks)}{json.dumps(k)}{draw(_blanks)}:{draw(_blanks)}{text(v)}" for k, v in value.items()
            ]
        elif isinstance(value, list):
            parts = [f"{draw(_blanks)}{text(v)}" for v in value]
        else:
            return json.dumps(value, ensure_ascii=draw(st.booleans()))
        trail = "," if parts and draw(st.booleans()) else ""
        ends = "{}" if isinstance(value, dict) else "[]"
        return ends[0] + f"{draw(_blanks)},".join(parts) + draw(_blanks) + trail + draw(_blanks) + ends[1]

    value = draw(st.dictionaries(st.text(max_size=4), _values, max_size=4))
    return draw(_blanks) + text(value) + draw(_blanks), value


@given(documents())
def test_it_is_read_as_json(document: tuple[str, dict[str, Any]]) -> None:
    text, value = document
    assert parse(text).plain() == value


@given(documents(), st.dictionaries(st.text(max_size=4), _values, min_size=1, max_size=3))
def test_what_is_laid_over_is_there_and_nothing_else_has_changed(
    document: tuple[str, dict[str, Any]], wanted: dict[str, Any]
) -> None:
    text, value = document
    editor = Editor(text)
    changed = editor.lay_over(editor.root, wanted)
    new = editor.result()
    assert parse(new).plain() == _laid(value, wanted)
    assert changed == (new != text)
    again = Editor(new)
    assert not again.lay_over(again.root, wanted)
    assert again.result() == new


def _laid(there: Any, wanted: Any) -> Any:
    if isinstance(there, dict) and isinstance(wanted, dict):
        return there | {k: _laid(there[k], v) if k in there else v for k, v in wanted.items()}
    return wanted


@given(documents(), st.data())
def test_what_is_removed_is_gone_and_comments_stay(document: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    text, value = document
    gone = data.draw(st.sets(st.sampled_from(sorted(value)))) if value else set()
    editor = Editor(text)
    editor.remove(editor.root, gone)
    new = editor.result()
    assert parse(new).plain() == {k: v for k, v in value.items() if k not in gone}
    for comment in ("// note", "/* c } */"):
        assert new.count(comment) == text.count(comment)


@given(documents(), st.text(max_size=3))
def test_every_byte_outside_a_new_entry_survives(document: tuple[str, dict[str, Any]], key: str) -> None:
    text, value = document
    if key in value:
        return
    editor = Editor(text)
    editor.insert(editor.root, {key: "new"})
    new = iter(editor.result())
    assert all(char in new for char in text if not char.isspace())  # a brace that ends a line may get one of its own


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": 1 "b": 2}', "{a: 1}", "nul", '{"a": NaN}', "[" * 500, '{"a": 1}}', "01", "'a'", '{"a": 1} x',
     '{"a": "\n"}', "{,}", "[1,,2]", "/* open", '{"a" 1}', "\ufeff{}", '"\\x"'],
)  # fmt: skip
def test_what_is_not_json_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(JsoncError, match=r"line \d+, column \d+"):
        parse(text)


def test_a_key_that_stands_twice_counts_where_it_stands_last() -> None:
    editor = Editor('{"a": 1, "a": 2}')
    assert editor.lay_over(editor.root, {"a": 3})
    assert editor.result() == '{"a": 1, "a": 3}'


def test_the_files_own_indentation_is_taken_up() -> None:
    editor = Editor('{\n\t"a": {\n\t\t"b": 1\n\t}\n}\n')
    editor.lay_over(editor.root, {"a": {"c": {"d": 1}}})
    assert editor.result() == '{\n\t"a": {\n\t\t"b": 1,\n\t\t"c": {\n\t\t\t"d": 1\n\t\t}\n\t}\n}\n'


def test_true_is_not_one() -> None:
    editor = Editor('{"a": 1}')
    assert editor.lay_over(editor.root, {"a": True})
    assert editor.result() == '{"a": true}'


def test_half_a_surrogate_pair_can_be_written() -> None:
    assert json.loads(dumps({"a": "\ud800"}).encode()) == {"a": "\ud800"}
