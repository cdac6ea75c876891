"""A comparison as HTML and as text."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from nbllm.compare.cells import Arm, Case
from nbllm.compare.page import MAX_BYTES, comparison_html
from nbllm.compare.page_cells import TEXT_CAP, cell_html
from nbllm.compare.page_text import comparison_text
from payloads import PAYLOADS
from unit.compare.comparing import ARMS, SUMMARY, failed, many, row

OWN = {
    "b", "caption", "code", "del", "details", "div", "em", "ins", "li", "p", "pre", "small", "span", "strong", "style",
    "summary", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


class Parsed(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def words_of(html: str) -> str:
    """What is read, without tags and style."""
    return re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL)


def test_prompts_are_rows_and_arms_are_columns_in_the_order_given() -> None:
    rows, cases = many(3)
    html = comparison_html(rows[::-1], ARMS, cases)
    columns = re.findall(r'<th scope="col">([^<]*)', html)
    assert [c.strip() for c in columns] == ["prompt", "demo/guide", "demo/echo t=0", "demo/echo t=1"]
    assert re.findall(r'nbc-id">([^<]*)', html) == ["p0", "p1", "p2"]
    assert html.count('<th scope="row">') == 3


def test_the_same_cells_give_the_same_bytes_however_they_came() -> None:
    rows, cases = many(20, repeats=2)
    again = [r | {"from_store": True, "started_at": "2030-01-01T00:00:00Z", "request_id": "other"} for r in rows]
    random.Random(2).shuffle(again)
    parts: dict[str, Any] = {"scorers": ["exact"], "summary": SUMMARY, "notes": ["one"]}
    assert comparison_html(rows, ARMS, cases, **parts) == comparison_html(again, ARMS, cases, **parts)
    assert comparison_text(rows, ARMS, cases, **parts) == comparison_text(again, ARMS, cases, **parts)


@pytest.mark.parametrize("differences", [False, True])
def test_hostile_words_anywhere_make_no_html(differences: bool) -> None:
    for text in (*PAYLOADS, "</style></pre></td></table>", "\u202e\x00\ud83d"):
        arms = (Arm(text, {text: text}), Arm("b", {}, text + "b"))
        rows = [row(arms[0], text, text, text, judge=text), failed(arms[1], text, error_type=text, error=text)]
        rows.append(row(arms[1], text, text, text[::-1], repeat=1))
        parts: dict[str, Any] = {"scorers": ["judge"], "notes": [text], "title": text, "differences": differences}
        page = Parsed(comparison_html(rows, arms, [], summary=[{"model": text, "scorer": text}], rest=text, **parts))
        assert set(page.tags) <= OWN
        assert page.attributes <= {"class", "scope", "role", "aria-label", "aria-hidden", "tabindex", "style"}
        assert comparison_html(rows, arms, []).isprintable() is False  # line breaks, and nothing else that is hidden
        assert not set("\u202e\x00\ud83d") & set(comparison_html(rows, arms, [], **parts))
        assert not set("\u202e\x00\ud83d") & set(comparison_text(rows, arms, [], scorers=["judge"], notes=[text]))


def test_nothing_is_loaded_and_nothing_needs_script() -> None:
    rows, cases = many(5)
    html = comparison_html(rows, ARMS, cases, scorers=["exact"], summary=SUMMARY)
    assert not re.search(r"<script|<link|<img|https?:|url\(|@import|javascript:| id=", html)


def test_at_most_two_hundred_prompts_are_shown_and_the_rest_is_named() -> None:
    rows, cases = many(300, words=8)
    html = comparison_html(rows, ARMS, cases)
    assert html.count('<th scope="row">') == 200
    assert "Showing 200 of 300 prompts" in html
    assert "to_html" in html
    assert "Showing" not in comparison_html(rows, ARMS, cases, limit=None)


def test_at_most_a_megabyte_is_shown_and_at_least_one_prompt() -> None:
    rows, cases = many(100, words=2000)
    html = comparison_html(rows, ARMS, cases)
    assert len(html.encode()) < MAX_BYTES + 20_000
    assert re.search(r"Showing \d+ of 100 prompts", html)
    huge = [row(text="\u202e" * 300_000, repeat=n, finish_reason=str(n)) for n in range(20)]
    one = comparison_html(huge, ARMS[:1])
    assert one.count('<th scope="row">') == 1
    assert len(one.encode()) < MAX_BYTES + 20_000


def test_a_text_beyond_its_cap_says_how_much_is_missing() -> None:
    html = cell_html([row(text="x" * (TEXT_CAP + 1234))])
    assert "… 1,234 more characters" in html
    assert "more characters" not in cell_html([row(text="x" * (TEXT_CAP + 1234))], text_cap=None)


def test_equal_repeats_are_shown_once_with_their_number() -> None:
    cells = [row(repeat=n, latency_ms=800.0 + n * 10) for n in range(3)] + [row(repeat=3, text="four")]
    html = cell_html(cells)
    assert html.count("<pre") == 2
    assert "3 identical" in html
    assert "repeat 4 of 4" in html
    assert "800 ms – 820 ms" in html
    assert "$0.00036 together" in html


def test_an_error_is_said_by_class_and_line_and_is_no_answer() -> None:
    html = cell_html([failed()])
    assert "RateLimitError" in html
    assert "too many requests" in html
    assert "<pre" not in html
    assert "cost" not in html


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([], "not asked"),
        ([row(text="  ")], "the answer is empty"),
        ([row(cost_usd=None)], "cost unknown"),
        ([row(cost_usd=0)], "$0"),
        ([row(finish_reason="length")], "limit of tokens"),
        ([row(usage_source="estimate")], "~34 out"),
        ([row(reasoning_tokens=1200)], "(1,200 reasoning)"),
        ([row(cached_input_tokens=8)], "20 in"),
        ([row(latency_ms=61_500.0)], "61.5 s"),
    ],
    ids=["none", "empty", "unknown", "free", "cut", "estimate", "reasoning", "cached", "slow"],
)
def test_what_a_reader_must_know_is_said(cells: list[dict[str, Any]], words: str) -> None:
    assert words in words_of(cell_html(cells))


def test_figures_that_are_unknown_are_left_out_and_never_zero() -> None:
    blank = row(latency_ms=None, input_tokens=None, output_tokens=None, cost_usd=None)
    assert re.findall(r"<small>(.*?)</small>", cell_html([blank])) == ["cost unknown"]


def test_scores_are_means_of_what_was_scored_with_a_sign_for_right_and_wrong() -> None:
    assert "✓" in cell_html([row(exact=True)], ["exact"])
    assert "✗" in cell_html([row(exact=False)], ["exact"])
    assert "✓" not in cell_html([row(words=1)], ["words"])  # a number, by chance 1
    assert "<b>0.5</b>" in cell_html([row(exact=1), row(exact=0, repeat=1), row(exact=None, repeat=2)], ["exact"])
    assert "not scored" in cell_html([row(exact=None)], ["exact"])
    assert "not scored" in cell_html([row(exact=float("nan"))], ["exact"])
    assert "<b>tie</b>" in cell_html([row(judge="tie")], ["judge"])


def test_long_answers_and_prompts_are_folded_and_complete() -> None:
    text = "word " * 400
    html = comparison_html([row(prompt=text + "?", text=text)], ARMS[:1])
    assert html.count("<details>") == 2
    assert html.count(text.strip()) == 2
    assert "<details>" not in cell_html([row(text="short")])


def test_a_text_keeps_the_line_breaks_it_begins_with() -> None:
    assert '<pre class="nbc-words">\n\n\nx</pre>' in cell_html([row(text="\n\nx")])


def test_differences_are_from_the_first_arms_same_repeat() -> None:
    ours = [row(text="a red fox", repeat=0), row(text="a green fox", repeat=1)]
    theirs = [row(ARMS[1], text="a blue fox", repeat=1)]
    html = comparison_html([*ours, *theirs], ARMS[:2], differences=True)
    assert re.findall(r"<del>.*?</del>", html) == [
        '<del><span class="nbc-unseen">[removed: </span>green<span class="nbc-unseen">]</span></del>'
    ]
    assert "what differs from demo/guide" in html
    assert "no difference" in comparison_html([row(), row(ARMS[1])], ARMS[:2], differences=True)
    assert "<del>" not in comparison_html([failed(), row(ARMS[1])], ARMS[:2], differences=True)


def test_errors_and_cells_that_were_not_asked_are_counted() -> None:
    rows = [row(), failed(repeat=1), row(ARMS[1]), row(Arm("other/model"))]
    html = words_of(comparison_html(rows, ARMS, [Case("p1", "?")]))
    assert "1 prompt · 2 repeats · 3 cells · 1 error · 3 not asked" in html
    assert "1 cell of models or parameters that are not among the columns" in html


def test_arms_of_one_model_are_told_apart_by_their_parameters() -> None:
    rows = [row(ARMS[2], text="hot"), row(ARMS[1], text="cold"), row(text="guide")]
    html = comparison_html(rows, ARMS)
    assert re.findall(r"<pre[^>]*>(guide|cold|hot)</pre>", html) == ["guide", "cold", "hot"]
    as_text = [
        r | {"params": '{"temperature": 1}' if r["text"] == "hot" else "{}"} for r in rows if r["text"] != "cold"
    ]
    assert re.findall(r"<pre[^>]*>(guide|cold|hot)</pre>", comparison_html(as_text, ARMS)) == ["guide", "hot"]


def test_the_summary_leaves_out_columns_in_which_nothing_is_known() -> None:
    html = comparison_html([row()], ARMS, summary=SUMMARY)
    assert "0.750 [0.600, 0.850]" in html
    assert "cost per correct" not in html
    assert "time p95" in html
    bare = comparison_html([row()], ARMS, summary=[{"model": "demo/guide", "mean": None}])
    assert "mean" not in words_of(bare)


def test_an_empty_comparison_says_so() -> None:
    assert "no prompts" in comparison_html([], ARMS)
    assert comparison_text([], ()) == "Comparison: 0 models · 0 prompts · 0 cells"
    Parsed(comparison_html([], ()))
    Parsed(comparison_html([], (), [Case("p", "?")]))


def test_text_fits_its_width_and_says_what_it_left_out() -> None:
    rows, cases = many(30, words=200)
    rows.append(row(prompt_id="p0", text="漢字" * 200, repeat=1))
    text = comparison_text(rows, ARMS, cases, scorers=["exact"], summary=SUMMARY, notes=["n" * 300], width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "Showing 10 of 30 prompts" in text
    assert "\ue000" not in text
    cjk = [line for line in text.splitlines() if "漢字漢字" in line]
    assert max(sum(2 if c in "漢字" else 1 for c in line) for line in cjk) <= 81


def test_text_names_errors_and_what_was_not_asked() -> None:
    text = comparison_text([row(), failed(ARMS[1])], ARMS, scorers=["exact"])
    assert "RateLimitError: demo: too many requests" in text
    assert "demo/echo t=1: not asked" in text
    assert "[exact – · 812 ms · 12 in · 34 out · $0.00012]" in text
