"""Duels as rows for training."""

from __future__ import annotations

import json
from pathlib import Path

from nbllm.compare.cells import Duel
from nbllm.compare.preferences import preferences
from unit.compare.comparing import ARMS, failed, row

A, B = ARMS[0].label, ARMS[1].label
ROWS = [
    row(text="yes"), row(ARMS[1], text="no"),
    row(text="same", repeat=1), row(ARMS[1], text="same", repeat=1),
    row(text="here", repeat=2), failed(ARMS[1], repeat=2) | {"text": "what had arrived"},
]  # fmt: skip


def test_a_duel_that_somebody_won_is_a_row_of_messages() -> None:
    found = preferences([Duel("p1", 0, A, B, "b")], ROWS, ARMS, system="Be brief.")
    assert list(found) == [
        {
            "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}],
            "chosen": [{"role": "assistant", "content": "no"}],
            "rejected": [{"role": "assistant", "content": "yes"}],
        }
    ]


def test_sides_do_not_matter_but_the_winner_does() -> None:
    one = preferences([Duel("p1", 0, A, B, "a")], ROWS, ARMS)
    other = preferences([Duel("p1", 0, B, A, "b")], ROWS, ARMS)
    assert list(one) == list(other)
    assert next(iter(one))["chosen"][0]["content"] == "yes"


def test_what_gives_no_row_is_counted_by_reason() -> None:
    duels = [
        Duel("p1", 0, A, B, "tie"), Duel("p1", 1, A, B, "a"), Duel("p1", 2, A, B, "a"), Duel("p9", 0, A, B, "a"),
        Duel("p1", 0, A, "gone", "a"), Duel("p1", 0, A, B, "a"),
    ]  # fmt: skip
    found = preferences(duels, ROWS, ARMS)
    assert len(found) == 1
    assert found.left_out == {"tie": 1, "unanswered": 3, "identical": 1}
    assert found.sentence == "1 preferences from 6 duels; left out: 1 tie, 3 unanswered, 1 identical"


def test_facts_go_along_when_asked_for() -> None:
    (found,) = preferences([Duel("p1", 0, A, B, "b", source="vote")], ROWS, ARMS, facts=True)
    assert found | {"prompt": 0, "chosen": 0, "rejected": 0} == {
        "prompt": 0, "chosen": 0, "rejected": 0,
        "prompt_id": "p1", "repeat": 0, "chosen_model": B, "rejected_model": A, "source": "vote",
    }  # fmt: skip


def test_the_file_has_a_line_each_and_survives_odd_texts(tmp_path: Path) -> None:
    odd = "half \ud83d, nul \0, line\r\n, 👍"
    rows = [row(text=odd), row(ARMS[1], text="no")]
    path = preferences([Duel("p1", 0, A, B, "a")] * 2, rows, ARMS).to_jsonl(tmp_path / "p.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert [line["chosen"][0]["content"] for line in lines] == [odd.replace("\ud83d", "<U+D83D>")] * 2
