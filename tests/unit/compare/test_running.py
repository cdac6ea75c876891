"""A comparison from the first question to the last: what is asked, kept, resumed, and not paid for twice."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from compare_server import Models, compare, comparing, echo, refusal, said
from model_server import Said
from nbllm.compare.cells import COLUMNS
from nbllm.compare.options import CompareOptions
from nbllm.errors import (
    AuthenticationError,
    BudgetError,
    ModelNotFoundError,
    PromptError,
    StoreError,
    UnreachableError,
    UsageError,
)
from nbllm.store import Changes
from nbllm.store.store import Store
from nbllm.workspace import Workspace

PRICED = {
    "models": [
        {"id": "a", "input_price": 1.0, "output_price": 2.0},
        {"id": "b", "input_price": 1.0, "output_price": 2.0},
    ]
}


def scored(reply: Any, case: Any) -> float:
    """A scorer."""
    return float(len(reply.text))


def test_every_cell_is_asked_once_and_is_a_tidy_row() -> None:
    with comparing() as (workspace, models):
        found = compare(workspace, ["one", "two", "three"], repeats=2, params={"temperature": [0, 1]})
        rows = list(found.cells)
    assert len(rows) == 3 * 2 * 2 * 2
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert set(models.times().values()) == {4}  # two temperatures, two repeats
    assert [r["text"] for r in rows if r["prompt_id"] == "1" and r["model"] == "lab/a"] == ["a says one"] * 4
    first = rows[0]
    assert (first["status"], first["input_tokens"], first["output_tokens"], first["usage_source"]) == (
        "ok", 10, 5, "provider",
    )  # fmt: skip
    assert first["params"] == {"temperature": 0}
    assert first["latency_ms"] > 0 < first["ttft_ms"]
    assert first["from_store"] is False
    assert {b["temperature"] for b in models.bodies} == {0, 1}


def test_the_order_of_asking_mixes_the_models_and_depends_on_the_seed() -> None:
    def order(seed: int) -> list[tuple[str, str]]:
        with comparing(rate_limit={"concurrency": 1}) as (workspace, models):
            compare(workspace, [f"p{i}" for i in range(12)], seed=seed)
            return models.asked

    one = order(1)
    assert one == order(1)
    assert one != order(2)
    firsts = [m for m, _ in one]
    assert "aaaa" not in "".join(firsts)
    assert "bbbb" not in "".join(firsts)
    assert {p for _, p in one[::2]} == {p for _, p in one[1::2]}  # both models on a prompt, one after the other


def test_what_is_there_under_a_name_is_not_asked_again() -> None:
    with comparing() as (workspace, models):
        compare(workspace, ["one", "two"], name="study")
        before = len(models.asked)
        again = compare(workspace, ["one", "two", "three"], name="study")
        assert len(models.asked) == before + 2
        assert sum(row["from_store"] for row in again.cells) == 4
        probes = models.probes
        whole = compare(workspace, ["one", "two", "three"], name="study")
        assert models.probes == probes  # nothing to ask, nobody to test
        assert all(row["from_store"] for row in whole.cells)


def test_without_a_name_nothing_is_taken_from_an_earlier_run() -> None:
    with comparing() as (workspace, models):
        first, second = compare(workspace), compare(workspace)
    assert len(models.asked) == 4
    assert first.name != second.name


def test_repeats_are_answers_of_their_own_and_so_are_prompts_that_are_the_same() -> None:
    with comparing() as (workspace, models):
        found = compare(workspace, ["same", "same"], "lab/a", repeats=3, name="n")
        compare(workspace, ["same", "same"], "lab/a", repeats=3, name="n")
    assert models.times() == {("a", "same"): 6}
    assert len({row["cell_key"] for row in found.cells}) == 6


def test_an_error_is_a_row_and_is_asked_again_only_when_that_is_wanted() -> None:
    broken = {"two"}

    def answer(model: str, prompt: str) -> Said | str:
        return refusal(400, "no such word") if prompt in broken else echo(model, prompt)

    with comparing(answer) as (workspace, models):
        found = compare(workspace, ["one", "two"], "lab/a", name="n")
        bad = next(row for row in found.cells if row["status"] == "error")
        assert (bad["error_type"], bad["text"], bad["cost_usd"]) == ("BadRequestError", None, None)
        assert "no such word" in bad["error"]
        compare(workspace, ["one", "two"], "lab/a", name="n")
        assert models.times()["a", "two"] == 1
        broken.clear()
        fixed = found.retry_errors()
        assert models.times() == {("a", "one"): 1, ("a", "two"): 2}
        assert [row["status"] for row in fixed.cells] == ["ok", "ok"]


def test_resume_takes_prompts_and_grid_from_the_store() -> None:
    with comparing() as (workspace, models):
        compare(workspace, "Say {{x}}", data=[{"x": "a"}, {"x": "b"}], params={"top_p": 0.5}, name="n", seed=7)
        asked = len(models.asked)
        found = workspace.comparisons.run(CompareOptions(name="n", resume=True))
        assert len(models.asked) == asked
        assert [c.prompt for c in found.cases] == ["Say a", "Say b"]
        assert found.design.seed == 7
        loaded = workspace.comparisons.load("n")
        assert [dict(r) for r in loaded.cells] == [dict(r) for r in found.cells]
        with pytest.raises(StoreError, match="no comparison of the name"):
            workspace.comparisons.load("other")


def test_a_scorer_that_is_not_here_any_more_is_a_note_and_loses_no_answer() -> None:
    with comparing() as (workspace, _):
        names = {"Shape": {"type": "object"}}
        options = {"scorers": [scored, "json:Shape", "contains:x"], "namespace": names, "name": "n"}
        compare(workspace, "Say {{x}}", data=[{"x": "a"}], **options)
        loaded = workspace.comparisons.load("n")
        assert (len(loaded), loaded.scorers) == (2, ("contains",))
        assert [note.partition(" are not here")[0] for note in loaded.notes] == [
            "the scores by scored", "the scores by json:Shape",
        ]  # fmt: skip
        assert workspace.comparisons.load("n").design.scorers == loaded.design.scorers


# ---------------------------------------------------------------- before the run


def _refusing(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Every question is refused, also that of the test before the grid."""
    monkeypatch.setattr(Models, "__call__", lambda self, asked: refusal(status, "no"))


def test_a_refused_key_stops_the_grid_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with comparing() as (workspace, models):
        _refusing(monkeypatch, 401)
        with pytest.raises(AuthenticationError, match="nothing was asked"):
            compare(workspace, [f"p{i}" for i in range(50)])
        assert workspace.comparisons.names() != []  # the design is kept, and a later run can go on
    assert models.asked == []


def test_a_model_or_a_server_that_is_not_there_stops_the_grid_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    with comparing() as (workspace, models):
        workspace.registry.set_session("gone", base_url="http://127.0.0.1:9/v1", kind="openai", auth="none")
        with pytest.raises(UnreachableError, match="nothing was asked"):
            compare(workspace, models=["lab/a", "gone/x"])
        _refusing(monkeypatch, 404)
        with pytest.raises(ModelNotFoundError, match="nothing was asked"):
            compare(workspace)
    assert models.asked == []


def test_a_dry_run_sends_nothing_and_knows_what_is_there() -> None:
    with comparing(**PRICED) as (workspace, models):
        compare(workspace, ["one"], name="n")
        asked, probes = len(models.asked), models.probes
        found = workspace.comparisons.dry_run(
            CompareOptions(prompts=["one", "two"], models=["lab/a", "lab/b"], name="n", params={"max_tokens": 50})
        )
        assert (len(models.asked), models.probes) == (asked, probes)
        assert (found.cells, found.stored, found.asked) == (4, 0, 4)  # max_tokens makes other questions
        again = workspace.comparisons.dry_run(
            CompareOptions(prompts=["one", "two"], models=["lab/a", "lab/b"], name="n")
        )
        assert (again.cells, again.stored, again.asked) == (4, 2, 2)
        assert again.output_tokens_high is None
        assert "no upper bound" in repr(again)
        assert found.cost_low_usd is not None
        assert found.cost_high_usd is not None
        assert found.cost_low_usd < found.cost_high_usd
        assert found.output_tokens_high == 200
        assert "nothing was sent" in repr(found)


def test_estimates_learn_from_what_earlier_cells_took() -> None:
    with comparing(lambda m, p: said("word", tokens=(400, 77))) as (workspace, _):
        options = CompareOptions(prompts=[f"q{i}" for i in range(20)], models="lab/a", params={"max_tokens": 100})
        before = workspace.comparisons.dry_run(options)
        workspace.comparisons.run(options)
        after = workspace.comparisons.dry_run(options)
    assert before.input_tokens_high < 20 * 100
    assert after.input_tokens_low <= 20 * 400 <= after.input_tokens_high
    assert after.output_tokens_low == 20 * 77
    assert after.seconds is not None
    assert before.seconds is None


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"prompts": []}, PromptError, "no prompt"),
        ({"prompts": "  "}, PromptError, "empty"),
        ({"prompts": "Say {{colour}}", "data": [{"color": "red"}]}, PromptError, "did you mean color"),
        ({"prompts": "Say it", "data": [{"color": "red"}]}, PromptError, "names no column"),
        ({"prompts": "Say {{x}}", "data": []}, PromptError, "no rows"),
        ({"prompts": "Say {{x}}", "data": [{"x": "a"}, {"x": None}]}, PromptError, "row 2 of the data has no value"),
        ({"prompts": "Say {{x}}", "data": 7}, PromptError, "not a table"),
        ({"models": ()}, UsageError, "no model"),
        ({"models": ["lab/a", "lab/a"]}, UsageError, "named twice"),
        ({"repeats": 0}, UsageError, "repeats is a whole number from 1"),
        ({"params": {"temperature": []}}, UsageError, "has no value"),
        ({"params": {"temperature": [1, 1]}}, UsageError, "value twice"),
        ({"scorers": ["exact:y"], "prompts": "Say {{x}}", "data": [{"x": "a"}]}, UsageError, "y"),
        ({"scorers": ["exactly"]}, UsageError, "exactly"),
        ({"scorers": [scored, scored]}, UsageError, "called scored"),
        ({"judge": "lab/c", "models": "lab/a"}, UsageError, "one model"),
        ({"engine": "ray"}, UsageError, "no engine"),
        ({"name": "a\nb"}, UsageError, "characters that can be shown"),
        ({"budget_usd": 0}, UsageError, "above 0"),
        ({"budget_usd": "much"}, UsageError, "above 0"),
        ({"budget_usd": 1}, BudgetError, "no price is known for lab/a"),
        ({"prompts": [str(i) for i in range(10_001)], "models": "lab/a"}, UsageError, "10,001 cells"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_line_before_anything_is_asked(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with comparing() as (workspace, models):
        with pytest.raises(error) as caught:
            compare(workspace, **{"prompts": "hi", **options})
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
        assert models.asked == []
        assert models.probes == 0


def test_two_columns_of_one_name_are_refused() -> None:
    import pandas as pd

    with comparing() as (workspace, _), pytest.raises(PromptError, match="two columns"):
        compare(workspace, "Say {{x}}", data=pd.DataFrame([["a", "b"]], columns=["x", "x"]))


def test_pandas_polars_arrow_and_dicts_are_the_same_table() -> None:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    rows = [{"x": "a", "n": 1.5}, {"x": "b", "n": 2.0}]
    tables = [rows, pd.DataFrame(rows), pl.DataFrame(rows), pa.Table.from_pylist(rows)]
    with comparing() as (workspace, models):
        found = [compare(workspace, "{{x}} is {{ n }}", "lab/a", data=t, name="n") for t in tables]
        assert len(models.asked) == 2
    assert len({c.design.data_sha256 for c in found}) == 1
    assert [c.prompt for c in found[0].cases] == ["a is 1.5", "b is 2.0"]


# ---------------------------------------------------------------- during the run


def test_a_key_that_is_refused_on_the_way_stops_its_provider_and_no_other() -> None:
    def answer(model: str, prompt: str) -> Said | str:
        return refusal(401, "bad key") if model == "a" and prompt == "p3" else echo(model, prompt)

    with comparing(answer, rate_limit={"concurrency": 1}) as (workspace, models):
        row = workspace.registry.get("lab")
        workspace.registry.set_session("other", base_url=row.base_url, kind="openai", auth="none")
        found = compare(workspace, [f"p{i}" for i in range(30)], ["lab/a", "other/b"], seed=3)
        rows = list(found.cells)
        a, b = ([r for r in rows if r["model"] == m] for m in ("lab/a", "other/b"))
    assert len(b) == 30
    assert len(a) < 30
    assert a[-1]["status"] == "ok" or any(r["error_type"] == "AuthenticationError" for r in a)
    assert len([m for m, _ in models.asked if m == "a"]) == len(a)
    assert any("lab was stopped" in note for note in found.notes)
    assert any(f"{30 - len(a)} of 60 cells were not asked" in note for note in found.notes)


def test_a_provider_that_says_429_is_asked_by_fewer_at_once_and_loses_nothing() -> None:
    gate = threading.Semaphore(4)
    refused: list[str] = []

    def answer(model: str, prompt: str) -> Said | str:
        if not gate.acquire(blocking=False):
            refused.append(prompt)
            return as_429()
        try:
            time.sleep(0.01)
            return echo(model, prompt)
        finally:
            gate.release()

    with comparing(answer) as (workspace, models):
        found = compare(workspace, [f"p{i}" for i in range(60)], "lab/a")
        statuses = [row["status"] for row in found.cells]
        assert statuses == ["ok"] * 60
    assert refused
    assert len(models.asked) == 60 + len(refused)


def as_429() -> Said:
    return Said(
        429, b'{"error": {"message": "slow down"}}', {"Content-Type": "application/json", "retry-after-ms": "60"}
    )


def test_a_budget_stops_before_it_is_overspent_and_keeps_what_is_done() -> None:
    with comparing(lambda m, p: said("x", tokens=(20, 1000)), **PRICED) as (workspace, models):
        # An answer of 1,000 tokens costs 0.002 USD.
        options = {"params": {"max_tokens": 1000}, "budget_usd": 0.02, "name": "n", "models": "lab/a"}
        with pytest.raises(BudgetError) as caught:
            compare(workspace, [f"p{i}" for i in range(40)], **options)
        assert "the budget of 0.02 USD" in caught.value.message
        kept = workspace.comparisons.load("n")
        spent = sum(row["cost_usd"] for row in kept.cells)
        assert 0.014 < spent <= 0.02
        assert len(kept) == len(models.asked)
        more = compare(workspace, [f"p{i}" for i in range(40)], **{**options, "budget_usd": 1})
        assert set(models.times().values()) == {1}
        assert len(more) == 40


def test_an_unknown_price_is_fine_with_a_budget_when_that_is_allowed() -> None:
    with comparing() as (workspace, _):
        found = compare(workspace, "hi", "lab/a", budget_usd=1, allow_unknown_price=True)
        assert found.cells[0]["cost_usd"] is None


def test_a_budget_wants_a_bound_for_each_answer() -> None:
    with comparing(**PRICED) as (workspace, models):
        with pytest.raises(BudgetError, match="nothing bounds the answers") as caught:
            compare(workspace, "hi", "lab/a", budget_usd=1)
        assert "max_tokens" in str(caught.value.hint)
        assert models.asked == []


def test_a_store_that_fails_midway_stops_the_paying_and_the_answers_stay_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = Store._write
    written: list[int] = []

    def write(self: Store, build: Any) -> Changes:
        if sum(written) > 20 and not self._in_memory:
            raise OSError(28, "No space left on device")
        changes = real(self, build)
        written.append(len(changes.rows.get("cells", ())))
        return changes

    with comparing(rate_limit={"concurrency": 4}) as (workspace, models):
        making = workspace.comparisons.open(CompareOptions(prompts=[f"p{i}" for i in range(200)], models="lab/a"))
        monkeypatch.setattr(Store, "_write", write)
        with pytest.raises(StoreError) as caught:
            making.complete()
        assert "No space left" in caught.value.message
        assert "nothing more is asked" in str(caught.value.hint)
        found = making.comparison()
        assert 20 < len(models.asked) < 60
        assert len(found) == len(models.asked)
        assert found.to_jsonl(tmp_path / "saved.jsonl").read_text().count("\n") == len(found)


def test_two_processes_on_one_name_ask_each_cell_once() -> None:
    """Two workspaces stand for two processes: nothing is shared but the store and the folder of locks."""

    def slow(model: str, prompt: str) -> str:
        time.sleep(0.02)
        return echo(model, prompt)

    with comparing(slow, rate_limit={"concurrency": 5}) as (one, models):
        row = one.registry.get("lab")
        two = Workspace()
        two.registry.set_session(
            "lab", base_url=row.base_url, kind="openai", auth="none", rate_limit={"concurrency": 5}
        )
        found: dict[int, Any] = {}

        def work(number: int, workspace: Workspace) -> None:
            found[number] = compare(workspace, [f"p{i}" for i in range(40)], name="shared", seed=number)

        threads = [threading.Thread(target=work, args=(n, w)) for n, w in enumerate((one, two))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        two.close()
    assert set(models.times().values()) == {1}
    assert len(models.asked) == 80
    assert [len(c) for c in found.values()] == [80, 80]
    assert all(sum(not r["from_store"] for r in c.cells) > 0 for c in found.values())


def test_an_interrupted_run_keeps_what_is_done_and_goes_on_where_it_was() -> None:
    stop = threading.Event()

    def answer(model: str, prompt: str) -> str:
        if int(prompt[1:]) >= 10:
            stop.wait(3)
        return echo(model, prompt)

    with comparing(answer, rate_limit={"concurrency": 3}) as (workspace, models):
        options = CompareOptions(prompts=[f"p{i}" for i in range(20)], models="lab/a", name="n")
        making = workspace.comparisons.open(options)

        def interrupt(progress: Any) -> None:
            if progress.done >= 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            making.complete(interrupt)
        stop.set()
        done = {row["prompt"] for row in making.comparison().cells}
        assert len(done) >= 5
        assert {row["prompt"] for row in workspace.comparisons.load("n").cells} == done
        asked = list(models.asked)
        workspace.comparisons.run(options)
        again = [p for _, p in models.asked[len(asked) :]]
        assert not set(again) & done
        assert len(workspace.comparisons.load("n")) == 20


def test_an_awaited_comparison_is_the_same() -> None:
    import asyncio

    with comparing() as (workspace, models):
        found = asyncio.run(workspace.comparisons.arun(CompareOptions(prompts=["one"], models=["lab/a", "lab/b"])))
        assert [r["text"] for r in found.cells] == ["a says one", "b says one"]
        assert len(models.asked) == 2


def test_a_comparison_counts_in_the_totals_of_usage() -> None:
    from sqlalchemy import func, select

    from nbllm.store import schema

    with comparing() as (workspace, _):
        compare(workspace, ["one", "two"])
        count = workspace.store.read(lambda c: c.scalar(select(func.count()).select_from(schema.calls)))
        assert count == 4
