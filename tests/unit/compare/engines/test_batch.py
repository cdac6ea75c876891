"""What comes of a batch: answers, errors in their place, odd results, money."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from asking import error_of
from batch_server import BatchServer, Refused
from batching import KINDS, MemoryDesk, batching, spec, specs
from nbllm.compare.engines.batch import discount
from nbllm.compare.engines.batch_openai import OpenAIBatches
from nbllm.errors import RedirectError
from nbllm.messages import Usage
from nbllm.providers.spec import ProviderConfig
from nbllm.usage import Cost

CREATED = {"openai": "POST /v1/batches", "anthropic": "POST /v1/messages/batches"}


@pytest.fixture
def server():
    with BatchServer() as server:
        yield server


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("kind", KINDS)
def test_each_answer_reaches_its_own_cell_in_whatever_order_the_results_come(server: BatchServer, kind: str) -> None:
    cells, desk = specs(40, provider=kind), MemoryDesk()

    batching(server).run(cells, desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(40)]
    assert desk.settled != [c.key for c in cells]  # the server did shuffle
    assert server.count(CREATED[kind]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_has_the_facts_that_a_live_one_has_but_no_times(server: BatchServer, kind: str) -> None:
    cell, desk = spec("hello", provider=kind), MemoryDesk()

    batching(server).run([cell], desk)

    outcome = desk.outcomes[cell.key]
    assert (outcome.status, outcome.finish_reason, outcome.model_reported) == ("ok", "stop", "m-2026")
    assert outcome.usage == Usage(input_tokens=10, cached_input_tokens=2, output_tokens=5)
    assert (outcome.ttft_ms, outcome.latency_ms) == (None, None)
    assert outcome.host == "127.0.0.1"


def test_openais_request_id_is_kept(server: BatchServer) -> None:
    cell, desk = spec("hello"), MemoryDesk()

    batching(server).run([cell], desk)

    assert desk.outcomes[cell.key].request_id == f"req_{cell.key[:8]}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_is_what_would_be_sent_live_but_for_the_stream(server: BatchServer, kind: str) -> None:
    seen: list[Any] = []
    server.answer = lambda id, body: seen.append(body) or "yes"
    cell = spec("hello", provider=kind, system="be brief", temperature=0.5, params={"top_p": 0.9})

    batching(server).run([cell], MemoryDesk())

    (body,) = seen
    assert "stream" not in body
    assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"]) == ("m", 0.5, 0.9, 20)
    assert "be brief" in json.dumps(body)


@pytest.mark.parametrize("kind", KINDS)
def test_text_of_every_script_and_half_characters_survive(server: BatchServer, kind: str) -> None:
    cells, desk = [spec(text, provider=kind) for text in ("排序 🦉 é\n\r\u2028", "half \ud83d")], MemoryDesk()

    batching(server).run(cells, desk)

    assert desk.outcomes[cells[0].key].text == "排序 🦉 É\n\r\u2028"
    assert desk.outcomes[cells[1].key].status == "ok"


def test_a_forced_schema_comes_out_as_text(server: BatchServer) -> None:
    content = [{"type": "tool_use", "id": "t", "name": "answer", "input": {"verdict": "A"}}]
    server.answer = lambda id, body: {
        "model": "m", "content": content, "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    cell, desk = spec("judge", provider="anthropic", schema={"type": "object"}), MemoryDesk()

    batching(server).run([cell], desk)

    outcome = desk.outcomes[cell.key]
    assert json.loads(outcome.text) == {"verdict": "A"}
    assert outcome.finish_reason == "stop"


# ---------------------------------------------------------------- errors in the place of answers


@pytest.mark.parametrize(
    ("kind", "said", "error"),
    [
        (
            "openai",
            Refused(400, "maximum context length is 10 tokens", "context_length_exceeded"),
            "ContextLengthError",
        ),
        ("openai", Refused(429, "slow down", "rate_limit_exceeded"), "RateLimitError"),
        ("openai", Refused(500, "oops", "server_error"), "ServerError"),
        ("anthropic", Refused(400, "prompt is too long", "invalid_request_error"), "ContextLengthError"),
        ("anthropic", Refused(529, "Overloaded", "overloaded_error"), "OverloadedError"),
        ("anthropic", Refused(500, "oops", "api_error"), "ServerError"),
    ],
)
def test_a_refused_request_is_an_error_of_its_class_and_the_others_are_answered(
    server: BatchServer, kind: str, said: Refused, error: str
) -> None:
    cells, desk = specs(6, provider=kind), MemoryDesk()
    server.answer = lambda id, body: said if id == cells[2].key else "fine"

    batching(server).run(cells, desk)

    assert desk.errors() == {cells[2].key: error}
    assert desk.outcomes[cells[2].key].request_id == f"req_{cells[2].key[:8]}"
    assert len(desk.outcomes) == 6


def test_a_key_in_the_words_of_an_error_is_not_kept(server: BatchServer) -> None:
    key = "sk-" + "proj-" + "a1B2" * 12
    server.answer = lambda id, body: Refused(500, f"failed with {key}")
    cell, desk = spec("x"), MemoryDesk()

    batching(server, key=key).run([cell], desk)

    assert key not in str(desk.outcomes[cell.key])
    assert "failed with" in str(desk.outcomes[cell.key].error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_without_a_result_is_an_error_that_says_so(server: BatchServer, kind: str) -> None:
    cells, desk = specs(4, provider=kind), MemoryDesk()
    server.answer = lambda id, body: None if id == cells[0].key else "fine"

    batching(server).run(cells, desk)

    assert desk.errors() == {cells[0].key: "ServerError"}
    assert "ended without an answer" in str(desk.outcomes[cells[0].key].error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("end", "error"), [("expired", "ServerError"), ("cancelled", "ProviderError")])
def test_what_a_batch_did_not_come_to_says_why_and_what_it_did_is_kept(
    server: BatchServer, kind: str, end: str, error: str
) -> None:
    cells, desk = specs(5, provider=kind), MemoryDesk()
    server.end, server.unfinished = end, {cells[1].key, cells[3].key}

    batching(server).run(cells, desk)

    assert desk.errors() == {cells[1].key: error, cells[3].key: error}
    assert all(end in str(desk.outcomes[cells[n].key].error) for n in (1, 3))
    assert desk.texts([cells[0]]) == ["P0"]


def test_a_batch_that_fails_as_a_whole_gives_its_reasons_to_each_cell(server: BatchServer) -> None:
    server.end = "failed"
    server.problems = [{"code": "model_not_found", "message": "The model `m` does not exist", "line": 1}]
    cells, desk = specs(3), MemoryDesk()

    batching(server).run(cells, desk)

    assert set(desk.errors().values()) == {"ModelNotFoundError"}
    assert "line 1: The model `m` does not exist" in str(desk.outcomes[cells[0].key].error)


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"content": "x"}, [], "text", 7, {"error": {"message": "no"}}])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_none_is_an_error(server: BatchServer, kind: str, answer: Any) -> None:
    cells, desk = specs(2, provider=kind), MemoryDesk()
    wrapped = {"odd": answer} if isinstance(answer, str) else answer
    server.answer = lambda id, body: wrapped if id == cells[0].key else "fine"

    batching(server).run(cells, desk)

    assert list(desk.errors()) == [cells[0].key]


def test_a_request_that_cannot_be_built_is_an_error_and_is_not_sent(server: BatchServer) -> None:
    bad = spec("x", params={"logit_bias": {1: float("nan")}})
    good, desk = spec("y"), MemoryDesk()

    batching(server).run([bad, good], desk)

    assert desk.errors() == {bad.key: "PromptError"}
    assert set(server.paid) == {good.key}


# ---------------------------------------------------------------- odd results


@pytest.mark.parametrize("kind", KINDS)
def test_results_that_come_twice_or_were_never_asked_for_are_passed_over(server: BatchServer, kind: str) -> None:
    server.repeats, server.strangers = 3, 2
    cells, desk, asker = specs(5, provider=kind), MemoryDesk(), batching(server)

    asker.run(cells, desk)

    assert sorted(desk.settled) == sorted(c.key for c in cells)
    assert any("2 results that nobody asked for" in sentence for sentence in asker.news)


@pytest.mark.parametrize("kind", KINDS)
def test_results_that_were_cut_are_fetched_again(server: BatchServer, kind: str) -> None:
    server.cuts = 2
    cells, desk = specs(20, provider=kind), MemoryDesk()

    batching(server).run(cells, desk)

    assert not desk.errors()
    assert len(desk.settled) == 20


def test_results_that_stay_cut_give_what_is_whole(server: BatchServer) -> None:
    server.cuts = 100
    cells, desk = specs(20), MemoryDesk()

    batching(server).run(cells, desk)

    assert len(desk.outcomes) == 20
    assert 0 < len(desk.errors()) < 20


def test_anthropics_results_at_another_origin_are_refused(server: BatchServer) -> None:
    key = "test-" + "key"
    with BatchServer() as elsewhere:
        server.results_origin = elsewhere.origin
        desk = MemoryDesk()
        error = error_of(lambda: batching(server, key=key).run([spec("x", provider="anthropic")], desk))

    assert isinstance(error, RedirectError)
    assert elsewhere.asked == []
    assert desk.words  # the batch is not lost


# ---------------------------------------------------------------- money


def test_half_the_price_counts_where_it_is_documented_and_nothing_is_known_elsewhere(server: BatchServer) -> None:
    def price(provider: ProviderConfig, model: str, usage: Usage) -> Cost:
        return Cost(Decimal("0.02"), "list 1")

    cell, desk = spec("x"), MemoryDesk()
    batching(server, price=price).run([cell], desk)

    assert (desk.outcomes[cell.key].cost_usd, desk.outcomes[cell.key].price_version) == (None, None)
    for url in ("https://api.openai.com/v1", "https://api.anthropic.com"):
        assert discount(ProviderConfig(id="p", base_url=url)) == Decimal("0.5")
    assert discount(ProviderConfig(id="p", base_url="https://api.openai.com.example.org/v1")) is None


def test_the_price_says_that_it_is_a_batchs() -> None:
    from nbllm.compare.engines.batch_answers import Outcomes
    from nbllm.compare.engines.batch_api import Line

    provider = ProviderConfig(id="openai", base_url="https://api.openai.com/v1")
    outcomes = Outcomes(
        OpenAIBatches(None),  # type: ignore[arg-type]  (only its decoder counts)
        provider, "batch_1", "2026-11-28T00:00:00+00:00", lambda p, m, u: Cost(Decimal("0.02"), "list 1"),
    )  # fmt: skip
    body = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1}}  # fmt: skip

    outcome = outcomes.of_line(Line("id", answer=body), spec("x"))

    assert (outcome.cost_usd, outcome.price_version) == (Decimal("0.010"), "list 1, batch 0.5")
