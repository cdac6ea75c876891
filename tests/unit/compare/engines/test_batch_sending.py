"""What is sent in batches, what is not, and how a batch is looked at until it has ended."""

from __future__ import annotations

import asyncio
import re

import pytest

from asking import error_of
from batch_server import BatchServer
from batching import KINDS, Batching, MemoryDesk, batching, row, spec, specs
from nbllm.compare.engines.batch_anthropic import AnthropicBatches
from nbllm.compare.engines.batch_api import Limits
from nbllm.compare.engines.batch_openai import OpenAIBatches
from nbllm.errors import AuthenticationError, BudgetError, ProviderError, StoreError, UnsupportedError
from nbllm.providers.spec import ProviderConfig

CREATED = {"openai": "POST /v1/batches", "anthropic": "POST /v1/messages/batches"}


@pytest.fixture
def server():
    with BatchServer() as server:
        yield server


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
