"""Text that others wrote, made fit to be shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.foreign import escape, one_line, visible


@given(st.text(alphabet=st.characters()), st.integers(1, 50))
def test_one_line_is_printable_and_within_its_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    # Characters that are newer than this Python (category Cn) are left alone: tomorrow's emoji.
    assert all(c.isprintable() or c.isspace() or unicodedata.category(c) == "Cn" for c in line)


@pytest.mark.parametrize("char", ["\u202e", "\u200b", "\u2066", "\x1b", "\x07", "\ufeff", "\x00", "\u2028", "\ud800"])
def test_hidden_characters_are_shown(char: str) -> None:
    assert visible(f"a{char}b") == f"a<U+{ord(char):04X}>b"


@pytest.mark.parametrize("text", ["plain", "naïve", "数学", "two\nlines\twith tabs", "🙂"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@given(st.text())
def test_escaped_text_opens_no_tag_and_no_attribute(text: str) -> None:
    assert not set("<>\"'") & set(escape(text))


def test_a_cut_is_marked() -> None:
    assert one_line("abcdef", 4) == "abc…"
    assert one_line(" a\r\nb\tc ") == "a  b c"
