"""What was acknowledged is there after `kill -9`, and many processes share one home. `--campaign` runs them in full."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from nbllm.conversations import Conversations
from nbllm.messages import Delta, FinishReason, Message
from nbllm.reply_builder import ReplyBuilder
from nbllm.settings import Paths
from nbllm.store import Store
from unit.conversations.notebook import reply_of, request_for
from unit.store.conftest import OpenStore

PROCESSES = 8


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as exc:
            os.write(2, f"{exc!r}\n".encode())
            os._exit(1)
        os._exit(0)
    return child


def chat_for_ever(paths: Paths, acknowledge: int) -> None:
    """Ask, take in an answer piece by piece, store it, and only then say its message's id."""
    store = Store.open(paths, None)
    conversations = Conversations(store, kernel=str(os.getpid()))
    number = 0
    while store.warning is None:
        number += 1
        turn = conversations.begin("notes" if number % 2 else "main", cell=str(number % 5))
        question = Message.user(f"question {number}")
        builder = ReplyBuilder()
        for piece in range(20):
            builder.add(Delta(text=f"word {piece} ", finish_reason=FinishReason.STOP if piece == 19 else None))
        request = request_for(turn, question)
        message_id = conversations.commit(turn, request, [question, builder.message()], reply_of(builder.text))
        os.write(acknowledge, f"{message_id}\n".encode())


def kill_while_chatting(paths: Paths, after_s: float) -> list[str]:
    """Kill a chatting process; the ids that it acknowledged, the last perhaps cut."""
    reading, writing = os.pipe()
    child = in_child(lambda: chat_for_ever(paths, writing))
    os.close(writing)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"
    with os.fdopen(reading) as acknowledged:
        return [line.strip() for line in acknowledged if line.endswith("\n")]


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_kill_9_loses_no_acknowledged_message(paths: Paths, campaign: bool, capsys: pytest.CaptureFixture[str]) -> None:
    points = 200 if campaign else 12
    chance = random.Random(20261120)
    acknowledged: list[str] = []
    for _ in range(points):
        acknowledged += kill_while_chatting(paths, chance.uniform(0.0, 0.25))

    with closing(sqlite3.connect(paths.database)) as connection:
        stored = {row[0] for row in connection.execute("SELECT id FROM messages")}
        calls = {row[0] for row in connection.execute("SELECT message_id FROM calls")}
        heads = {row[0] for row in connection.execute("SELECT head_id FROM conversations")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    lost = [i for i in acknowledged if i not in stored]
    with capsys.disabled():
        print(f"\n  kill -9 at {points} points: {len(acknowledged)} acknowledged, {len(lost)} lost")
    assert acknowledged
    assert not lost
    assert set(acknowledged) <= calls, "an exchange and its call are one transaction"
    assert heads <= stored


def commit_many(paths: Paths, number: int) -> None:
    store = Store.open(paths, None)
    conversations = Conversations(store, kernel=str(os.getpid()))
    for i in range(number):
        turn = conversations.begin("shared" if i % 2 else "main")
        question = Message.user(f"{os.getpid()} {i}")
        request = request_for(turn, question)
        conversations.commit(turn, request, [question, Message.assistant("yes")], reply_of("yes"))
    assert store.warning is None, store.warning
    store.close()


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_eight_processes_share_one_home(
    paths: Paths, open_store: OpenStore, campaign: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    number = 200 if campaign else 25
    started = time.perf_counter()
    children = [in_child(lambda: commit_many(paths, number)) for _ in range(PROCESSES)]
    statuses = [os.waitpid(child, 0)[1] for child in children]
    took_s = time.perf_counter() - started

    assert statuses == [0] * PROCESSES
    with closing(sqlite3.connect(paths.database)) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT exchange_id) FROM messages").fetchone()
        calls = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
    with capsys.disabled():
        print(f"\n  {PROCESSES} processes x {number} chats: {calls} stored in {took_s:.1f} s, 0 errors")
    assert found == (2 * PROCESSES * number, PROCESSES * number)
    assert calls == PROCESSES * number
    shared = Conversations(open_store(), kernel="reader").get("shared")
    told = [e.id for e in shared.exchanges] + [e.id for branch in shared.branches for e in branch]
    assert len(set(told)) == PROCESSES * (number // 2)


def test_a_process_killed_while_it_holds_the_lock_stops_nobody(paths: Paths, open_store: OpenStore) -> None:
    Store.open(paths, None).close()
    reading, writing = os.pipe()

    def hold() -> None:
        connection = sqlite3.connect(paths.database, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        os.write(writing, b".")
        time.sleep(60)

    child = in_child(hold)
    os.read(reading, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for end in (reading, writing):
        os.close(end)

    commit_many(paths, 3)


def test_the_home_has_no_leftovers_of_a_killed_process(paths: Paths) -> None:
    kill_while_chatting(paths, 0.5)

    names = {p.name for p in Path(paths.data_dir).iterdir()}
    assert names <= {"nbllm.db", "nbllm.db-wal", "nbllm.db-shm", "nbllm.db.lock"}
