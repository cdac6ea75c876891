"""What the batch engine promises, against a server with both vendors' endpoints: answers, errors, splits, money."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from typing import Any

import pytest

from asking import error_of
from batch_server import BatchServer, Refused
from batching import KINDS, Batching, MemoryDesk, batching, row, spec, specs
from nbllm.compare.engines.batch import discount
from nbllm.compare.engines.batch_anthropic import AnthropicBatches
from nbllm.compare.engines.batch_api import Limits
from nbllm.compare.engines.batch_openai import OpenAIBatches
from nbllm.errors import AuthenticationError, BudgetError, ProviderError, RedirectError, StoreError, UnsupportedError
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


# ---------------------------------------------------------------- splitting, admitting


def test_cells_are_split_by_the_number_of_requests(server: BatchServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenAIBatches, "limits", Limits(requests=7, bytes=10**8, one_model=True))
    cells, desk = specs(20), MemoryDesk()

    batching(server).run(cells, desk)

    assert [len(b.requests) for b in server.batches.values()] == [7, 7, 6]
    assert desk.texts(cells) == [f"P{n}" for n in range(20)]


@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_split_by_bytes_and_one_too_large_is_an_error(
    server: BatchServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = OpenAIBatches if kind == "openai" else AnthropicBatches
    monkeypatch.setattr(vendor, "limits", Limits(requests=100, bytes=2000, one_model=kind == "openai"))
    large, desk = spec("x" * 3000, provider=kind), MemoryDesk()
    cells = [*specs(12, provider=kind), large]

    batching(server).run(cells, desk)

    sizes = [a.size for a in server.asked if a.method == "POST" and a.size > 400]
    assert len(server.batches) > 1
    assert max(sizes) <= 2000 + (400 if kind == "openai" else 0)  # OpenAI's limit is of the file inside the form
    assert desk.errors() == {large.key: "BadRequestError"}


def test_openai_gets_one_model_in_a_batch_and_anthropic_all(server: BatchServer) -> None:
    cells = [spec("a", provider=kind, model=model) for kind in KINDS for model in ("m", "n")]
    desk = MemoryDesk()

    batching(server).run(cells, desk)

    assert sorted(len(b.requests) for b in server.batches.values()) == [1, 1, 2]
    assert desk.texts(cells) == ["A"] * 4


def test_only_what_the_desk_admits_is_sent(server: BatchServer) -> None:
    cells = specs(6)
    desk = MemoryDesk(taken={cells[1].key, cells[4].key})

    batching(server).run(cells, desk)

    assert set(server.paid) == {c.key for c in cells} - desk.taken


def test_nothing_is_sent_when_the_desk_admits_none(server: BatchServer) -> None:
    cells = specs(3)

    batching(server).run(cells, MemoryDesk(taken={c.key for c in cells}))

    assert server.asked == []


@pytest.mark.parametrize("budget", [0, 1, 13, 19])
def test_a_budget_that_ends_midway_is_used_up_and_what_ran_is_settled(server: BatchServer, budget: int) -> None:
    cells, desk = specs(20), MemoryDesk(budget=budget)

    error = error_of(lambda: batching(server).run(cells, desk))

    assert isinstance(error, BudgetError)
    assert len(server.paid) == len(desk.outcomes) == budget


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("kind", ["gemini", "ollama", "demo"])
def test_a_provider_without_batches_is_refused_before_anything_is_sent(server: BatchServer, kind: str) -> None:
    rows = {"openai": row(server), kind: ProviderConfig(id=kind, kind=kind, base_url=server.url)}
    cells = [spec("a"), spec("a", provider=kind)]

    error = error_of(lambda: Batching(rows).run(cells, MemoryDesk()))

    assert isinstance(error, UnsupportedError)
    assert "local" in str(error.hint)
    assert server.asked == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_compatible_server_without_batches_is_told_of_and_its_cells_are_given_back(
    server: BatchServer, kind: str
) -> None:
    server.no_batches = True
    cells, desk = specs(3, provider=kind), MemoryDesk()

    error = error_of(lambda: batching(server).run(cells, desk))

    assert isinstance(error, UnsupportedError)
    assert "local" in str(error.hint)
    assert sorted(desk.released) == sorted(c.key for c in cells)
    assert not desk.words
    assert not desk.outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_key_is_one_cells_error_and_the_rest_is_given_back(server: BatchServer, kind: str) -> None:
    server.key = "right-" + "one"
    cells, desk = specs(5, provider=kind), MemoryDesk()

    batching(server, key="wrong-" + "one").run(cells, desk)

    (outcome,) = desk.outcomes.values()
    assert (outcome.error_type, outcome.refused) == ("AuthenticationError", True)
    assert len(desk.released) == 4
    assert not desk.words


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_goes_along_and_is_in_nothing_that_is_remembered(server: BatchServer, kind: str) -> None:
    server.key = "the-" + "key-" + "0123456789"
    said: list[str] = []
    desk = MemoryDesk(on_remember=lambda name, value: said.append(f"{name} {value}"))
    asker = batching(server, key=server.key)

    asker.run(specs(3, provider=kind), desk)

    assert len(desk.outcomes) == 3
    assert said
    assert not any(server.key in text for text in [*said, *asker.news, str(desk.outcomes)])


def test_one_providers_failure_does_not_end_another_ones_batch(server: BatchServer) -> None:
    server.faults["POST /v1/batches"] = [400] * 9
    cells = [spec("a"), spec("a", provider="anthropic")]
    desk = MemoryDesk()

    error = error_of(lambda: batching(server).run(cells, desk))

    assert isinstance(error, ProviderError)
    assert error.provider == "openai"
    assert desk.texts([cells[1]]) == ["A"]
    assert desk.released == [cells[0].key]


def test_a_refused_key_while_looking_is_told_and_the_batch_is_not_lost(server: BatchServer) -> None:
    server.faults["GET /v1/batches/batch_0"] = [401]
    cells, desk = specs(2), MemoryDesk()

    error = error_of(lambda: batching(server).run(cells, desk))
    assert isinstance(error, AuthenticationError)
    batching(server).run(cells, desk)

    assert desk.texts(cells) == ["P0", "P1"]
    assert server.count("POST /v1/batches") == 1


def test_a_store_that_keeps_nothing_ends_it_at_once_and_loses_no_batch(server: BatchServer) -> None:
    def full(outcome: object) -> None:
        if len(desk.settled) == 2:
            raise StoreError("the disk is full")

    cells, desk = specs(5), MemoryDesk(on_settle=full)

    error = error_of(lambda: batching(server).run(cells, desk))
    assert isinstance(error, StoreError)
    desk.on_settle = None
    batching(server).run([c for c in cells if c.key not in desk.outcomes], desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(5)]
    assert set(server.paid.values()) == {1}


# ---------------------------------------------------------------- looking


def test_looks_come_less_and_less_often(server: BatchServer) -> None:
    server.looks = 20
    asker = batching(server, random=lambda: 0.5)

    asker.run([spec("x")], MemoryDesk())

    assert asker.waits[0] == 1.0
    assert asker.waits == sorted(asker.waits)
    assert asker.waits[-1] == 60.0


def test_waits_are_not_all_the_same(server: BatchServer) -> None:
    server.looks = 3
    short, long = batching(server, random=lambda: 0.0), batching(server, random=lambda: 1.0)

    short.run([spec("x")], MemoryDesk())
    long.run([spec("y")], MemoryDesk())

    assert all(a < b for a, b in zip(short.waits, long.waits, strict=True))


@pytest.mark.parametrize("fault", [500, 503, 429, 408, "drop"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_look_that_fails_does_not_lose_the_batch(server: BatchServer, kind: str, fault: int | str) -> None:
    path = "/v1/batches/batch_0" if kind == "openai" else "/v1/messages/batches/msgbatch_0"
    server.faults[f"GET {path}"] = [fault] * (4 if fault == "drop" else 11)  # more, and the breaker opens
    cells, desk = specs(3, provider=kind), MemoryDesk()

    batching(server).run(cells, desk)

    assert desk.texts(cells) == ["P0", "P1", "P2"]
    assert server.count(CREATED[kind]) == 1


def test_a_batch_that_the_vendor_has_deleted_gives_errors(server: BatchServer) -> None:
    cells, desk = specs(2), MemoryDesk()
    server.faults["GET /v1/batches/batch_0"] = [404] * 9

    batching(server).run(cells, desk)

    assert set(desk.errors().values()) == {"ServerError"}
    assert not desk.words


def test_a_new_batch_that_is_not_known_everywhere_yet_is_waited_for(server: BatchServer) -> None:
    cells, desk = specs(2), MemoryDesk()
    server.faults["GET /v1/batches/batch_0"] = [404, 404]

    batching(server).run(cells, desk)

    assert not desk.errors()


def test_news_says_how_far_it_is(server: BatchServer) -> None:
    server.looks = 1
    asker = batching(server)

    asker.run(specs(2000), MemoryDesk())

    assert "batch batch_0: 1,000 of 2,000 done" in asker.news


# ---------------------------------------------------------------- a queue that is full


def test_a_batch_for_which_the_queue_has_no_room_is_sent_when_another_has_ended(
    server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAIBatches, "limits", Limits(requests=10, bytes=10**8, one_model=True))
    server.queue, server.looks = 10, 2
    cells, desk = specs(30), MemoryDesk()

    batching(server).run(cells, desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(30)]
    assert set(server.paid.values()) == {1}
    assert not desk.words


def test_a_batch_that_the_queue_never_has_room_for_is_halved(server: BatchServer) -> None:
    server.queue = 3
    cells, desk = specs(10), MemoryDesk()

    batching(server).run(cells, desk)

    assert not desk.errors()
    assert len(desk.outcomes) == 10
    assert set(server.paid.values()) == {1}


def test_one_request_that_the_queue_has_no_room_for_is_an_error(server: BatchServer) -> None:
    server.queue = 0
    cells, desk = specs(3), MemoryDesk()

    batching(server).run(cells, desk)

    assert set(desk.errors().values()) == {"RateLimitError"}
    assert len(desk.outcomes) == 3


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


# ---------------------------------------------------------------- the transport


def test_a_large_upload_goes_in_pieces_and_whole(server: BatchServer) -> None:
    prompt = "x" * 900_000
    cells, desk = [spec(f"{n}{prompt}") for n in range(8)], MemoryDesk()

    batching(server).run(cells, desk)

    (uploaded,) = server.files.values()
    assert len(uploaded.splitlines()) == 8
    assert desk.texts(cells) == [f"{n}{prompt.upper()}" for n in range(8)]


def test_results_longer_than_one_answer_may_be_are_read(server: BatchServer) -> None:
    server.answer = lambda id, body: "y" * 1_000_000
    cells, desk = specs(70), MemoryDesk()

    batching(server).run(cells, desk)

    assert not desk.errors()
    assert sum(len(o.text) for o in desk.outcomes.values()) == 70_000_000


def test_nothing_is_sent_when_offline_away_from_this_machine() -> None:
    rows = {"openai": ProviderConfig(id="openai", kind="openai", base_url="https://api.openai.com/v1")}
    asker = Batching(rows, http={"offline": lambda: True})
    desk = MemoryDesk()

    error = error_of(lambda: asker.run([spec("x")], desk))

    assert type(error).__name__ == "OfflineError"
    assert len(desk.released) == 1


def test_a_row_that_allows_one_request_at_a_time_does_not_lock_itself(server: BatchServer) -> None:
    server.faults["POST /v1/batches"] = ["lose"]
    rows = {"openai": row(server, rate_limit={"concurrency": 1})}
    desk = MemoryDesk()

    asyncio.run(asyncio.wait_for(asyncio.to_thread(Batching(rows).run, [spec("x")], desk), 20))

    assert len(desk.outcomes) == 1
    assert sum(server.paid.values()) == 1


def test_only_the_documented_paths_are_asked(server: BatchServer) -> None:
    batching(server).run([spec("a"), spec("a", provider="anthropic")], MemoryDesk())

    assert {re.sub(r"_[01]", "_N", str(asked)) for asked in server.asked} == {
        "POST /v1/files", "POST /v1/batches", "GET /v1/batches/batch_N", "GET /v1/files/batch_N-output/content",
        "POST /v1/messages/batches", "GET /v1/messages/batches/msgbatch_N",
        "GET /v1/messages/batches/msgbatch_N/results",
    }  # fmt: skip
