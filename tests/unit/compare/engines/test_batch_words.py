"""What stops a batch and what does not, and the words by which batches are remembered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_server import BatchServer, Refused
from batching import KINDS, MemoryDesk, batching, has_id, interrupted, killed, killed_when, origin, spec, specs
from nbllm.compare.engines.batch_words import PREFIX, Word, read_word


@pytest.fixture
def server():
    with BatchServer() as server:
        yield server


# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_leaves_the_batch_running_and_says_so(server: BatchServer, kind: str) -> None:
    server.looks = 5
    cells, desk = specs(3, provider=kind), MemoryDesk()

    asker = interrupted(server, cells, desk)

    assert "goes on" in asker.news[-1]
    assert "--resume" in asker.news[-1]
    assert not desk.released
    assert not any(b.cancelled for b in server.batches.values())
    batching(server).run(cells, desk)
    assert desk.texts(cells) == ["P0", "P1", "P2"]


@pytest.mark.parametrize("kind", KINDS)
def test_cancel_stops_it_at_the_vendor_and_what_is_done_is_still_fetched(server: BatchServer, kind: str) -> None:
    server.looks = 5
    cells, desk = specs(3, provider=kind), MemoryDesk()
    interrupted(server, cells, desk)
    server.unfinished = {cells[1].key}

    stopped = batching(server).cancel(desk)
    batching(server).run(cells, desk)

    assert stopped == list(server.batches)
    assert desk.texts([cells[0], cells[2]]) == ["P0", "P2"]
    assert "cancelled" in str(desk.outcomes[cells[1].key].error)


def test_cancel_stops_nothing_twice_and_nothing_that_has_ended(server: BatchServer) -> None:
    server.looks = 1
    cells, desk = specs(3), MemoryDesk()
    interrupted(server, cells, desk)

    assert batching(server).cancel(desk) == []  # the look that it takes has ended it
    assert server.count("POST /v1/batches/batch_0/cancel") == 0


def test_cancel_finds_a_batch_whose_id_was_lost(server: BatchServer) -> None:
    server.looks = 9
    cells, desk = specs(3), MemoryDesk(on_remember=killed_when(has_id))
    killed(lambda: batching(server).run(cells, desk))
    desk.on_remember = None

    assert batching(server).cancel(desk) == ["batch_0"]


# ---------------------------------------------------------------- words


def test_errors_that_are_asked_again_go_into_a_batch_of_their_own(server: BatchServer) -> None:
    cells, desk = specs(4), MemoryDesk()
    server.answer = lambda id, body: Refused(500, "oops") if id == cells[1].key else "fine"
    batching(server).run(cells, desk)
    server.answer = lambda id, body: "now"

    batching(server).run([cells[1]], desk)

    assert desk.texts([cells[1]]) == ["now"]
    assert server.count("POST /v1/batches") == 2


def test_answers_that_a_narrower_run_does_not_ask_for_are_not_lost(server: BatchServer) -> None:
    server.looks = 3
    cells, desk = specs(6), MemoryDesk()
    interrupted(server, cells, desk)

    batching(server).run(cells[:2], desk)
    assert set(desk.outcomes) == {c.key for c in cells[:2]}
    batching(server).run(cells[2:], desk)

    assert desk.texts(cells) == [f"P{n}" for n in range(6)]
    assert set(server.paid.values()) == {1}
    assert not desk.words


def test_a_batch_of_other_cells_is_let_alone(server: BatchServer) -> None:
    server.looks = 3
    cells, desk = specs(2), MemoryDesk()
    interrupted(server, cells, desk)
    word, looks = dict(desk.words), server.count("GET /v1/batches/batch_0")

    batching(server).run([spec("other")], desk)

    assert desk.words == word
    assert server.count("GET /v1/batches/batch_0") == looks


def test_a_word_older_than_any_result_is_forgotten_and_its_cells_are_sent(server: BatchServer) -> None:
    cells, desk = specs(2), MemoryDesk()
    since = (datetime.now(UTC) - timedelta(days=31)).isoformat()
    word = Word("m1", "openai", origin(server), since, tuple(c.key for c in cells), 2, id="batch_77")
    desk.words[word.name] = word.to_json()

    batching(server).run(cells, desk)

    assert desk.texts(cells) == ["P0", "P1"]
    assert not desk.words


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"version":99}', "\x00", "[" * 100_000])
def test_a_word_that_cannot_be_read_is_passed_over(server: BatchServer, text: str) -> None:
    cells, desk = specs(2), MemoryDesk(words={f"{PREFIX}x": text, "lane:openai": "20"})

    batching(server).run(cells, desk)

    assert desk.texts(cells) == ["P0", "P1"]


def test_an_id_in_a_word_leads_nowhere_but_to_the_rows_own_origin(server: BatchServer) -> None:
    cells, desk = specs(2), MemoryDesk()
    word = Word("m1", "openai", "https://elsewhere.example:443", datetime.now(UTC).isoformat(),
                tuple(c.key for c in cells), 2, id="batch_77")  # fmt: skip
    desk.words[word.name] = word.to_json()

    batching(server).run(cells, desk)

    assert server.count("GET /v1/batches/batch_77") == 0
    assert desk.texts(cells) == ["P0", "P1"]


@given(
    st.builds(
        Word,
        mark=st.text(),
        provider=st.text(),
        origin=st.text(),
        since=st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
        keys=st.lists(st.text()).map(tuple),
        size=st.integers(0),
        id=st.none() | st.text(),
        sure=st.booleans(),
        not_these=st.lists(st.text()).map(tuple),
        collecting=st.booleans(),
    )
)
def test_a_word_that_was_written_is_read_as_it_was(word: Word) -> None:
    assert read_word(word.name, word.to_json()) == word
