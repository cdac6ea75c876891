"""Connections: kept, shared by nobody, limited, and found without a search."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpcore2
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asking import KEY, asking, events_of, row
from nbllm.transport.http import Http
from nbllm.transport.pool import Pool
from wire_server import Close, Send, Stall, WireServer, answer, head

ORIGIN = "http://there.example:80"
EVENTS = answer(b"data: {}\n\n" * 3)


class Line(httpcore2.AsyncConnectionInterface):
    """A connection that is only played. It notes how often it was looked at, and refuses two requests at a time."""

    def __init__(self) -> None:
        self.state = "new"
        self.expired = False
        self.looks = 0
        self.fails: BaseException | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        assert self.state in ("new", "idle"), "two requests on one connection"
        self.state = "busy"
        try:
            await self.answers.wait()
            if self.fails is not None:
                raise self.fails
        except BaseException:
            self.state = "closed"
            raise
        return httpcore2.Response(200, content=_Whole(self))

    async def aclose(self) -> None:
        self.state = "closed"

    def has_expired(self) -> bool:
        self.looks += 1
        return self.expired

    def is_idle(self) -> bool:
        return self.state == "idle"

    def is_closed(self) -> bool:
        return self.state == "closed"


class _Whole:
    def __init__(self, line: Line) -> None:
        self._line = line

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"body"

    async def aclose(self) -> None:
        if self._line.state == "busy":
            self._line.state = "idle"


class Exchange:
    """A pool over played connections."""

    def __init__(self, **options: Any) -> None:
        self.lines: list[Line] = []
        self.pool = Pool(ORIGIN, self._connect, **options)

    def _connect(self, origin: httpcore2.Origin) -> Line:
        self.lines.append(Line())
        return self.lines[-1]

    async def ask(self, *, url: str = f"{ORIGIN}/v1", pool_s: float | None = None) -> httpx2.Response:
        extensions = {"timeout": {"pool": pool_s}}
        return await self.pool.handle_async_request(httpx2.Request("GET", url, extensions=extensions))

    async def many(self, count: int) -> None:
        """As many requests at once, all answered."""
        for answered in await asyncio.gather(*[self.ask() for _ in range(count)]):
            await answered.aclose()


def played(scene: Callable[[Exchange], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        await scene(Exchange(**options))

    asyncio.run(main())


def test_a_request_looks_at_one_connection_however_many_there_are() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.many(150)
        await exchange.many(1)
        assert len(exchange.lines) == 150
        assert sum(line.looks for line in exchange.lines) == 1

    played(scene)


def test_connections_that_the_server_closed_are_closed_here_and_not_used() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.many(5)
        for line in exchange.lines:
            line.expired = True
        await exchange.many(1)
        assert [line.state for line in exchange.lines] == ["closed"] * 5 + ["idle"]

    played(scene)


def test_connections_nobody_needed_for_long_are_closed_at_the_next_request() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.many(4)
        await asyncio.sleep(0.02)
        await exchange.many(1)
        assert [line.state for line in exchange.lines] == ["closed"] * 4 + ["idle"]

    played(scene, keepalive_s=0.01)


def test_who_comes_when_all_are_busy_waits_in_order_and_gets_a_connection_that_stands() -> None:
    async def scene(exchange: Exchange) -> None:
        first = await exchange.ask()
        order: list[int] = []

        async def later(number: int) -> None:
            answered = await exchange.ask(pool_s=60)
            order.append(number)
            await answered.aclose()

        waiting = [asyncio.create_task(later(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert order == []
        await first.aclose()
        await asyncio.gather(*waiting)
        assert order == [0, 1, 2, 3, 4]
        assert len(exchange.lines) == 1

    played(scene, limit=1)


def test_the_wait_for_a_connection_has_an_end() -> None:
    async def scene(exchange: Exchange) -> None:
        first = await exchange.ask()
        with pytest.raises(httpcore2.PoolTimeout):
            await exchange.ask(pool_s=0.01)
        await first.aclose()
        await exchange.many(1)

    played(scene, limit=1)


def test_a_cancelled_or_failed_request_makes_room_for_the_next() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.many(1)
        exchange.lines[0].answers.clear()
        stuck = asyncio.create_task(exchange.ask())
        next_one = asyncio.create_task(exchange.ask(pool_s=60))
        await asyncio.sleep(0)
        stuck.cancel()
        await (await next_one).aclose()
        assert [line.state for line in exchange.lines] == ["closed", "idle"]
        exchange.lines[1].fails = httpcore2.ReadError("lost")
        with pytest.raises(httpcore2.ReadError):
            await exchange.ask()
        await exchange.many(1)

    played(scene, limit=1)


def test_a_body_that_is_closed_twice_gives_its_connection_back_once() -> None:
    async def scene(exchange: Exchange) -> None:
        answered = await exchange.ask()
        await answered.stream.aclose()  # type: ignore[union-attr]
        await answered.stream.aclose()  # type: ignore[union-attr]
        one, other = await exchange.ask(), await exchange.ask()
        assert len(exchange.lines) == 2
        for found in (one, other):
            await found.aclose()

    played(scene)


@pytest.mark.parametrize("url", ["http://there.example:81/", "https://there.example/", "http://elsewhere.example/"])
def test_a_request_to_another_origin_is_not_sent_here(url: str) -> None:
    async def scene(exchange: Exchange) -> None:
        with pytest.raises(httpcore2.UnsupportedProtocol):
            await exchange.ask(url=url)
        assert exchange.lines == []

    played(scene)


def test_at_the_end_busy_connections_are_closed_too() -> None:
    async def scene(exchange: Exchange) -> None:
        await exchange.many(2)
        busy = await exchange.ask()
        await exchange.pool.aclose()
        assert [line.state for line in exchange.lines] == ["closed", "closed"]
        await busy.aclose()

    played(scene)


STEPS = st.lists(st.sampled_from(["ask", "close", "cancel", "fail", "hang up"]), max_size=60)


@settings(max_examples=150)
@given(STEPS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_whatever_happens_no_connection_is_shared_none_is_lost_and_none_is_too_many(
    steps: list[str], limit: int, chance: Any
) -> None:
    async def scene(exchange: Exchange) -> None:
        tasks: list[asyncio.Task[httpx2.Response]] = []
        for step in steps:
            open_ones = [t for t in tasks if t.done() and not t.cancelled() and t.exception() is None]
            waiting = [t for t in tasks if not t.done()]
            if step == "ask":
                tasks.append(asyncio.create_task(exchange.ask(pool_s=60)))
            elif step == "close" and open_ones:
                done = chance.choice(open_ones)
                tasks.remove(done)
                await done.result().aclose()
            elif step == "cancel" and waiting:
                chance.choice(waiting).cancel()
            elif step == "fail":
                for line in exchange.lines:
                    line.fails = httpcore2.ReadError("lost") if line.state == "idle" else None
            elif step == "hang up" and exchange.lines:
                chance.choice(exchange.lines).expired = True
            await asyncio.sleep(0)
            assert sum(line.state in ("busy", "idle") for line in exchange.lines) <= limit
        while tasks:  # who waits gets a turn when others end
            for task in [t for t in tasks if t.done()]:
                tasks.remove(task)
                if not task.cancelled() and task.exception() is None:
                    await task.result().aclose()
            await asyncio.sleep(0)
        for line in exchange.lines:
            line.fails = None
        await asyncio.wait_for(exchange.many(limit), 5)
        assert sum(line.state == "idle" for line in exchange.lines) <= limit

    played(scene, limit=limit)


# ---------------------------------------------------------------- with real connections


def test_many_at_once_and_again_use_the_same_connections() -> None:
    async def ask(http: Http) -> None:
        for _ in range(3):
            await asyncio.gather(*[events_of(http, row(server.url)) for _ in range(40)])

    # Nobody is answered before all have asked, so that none can use the connection of another.
    with WireServer(answer(b"data: {}\n\n" * 3, gap_s=0.2, piece=15)) as server:
        asking(ask)
        assert len(server.requests) == 120
        assert server.connections == 40


def test_a_server_that_closes_all_its_idle_connections_is_no_error() -> None:
    async def ask(http: Http) -> list[int]:
        sizes = []
        for _ in range(3):
            found = await asyncio.gather(*[events_of(http, row(server.url)) for _ in range(10)])
            sizes.append(sum(len(events) for events in found))
            await asyncio.sleep(0.05)
        return sizes

    with WireServer((*EVENTS, Close())) as server:
        assert asking(ask) == [30, 30, 30]


def test_a_cancelled_request_among_many_closes_its_own_connection_only() -> None:
    async def ask(http: Http) -> None:
        stuck = asyncio.create_task(events_of(http, row(server.url)))
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.gather(*[events_of(http, row(server.url)) for _ in range(5)])
        stuck.cancel()
        await asyncio.wait([stuck], timeout=5)
        assert await asyncio.to_thread(server.hung_up.wait, 10)
        before = server.connections
        await asyncio.gather(*[events_of(http, row(server.url)) for _ in range(3)])
        assert server.connections == before

    with WireServer([(Stall(),), EVENTS]) as server:
        asking(ask)


def test_a_kept_connection_carries_the_key_of_each_request_and_no_other() -> None:
    async def ask(http: Http) -> None:
        await events_of(http, row(server.url, auth="bearer"), KEY)
        await events_of(http, row(server.url, auth="none"))

    with WireServer(EVENTS) as server:
        asking(ask)
        assert [KEY.encode() in seen for seen in server.requests] == [True, False]
        assert server.connections == 1


def test_an_answer_without_a_length_is_read_to_its_end_and_its_connection_not_kept() -> None:
    async def ask(http: Http) -> int:
        return sum([len(await events_of(http, row(server.url))) for _ in range(2)])

    plan = (Send(head(200, content_type="text/event-stream")), Send(b"data: {}\n\n" * 4), Close())
    with WireServer(plan) as server:
        assert asking(ask) == 8
        assert server.connections == 2
