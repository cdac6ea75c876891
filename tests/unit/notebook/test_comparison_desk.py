"""What the view of a comparison does, without a browser: actions go in, messages come out."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from nbllm.compare.ballots import Vote, ballots, duels_of
from nbllm.compare.cells import Arm, Case
from nbllm.errors import StoreError, UsageError
from nbllm.notebook.panels.comparison import ComparisonView
from nbllm.notebook.panels.comparison_desk import ComparisonDesk, Message

ARMS = [Arm("secretmaker/alpha"), Arm("secretmaker/beta", {"temperature": 0.5}, "secretmaker/beta cold")]
CASES = [Case(f"p{n:02}", f"What is {n} and {n}?") for n in range(12)]
SCORERS = ["exact"]


def cell(arm: Arm, case: Case, text: str, **more: Any) -> dict[str, Any]:
    return {"prompt_id": case.prompt_id, "prompt": case.prompt, "model": arm.model, "params": dict(arm.params),
            "repeat": 0, "status": "ok", "text": text, "exact": 1.0, "latency_ms": 812.5, "cost_usd": Decimal("0.001"),
            "output_tokens": 12, **more}  # fmt: skip


ROWS = [cell(arm, case, f"answer {at} to {case.prompt_id}") for case in CASES for at, arm in enumerate(ARMS)]


class Browser:
    """The other end of a desk: sends actions as the page does, and waits for what answers them."""

    def __init__(self, rows: Any = ROWS, **options: Any) -> None:
        self.kept: list[Vote] = []
        self.heard: list[Message] = []
        self._news: queue.Queue[Message] = queue.Queue()
        self._count = 0
        options = {"votes": lambda: list(self.kept), "keep": self.kept.append, **options}
        self.desk = ComparisonDesk(rows, ARMS, CASES, SCORERS, post=self._take, **options)

    def _take(self, message: Message) -> None:
        json.dumps(message, allow_nan=False).encode()  # only what JSON can say crosses to the browser
        self.heard.append(message)
        self._news.put(message)

    def do(self, what: str, **more: Any) -> list[object]:
        """Send an action; its number."""
        self._count += 1
        self.desk.receive({"do": what, "seq": ["view", self._count], **more})
        return ["view", self._count]

    def ask(self, what: str, **more: Any) -> Message:
        """Send an action, and wait for its answer."""
        seq = self.do(what, **more)
        return self.until(lambda message: message["seq"] == seq)

    def until(self, fits: Callable[[Message], bool], limit_s: float = 10) -> Message:
        """The next message that fits."""
        end = time.monotonic() + limit_s
        while True:
            message = self._news.get(timeout=max(0.01, end - time.monotonic()))
            if fits(message):
                return message

    def start(self) -> Message:
        self.ask("hello")
        return self.ask("start")

    def vote(self, state: Message, choice: str) -> Message:
        return self.ask("vote", ballot=state["ballot"]["token"], choice=choice)

    @property
    def text(self) -> str:
        """All that ever reached the browser."""
        return json.dumps(self.heard)


# ---------------------------------------------------------------- voting


def test_a_vote_is_kept_with_the_side_that_was_shown_and_the_next_pair_comes() -> None:
    browser = Browser()
    state = browser.start()
    left = state["ballot"]["left"]
    after = browser.vote(state, "left")

    assert (state["done"], after["done"], after["total"], after["kept"]) == (0, 1, 12, "left")
    assert after["ballot"]["token"] != state["ballot"]["token"]
    [duel] = duels_of(browser.kept, ballots(ROWS, ARMS, seed=0))
    winner = next(row for row in ROWS if row["text"] == left)
    assert {"a": duel.a, "b": duel.b}[duel.winner].startswith(winner["model"])


def test_nothing_names_an_arm_until_the_vote_has_ended() -> None:
    browser = Browser()
    state = browser.start()
    for choice in ("left", "tie", "skip", "right"):
        state = browser.vote(state, choice)
    browser.ask("undo")
    for what in ("answers", "results"):
        assert browser.ask(what)["type"] == "problem"
    assert browser.ask("open", row=0)["type"] == "problem"
    assert browser.ask("search", words=["alpha"])["type"] == "problem"

    assert "secretmaker" not in browser.text
    assert all(vote.ballot not in browser.text for vote in browser.kept)  # an id could be looked up in the store
    browser.ask("end")
    assert "secretmaker" not in browser.text
    assert browser.ask("results")["shares"][0]["arm"] == "secretmaker/alpha"


def test_revealing_closes_the_pair_and_tells_its_names_only() -> None:
    browser = Browser()
    state = browser.start()
    token = state["ballot"]["token"]
    shown = browser.ask("reveal", ballot=token)

    assert shown["phase"] == "revealed"
    assert set(shown["ballot"]["names"].values()) == {arm.label for arm in ARMS}
    assert [vote.choice for vote in browser.kept] == ["skip"]
    assert browser.ask("vote", ballot=token, choice="left")["phase"] == "revealed"
    assert len(browser.kept) == 1  # it was closed
    after = browser.ask("next", ballot=token)
    assert (after["phase"], after["ballot"]["names"], after["can_undo"]) == ("ballot", None, False)
    assert browser.ask("undo")["type"] == "problem"


def test_a_key_pressed_twice_is_one_vote() -> None:
    browser = Browser()
    state = browser.start()
    for _ in range(5):
        browser.do("vote", ballot=state["ballot"]["token"], choice="left")
    browser.ask("hello")

    assert len(browser.kept) == 1


def test_undo_takes_the_last_vote_back_and_shows_its_pair_again() -> None:
    browser = Browser()
    first = browser.start()
    second = browser.vote(first, "left")
    browser.vote(second, "right")
    again = browser.ask("undo")

    assert (again["done"], again["kept"]) == (1, "undo")
    assert again["ballot"]["left"] == second["ballot"]["left"]
    browser.vote(again, "tie")
    drawn = ballots(ROWS, ARMS, seed=0)
    assert [duel.winner for duel in duels_of(browser.kept, drawn)] == ["a", "tie"]
    browser.ask("undo")
    assert browser.ask("undo")["done"] == 0
    assert browser.ask("undo")["type"] == "problem"
    assert duels_of(browser.kept, drawn) == []


def test_a_vote_that_cannot_be_kept_is_told_and_not_counted() -> None:
    kept: list[Vote] = []

    def keep(vote: Vote) -> None:
        if len(kept) == 1:
            raise StoreError("the disk is full", hint="make room")
        kept.append(vote)

    browser = Browser(keep=keep)
    state = browser.vote(browser.start(), "left")
    problem = browser.vote(state, "left")

    assert (problem["type"], problem["message"], problem["hint"]) == ("problem", "the disk is full", "make room")
    assert (browser.ask("undo"))["type"] == "problem"  # that cannot be kept either
    now = browser.ask("hello")
    assert (now["done"], now["ballot"]["token"]) == (1, state["ballot"]["token"])


def test_an_unforeseen_failure_is_told_without_its_words() -> None:
    def keep(vote: Vote) -> None:
        raise ValueError("secretmaker/alpha is in the way")

    browser = Browser(keep=keep)
    problem = browser.vote(browser.start(), "left")

    assert problem["message"] == "vote failed: ValueError"
    assert "secretmaker" not in browser.text


def test_votes_that_cannot_be_read_stop_the_vote_until_they_can() -> None:
    broken = [True]

    def votes() -> list[Vote]:
        if broken[0]:
            raise StoreError("the store is locked")
        return []

    browser = Browser(votes=votes)
    assert browser.ask("hello")["message"] == "the store is locked"
    assert browser.ask("start")["type"] == "problem"
    broken[0] = False
    assert browser.ask("start")["phase"] == "ballot"


def test_another_day_the_vote_goes_on_where_it_stopped() -> None:
    browser = Browser()
    state = browser.start()
    seen = [state["ballot"]["left"]]
    for _ in range(4):
        state = browser.vote(state, "tie")
        seen.append(state["ballot"]["left"])
    later = Browser(votes=lambda: browser.kept, voter=None)
    state = later.start()

    assert (state["done"], state["ballot"]["left"]) == (4, seen[-1])
    other = Browser(votes=lambda: browser.kept, voter="ann")
    assert other.start()["done"] == 0


def test_after_the_last_pair_the_last_vote_can_still_be_taken_back() -> None:
    browser = Browser()
    state = browser.start()
    while state["phase"] == "ballot":
        state = browser.vote(state, "right")

    assert (state["phase"], state["done"], state["ballot"]) == ("done", 12, None)
    assert browser.ask("undo")["phase"] == "ballot"


def test_after_the_end_no_vote_is_taken() -> None:
    browser = Browser()
    state = browser.start()
    browser.ask("end")

    assert browser.vote(state, "left")["type"] == "problem"
    assert browser.ask("start")["phase"] == "ended"
    assert browser.kept == []


def test_a_clock_that_goes_back_does_not_turn_votes_round() -> None:
    ahead = Vote(ballots(ROWS, ARMS, seed=0)[0].id, "left", "2999-01-01T00:00:00+00:00")
    browser = Browser()
    browser.kept.append(Vote(ahead.ballot, "undo", ahead.at))
    state = browser.vote(browser.start(), "right")

    assert state["done"] == 1
    assert [duel.winner for duel in duels_of(browser.kept, ballots(ROWS, ARMS, seed=0))] == ["b"]


def test_left_out_pairs_are_counted() -> None:
    rows = [{**row, "text": "the same"} if row["prompt_id"] in ("p00", "p01") else row for row in ROWS[:-1]]
    state = Browser(rows).start()

    assert (state["total"], state["identical"], state["unanswered"]) == (9, 2, 1)


NONSENSE = [
    None, "vote", {}, {"do": "_perform"}, {"do": "vote"}, {"do": "open", "row": "x"},
    {"do": "vote", "ballot": [], "choice": {}}, {"do": "search", "words": 7},
]  # fmt: skip


@pytest.mark.parametrize("action", NONSENSE)
def test_nonsense_is_a_message_or_nothing(action: Any) -> None:
    browser = Browser()
    browser.start()
    browser.desk.receive(action)

    assert browser.ask("hello")["type"] == "state"
    assert browser.kept == []


# ---------------------------------------------------------------- answers


@pytest.fixture
def looking() -> Browser:
    return Browser(keep=None, votes=None)


def pages(browser: Browser, total: int) -> list[Message]:
    browser.do("answers")
    found: list[Message] = []
    while sum(len(page["rows"]) for page in found) < total:
        found.append(browser.until(lambda message: message["type"] == "table"))
    return found


def test_without_a_vote_the_answers_are_open_at_once(looking: Browser) -> None:
    state = looking.ask("hello")
    [page] = pages(looking, len(ROWS))

    assert (state["phase"], state["blind"], state["can_vote"]) == ("browse", False, False)
    assert page["head"]["arms"] == [arm.label for arm in ARMS]
    assert page["rows"][0][:5] == [0, 0, 0, True, "answer 0 to p00"]
    assert page["rows"][0][5:] == [812.5, None, None, 12, 0.001, 1]
    assert looking.ask("start")["type"] == "problem"


def test_values_that_json_cannot_say_are_unknown() -> None:
    odd = [
        {**ROWS[0], "exact": float("nan"), "latency_ms": float("inf")},
        {**ROWS[1], "exact": "a word", "latency_ms": "fast"},
    ]
    [page] = pages(Browser(odd, keep=None), 2)

    assert [row[5] for row in page["rows"]] == [None, None]
    assert [row[10] for row in page["rows"]] == [None, "a word"]


def test_hidden_and_half_characters_are_shown_by_number() -> None:
    rows = [{**ROWS[0], "text": "a\u202eb \ud800 c"}, {**ROWS[1], "text": "plain"}]
    browser = Browser(rows, keep=None)
    [page] = pages(browser, 2)

    assert page["rows"][0][4] == "a<U+202E>b <U+D800> c"
    assert browser.ask("open", row=0)["answers"][0]["text"] == "a<U+202E>b <U+D800> c"


def test_a_row_opens_the_answers_of_all_arms_at_its_repeat(looking: Browser) -> None:
    opened = looking.ask("open", row=5)

    assert (opened["prompt_id"], opened["prompt"], opened["arm"]) == ("p02", "What is 2 and 2?", 1)
    assert [a["text"] for a in opened["answers"]] == ["answer 0 to p02", "answer 1 to p02"]
    assert looking.ask("open", row=99)["type"] == "problem"


def test_an_error_and_a_missing_cell_are_no_empty_answers() -> None:
    rows = [cell(ARMS[0], CASES[0], "", status="error", error_type="RateLimitError", error="too many requests")]
    opened = Browser(rows, keep=None).ask("open", row=0)

    assert [(a["status"], a.get("error")) for a in opened["answers"]] == [
        ("error", "RateLimitError: too many requests"), ("none", None),
    ]  # fmt: skip


def test_long_answers_are_not_sent_up_front_and_yet_found() -> None:
    rows = [
        cell(arm, case, f"{'x' * 100_000} {case.prompt_id} needle{at}") for case in CASES for at, arm in enumerate(ARMS)
    ]
    browser = Browser(rows, keep=None)
    [page] = pages(browser, len(rows))

    assert page["head"]["whole"] is False
    assert len(json.dumps(page)) < 10_000
    assert browser.ask("search", words=["NEEDLE1", "p03"])["rows"] == [7]
    assert browser.ask("open", row=7)["answers"][1]["text"].endswith("p03 needle1")


def test_20_000_cells_come_in_several_messages() -> None:
    rows = [cell(ARMS[n % 2], CASES[0], f"answer {n}", prompt_id=f"q{n // 2}") for n in range(20_000)]
    found = pages(Browser(rows, keep=None), len(rows))

    assert [len(page["rows"]) for page in found] == [4000] * 5
    assert ["head" in page for page in found] == [True] + [False] * 4
    assert max(len(json.dumps(page)) for page in found) < 2_000_000


# ---------------------------------------------------------------- the widget


def view(**options: Any) -> ComparisonView:
    return ComparisonView(ROWS, ARMS, CASES, SCORERS, html="<p>secretmaker/alpha wins</p>", **options)


def test_for_looking_the_output_holds_the_static_page_beside_the_widget() -> None:
    made = view()
    data, _ = made._repr_mimebundle_()

    assert data["text/html"] == "<p>secretmaker/alpha wins</p>"
    assert data["text/plain"] == repr(made) == "ComparisonView(2 models, 12 prompts, 24 answers)"
    assert "application/vnd.jupyter.widget-view+json" in data
    assert made.tab == "answers"


def test_for_a_vote_nothing_of_the_widget_names_an_arm() -> None:
    made = view(keep=lambda vote: None, votes=list)
    data, metadata = made._repr_mimebundle_()

    assert made.tab == "vote"
    assert "secretmaker" not in json.dumps([data, metadata, made.get_state()], default=str)
    assert "12 pairs" in data["text/html"]


def test_without_a_pair_to_vote_on_the_view_opens_at_the_answers() -> None:
    same = [{**row, "text": "the same"} for row in ROWS]
    assert ComparisonView(same, ARMS, CASES, SCORERS, keep=lambda vote: None).tab == "answers"


def test_pairs_that_cannot_be_are_refused_when_the_view_is_made() -> None:
    with pytest.raises(UsageError, match="no arm gamma"):
        view(keep=lambda vote: None, pairs=[("gamma", "secretmaker/alpha")])
