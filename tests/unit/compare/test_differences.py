"""What differs between two texts, word by word."""

from __future__ import annotations

import itertools
import random
import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbllm.compare.differences import TOO_LONG, common, difference, difference_html, difference_text
from payloads import PAYLOADS

texts = st.text(alphabet=st.sampled_from("ab cd\n\t\r漢字か.,{}<>'é\u0301👍\ud83d"), max_size=60)


@given(texts, texts)
def test_the_pieces_are_both_texts(before: str, after: str) -> None:
    pieces = difference(before, after)
    assert pieces is not None
    assert "".join(p.text for p in pieces if p.kind != "added") == before
    assert "".join(p.text for p in pieces if p.kind != "removed") == after


@given(texts, texts)
def test_pieces_are_never_empty_and_never_two_of_a_kind(before: str, after: str) -> None:
    pieces = difference(before, after) or ()
    assert all(p.text for p in pieces)
    assert all(a.kind != b.kind for a, b in itertools.pairwise(pieces))


@given(texts)
def test_equal_texts_have_no_difference(text: str) -> None:
    assert {p.kind for p in difference(text, text) or ()} <= {"same"}


def length_of_lcs(a: str, b: str) -> int:
    """By the textbook's table."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = row[:]
        for j, y in enumerate(b):
            row[j + 1] = before[j] + 1 if x == y else max(before[j + 1], row[j])
    return row[-1]


@settings(max_examples=300)
@given(st.text(alphabet="abcd", max_size=40), st.text(alphabet="abcde", max_size=40))
def test_the_common_subsequence_is_one_and_is_the_longest(a: str, b: str) -> None:
    pairs = common(a, b)
    assert pairs is not None
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(p < q and r < s for (p, r), (q, s) in itertools.pairwise(pairs))
    assert len(pairs) == length_of_lcs(a, b)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("A quick brown fox jumps.", "A quick red fox jumped.", "A quick [-brown-]{+red+} fox [-jumps-]{+jumped+}."),
        ("我喜欢吃苹果。", "我喜欢吃香蕉。", "我喜欢吃[-苹果-]{+香蕉+}。"),
        ("日本語を話す", "日本語も話す", "日本語[-を-]{+も+}話す"),
        ("f(x):\n    return 1\n", "f(x, y):\n    return 2\n", "f(x{+, y+}):\n    return [-1-]{+2+}\n"),
        ("it costs 3.14 now", "it costs 3.15 now", "it costs [-3.14-]{+3.15+} now"),
        ("I don't", "I do", "I [-don't-]{+do+}"),
        ("a b", "a  b", "a[- -]{+  +}b"),
        ("a\nb", "a\n\nb", "a\n{+\n+}b"),
        ("नमस्ते दुनिया", "नमस्ते भारत", "नमस्ते [-दुनिया-]{+भारत+}"),
        ("👨\u200d👩\u200d👧 ok", "👍 ok", "[-👨<U+200D>👩<U+200D>👧-]{+👍+} ok"),
        ("", "new", "{+new+}"),
        ("old", "", "[-old-]"),
        ("", "", ""),
    ],
    ids=["latin", "chinese", "japanese", "code", "number", "apostrophe", "space", "line", "hindi", "emoji", "new",
         "gone", "nothing"],
)  # fmt: skip
def test_whole_words_change(before: str, after: str, expected: str) -> None:
    assert difference_text(before, after) == expected


def test_words_that_are_equal_by_chance_do_not_cut_a_rewrite_into_confetti() -> None:
    before = "It was the best of times and the worst of times, said he"
    after = "Completely other words, of which the fewest are equal and none long"
    assert difference_text(before, after).count("[-") == 1


def test_two_long_rewrites_are_compared_to_the_end() -> None:
    rng = random.Random(1)
    words = [f"w{n}" for n in range(2000)]
    before, after = (" ".join(rng.choices(words, k=20_000)) for _ in range(2))
    pieces = difference(before, after)
    assert pieces is not None
    assert "".join(p.text for p in pieces if p.kind != "removed") == after


def test_beyond_the_cap_it_is_said_and_the_second_text_is_shown() -> None:
    before, after = "a b c <d>", "b a c <e> f"
    assert difference(before, after, cap=3) is None
    assert TOO_LONG in difference_text(before, after, cap=3)
    html = difference_html(before, after, cap=3)
    assert TOO_LONG in html
    assert "b a c &lt;e&gt; f" in html


def test_a_small_change_in_a_text_beyond_the_cap_is_found_by_its_lines() -> None:
    lines = [f"line {n} of the text" for n in range(300)]
    changed = list(lines)
    changed[0], changed[100], changed[299] = "first", "line 100 of a text", "last"
    pieces = difference("\n".join(lines), "\n".join(changed), cap=200_000)
    assert pieces is not None
    assert ("removed", "the") in [(p.kind, p.text) for p in pieces]


def test_html_says_removed_and_added_in_words_too() -> None:
    html = difference_html("a red fox", "a <b>blue</b> fox")
    assert "<del>" in html
    assert "<ins>" in html
    said = re.sub("<[^>]*>", "", html)
    assert unescape(said) == "a [removed: red][added: <b>blue</b>] fox"


def test_a_change_of_white_space_can_be_seen() -> None:
    assert "↵" in difference_html("a\nb", "a\n\nb")
    assert "␣" in difference_html("a b", "a  b")
    assert "⇥" in difference_html("a b", "a\tb")


def test_hostile_texts_make_no_html() -> None:
    for text in PAYLOADS:
        tags = set(re.findall(r"<\s*/?\s*([^\s>/]*)", difference_html(text, text[::-1])))
        assert tags <= {"ins", "del", "span"}
        assert "\u202e" not in difference_html("", text)
