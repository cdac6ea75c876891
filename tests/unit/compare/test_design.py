"""From what was given to cells: one question has one key wherever it stands, and a design survives the store."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nbllm.compare.cells import Arm, Case, CellSpec, Outcome, cell_key
from nbllm.compare.data import read_data
from nbllm.compare.design import Asked, Design, asking_order, cells_of, make_design
from nbllm.compare.templates import columns_in, fill
from nbllm.errors import PromptError
from nbllm.messages import ChatRequest, Message, Usage
from nbllm.providers.registry import ModelRef

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
name = st.text("abcdefgh", min_size=1, max_size=6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(name, inner, max_size=3),
    max_leaves=5,
)


def resolve(ref: str) -> ModelRef:
    provider, _, model = ref.partition("/")
    return ModelRef(provider, model)


def design(prompts: Any = "hi", models: Any = ("lab/a", "lab/b"), **more: Any) -> Design:
    return make_design(Asked(prompts=prompts, models=models, **more), resolve)


def keys(found: Design) -> dict[tuple[str, str, int], str]:
    """Model, prompt and repeat to key."""
    return {(c.arm.label, c.case.prompt, c.repeat): c.spec.key for c in cells_of(found, lambda id: f"https://{id}")}


# ---------------------------------------------------------------- keys


def test_the_key_of_a_known_request_stays_what_it_was_so_that_old_stores_are_found() -> None:
    request = ChatRequest(
        "openai", "gpt-5", (Message.user("Why is the sky blue? 空"),), system="Be brief.", temperature=0.5,
        max_tokens=50, params={"top_p": 0.9},
    )  # fmt: skip
    address = "https://api.openai.com/v1"
    assert cell_key(request, address=address, repeat=0) == (
        "3bd2504b52e4d400353c17f6889c31d243cee95b0be948960037cd320827b5fb"
    )
    assert cell_key(request, address=address, repeat=1, copy=2) == (
        "344f4f4a7ce3b683c8a7577466d5cece897348e6ce85293dbd528590f620381f"
    )


@given(st.lists(text, min_size=1, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_prompts_models_and_settings_changes_no_key(prompts: list[str], dice: Any) -> None:
    models, temperatures = ["lab/a", "lab/b", "other/a"], [0, 0.5, 1]
    one = design(prompts, models, params={"temperature": temperatures, "top_p": 0.5}, repeats=2)
    for order in (prompts, models, temperatures):
        dice.shuffle(order)
    other = design(prompts, models, params={"top_p": 0.5, "temperature": temperatures}, repeats=2, seed=9)
    assert keys(one) == keys(other)
    assert len(set(keys(one).values())) == len(one)


def test_more_rows_models_or_repeats_leave_the_keys_of_what_was_there() -> None:
    rows = [{"x": f"word {n}", "y": n} for n in range(5)]
    small = keys(design("Say {{x}}", "lab/a", data=rows[:3]))
    large = keys(design("Say {{x}}", ["lab/b", "lab/a"], data=list(reversed(rows)), repeats=3))
    assert small.items() <= large.items()


def test_a_column_that_the_template_does_not_name_changes_no_key() -> None:
    rows = [{"x": "a"}, {"x": "b"}]
    more = [{"x": row["x"], "answer": 7} for row in rows]
    assert keys(design("Say {{x}}", data=rows)) == keys(design("Say {{x}}", data=more))


@pytest.mark.parametrize(
    "change",
    [{"system": "Be brief."}, {"params": {"temperature": 0}}, {"params": {"max_tokens": 5}}, {"models": ["lab/c"]},
     {"params": {"top_p": 0.5}}, {"prompts": "hi "}],
)  # fmt: skip
def test_whatever_changes_the_answer_changes_the_key(change: dict[str, Any]) -> None:
    before = keys(design())
    after = keys(design(**change))
    assert not set(before.values()) & set(after.values())


def test_another_address_is_another_question() -> None:
    found = design()
    here, there = ({c.spec.key for c in cells_of(found, lambda _, url=url: url)} for url in ("https://a", "https://b"))
    assert not here & there


def test_prompts_that_are_the_same_to_the_letter_are_questions_of_their_own_whatever_stands_between() -> None:
    alone = keys(design(["same"]))
    cells = cells_of(design(["same", "other", "same"]), lambda id: f"https://{id}")
    same = [c.spec.key for c in cells if c.case.prompt == "same"]
    assert len(set(same)) == 4
    assert set(alone.values()) < set(same)


# ---------------------------------------------------------------- order


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers())
def test_the_order_of_asking_is_every_cell_once_prompt_by_prompt(
    prompts: int, models: int, repeats: int, seed: int
) -> None:
    found = design([f"p{n}" for n in range(prompts)], [f"lab/{n}" for n in range(models)], repeats=repeats)
    cells = cells_of(found, lambda _: "")
    order = asking_order(cells, seed)
    assert sorted(c.spec.key for c in order) == sorted(c.spec.key for c in cells)
    assert [c.spec.key for c in order] == [c.spec.key for c in asking_order(cells, seed)]
    for start in range(0, len(order), models):
        block = order[start : start + models]
        assert len({(c.case.prompt_id, c.repeat) for c in block}) == 1
        assert len({c.arm.label for c in block}) == models


# ---------------------------------------------------------------- to JSON and back


@given(
    st.lists(st.builds(Arm, model=text, params=st.dictionaries(name, plain, max_size=3)), max_size=3),
    st.lists(st.builds(Case, prompt_id=text, prompt=text, vars=st.dictionaries(name, plain, max_size=3)), max_size=3),
    st.none() | text,
    st.integers(),
)
def test_a_design_comes_back_from_the_store_as_it_went_in(
    arms: list[Arm], cases: list[Case], system: str | None, seed: int
) -> None:
    found = Design(tuple(arms), tuple(cases), 2, system, seed, judge="lab/c", rubric=system, scorers=("exact:x",))
    assert Design.from_json(json.loads(json.dumps(found.to_json()))) == found


@given(text, st.none() | text, st.dictionaries(name, plain, max_size=3), st.none() | st.floats(0, 2))
def test_a_cell_travels_to_another_process_as_it_is(
    prompt: str, system: str | None, params: dict[str, Any], temperature: float | None
) -> None:
    request = ChatRequest(
        "lab", "a", (Message.user(prompt), Message.assistant("yes")), system=system, temperature=temperature,
        params=params, schema={"type": "object"},
    )  # fmt: skip
    spec = CellSpec(cell_key(request, address="x", repeat=0), request)
    back = CellSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert cell_key(back.request, address="x", repeat=0) == spec.key


@given(text, st.none() | st.decimals(0, 100, places=8), st.none() | st.integers(0, 10**6), st.none() | text)
def test_an_outcome_comes_back_as_it_went_in_and_a_field_of_a_later_version_is_left_out(
    answer: str, cost: Any, tokens: int | None, error: str | None
) -> None:
    outcome = Outcome(
        "k", "ok" if error is None else "error", "2026-11-28T10:00:00Z", text=answer, cost_usd=cost, error=error,
        usage=Usage(tokens, output_tokens=tokens, source="estimate"), latency_ms=1.5,
    )  # fmt: skip
    shape = json.loads(json.dumps(outcome.to_json()))
    assert Outcome.from_json(shape) == outcome
    assert Outcome.from_json({**shape, "later": 1}) == outcome


# ---------------------------------------------------------------- templates and tables


@given(st.dictionaries(name, text, min_size=1, max_size=4), st.lists(text, min_size=1, max_size=5), st.data())
def test_each_place_takes_its_value_to_the_letter_and_nothing_else_changes(
    values: dict[str, str], between: list[str], data: st.DataObject
) -> None:
    assume(not any(mark in piece for piece in between for mark in "{}\\"))
    places = [data.draw(st.sampled_from(sorted(values))) for _ in between]
    template = "".join(f"{piece}{{{{ {place} }}}}" for piece, place in zip(between, places, strict=True))
    wanted = "".join(piece + values[place] for piece, place in zip(between, places, strict=True))
    assert fill(template, values, where="row 1") == wanted
    assert columns_in(template) == list(dict.fromkeys(places))


def test_a_value_that_looks_like_a_place_is_not_filled_again_and_a_literal_stays() -> None:
    assert fill(r"{{x}} and \{{x}} and {x} and $x", {"x": "{{y}} {{x}}"}, where="row 1") == (
        "{{y}} {{x}} and {{x}} and {x} and $x"
    )


@given(st.lists(st.dictionaries(name, plain, max_size=4), min_size=1, max_size=6))
def test_a_table_of_dicts_is_taken_as_it_is_and_a_value_that_is_not_there_is_none(rows: list[dict[str, Any]]) -> None:
    found = read_data(rows)
    assert len(found.rows) == len(rows)
    for row, given_row in zip(found.rows, rows, strict=True):
        assert tuple(row) == found.columns
        assert {k: v for k, v in row.items() if k in given_row} == given_row
        assert all(row[k] is None for k in row if k not in given_row)
    assert json.loads(json.dumps([dict(r) for r in found.rows])) == [dict(r) for r in found.rows]


def test_what_stands_for_a_missing_value_is_none_in_every_kind_of_table() -> None:
    import pandas as pd
    import polars as pl

    frame = pd.DataFrame({"x": ["a", None], "n": [1.5, float("nan")], "t": [pd.Timestamp("2026-01-02"), pd.NaT]})
    rows = read_data(frame).rows
    assert rows[1] == {"x": None, "n": None, "t": None}
    assert rows[0]["n"] == 1.5
    assert "2026-01-02" in rows[0]["t"]
    assert read_data(pl.DataFrame({"x": ["a", None], "n": [1, None]})).rows[1] == {"x": None, "n": None}


def test_an_index_with_a_name_that_tells_the_rows_apart_names_the_prompts() -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": ["a", "b"]}, index=pd.Index(["q7", "q9"], name="question"))
    assert [c.prompt_id for c in design("Say {{x}}", data=frame).cases] == ["q7", "q9"]
    assert [c.prompt_id for c in design("Say {{x}}", data=frame.reset_index(drop=True)).cases] == ["1", "2"]
    twice = pd.DataFrame({"x": ["a", "b"]}, index=pd.Index(["q7", "q7"], name="question"))
    assert [c.prompt_id for c in design("Say {{x}}", data=twice).cases] == ["1", "2"]


def test_several_templates_over_a_table_are_a_case_for_each_row_and_template() -> None:
    found = design({"short": "{{x}}?", "long": "What is {{x}}?"}, data=[{"x": "a"}, {"x": "b"}])
    assert [(c.prompt_id, c.prompt) for c in found.cases] == [
        ("1.short", "a?"), ("1.long", "What is a?"), ("2.short", "b?"), ("2.long", "What is b?"),
    ]  # fmt: skip


def test_an_empty_row_value_is_refused_but_an_empty_text_is_not() -> None:
    assert design("[{{x}}]", data=[{"x": ""}]).cases[0].prompt == "[]"
    with pytest.raises(PromptError, match="row 1 of the data has no value"):
        design("[{{x}}]", data=[{"x": None}])
