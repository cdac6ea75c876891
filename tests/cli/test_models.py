"""`nbllm models`, as a user starts it."""

from __future__ import annotations

import json

from cli.shell import nbllm
from nbllm.catalog.wanted import COLUMNS


def test_words_that_are_no_command_are_searched_for() -> None:
    short, long = nbllm("models", "llama", "--limit", "3"), nbllm("models", "search", "llama", "--limit", "3")

    assert short.returncode == 0
    assert short.stdout == long.stdout
    assert "3 of " in short.stdout
    assert short.stderr == ""


def test_json_is_an_array_of_the_fixed_columns_without_a_limit() -> None:
    done = nbllm("models", "gpt", "--json")

    rows = json.loads(done.stdout)
    assert len(rows) > 50
    assert all(tuple(row) == COLUMNS for row in rows)
    assert done.stderr == ""


def test_filters_hold_for_each_row() -> None:
    done = nbllm("models", "--tools", "--max-price", "0.5", "--min-context", "128k", "--sort", "input_price", "--json")

    rows = json.loads(done.stdout)
    prices = [row["input_price"] for row in rows]
    assert rows
    assert all(row["tools"] is True and row["context"] >= 128_000 for row in rows)
    assert prices == sorted(prices)
    assert prices[-1] <= 0.5


def test_marks_go_from_one_command_to_the_next() -> None:
    assert nbllm("models", "favourite", "demo/echo").returncode == 0
    assert nbllm("models", "alias", "say", "demo/echo").returncode == 0
    [row] = json.loads(nbllm("models", "--favourites", "--json").stdout)

    assert (row["ref"], row["favourite"]) == ("demo/echo", True)
    assert nbllm("chat", "-m", "say", "hello there").returncode == 0


def test_a_slip_ends_with_status_2_and_names_the_command_of_a_shell() -> None:
    done = nbllm("models", "--provider", "grok")
    assert done.returncode == 2
    assert "error: there is no provider 'grok'" in done.stderr
    assert "did you mean groq" in done.stderr

    done = nbllm("models", "alias", "fast")
    assert done.returncode == 2
    assert "`nbllm models alias fast PROVIDER/MODEL`" in done.stderr


def test_advice_that_is_not_there_is_a_sentence() -> None:
    done = nbllm("models", "recommend", "--for", "score")

    assert done.returncode == 0
    assert done.stdout.startswith("score: no answers were scored yet")
