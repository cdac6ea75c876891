"""A process may end at any moment: the next one goes on with what runs, and nothing is paid twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asking import error_of
from batch_server import BatchServer
from batching import KINDS, Killed, MemoryDesk, batching, has_id, killed, killed_when, origin, specs
from nbllm.compare.engines.batch_anthropic import AnthropicBatches
from nbllm.compare.engines.batch_api import Limits
from nbllm.compare.engines.batch_openai import OpenAIBatches
from nbllm.compare.engines.batch_words import Word, read_word
from nbllm.errors import ProviderError

CREATED = {"openai": "POST /v1/batches", "anthropic": "POST /v1/messages/batches"}


@pytest.fixture
def server():
    with BatchServer() as server:
        yield server


# ---------------------------------------------------------------- going on


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_an_earlier_process_is_gone_on_with_and_not_sent_again(server: BatchServer, kind: str) -> None:
    server.looks = 3
    cells, desk = specs(8, provider=kind), MemoryDesk()

    def gone() -> None:
        raise Killed

    first = batching(server)
    first.during = gone
    killed(lambda: first.run(cells, desk))
    assert not desk.outcomes
    batching(server).run(cells, desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(8)]
    assert server.count(CREATED[kind]) == 1
    assert len(desk.admitted) == 8  # they are not admitted a second time
    assert not desk.words


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_remembered_before_it_is_looked_at_with_the_keys_in_it(server: BatchServer, kind: str) -> None:
    cells = specs(3, provider=kind)
    desk = MemoryDesk()
    looks_before = []

    def remember(name: str, value: str | None) -> None:
        if value is not None:
            word = read_word(name, value)
            assert word is not None
            assert word.keys == tuple(c.key for c in cells)
            looks_before.append((word.id, sum(a.method == "GET" for a in server.asked)))

    desk.on_remember = remember
    batching(server).run(cells, desk)

    assert [(id is not None, looks) for id, looks in looks_before[:2]] == [(False, 0), (True, 0)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_was_made_and_not_remembered_is_found_again(server: BatchServer, kind: str) -> None:
    cells, desk = specs(5, provider=kind), MemoryDesk(on_remember=killed_when(has_id))

    killed(lambda: batching(server).run(cells, desk))
    desk.on_remember = None
    batching(server).run(cells, desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(5)]
    assert server.count(CREATED[kind]) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_batch_is_found_behind_pages_of_others(server: BatchServer, kind: str) -> None:
    cells, desk = specs(5, provider=kind), MemoryDesk(on_remember=killed_when(has_id))

    killed(lambda: batching(server).run(cells, desk))
    desk.on_remember = None
    (ours,) = server.batches.values()
    for n in range(250):
        id = f"{ours.id}x{n}"
        server.batches[id] = replace(ours, id=id, metadata={}, requests=[("o", {})], results={}, end="completed")
    batching(server).run(cells, desk)

    assert len(desk.outcomes) == 5
    assert server.count(CREATED[kind]) == 1


def test_a_file_that_was_uploaded_costs_nothing_and_its_cells_are_sent(server: BatchServer) -> None:
    cells, desk = specs(5), MemoryDesk(on_remember=killed_when(lambda name, value: True))

    killed(lambda: batching(server).run(cells, desk))
    assert len(server.files) == 1
    desk.on_remember = None
    batching(server).run(cells, desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(5)]
    assert set(server.paid.values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_was_about_to_be_made_and_was_not_is_made(server: BatchServer, kind: str) -> None:
    cells, desk = specs(5, provider=kind), MemoryDesk()
    word = Word("m1", kind, origin(server), datetime.now(UTC).isoformat(), tuple(c.key for c in cells), 5)
    desk.words[word.name] = word.to_json()

    batching(server).run(cells, desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(5)]
    assert not desk.words


def test_anothers_batch_of_the_same_size_is_not_taken_for_ours(server: BatchServer) -> None:
    theirs = specs(5, provider="anthropic", model="theirs")
    batching(server).run(theirs, MemoryDesk())
    cells, desk = specs(5, provider="anthropic"), MemoryDesk()
    word = Word("m1", "anthropic", origin(server), datetime.now(UTC).isoformat(), tuple(c.key for c in cells), 5)
    desk.words[word.name] = word.to_json()

    batching(server).run(cells, desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(5)]
    assert server.count(CREATED["anthropic"]) == 2
    assert not desk.words


def test_ours_is_found_behind_anothers_of_the_same_size(server: BatchServer) -> None:
    cells, desk = specs(5, provider="anthropic"), MemoryDesk(on_remember=killed_when(has_id))
    killed(lambda: batching(server).run(cells, desk))
    desk.on_remember = None
    batching(server).run(specs(5, provider="anthropic", model="theirs"), MemoryDesk())
    ours = next(iter(server.batches.values()))
    ours.made += timedelta(seconds=30)  # the nearer one is not ours

    batching(server).run(cells, desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(5)]
    assert server.count(CREATED["anthropic"]) == 2


def test_cells_that_another_process_is_sending_just_now_are_left_to_it(server: BatchServer) -> None:
    cells = specs(4)
    desk = MemoryDesk(taken={c.key for c in cells})
    word = Word("m1", "openai", origin(server), datetime.now(UTC).isoformat(), tuple(c.key for c in cells), 4)
    desk.words[word.name] = word.to_json()

    batching(server).run(cells, desk)

    assert not server.batches
    assert desk.words  # it is his word


# ---------------------------------------------------------------- making it once


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("faults", [["lose"], ["lose", 500], [500, "lose"], ["drop", "lose"], [503, 503], ["drop"]])
def test_a_lost_answer_to_the_making_does_not_make_it_twice(
    server: BatchServer, kind: str, faults: list[int | str]
) -> None:
    server.faults[CREATED[kind]] = faults
    cells, desk = specs(3, provider=kind), MemoryDesk()

    batching(server).run(cells, desk)

    assert len(server.batches) == 1
    assert desk.texts(cells) == ["P0", "P1", "P2"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_may_have_been_made_stays_remembered_and_is_looked_for(server: BatchServer, kind: str) -> None:
    server.faults[CREATED[kind]] = ["lose"]
    listing = CREATED[kind].replace("POST", "GET")
    server.faults[listing] = [500] * 20
    cells, desk = specs(3, provider=kind), MemoryDesk()

    error = error_of(lambda: batching(server).run(cells, desk))
    assert isinstance(error, ProviderError)
    assert len(desk.released) == 3
    server.faults.clear()
    batching(server).run(cells, desk)

    assert len(server.batches) == 1
    assert desk.texts(cells) == ["P0", "P1", "P2"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_was_surely_not_made_is_not_remembered(server: BatchServer, kind: str) -> None:
    server.faults[CREATED[kind]] = [400]
    cells, desk = specs(3, provider=kind), MemoryDesk()

    error_of(lambda: batching(server).run(cells, desk))

    assert not desk.words
    assert len(desk.released) == 3


def test_a_file_that_is_not_known_yet_when_the_batch_is_made_is_waited_for(server: BatchServer) -> None:
    cells, desk = specs(2), MemoryDesk()
    plain, calls = server.reply, []

    def late(method: str, path: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        if (method, path) == ("POST", "/v1/batches") and len(calls) < 2:
            calls.append(path)
            return 400, json.dumps({"error": {"message": "Cannot find file file-0, or it is not yours"}}).encode()
        return plain(method, path, headers, body)

    server.reply = late  # type: ignore[method-assign]
    batching(server).run(cells, desk)

    assert not desk.errors()
    assert len(calls) == 2


# ---------------------------------------------------------------- any moment


class Mortal(MemoryDesk):
    """A desk whose process ends at its n-th call, before or after the store has it."""

    lives = 10**9

    def _beat(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise Killed

    async def settle(self, outcome: Any) -> None:
        self._beat()
        await super().settle(outcome)
        self._beat()

    async def remember(self, name: str, value: str | None) -> None:
        self._beat()
        await super().remember(name, value)
        self._beat()

    async def admit(self, specs: Any) -> Any:
        self._beat()
        return await super().admit(specs)


@settings(max_examples=12)
@given(lives=st.lists(st.integers(0, 30), max_size=6), looks=st.integers(0, 2), kind=st.sampled_from(KINDS))
def test_however_often_it_is_killed_each_cell_is_settled_and_paid_once(lives: list[int], looks: int, kind: str) -> None:
    with pytest.MonkeyPatch.context() as patch, BatchServer() as server:
        for vendor in (OpenAIBatches, AnthropicBatches):
            patch.setattr(vendor, "limits", Limits(requests=5, bytes=10**8, one_model=vendor is OpenAIBatches))
        server.looks = looks
        cells = specs(12, provider=kind)
        desk = Mortal()
        for left in [*lives, 10**9]:
            desk.lives = left
            missing = [c for c in cells if c.key not in desk.outcomes]
            try:
                batching(server).run(missing, desk)
            except Killed:
                continue

        assert desk.texts(cells) == [f"P{n}" for n in range(12)]
        assert set(server.paid.values()) == {1}
        # One that was killed between its last cell and the end may be left; it is of no more use, and does no harm.
        assert all(json.loads(word)["collecting"] for word in desk.words.values())
