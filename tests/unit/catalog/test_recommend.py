"""Advice comes from the user's own calls, with its reason; where too little is known there is none."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from nbllm.catalog.recommend import MIN_CALLS
from nbllm.store import Changes, schema
from nbllm.tables import Sentences, Table
from nbllm.workspace import Workspace


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    made = Workspace()
    for id in ("slow", "fast"):
        made.registry.set_session(id, base_url="http://127.0.0.1:9/v1", auth="none")
    yield made
    made.close()


def call(provider: str, latency_ms: float, **more: Any) -> dict[str, Any]:
    row = {
        "id": uuid.uuid4().hex, "created_at": schema.now(), "kernel": "k", "provider": provider, "model": "m",
        "latency_ms": latency_ms, "ttft_ms": latency_ms / 2, "finish_reason": "stop", "error_type": None,
        "input_tokens": 100, "output_tokens": 50, "request": {}, "request_hash": "h",
    }  # fmt: skip
    return row | more


def keep(workspace: Workspace, *calls: dict[str, Any]) -> None:
    workspace.store.write(lambda _: Changes({"calls": calls}))


def test_nothing_is_recommended_where_nothing_is_known(workspace: Workspace) -> None:
    for aim in ("score", "price", "latency"):
        assert isinstance(workspace.marking.recommend(aim), Sentences)
    said = workspace.marking.recommend(None)
    assert [line.partition(":")[0] for line in said] == ["score", "price", "latency"]


def test_the_faster_median_comes_first_with_its_count_and_failures(workspace: Workspace) -> None:
    keep(
        workspace,
        *(call("slow", 2000 + n) for n in range(MIN_CALLS)),
        *(call("fast", 900 + n) for n in range(MIN_CALLS)),
    )
    keep(workspace, call("fast", 60_000), call("fast", 1, error_type="RateLimitError", finish_reason=None))

    table = workspace.marking.recommend("latency")

    assert isinstance(table, Table)
    assert [row["model"] for row in table] == ["fast/m", "slow/m"]
    assert "median of 11" in table[0]["why"], "one outlier does not move a median"
    assert "1 of 12 failed" in table[0]["why"]
    assert "none of 10 failed" in table[1]["why"]


@pytest.mark.parametrize(
    "lacking",
    [
        {"replayed": "exact"},
        {"provider": "demo"},
        {"finish_reason": "interrupted"},
        {"finish_reason": "length"},
        {"latency_ms": None},
        {"error_type": "ServerError"},
    ],
    ids=str,
)
def test_calls_that_say_nothing_of_a_model_do_not_count(workspace: Workspace, lacking: dict[str, Any]) -> None:
    keep(workspace, *(call("slow", 2000.0) for _ in range(MIN_CALLS)))
    keep(workspace, *(call("fast", 900.0) | lacking for _ in range(MIN_CALLS)))

    assert "too little is known: 1 model with" in str(workspace.marking.recommend("latency"))


def test_one_answer_too_few_is_too_few(workspace: Workspace) -> None:
    keep(
        workspace, *(call("slow", 2000.0) for _ in range(MIN_CALLS)), *(call("fast", 9.0) for _ in range(MIN_CALLS - 1))
    )

    assert isinstance(workspace.marking.recommend("latency"), Sentences)


def test_the_price_is_that_of_the_users_typical_question(workspace: Workspace) -> None:
    keep(workspace, *(call("slow", 1.0, input_tokens=None if n == 0 else 1000 * n) for n in range(MIN_CALLS + 1)))
    workspace.marking.add("slow/m", {"input_price": 1.0, "output_price": 2.0})
    workspace.marking.add("fast/m", {"input_price": 0.5, "output_price": 0.0})
    workspace.marking.add("fast/unpriced", {"input_price": 0.0})

    table = workspace.marking.recommend("price")

    assert isinstance(table, Table)
    assert [(row["model"], round(row["usd"], 8)) for row in table] == [("fast/m", 0.00275), ("slow/m", 0.0056)]
    assert "5500 tokens in, 50 out, median of 10" in table[0]["why"]
    assert "you have not asked it yet" in table[0]["why"]


def test_an_unknown_price_is_no_price(workspace: Workspace) -> None:
    keep(workspace, *(call("slow", 1.0) for _ in range(MIN_CALLS)))
    workspace.marking.add("slow/m", {"input_price": 1.0})

    assert "0 have known prices" in str(workspace.marking.recommend("price"))
