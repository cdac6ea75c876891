"""A replay at another pace than at once, by a clock that is not the wall's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fake_time
from nbllm.errors import SettingsError, StreamBrokenError
from nbllm.transport.recording import Exchange, asked
from nbllm.transport.recording_file import Recording
from nbllm.transport.replay import ReplayTransport
from nbllm.workspace import Workspace

BODY = b'{"model": "m"}'
PIECES = [(100.0, b"one"), (350.0, b"two"), (350.0, b"three"), (1000.0, b"four")]


class _Nobody(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise AssertionError("a provider was asked")


def exchange(chunks: list[tuple[float, bytes]], *, ends: str = "complete") -> Exchange:
    question = asked("h.test", "POST", "/v1/x", BODY)
    assert question is not None
    return Exchange(question, "run", "2026-11-20T00:00:00Z", "https://h.test", 200, {}, chunks, ends=ends)


def arrivals(file: Path, pace: str, *, work_s: float = 0.0, found: list[float] | None = None) -> list[float]:
    """When each piece of the recorded answer comes, in seconds since the request; also put into `found`."""
    found = [] if found is None else found
    workspace = Workspace()
    workspace.settings.set("replay", f"replay:{file}", keep=False)
    workspace.settings.set("replay_pace", pace, keep=False)
    transport = ReplayTransport(_Nobody(), workspace.recordings)

    async def main(loop: fake_time.FakeTimeLoop) -> None:
        request = httpx2.Request("POST", "https://h.test/v1/x", content=BODY)
        response = await transport.handle_async_request(request)
        async for _ in response.aiter_raw():
            found.append(loop.now)
            loop.now += work_s

    try:
        fake_time.run(main)
    finally:
        workspace.close()
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A recording of one answer that took a second."""
    path = tmp_path / "x.replay.jsonl"
    Recording(path, lock=tmp_path / "lock").append(exchange(PIECES))
    return path


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        ("0", [0, 0, 0, 0]),
        ("1", [0.1, 0.35, 0.35, 1.0]),
        ("0.5", [0.05, 0.175, 0.175, 0.5]),
        ("100", [10, 35, 35, 100]),
    ],
)
def test_pieces_come_at_their_recorded_times_as_often_as_the_pace_says(
    file: Path, pace: str, expected: list[float]
) -> None:
    assert arrivals(file, pace) == pytest.approx(expected)


def test_what_is_done_with_a_piece_delays_no_later_one(file: Path) -> None:
    assert arrivals(file, "1", work_s=0.2) == pytest.approx([0.1, 0.35, 0.55, 1.0])


def test_an_answer_that_broke_off_takes_its_time_and_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "x.replay.jsonl"
    Recording(path, lock=tmp_path / "lock").append(exchange(PIECES, ends="broken"))
    came: list[float] = []
    with pytest.raises(StreamBrokenError):
        arrivals(path, "2", found=came)
    assert came == pytest.approx([0.2, 0.7, 0.7, 2.0])


def test_waits_between_attempts_follow_the_pace(workspace_at: Workspace) -> None:
    for pace, waited in (("0", 0.0), ("0.5", 30.0), ("1", 60.0)):
        workspace_at.settings.set("replay_pace", pace, keep=False)

        async def main(loop: fake_time.FakeTimeLoop) -> float:
            await workspace_at.recordings.sleep(60.0)
            return loop.now

        assert fake_time.run(main) == waited


@pytest.fixture
def workspace_at(tmp_path: Path) -> Workspace:
    """A workspace."""
    return Workspace()


@pytest.mark.parametrize("pace", ["-1", "100.1", "fast", "nan", "inf"])
def test_a_pace_that_makes_no_sense_is_refused(workspace_at: Workspace, pace: str) -> None:
    with pytest.raises(SettingsError):
        workspace_at.settings.set("replay_pace", pace, keep=False)
    assert workspace_at.recordings.pace == 0


@given(st.lists(st.floats(0, 1e6), max_size=8))
def test_times_of_any_order_are_never_waited_for_twice(times: list[float]) -> None:
    """A recording is a text that somebody may have edited."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.replay.jsonl"
        Recording(path, lock=Path(folder) / "lock").append(exchange([(t, b"x") for t in times]))
        came = arrivals(path, "1")
    assert came == sorted(came)
    assert (came[-1] if came else 0) == pytest.approx(max(times, default=0) / 1000, abs=1e-3)
