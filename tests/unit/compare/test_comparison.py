"""`Comparison`: every table with the columns that it promises, and nothing that asks when it need not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compare_server import Models, compare, comparing, echo, refusal
from key_shapes import SHAPES, traces
from nbllm.compare.ballots import Vote, ballots
from nbllm.compare.cells import COLUMNS
from nbllm.compare.comparison import Comparison
from nbllm.compare.comparison_tables import RANKING, SHOWN_ROWS, STATS, SUMMARY, WideTable
from nbllm.compare.options import CompareOptions
from nbllm.errors import ExportError, UnsupportedError, UsageError
from nbllm.workspace import Workspace

DATA = [{"n": n, "right": f"a says say {n}" if n % 3 else "else", "topic": n % 4} for n in range(12)]


@pytest.fixture(scope="module")
def home_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """One home for the comparison that most tests only look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBLLM_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("NBLLM_MODELS_DEV_URL", "off")
        yield patch


def study(workspace: Workspace, **options: Any) -> Comparison:
    given: dict[str, Any] = {"data": DATA, "scorers": ["exact:right"], "repeats": 2, "name": "study"} | options
    return compare(workspace, "say {{n}}", **given)


@pytest.fixture(scope="module")
def found(home_of_all: pytest.MonkeyPatch) -> Iterator[Comparison]:
    """Two arms, twelve prompts, two repeats: one error, one scorer."""

    def answer(model: str, prompt: str) -> Any:
        return refusal(400, "no") if (model, prompt) == ("b", "say 5") else echo(model, prompt)

    with comparing(answer) as (workspace, _):
        yield study(workspace)


# ---------------------------------------------------------------- tables


def test_cells_have_the_fixed_columns_then_the_scorers(found: Comparison) -> None:
    assert len(found.cells) == len(found) == 48
    assert all(tuple(row) == (*COLUMNS, "exact") for row in found.cells)
    assert [row["status"] for row in found.cells].count("error") == 2
    failed = next(row for row in found.cells if row["status"] == "error")
    assert (failed["text"], failed["exact"], failed["error_type"]) == (None, None, "BadRequestError")


def test_the_columns_of_the_tables_are_those_that_programs_rely_on(found: Comparison) -> None:
    assert [tuple(row)[: len(SUMMARY)] for row in found.summary()] == [SUMMARY] * 2
    assert [tuple(row)[: len(STATS)] for row in found.stats()] == [STATS]
    assert [tuple(row)[: len(RANKING)] for row in found.ranking("exact")] == [RANKING] * 2


@pytest.mark.parametrize(
    "make",
    [
        lambda c: c.cells, lambda c: c.summary(), lambda c: c.stats(), lambda c: c.ranking("exact"),
        lambda c: c.pivot(), lambda c: c.latency(), lambda c: c.consistency(), lambda c: c.diff("lab/a", "lab/b"),
    ],
    ids=["cells", "summary", "stats", "ranking", "pivot", "latency", "consistency", "diff"],
)  # fmt: skip
def test_every_table_is_a_sequence_a_frame_a_page_and_a_text(found: Comparison, make: Any) -> None:
    table = make(found)

    assert len(table) == len(list(table)) > 0
    assert table[0] == next(iter(table))
    assert len(table.to_pandas()) == len(table.to_polars()) == len(table)
    assert list(table.to_pandas().columns) == list(table[0])
    page = table._repr_html_()
    assert page.startswith("<div role='region'")
    assert "overflow-x:auto" in page
    assert table.shown[0] in repr(table)


def test_figures_that_nobody_knows_are_left_out_of_sight_and_kept_in_the_rows(found: Comparison) -> None:
    table = found.summary()

    assert "cost_usd" not in repr(table)
    assert "<th scope='col' style='text-align:left'>params" not in table._repr_html_()
    assert table[0]["cost_usd"] is None
    assert "cost_usd" in table.to_pandas().columns


def test_a_long_table_shows_its_beginning_and_says_so() -> None:
    rows = [{"n": n, "cost_usd": 0.000012} for n in range(1234)]
    table = WideTable(rows)

    assert (table._repr_html_().count("<tr>"), len(table)) == (SHOWN_ROWS + 1, 1234)
    assert f"showing {SHOWN_ROWS} of 1,234 rows" in repr(table)
    assert "0.000012" in repr(table)


def test_errors_are_in_the_summary_and_no_score(found: Comparison) -> None:
    a, b = found.summary()

    assert (a["n_prompts"], a["n_cells"], a["n_errors"], a["mean"]) == (12, 24, 0, pytest.approx(8 / 12))
    assert (b["n_prompts"], b["n_cells"], b["n_errors"], b["mean"]) == (11, 24, 2, 0)


def test_pivot_has_a_row_for_a_prompt_and_repeat_and_a_column_for_an_arm(found: Comparison) -> None:
    table = found.pivot()

    assert len(table) == 24
    assert tuple(table[0]) == ("prompt_id", "repeat", "lab/a", "lab/b")
    assert (table[0]["lab/a"], table[0]["lab/b"]) == ("a says say 0", "b says say 0")
    assert found.pivot("exact")[2]["lab/a"] is True
    with pytest.raises(UsageError, match="there is no column 'nosuch'"):
        found.pivot("nosuch")


def test_stats_takes_two_or_none_and_counts_groups(found: Comparison) -> None:
    [row] = found.stats("lab/a", "lab/b")

    assert (row["a"], row["b"], row["n_prompts"]) == ("lab/a", "lab/b", 11)
    assert row["difference"] == pytest.approx(row["mean_a"] - row["mean_b"])
    assert row["sentence"] in repr(found.stats())
    [grouped] = found.stats(group="topic")
    assert grouped["test"] != row["test"]
    with pytest.raises(UsageError, match="takes two models"):
        found.stats("lab/a")
    with pytest.raises(UsageError, match="not in this comparison"):
        found.stats("lab/a", "lab/z")
    with pytest.raises(UsageError):
        found.stats(scorer="nosuch")


def test_the_difference_of_two_arms_reads_in_text_and_html(found: Comparison) -> None:
    table = found.diff("lab/a", "lab/b")

    assert len(table) == 22
    assert "from lab/a to lab/b" in repr(table)
    page = table._repr_html_()
    assert "<del" in page
    assert "<ins" in page
    assert page.count("<th scope='col' style='text-align:left;vertical-align:top'>") == 3


@pytest.mark.parametrize("kind", ["scores", "differences", "latency", "cost", "wins"])
def test_every_picture_is_an_svg_with_a_text(found: Comparison, kind: str) -> None:
    picture = found.plot(kind)

    assert picture.to_svg().startswith("<svg")
    assert repr(picture)


def test_a_picture_that_there_is_not_is_refused_with_those_that_there_are(found: Comparison) -> None:
    with pytest.raises(UsageError) as caught:
        found.plot("pie")
    assert "scores" in f"{caught.value} {caught.value.hint}"


def test_without_a_score_there_is_no_verdict() -> None:
    with comparing() as (workspace, _):
        plain = compare(workspace)
    for ask in (plain.stats, plain.ranking, plain.consistency, plain.plot):
        with pytest.raises(UsageError, match="no answers were scored"):
            ask()
    assert len(plain.latency()) == 2


# ---------------------------------------------------------------- asking, and not asking


def test_scoring_again_asks_nobody_and_takes_the_place_of_earlier_scores() -> None:
    with comparing() as (workspace, models):
        made = study(workspace)
        asked = len(models.asked) + models.probes
        again = made.score({"has": "contains:n", "long": lambda reply, case: len(reply.text)})

        assert again is made
        assert made.scorers == ("has", "long")
        assert "exact" not in made.cells[0]
        assert len(models.asked) + models.probes == asked


def test_a_judge_may_come_later_and_its_verdicts_are_not_paid_twice() -> None:
    def answer(model: str, prompt: str) -> str:
        if model != "c":
            return echo(model, prompt)
        first = prompt.index("answer A>>>") if "answer A>>>" in prompt else 0
        verdict = "A" if "a says" in prompt[first : first + 40] else "B"
        return json.dumps({"verdict": verdict, "reason": "it is a"})

    with comparing(answer) as (workspace, models):
        made = study(workspace, repeats=1)
        made.judge("lab/c", "Prefer a.")
        assert models.asked[24:] == [(m, p) for m, p in models.asked if m == "c"]
        asked = len(models.asked)
        made.judge("lab/c", "Prefer a.")

        assert len(models.asked) == asked == 24 + 24
        assert made.scorers == ("exact", "judge")
        assert {row["judge"] for row in made.cells if row["model"] == "lab/a"} == {1.0}
        assert made.judged is not None
        assert all(duel.consistent for duel in made.duels("judge"))


def test_resume_asks_what_is_missing_and_retry_errors_also_what_failed() -> None:
    broken = [True]

    def answer(model: str, prompt: str) -> Any:
        return refusal(400, "no") if broken[0] and (model, prompt) == ("b", "say 5") else echo(model, prompt)

    with comparing(answer) as (workspace, models):
        made = study(workspace, repeats=1)
        broken[0] = False
        assert made.resume().cells[11]["status"] == "error"
        assert len(models.asked) == 24
        whole = made.retry_errors()

        assert len(models.asked) == 25
        assert {row["status"] for row in whole.cells} == {"ok"}
        assert whole.scorers == ("exact",)
        assert made.cells[11]["status"] == "error"  # a comparison that is there does not change


def test_a_stored_comparison_gives_the_same_page_as_the_run() -> None:
    with comparing() as (workspace, models):
        made = study(workspace, params={"temperature": [0, 1]})
        asked = len(models.asked)
        loaded = workspace.comparisons.load("study")

        assert loaded._repr_html_() == made._repr_html_()
        assert repr(loaded) == repr(made)
        assert len(models.asked) == asked
        assert all(row["from_store"] for row in loaded.cells)


def test_the_view_wants_a_notebook() -> None:
    with comparing() as (workspace, _):
        made = compare(workspace)
        with pytest.raises(UnsupportedError, match="no notebook") as caught:
            made.view()
    assert "to_html" in str(caught.value.hint)


def test_votes_become_a_ranking_and_preference_rows(tmp_path: Path) -> None:
    with comparing() as (workspace, _):
        made = study(workspace, repeats=1)
        for ballot in ballots(made.cells, made.arms, seed=0):
            side = "left" if ballot.left == "lab/a" else "right"
            made.vote(Vote(ballot.id, side, "2026-11-28T12:00:00+00:00"))
        loaded = workspace.comparisons.load("study")

        assert len(loaded.votes()) == 12
        assert {duel.source for duel in loaded.duels("votes")} == {"vote"}
        with pytest.raises(UnsupportedError, match="lab/a"):
            loaded.ranking("votes")  # who never lost has no strength
        path = loaded.to_preferences(tmp_path / "rows.jsonl", "votes")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 12
    assert set(rows[0]) == {"prompt", "chosen", "rejected"}
    assert all(row["chosen"][0]["content"].startswith("a says") for row in rows)


def test_mixed_votes_are_ranked() -> None:
    with comparing() as (workspace, _):
        made = study(workspace, repeats=1)
        for at, ballot in enumerate(ballots(made.cells, made.arms, seed=0)):
            a_wins = at % 4 != 0
            made.vote(
                Vote(ballot.id, "left" if (ballot.left == "lab/a") is a_wins else "right", "2026-11-28T12:00:00+00:00")
            )
        table = made.ranking("votes")
    assert [(row["model"], row["rank"], row["win_rate"]) for row in table] == [("lab/a", 1, 0.75), ("lab/b", 2, 0.25)]
    assert "blind votes" in repr(table)


# ---------------------------------------------------------------- files and frames


def test_files_hold_every_cell(found: Comparison, tmp_path: Path) -> None:
    import polars as pl

    lines = found.to_jsonl(tmp_path / "c.jsonl").read_text().splitlines()
    assert [json.loads(line)["cell_key"] for line in lines] == [row["cell_key"] for row in found.cells]
    assert pl.read_csv(found.to_csv(tmp_path / "c.csv")).height == 48
    assert pl.read_parquet(found.to_parquet(tmp_path / "c.parquet")).columns == [*COLUMNS, "exact"]
    page = found.to_html(tmp_path / "c.html", pictures=("scores", "latency")).read_text()
    assert page.count("<svg") == 2
    assert "How it was made" in page
    with pytest.raises(ExportError):
        found.to_csv(tmp_path)


def test_frames_and_arrow_readers_get_the_same_cells(found: Comparison) -> None:
    import polars as pl

    assert found.to_pandas()["text"].fillna("").tolist() == found.to_polars()["text"].fill_null("").to_list()
    assert pl.DataFrame(found).equals(found.to_polars())


def test_llm_comparator_takes_two_arms(found: Comparison, tmp_path: Path) -> None:
    content = json.loads(found.to_llm_comparator(tmp_path / "c.json").read_text())
    assert len(content["examples"]) == 22


def test_the_manifest_says_how_it_was_made_and_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = SHAPES[0].key()
    monkeypatch.setenv("LAB_API_KEY", key)
    with comparing(env=["LAB_API_KEY"]) as (workspace, _):
        made = study(workspace, system="Be brief.", seed=5)
    found = made.manifest

    assert found["grid"]["seed"] == 5
    assert found["cells"] == {"ok": 48, "error": 0, "unasked": 0}
    assert found["scorers"] == {"exact": {"word": "exact:right", "version": made.scored_by[0].version}}
    assert all(found[name] for name in ("data_sha256", "template_sha256", "system_sha256", "hosts", "started"))
    assert traces(json.dumps(found), [key]) == []
    assert "say" not in json.dumps(found["grid"])


def test_what_is_there_without_a_workspace_cannot_go_on(found: Comparison) -> None:
    alone = Comparison("x", found.design, [], {})
    assert (len(alone), len(alone.cells), alone.votes()) == (0, 0, [])
    for ask in (alone.resume, alone.judge, alone.view):
        with pytest.raises(UnsupportedError, match="no workspace"):
            ask()
    assert "0 cells" in repr(alone)
    assert alone.cells._repr_html_()


def test_the_options_are_those_of_the_function() -> None:
    import inspect

    from nbllm import api

    named = set(inspect.signature(api.compare).parameters) - {"more"}
    said = {word for word in CompareOptions.__dataclass_fields__ if f"`{word}`" in str(api.compare.__doc__)}
    assert set(CompareOptions.__dataclass_fields__) - named - said <= {"folder"}


def test_a_model_list_that_is_one_text_is_one_model() -> None:
    with comparing() as (workspace, models):
        made = compare(workspace, "hi", "lab/a")
        assert isinstance(models, Models)
    assert [row["model"] for row in made.cells] == ["lab/a"]
