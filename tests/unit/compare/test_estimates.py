"""What a run may cost, before it: guesses that learn from what was seen, and never call an unknown price cheap."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare_server import compare, comparing, said
from nbllm.compare.cells import CellSpec, cell_key
from nbllm.compare.estimate import Estimator, History, Priced, estimate
from nbllm.compare.options import CompareOptions
from nbllm.messages import ChatRequest, Message, Usage
from nbllm.prices import Prices
from nbllm.providers.spec import ProviderConfig

ROW = ProviderConfig(id="lab", kind="openai", base_url="http://127.0.0.1:9/v1", auth="none")
KNOWN = Prices("a test", input_price=1.0, output_price=2.0)


def request(prompt: str = "What is it?", *, model: str = "a", max_tokens: int | None = 100) -> ChatRequest:
    return ChatRequest("lab", model, (Message.user(prompt),), max_tokens=max_tokens)


def spec(number: int = 0, **more: Any) -> CellSpec:
    asked = request(f"What is {number}?", **more)
    return CellSpec(cell_key(asked, address="x", repeat=0), asked)


def estimator(*, prices: tuple[Prices, ...] = (KNOWN,), max_output: int | None = None) -> Estimator:
    return Estimator(History(None), lambda provider, model: Priced(ROW, prices if model != "b" else (), max_output))


def total(specs: list[CellSpec], guesses: Estimator) -> Any:
    return estimate(guesses, specs, cells=len(specs), stored=0, judged=0, at_once=lambda _: 1)


@given(st.text(min_size=1, max_size=400), st.integers(1, 10_000), st.none() | st.integers(1, 10_000))
def test_the_low_end_is_never_above_the_high_end_and_the_smaller_bound_counts(
    prompt: str, max_tokens: int, max_output: int | None
) -> None:
    guesses = estimator(max_output=max_output)
    found = guesses.guess(request(prompt, max_tokens=max_tokens))
    assert 0 <= found.input_low <= found.input_tokens <= found.input_high
    assert found.output_high == min(n for n in (max_tokens, max_output) if n is not None)
    assert 1 <= found.output_low <= found.output_high


def test_a_longer_prompt_is_guessed_longer() -> None:
    guesses = estimator()
    sizes = [guesses.guess(request("word " * n)).input_tokens for n in (1, 10, 100, 1000)]
    assert sizes == sorted(set(sizes))


def test_the_whole_is_the_sum_of_its_cells() -> None:
    guesses, specs = estimator(), [spec(n) for n in range(20)]
    one, whole = total(specs[:1], guesses), total(specs, guesses)
    assert whole.output_tokens_high == 20 * 100
    assert whole.cost_high_usd > 19 * one.cost_low_usd
    assert whole.cost_low_usd == sum(total([s], guesses).cost_low_usd for s in specs)
    assert whole.cost_high_usd == sum(guesses.worst(s.request) or 0 for s in specs)


def test_one_unknown_price_makes_the_whole_unknown_and_is_named() -> None:
    found = total([spec(), spec(1, model="b")], estimator())
    assert (found.cost_low_usd, found.cost_high_usd) == (None, None)
    assert found.unknown_prices == ("lab/b",)
    assert "unknown" in repr(found)


def test_an_answer_that_nothing_bounds_has_no_upper_end_and_is_named() -> None:
    guesses = estimator()
    found = total([spec(), spec(1, max_tokens=None)], guesses)
    assert (found.output_tokens_high, found.cost_high_usd) == (None, None)
    assert found.cost_low_usd is not None
    assert found.unbounded == ("lab/a",)
    assert guesses.worst(request(max_tokens=None)) is None
    assert "no upper bound" in repr(found)


@given(st.integers(1, 5_000))
def test_the_worst_case_of_those_to_come_is_no_smaller_than_what_was_seen_on_the_way(counted: int) -> None:
    guesses = estimator()
    before = guesses.guess(request())
    guesses.observe(request(), before.input_tokens, Usage(counted, output_tokens=1))
    after = guesses.guess(request())
    assert after.input_high >= max(counted - 1, before.input_high)
    assert guesses.guess(request(model="c")).input_high == before.input_high  # of that model alone


def test_a_count_that_is_itself_a_guess_teaches_nothing() -> None:
    guesses = estimator()
    before = guesses.guess(request())
    guesses.observe(request(), before.input_tokens, Usage(100_000, output_tokens=1, source="estimate"))
    assert guesses.guess(request()) == before


@pytest.mark.parametrize(("seen", "learns"), [(9, False), (10, True)])
def test_a_model_is_known_after_ten_answers(seen: int, learns: bool) -> None:
    with comparing(lambda m, p: said("word", tokens=(500, 33))) as (workspace, _):
        compare(workspace, [f"q{n}" for n in range(seen)], "lab/a", params={"max_tokens": 100})
        found = workspace.comparisons.dry_run(
            CompareOptions(prompts=["another"], models="lab/a", params={"max_tokens": 100})
        )
    assert (found.input_tokens_low > 400) is learns
    assert found.output_tokens_low == 33


def test_answers_to_the_same_request_teach_more_than_those_to_others() -> None:
    def answer(model: str, prompt: str) -> Any:
        return said("word", tokens=(10, 90 if prompt == "long" else 10))

    with comparing(answer) as (workspace, _):
        compare(workspace, ["long", *(f"q{n}" for n in range(10))], "lab/a", params={"max_tokens": 100})
        options = {"models": "lab/a", "params": {"max_tokens": 100}}
        long, new = (workspace.comparisons.dry_run(CompareOptions(prompts=[p], **options)) for p in ("long", "new"))
    assert (long.output_tokens_low, new.output_tokens_low) == (90, 10)
