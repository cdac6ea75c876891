"""How many requests to one provider are under way at once, on a clock that stands still between the steps."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare_server import compare, comparing, echo
from nbllm.compare.lanes import CAP, START, Lane
from transport_clock import Clock


def limited_after_growing(clock: Clock, *, cap: int = CAP) -> Lane:
    lane = Lane(cap=cap, clock=lambda: clock.now)
    for _ in range(2 * cap):
        lane.answered()
    return lane


def test_it_begins_small_and_each_answer_allows_one_more_up_to_the_cap() -> None:
    lane = Lane()
    assert lane.allowed == START
    rounds = 0
    while lane.allowed < CAP:
        rounds += 1
        for _ in range(lane.allowed):
            lane.answered()
    assert rounds == 3  # 20, 40, 80, 100
    for _ in range(50):
        lane.answered()
    assert lane.allowed == CAP


def test_a_burst_of_refusals_halves_it_once_and_another_one_later_again() -> None:
    clock = Clock()
    lane = limited_after_growing(clock)
    for _ in range(80):
        lane.limited(2.0)
    assert lane.allowed == CAP // 2
    clock.now += 2.0
    lane.limited(2.0)
    assert lane.allowed == CAP // 4


def test_it_pauses_for_as_long_as_the_provider_asked_the_longest_counts() -> None:
    clock = Clock()
    lane = limited_after_growing(clock)
    lane.limited(3.0)
    lane.limited(7.0)
    lane.limited(1.0)
    assert (lane.pause_s(), lane.free(0)) == (7.0, 0)
    clock.now += 6.5
    assert (lane.pause_s(), lane.free(0)) == (0.5, 0)
    clock.now += 0.5
    assert lane.pause_s() == 0
    assert lane.free(10) == lane.allowed - 10


def test_after_a_refusal_it_grows_by_one_a_round() -> None:
    clock = Clock()
    lane = limited_after_growing(clock)
    lane.limited(1.0)
    for round_ in range(5):
        assert lane.allowed == CAP // 2 + round_
        for _ in range(lane.allowed + 1):
            lane.answered()


def test_a_lane_that_is_stopped_lets_nothing_through_and_keeps_the_first_reason() -> None:
    lane = Lane()
    lane.stop("the key was refused")
    lane.stop("another")
    assert lane.free(0) == 0
    assert lane.stopped == "the key was refused"


@given(st.integers(1, 300), st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=200))
def test_there_is_always_room_for_one_and_never_for_more_than_the_cap(cap: int, steps: list[float | None]) -> None:
    clock = Clock()
    lane = Lane(cap=cap, clock=lambda: clock.now)
    for wait_s in steps:
        if wait_s is None:
            lane.answered()
        else:
            lane.limited(wait_s)
            clock.now += wait_s / 2
        assert 1 <= lane.allowed <= cap
        assert 0 <= lane.free(0) <= cap
        assert lane.free(lane.allowed) == 0


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_row_says_how_many_at_once(concurrency: int) -> None:
    def slow(model: str, prompt: str) -> str:
        time.sleep(0.005)
        return echo(model, prompt)

    with comparing(slow, rate_limit={"concurrency": concurrency}) as (workspace, models):
        compare(workspace, [f"p{n}" for n in range(20)])
        assert models.most_at_once == concurrency
        assert len(models.asked) == 40


@pytest.mark.parametrize(("row", "begins"), [({}, START), ({"rate_limit": {"concurrency": 30}}, 30)])
def test_a_run_begins_with_as_many_as_the_row_allows_or_with_few_where_it_does_not_say(
    row: dict[str, Any], begins: int
) -> None:
    at_first: list[int] = []

    def look() -> None:
        time.sleep(0.1)  # for one too many to arrive
        at_first.append(models.at_once)

    together = threading.Barrier(begins, look, timeout=10)

    def answer(model: str, prompt: str) -> str:
        if not at_first:
            together.wait()
        return echo(model, prompt)

    with comparing(answer, **row) as (workspace, models):
        found = compare(workspace, [f"p{n}" for n in range(40)])
    assert at_first == [begins]
    assert [row["status"] for row in found.cells] == ["ok"] * 80


def most_in_a_minute(passed: list[float]) -> int:
    return max(sum(begin <= at < begin + 60 for at in passed) for begin in passed)


def test_requests_a_minute_are_kept_during_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.stands_before_every_gate(monkeypatch)
    with comparing(rate_limit={"requests_per_minute": 20}) as (workspace, _):
        found = compare(workspace, [f"p{n}" for n in range(35)])
    assert [row["status"] for row in found.cells] == ["ok"] * 70
    assert len(clock.passed) >= 70
    assert most_in_a_minute(clock.passed) == 20
    # And no whole minute slower than it must be: three before the last ten. This clock runs on while answers travel.
    assert 180 <= max(clock.passed) < 240


def test_tokens_a_minute_are_kept_during_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.stands_before_every_gate(monkeypatch)
    with comparing(rate_limit={"tokens_per_minute": 1_000}) as (workspace, models):
        compare(workspace, [f"p{n}" for n in range(20)], "lab/a", params={"max_tokens": 240})
    # A request counts with its prompt and the longest answer that it allows: four go into a minute.
    assert len(models.asked) == 20
    assert most_in_a_minute(clock.passed) == 4
