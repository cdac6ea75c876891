"""A regular expression of somebody else cannot hold the notebook."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbllm.compare.patterns import Matcher

SLOW = ("(a+)+$", "a" * 60 + "b")


@pytest.fixture
def matcher() -> Iterator[Matcher]:
    matcher = Matcher(limit_s=20.0)
    yield matcher
    matcher.close()


def test_a_pattern_that_never_ends_is_stopped_and_the_next_one_is_answered() -> None:
    matcher = Matcher(limit_s=0.3)
    with pytest.raises(TimeoutError, match="longer than"):
        matcher.search(*SLOW)
    matcher.limit_s = 20.0
    assert matcher.search("a+b", "xaab")
    matcher.close()


def test_a_pattern_that_was_too_slow_three_times_is_given_up() -> None:
    matcher = Matcher(limit_s=0.2)
    for _ in range(3):
        with pytest.raises(TimeoutError, match="longer than"):
            matcher.search(*SLOW)
    with pytest.raises(TimeoutError, match="given up"):
        matcher.search(SLOW[0], "a")
    matcher.close()


def test_after_close_no_process_and_no_thread_is_left() -> None:
    matcher = Matcher()
    assert matcher.search("a+", "a")
    matcher.close()
    assert "nbllm-patterns" not in [t.name for t in threading.enumerate()]
    assert matcher.search("b*c", "c")
    matcher.close()


@pytest.mark.parametrize("pattern", ["(", "[", "a{2", "*", r"\1"])
def test_what_is_no_pattern_is_said_to_be_none_the_same_way_as_re_says_it(matcher: Matcher, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error:
        with pytest.raises(ValueError, match="error: "):
            matcher.search(pattern, "x")
    else:
        assert not matcher.search(pattern, "x")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([r"\d+", "a|b", "(?i)straße", r"\bno\b", "^x", "é", "a.c", r"\n", "(?s)a.*b"]), st.text(max_size=40)
)
def test_it_finds_what_re_finds(matcher: Matcher, pattern: str, text: str) -> None:
    assert matcher.search(pattern, text) == (re.search(pattern, text) is not None)


def test_half_characters_and_line_ends_reach_the_pattern_as_they_are(matcher: Matcher) -> None:
    assert matcher.search("\ud800+", "a\ud800b")
    assert matcher.search("a\r\n+b", "a\r\n\nb")
    assert matcher.search("\u2028+", "\u2028")
