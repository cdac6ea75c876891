"""`%%compare` in a shell: what each option does, what is said to a slip, and what is left after a stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import nbllm
from compare_server import Answer, Models, echo, refusal
from key_shapes import SHAPES, KeyShape
from model_server import ModelServer, listing
from nbllm.compare.comparison import Comparison
from nbllm.compare.estimate import Estimate
from nbllm.notebook.magics.compare import grid
from nbllm.notebook.progress import RunProgress
from shell import Shell, bare

ROWS = [{"n": "one", "right": "a says one"}, {"n": "two", "right": "no"}, {"n": "three", "right": "no"}]


@contextmanager
def lab(answer: Answer = echo, **fields: Any) -> Iterator[tuple[Shell, Models]]:
    """A shell with the provider `lab`, whose server counts, and a table `rows`."""
    models = Models(answer)
    with bare() as shell, ModelServer({"/v1/chat/completions": models, "/v1/models": listing("a", "b")}) as server:
        shell.good("%load_ext nbllm")
        nbllm.workspace().registry.set_session("lab", base_url=server.url, kind="openai", auth="none", **fields)
        shell.names["rows"] = ROWS
        try:
            yield shell, models
        finally:
            shell.run("%unload_ext nbllm")


def value(shell: Shell, line: str, body: str = "hi") -> Comparison:
    found = shell.good(f"%%compare {line}\n{body}").value
    assert isinstance(found, Comparison)
    return found


# ---------------------------------------------------------------- options


def test_the_value_of_the_cell_is_the_comparison_and_the_variable_is_the_same_one() -> None:
    with lab() as (shell, models):
        found = value(shell, "-m lab/a,lab/b -o result")

        assert models.times() == {("a", "hi"): 1, ("b", "hi"): 1}
        assert [row["text"] for row in found.cells] == ["a says hi", "b says hi"]
        assert shell.names["result"] is found
        assert shell.good("_ is result").value is True


@pytest.mark.parametrize(
    "line", ["-m lab/a,lab/b", "-m lab/a -m lab/b", "lab/a lab/b", "lab/a,lab/b", "lab/a -m lab/b"]
)
def test_models_are_named_in_any_of_the_usual_ways(line: str) -> None:
    with lab() as (shell, _):
        assert {arm.model for arm in value(shell, line).arms} == {"lab/a", "lab/b"}


def test_each_option_reaches_what_is_asked() -> None:
    with lab() as (shell, models):
        found = value(
            shell,
            '-m lab/a,lab/b --data rows -n 2 -p temperature=0,0.5 -p max_tokens=9 -s "Be brief." --seed 7',
            "Say {{n}}.",
        )

        assert len(found) == 2 * 3 * 2 * 2
        assert {body["temperature"] for body in models.bodies} == {0, 0.5}
        assert all(body["messages"][0] == {"role": "system", "content": "Be brief."} for body in models.bodies)
        assert {body["messages"][1]["content"] for body in models.bodies} == {"Say one.", "Say two.", "Say three."}
        assert (found.design.seed, found.design.repeats) == (7, 2)


def test_scorers_are_words_and_functions_of_the_notebook() -> None:
    with lab() as (shell, _):
        shell.good("def long(reply, case):\n    return len(reply.text) > 9")
        found = value(shell, "-m lab/a,lab/b --data rows --score exact:right --score long", "{{n}}")

        assert found.scorers == ("exact", "long")
        assert [row["exact"] for row in found.cells] == [True, False, False, False, False, False]


def test_the_judge_is_asked_in_both_orders() -> None:
    def answer(model: str, prompt: str) -> str:
        return '{"verdict": "A", "reason": "first"}' if "answer A" in prompt else echo(model, prompt)

    with lab(answer) as (shell, models):
        found = value(shell, '-m lab/a,lab/b --judge lab/c --rubric "The shorter one."')

        assert [model for model, _ in models.asked].count("c") == 2
        assert all("The shorter one." in str(body) for body in models.bodies if body["model"] == "c")
        assert "judge" in found.scorers
        assert found.judged is not None


def test_without_data_an_expression_of_the_notebook_is_evaluated() -> None:
    with lab() as (shell, models):
        shell.good("who = ['Ada', 'Bob']")
        value(shell, "-m lab/a,lab/b", r"Greet {{who[0]}}, not {who} or \{{who}} or $HOME")

        assert {prompt for _, prompt in models.asked} == {"Greet Ada, not {who} or {{who}} or $HOME"}


def test_with_data_nothing_is_evaluated() -> None:
    with lab() as (shell, models):
        shell.good("fired = []")
        error = shell.fails("%%compare -m lab/a,lab/b --data rows\n{{fired.append(1)}}")

        assert isinstance(error, nbllm.errors.PromptError)
        assert (shell.names["fired"], models.asked) == ([], [])


def test_a_dry_run_sends_nothing_and_is_an_estimate() -> None:
    with lab() as (shell, models):
        found = shell.good("%%compare -m lab/a,lab/b --data rows -n 2 --judge lab/a --dry-run\n{{n}}").value

        assert isinstance(found, Estimate)
        assert (found.cells, found.judged, models.asked, models.probes) == (12, 12, [], 0)


def test_quiet_shows_nothing_and_still_binds() -> None:
    with lab() as (shell, _):
        done = shell.good("%%compare -m lab/a,lab/b --quiet -o result\nhi")

        assert (done.value, done.out) == (None, "")
        assert len(shell.names["result"]) == 2


def test_a_name_is_not_asked_twice_and_errors_are_asked_when_wanted() -> None:
    broken = [True]

    def answer(model: str, prompt: str) -> Any:
        return refusal(400, "no") if broken[0] and prompt == "two" and model == "a" else echo(model, prompt)

    with lab(answer) as (shell, models):
        line = "-m lab/a,lab/b --data rows --name study"
        assert [r["status"] for r in value(shell, line, "{{n}}").cells].count("error") == 1
        assert [r["status"] for r in value(shell, line, "{{n}}").cells].count("error") == 1
        assert len(models.asked) == 6
        broken[0] = False
        found = value(shell, f"{line} --retry-errors", "{{n}}")

        assert {row["status"] for row in found.cells} == {"ok"}
        assert len(models.asked) == 7


def test_help_and_the_question_mark_tell_of_the_options_with_examples() -> None:
    with lab() as (shell, models):
        assert "--allow-unknown-price" in shell.good("%%compare --help").out
        told = shell.good("%%compare?").out
        assert "%%compare -m demo/guide,demo/echo" in told
        assert "--resume" in told
        assert models.asked == []


# ---------------------------------------------------------------- resuming


def test_resuming_wants_no_body_and_takes_all_from_the_store() -> None:
    with lab() as (shell, models):
        value(shell, "-m lab/a,lab/b --data rows -p max_tokens=9 --score exact:right --name study", "{{n}}")
        del shell.names["rows"]
        found = shell.good("%%compare --name study --resume").value

        assert (len(found), len(models.asked), found.scorers) == (6, 6, ("exact",))
        assert found.notes == []


@pytest.mark.parametrize(
    ("line", "body", "said"),
    [
        ("", "{{n}}", None),
        ("-m lab/a,lab/b --data rows", "{{n}}", None),
        ("", "What is {{n}}?", "prompt"),
        ("-m lab/a,lab/c -p max_tokens=8 -n 3", "{{n}}", "models, parameters and repeats"),
    ],
)
def test_what_is_not_asked_when_resuming_is_told(line: str, body: str, said: str | None) -> None:
    with lab() as (shell, models):
        value(shell, "-m lab/a,lab/b --data rows -p max_tokens=9 --name study", "{{n}}")
        found = value(shell, f"--name study --resume {line}", body)

        assert len(models.asked) == 6
        assert bool(found.notes) is (said is not None)
        assert said is None or f"given as {said} is another" in found.notes[0]


def test_an_expression_is_compared_by_what_it_gives() -> None:
    with lab() as (shell, _):
        shell.good("x = 3")
        value(shell, "-m lab/a,lab/b --name study", "{{x}} times")
        assert value(shell, "--name study --resume", "{{x}} times").notes == []
        shell.good("x = 4")
        assert "prompt is another" in value(shell, "--name study --resume", "{{x}} times").notes[0]


# ---------------------------------------------------------------- the grid


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["temperature=0,0.7"], {"temperature": [0, 0.7]}),
        (["temperature=0.5"], {"temperature": 0.5}),
        (["temperature=-1,0.5"], {"temperature": [-1, 0.5]}),
        (["effort=low,high"], {"effort": ["low", "high"]}),
        (["effort=low, 1, true, null"], {"effort": ["low", 1, True, None]}),
        (["effort=low"], {"effort": "low"}),
        (['stop=["a", "b,c"]'], {"stop": ["a", "b,c"]}),
        (['stop=[["a"], ["b"]]'], {"stop": [["a"], ["b"]]}),
        (['stop="a","b,c"'], {"stop": ["a", "b,c"]}),
        (['shape={"a": 1, "b": 2}'], {"shape": {"a": 1, "b": 2}}),
        (['shape={"a": 1, "b": 2},{"a": 3}'], {"shape": [{"a": 1, "b": 2}, {"a": 3}]}),
        (["a=1", "b=x=y"], {"a": 1, "b": "x=y"}),
    ],
)
def test_the_grid_is_read_as_the_page_says(words: list[str], found: Any) -> None:
    assert grid(words) == found


@pytest.mark.parametrize("word", ["temperature", "=1", "temperature=", "temperature=0,", "effort=low,,high", "x= "])
def test_a_parameter_without_a_value_is_refused(word: str) -> None:
    with pytest.raises(nbllm.errors.UsageError):
        grid([word])


def test_a_negative_number_and_quotes_pass_through_the_line() -> None:
    with lab() as (shell, models):
        value(shell, """-m lab/a,lab/b -p logit=-1,-0.5 -p 'stop=["a b", "c"]'""")
        assert {(body["logit"], body["stop"]) for body in models.bodies} == {
            (n, s) for n in (-1, -0.5) for s in ("a b", "c")
        }


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("line", "body", "message", "hint"),
    [
        ("-m lab/a,lab/b --data rows", "{{nn}}", "'nn'", "did you mean n?"),
        ("-m lab/a,lab/b --data empty", "{{n}}", "no rows", ""),
        ("-m lab/a,lab/b --data nothere", "{{n}}", "nothere", ""),
        ("-m lab/a,lab/b --data number", "{{n}}", "not a table", "list of dicts"),
        ("-m lab/a,lab/b --data twice", "{{n}}", "two columns of the name", "rename"),
        ("-m lab/a,lab/b --data rows", "the same for all", "names no column", "{{n}}"),
        ("-m lab/a,lab/a", "hi", "named twice", "repeats"),
        ("-m lab/a,nosuch/x", "hi", "nosuch", ""),
        ("", "hi", "no model", ""),
        ("-m lab/a,lab/b", " ", "empty", "below the line"),
        ("-m lab/a,lab/b -n 0", "hi", "repeats", ""),
        ("-m lab/a,lab/b -n x", "hi", "--repeats", ""),
        ("-m lab/a,lab/b -p temperature=0 -p temperature=1", "hi", "twice", "temperature=V1,V2"),
        ("-m lab/a,lab/b -p temperature=0,0", "hi", "twice", ""),
        ("-m lab/a,lab/b --score nosuch", "hi", "nosuch", ""),
        ("-m lab/a,lab/b --data rows --score exact:rigth", "{{n}}", "rigth", "right"),
        ("-m lab/a,lab/b --data rows --score exact:right --score exact:right", "{{n}}", "2 scorers", ""),
        ("-m lab/a --judge lab/c", "hi", "judge compares two", ""),
        ("-m lab/a,lab/b --engine ray", "hi", "no such engine", "local, dask, batch"),
        ("-m lab/a,lab/b --budget -1", "hi", "budget", ""),
        ("-m lab/a,lab/b --budget 1", "hi", "no price is known", "--allow-unknown-price"),
        ("-m lab/a,lab/b --resume", "hi", "--resume", "--name"),
        ("--name nosuch --resume", "", "nosuch", ""),
        ("-m lab/a,lab/b -o 1x", "hi", "name of a variable", "-o result"),
        ("-m lab/a,lab/b --repeat 3", "hi", "no option --repeat", "--repeats"),
        ("-m lab/a,lab/b --data many", "{{n}}", "20,002 cells", "--yes"),
    ],
)
def test_a_slip_is_one_clear_line_and_nothing_is_sent(line: str, body: str, message: str, hint: str) -> None:
    class Twice:
        columns = ("n", "n")

        def to_dicts(self) -> list[dict[str, int]]:
            return [{"n": 1}]

    with lab() as (shell, models):
        shell.names.update(empty=[], number=3, twice=Twice(), many=[{"n": n} for n in range(10_001)])
        error = shell.fails(f"%%compare {line}\n{body}")

        assert message in error.message
        assert hint in (error.hint or "")
        assert "\n" not in str(error)
        assert (models.asked, models.probes) == ([], 0)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.id)
def test_a_key_in_the_line_is_refused_and_not_repeated(shape: KeyShape) -> None:
    key = shape.key()
    with lab() as (shell, models):
        error = shell.fails(f"%%compare -m lab/a,lab/b -p api_key={key}\nhi")

        assert isinstance(error, nbllm.errors.CredentialError)
        assert key not in str(error)
        assert models.asked == []


def test_a_scorer_that_raises_leaves_a_gap_with_its_reason() -> None:
    with lab() as (shell, _):
        shell.good("def fragile(reply, case):\n    return 1 / (case['n'] != 'two')")
        found = value(shell, "-m lab/a,lab/b --data rows --score fragile", "{{n}}")

        assert [row["fragile"] for row in found.cells] == [1.0, 1.0, None, None, 1.0, 1.0]
        assert "no score by fragile" in found.notes[-1]


# ---------------------------------------------------------------- stopped on the way


def test_a_budget_that_ends_the_run_leaves_what_was_answered_in_the_variable() -> None:
    with lab() as (shell, models):
        shell.good("%llm_models add lab/a --input-price 100000 --output-price 100000")
        shell.good("%llm_models add lab/b --input-price 100000 --output-price 100000")
        line = "-m lab/a,lab/b --data rows -p max_tokens=5 --name study -o result --budget 10"
        error = shell.fails(f"%%compare {line}\n{{{{n}}}}")

        assert isinstance(error, nbllm.errors.BudgetError)
        assert "left" in error.message
        kept = shell.names["result"]
        assert 0 < len(kept) < 6
        assert len(kept) == len(models.asked)
        assert "not asked" in kept.notes[-1]
        assert len(shell.names["result"].resume()) == 6
        assert len(models.asked) == 6


def test_an_interrupt_keeps_what_was_answered_and_says_so_in_one_line() -> None:
    hold, others = threading.Event(), threading.Semaphore(0)

    def stop() -> None:
        for _ in range(4):
            others.acquire(timeout=20)
        time.sleep(1)  # their answers are on the way to the disk
        signal.raise_signal(signal.SIGINT)

    def answer(model: str, prompt: str) -> str:
        if prompt == "three" and not hold.is_set():
            hold.wait(30)
        others.release()
        return echo(model, prompt)

    with lab(answer) as (shell, models):
        threading.Thread(target=stop, daemon=True).start()
        try:
            error = shell.run("%%compare -m lab/a,lab/b --data rows --name study -o result\n{{n}}").error
        finally:
            hold.set()

        assert isinstance(error, KeyboardInterrupt)
        [line] = error._render_traceback_()  # type: ignore[attr-defined]
        assert line == "KeyboardInterrupt: stopped; 4 of 6 cells are kept: --name study goes on from there"
        assert [row["prompt"] for row in shell.names["result"].cells] == ["one", "one", "two", "two"]
        assert shell.good("1 + 1").value == 2
        before = len(models.asked)
        assert len(value(shell, "--name study --resume", "")) == 6
        assert len(models.asked) - before == 2


def test_stopping_a_scorer_loses_no_answer() -> None:
    with lab() as (shell, _):
        shell.good("def slow(reply, case):\n    raise KeyboardInterrupt")
        error = shell.run("%%compare -m lab/a,lab/b -o result --score slow\nhi").error

        assert isinstance(error, KeyboardInterrupt)
        assert len(shell.names["result"]) == 2


# ---------------------------------------------------------------- loading


def test_unloading_takes_the_magic_and_its_transformer_away() -> None:
    with lab() as (shell, _):
        before = len(shell.ip.input_transformers_cleanup)
        shell.good("%unload_ext nbllm")

        assert len(shell.ip.input_transformers_cleanup) == before - 1
        assert "compare" not in shell.ip.magics_manager.magics["cell"]
        shell.good("%load_ext nbllm")


# ---------------------------------------------------------------- progress without a front end


def test_nothing_is_written_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    from nbllm.compare.progress import Progress

    with bare(), RunProgress() as progress:
        progress.show(Progress(total=3, done=1))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_line_that_is_gone_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbllm.compare.progress import Progress

    monkeypatch.setenv("NBLLM_LIVE", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with bare():
        with RunProgress() as progress:
            progress.show(Progress(total=3, done=1))
            progress.show(Progress(total=3, done=2))  # too soon after the first
        out, err = capsys.readouterr()
        assert (out, err.count("asked 1 of 3"), err.count("asked 2 of 3")) == ("", 1, 0)
        assert err.endswith("\r\x1b[2K")
        with RunProgress() as progress:
            progress.show(Progress(total=3, done=1))
            progress.__exit__(ValueError, ValueError("x"), None)
            kept = capsys.readouterr().err.rpartition("\x1b[2K")[2]
            assert (kept.startswith("asked 1 of 3"), "left" in kept, kept[-1]) == (True, False, "\n")
        with RunProgress() as progress:
            progress.show(Progress(total=3, done=1))
        assert capsys.readouterr().err.endswith("\r\x1b[2K")
