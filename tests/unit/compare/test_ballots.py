"""Blind votes without a notebook: which pairs, on which sides, and what votes come to."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbllm.compare.ballots import (
    ArmOf,
    Ballot,
    Ballots,
    Choice,
    Vote,
    agreement,
    aligned,
    ballots,
    duels_of,
    progress,
    shares,
    verdicts,
)
from nbllm.compare.cells import Arm, Duel
from nbllm.errors import UsageError

ALPHA, BETA, GAMMA = Arm("maker/alpha"), Arm("maker/beta"), Arm("maker/gamma")


def cell(arm: Arm, prompt: int, *, repeat: int = 0, text: str | None = None, status: str = "ok") -> dict[str, Any]:
    said = f"{arm.label} says {prompt}.{repeat}" if text is None else text
    return {"prompt_id": f"p{prompt:04}", "repeat": repeat, "model": arm.model, "params": dict(arm.params),
            "status": status, "text": said}  # fmt: skip


def grid(*arms: Arm, prompts: int = 10, repeats: int = 1) -> list[dict[str, Any]]:
    return [cell(a, p, repeat=r) for p in range(prompts) for r in range(repeats) for a in arms]


def vote(ballot: Ballot, choice: Choice, minute: int = 0, voter: str | None = None) -> Vote:
    return Vote(ballot.id, choice, f"2026-11-01T12:{minute:02}:00+00:00", voter)


# ---------------------------------------------------------------- which pairs


def test_every_prompt_and_repeat_is_a_ballot_for_each_two_arms() -> None:
    found = ballots(grid(ALPHA, BETA, GAMMA, prompts=4, repeats=2), [ALPHA, BETA, GAMMA], seed=1)

    places = Counter((b.prompt_id, b.repeat, *sorted((b.left, b.right))) for b in found)
    assert len(places) == 4 * 2 * 3
    assert set(places.values()) == {1}


@settings(max_examples=60)
@given(prompts=st.integers(0, 30), repeats=st.integers(1, 3), seed=st.integers())
def test_each_arm_of_a_pair_stands_left_as_often_as_right_up_to_one(prompts: int, repeats: int, seed: int) -> None:
    arms = [ALPHA, BETA, GAMMA]
    found = ballots(grid(*arms, prompts=prompts, repeats=repeats), arms, seed=seed)

    for pair in ((ALPHA, BETA), (ALPHA, GAMMA), (BETA, GAMMA)):
        labels = {arm.label for arm in pair}
        left = Counter(b.left for b in found if {b.left, b.right} == labels)
        assert sum(left.values()) == prompts * repeats
        assert abs(left[pair[0].label] - left[pair[1].label]) <= 1


def test_the_same_seed_draws_the_same_however_the_rows_come() -> None:
    rows = grid(ALPHA, BETA, prompts=30)
    mixed = random.Random(5).sample(rows, len(rows))

    assert ballots(rows, [ALPHA, BETA], seed=3) == ballots(mixed, [BETA, ALPHA], seed=3)


def test_another_seed_draws_another_order_and_other_sides() -> None:
    one, other = (ballots(grid(ALPHA, BETA, prompts=30), [ALPHA, BETA], seed=seed) for seed in (1, 2))

    assert [b.prompt_id for b in one] != [b.prompt_id for b in other]
    assert {b.prompt_id: b.left for b in one} != {b.prompt_id: b.left for b in other}


def test_the_side_in_one_prompt_says_nothing_of_the_side_in_the_next() -> None:
    same = total = 0
    for seed in range(200):
        found = ballots(grid(ALPHA, BETA, prompts=20), [ALPHA, BETA], seed=seed)
        left = [b.left for b in sorted(found, key=lambda b: b.prompt_id)]
        same += sum(a == b for a, b in pairwise(left))
        total += len(left) - 1
    assert 0.44 < same / total < 0.51  # 9 of 19: the halves are equal, so a neighbour is a little likelier to differ


def test_the_order_of_ballots_does_not_follow_the_prompts() -> None:
    ids = [b.prompt_id for b in ballots(grid(ALPHA, BETA, prompts=40), [ALPHA, BETA], seed=0)]

    assert ids != sorted(ids)
    assert len(set(ids[:20]) & {f"p{n:04}" for n in range(20)}) < 18


def test_errors_and_equal_answers_are_left_out_and_counted() -> None:
    rows = [
        cell(ALPHA, 1), cell(BETA, 1),
        cell(ALPHA, 2, text="the same"), cell(BETA, 2, text="the same \n"),
        cell(ALPHA, 3), cell(BETA, 3, status="error"),
        cell(ALPHA, 4),
    ]  # fmt: skip
    found = ballots(rows, [ALPHA, BETA], seed=0)

    assert [b.prompt_id for b in found] == ["p0001"]
    assert (found.identical, found.unanswered) == (1, 2)


def test_an_empty_answer_is_an_answer() -> None:
    assert len(ballots([cell(ALPHA, 1, text=""), cell(BETA, 1)], [ALPHA, BETA], seed=0)) == 1


def test_only_the_pairs_that_are_asked_for_are_drawn() -> None:
    rows = grid(ALPHA, BETA, GAMMA, prompts=6)
    found = ballots(
        rows, [ALPHA, BETA, GAMMA], seed=0, pairs=[("maker/gamma", "maker/alpha"), ("maker/alpha", "maker/gamma")]
    )

    assert len(found) == 6
    assert {frozenset((b.left, b.right)) for b in found} == {frozenset(("maker/alpha", "maker/gamma"))}


@pytest.mark.parametrize("pair", [("maker/alpha", "maker/delta"), ("maker/alpha", "maker/alpha"), ("maker/alpha",)])
def test_a_pair_that_cannot_be_is_refused(pair: Any) -> None:
    with pytest.raises(UsageError, match=r"maker/"):
        ballots(grid(ALPHA, BETA), [ALPHA, BETA], seed=0, pairs=[pair])


def test_two_arms_of_one_name_are_refused() -> None:
    arms = [Arm("maker/alpha", {"temperature": 0}), Arm("maker/alpha", {"temperature": 1})]
    with pytest.raises(UsageError, match="two arms are called maker/alpha"):
        ballots([], arms, seed=0)


def test_arms_of_one_model_are_told_apart_by_their_parameters() -> None:
    cold = Arm("maker/alpha", {"temperature": 0, "top_p": 1}, "cold")
    hot = Arm("maker/alpha", {"temperature": 1, "top_p": 1}, "hot")
    which = ArmOf([cold, hot, BETA])

    assert which({"model": "maker/alpha", "params": {"top_p": 1, "temperature": 1}}) == 1
    assert which({"model": "maker/alpha", "params": '{"top_p": 1, "temperature": 0}'}) == 0
    assert which({"model": "maker/alpha", "params": {"temperature": 2}}) is None
    assert which({"model": "maker/beta", "params": None}) == 2
    assert which({"model": "maker/delta"}) is None


# ---------------------------------------------------------------- the id


def test_an_id_tells_neither_arm_nor_side() -> None:
    found = ballots(grid(ALPHA, BETA, prompts=50), [ALPHA, BETA], seed=0)

    assert all(len(b.id) == 32 and set(b.id) <= set("0123456789abcdef") for b in found)
    assert len({b.id for b in found} | {b.twin.id for b in found}) == 100
    low = Counter(b.left for b in sorted(found, key=lambda b: b.id)[:25])
    assert 5 < low["maker/alpha"] < 20  # sorting by id does not sort by side


def test_an_id_is_of_the_texts_that_were_read() -> None:
    before = ballots([cell(ALPHA, 1), cell(BETA, 1)], [ALPHA, BETA], seed=0)
    after = ballots([cell(ALPHA, 1), cell(BETA, 1, text="asked again")], [ALPHA, BETA], seed=0)

    assert before[0].id != after[0].id
    assert duels_of([vote(before[0], "left")], after) == []


# ---------------------------------------------------------------- votes


@pytest.fixture
def drawn() -> Ballots:
    return ballots(grid(ALPHA, BETA, prompts=12), [ALPHA, BETA], seed=4)


def test_a_vote_becomes_a_duel_with_the_arm_of_its_side(drawn: Ballots) -> None:
    one, two, three, four = drawn[:4]
    votes = [vote(one, "left"), vote(two, "right"), vote(three, "tie"), vote(four, "skip")]

    assert duels_of(votes, drawn) == [
        Duel(one.prompt_id, 0, one.left, one.right, "a", "vote"),
        Duel(two.prompt_id, 0, two.left, two.right, "b", "vote"),
        Duel(three.prompt_id, 0, three.left, three.right, "tie", "vote"),
    ]


def test_the_latest_vote_of_a_voter_counts_and_each_voter_has_one(drawn: Ballots) -> None:
    ballot = drawn[0]
    votes = [vote(ballot, "right", 5), vote(ballot, "left", 1), vote(ballot, "tie", 3, "ann")]

    assert [d.winner for d in duels_of(votes, drawn)] == ["b", "tie"]


def test_of_two_votes_of_one_moment_the_later_in_the_list_counts(drawn: Ballots) -> None:
    assert [d.winner for d in duels_of([vote(drawn[0], "left"), vote(drawn[0], "tie")], drawn)] == ["tie"]


def test_moments_are_compared_and_not_their_spelling(drawn: Ballots) -> None:
    early = Vote(drawn[0].id, "left", "2026-11-01T14:00:00+02:00")
    late = Vote(drawn[0].id, "right", "2026-11-01T13:00:00Z")

    assert [d.winner for d in duels_of([late, early], drawn)] == ["b"]


def test_a_vote_that_was_taken_back_counts_for_nothing(drawn: Ballots) -> None:
    votes = [vote(drawn[0], "left", 1), vote(drawn[1], "left", 2), vote(drawn[0], "undo", 3)]

    assert [d.prompt_id for d in duels_of(votes, drawn)] == [drawn[1].prompt_id]
    assert progress(votes, drawn).done == 1
    assert progress([*votes, vote(drawn[0], "tie", 4)], drawn).done == 2


def test_votes_keep_their_meaning_when_sides_change(drawn: Ballots) -> None:
    votes = [vote(b, "left") for b in drawn]
    again = ballots(grid(ALPHA, BETA, prompts=12), [ALPHA, BETA], seed=99)
    winners = {b.prompt_id: b.left for b in drawn}

    assert any(b.left != winners[b.prompt_id] for b in again)
    assert progress(votes, again).done == 12
    for duel in duels_of(votes, again):
        assert {"a": duel.a, "b": duel.b}[duel.winner] == winners[duel.prompt_id]


def test_votes_on_other_ballots_are_passed_over(drawn: Ballots) -> None:
    assert duels_of([Vote("f" * 32, "left", "2026-11-01T12:00:00Z")], drawn) == []


def test_progress_is_of_one_voter(drawn: Ballots) -> None:
    votes = [vote(drawn[0], "left"), vote(drawn[1], "skip"), vote(drawn[2], "tie", voter="ann")]

    mine, hers = progress(votes, drawn), progress(votes, drawn, "ann")
    assert (mine.done, mine.skipped, mine.total) == (2, 1, 12)
    assert (hers.done, hers.skipped, hers.total) == (1, 0, 12)


def test_agreement_is_over_what_both_judged_whatever_sides_they_saw(drawn: Ballots) -> None:
    votes = [
        vote(drawn[0], "left", voter="ann"), vote(drawn[0].twin, "right", voter="bob"),  # the same arm
        vote(drawn[1], "left", voter="ann"), vote(drawn[1], "right", voter="bob"),
        vote(drawn[2], "tie", voter="ann"), vote(drawn[2].twin, "tie", voter="bob"),
        vote(drawn[3], "left", voter="ann"), vote(drawn[3], "skip", voter="bob"),
        vote(drawn[4], "left", voter="ann"),
    ]  # fmt: skip

    assert aligned(votes, drawn, "ann", "bob") == [("left", "left"), ("left", "right"), ("tie", "tie")]
    [found] = agreement(votes, drawn)
    assert (found.one, found.other, found.n, found.same, found.share) == ("ann", "bob", 3, 2, 2 / 3)


def test_voters_without_a_ballot_in_common_have_no_agreement(drawn: Ballots) -> None:
    [found] = agreement([vote(drawn[0], "left"), vote(drawn[1], "left", voter="ann")], drawn)

    assert (found.one, found.other, found.share) == (None, "ann", None)


def test_shares_count_a_tie_as_half_a_win(drawn: Ballots) -> None:
    a, b = ALPHA.label, BETA.label
    duels = [Duel("p", 0, a, b, "a"), Duel("q", 0, b, a, "b"), Duel("r", 0, a, b, "tie"), Duel("s", 0, a, b, "b")]
    alpha, beta, gamma, pair = shares(duels, [ALPHA, BETA, GAMMA])

    assert (alpha.wins, alpha.ties, alpha.losses, alpha.share) == (2, 1, 1, 0.625)
    assert (beta.wins, beta.ties, beta.losses, beta.share) == (1, 1, 2, 0.375)
    assert (gamma.n, gamma.share) == (0, None)
    assert (pair.arm, pair.against, pair.share) == (a, b, 0.625)


@settings(max_examples=80)
@given(
    said=st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["left", "right", "tie", "skip", "undo"])), max_size=60)
)
def test_the_last_word_on_each_ballot_is_what_counts(said: list[tuple[int, Choice]]) -> None:
    drawn = ballots(grid(ALPHA, BETA, prompts=12), [ALPHA, BETA], seed=4)
    last = dict(said)
    found = verdicts([vote(drawn[at], choice, minute) for minute, (at, choice) in enumerate(said)], drawn)

    assert found == {(None, drawn[at]): choice for at, choice in last.items() if choice != "undo"}


@pytest.mark.parametrize(("choice", "at"), [("both", "2026-11-01T12:00:00Z"), ("left", "yesterday"), ("left", None)])
def test_a_vote_that_is_none_is_refused(choice: Any, at: Any) -> None:
    with pytest.raises(UsageError):
        Vote("f" * 32, choice, at)


def test_a_ballot_differs_from_its_twin_only_in_its_sides(drawn: Ballots) -> None:
    ballot = drawn[0]
    assert ballot.twin == replace(ballot, left=ballot.right, right=ballot.left)
    assert ballot.twin.twin == ballot
