"""A plain TCP connection: bytes in their order, ends, losses, limits on waiting."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

import httpcore2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbllm.transport.stream import TcpStream, connect

Scene = Callable[[TcpStream, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def between_two(scene: Scene) -> None:
    """Run `scene` with our end of a connection, and with the reader and the writer at the other end."""

    async def main() -> None:
        other: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            other.set_result((reader, writer))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=2**24)
        stream = await connect("127.0.0.1", server.sockets[0].getsockname()[1], 5, local=None, options=())
        reader, writer = await other
        try:
            await asyncio.wait_for(scene(stream, reader, writer), 30)
        finally:
            writer.close()
            await stream.aclose()
            server.close()

    asyncio.run(main())


async def rest_of(stream: TcpStream, most: int = 65536) -> bytes:
    found = b""
    while part := await stream.read(most, 5):
        assert len(part) <= most
        found += part
    return found


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=3000), max_size=12), st.integers(1, 4000))
def test_what_was_sent_arrives_in_order_whatever_the_pieces(parts: list[bytes], most: int) -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        writer.write_eof()
        assert await rest_of(stream, most) == b"".join(parts)
        assert await stream.read(most) == b""

    between_two(scene)


def test_much_more_than_anybody_reads_is_held_back_and_still_arrives_whole() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = bytes(range(256)) * 4096 * 24  # 25 MB: more than the buffers of both sockets
        writer.write(sent)
        writer.write_eof()
        await asyncio.sleep(0.2)
        assert stream._wire.size < 1_000_000
        assert await rest_of(stream) == sent

    between_two(scene)


def test_what_we_say_after_the_other_side_is_done_still_arrives() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        assert await stream.read(10, 5) == b""
        await stream.write(b"late", 5)
        assert await reader.readexactly(4) == b"late"

    between_two(scene)


def test_silence_ends_a_read_and_the_next_read_has_its_own_limit() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            with pytest.raises(httpcore2.ReadTimeout):
                await stream.read(10, 0.02)
        writer.write(b"there")
        assert await stream.read(10, 5) == b"there"
        with pytest.raises(httpcore2.ReadTimeout):  # although the one before would wait longer
            await stream.read(10, 0.02)

    between_two(scene)


def test_many_short_waits_are_not_one_long_one() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def drip() -> None:
            for _ in range(12):
                await asyncio.sleep(0.2)
                writer.write(b".")
            writer.write_eof()

        dripping = asyncio.create_task(drip())
        found = b""
        while part := await stream.read(1, 2):  # each wait is short, all of them are longer than the limit
            found += part
        assert found == b"." * 12
        await dripping

    between_two(scene)


def test_a_read_without_a_limit_waits_after_one_that_had_one() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"in time")
        assert await stream.read(4, 0.5) == b"in t"  # here already: nobody waits, and no timer is set
        assert await stream.read(10, 0.5) == b"ime"
        waits = asyncio.create_task(stream.read(10, 0.5))
        await asyncio.sleep(0.01)
        writer.write(b".")
        assert await waits == b"."
        reading = asyncio.create_task(stream.read(10))
        await asyncio.sleep(0.7)  # longer than any limit before
        assert not reading.done()
        writer.write(b"x")
        assert await reading == b"x"

    between_two(scene)


def test_a_reset_is_an_error_of_reading_and_then_of_writing() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        with pytest.raises(httpcore2.ReadError):
            await stream.read(10, 5)
        with pytest.raises(httpcore2.WriteError):
            await stream.write(b"x", 5)
        assert stream.get_extra_info("is_readable")

    between_two(scene)


def test_what_came_before_a_reset_is_read_first() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"413 too much")
        await asyncio.sleep(0.05)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await asyncio.sleep(0.05)
        assert await stream.read(100, 5) == b"413 too much"
        with pytest.raises(httpcore2.ReadError):
            await stream.read(10, 5)

    between_two(scene)


def test_writing_to_somebody_who_does_not_read_ends_in_time_and_goes_on_when_he_does() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._limit = 1  # type: ignore[attr-defined]
        much = b"x" * 30_000_000
        with pytest.raises(httpcore2.WriteTimeout):
            await stream.write(much, 0.1)

        async def read_all() -> int:
            found = 0
            while found < len(much) + 1:
                found += len(await reader.read(1_000_000))
            return found

        reading = asyncio.create_task(read_all())
        await stream.write(b"y", 20)
        assert await reading == len(much) + 1

    between_two(scene)


def test_closing_ends_the_read_that_waits() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reading = asyncio.create_task(stream.read(10, 5))
        await asyncio.sleep(0.01)
        await stream.aclose()
        with pytest.raises(httpcore2.ReadError):
            await reading
        with pytest.raises(httpcore2.WriteError):
            await stream.write(b"x")
        assert await reader.read() == b""

    between_two(scene)


def test_a_cancelled_read_loses_nothing() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reading = asyncio.create_task(stream.read(10, 5))
        await asyncio.sleep(0.01)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        writer.write(b"kept")
        assert await stream.read(10, 5) == b"kept"

    between_two(scene)


def test_an_idle_connection_is_readable_only_when_its_end_or_something_unasked_came() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert not stream.get_extra_info("is_readable")
        end = writer.get_extra_info("socket")
        end.shutdown(socket.SHUT_WR)
        assert stream.get_extra_info("is_readable")  # although the loop had no turn to see it

    between_two(scene)


def test_nobody_listening_and_a_wait_that_is_too_long_are_errors_of_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def refused() -> None:
        with pytest.raises(httpcore2.ConnectError) as caught:
            await connect("127.0.0.1", port, 5, local=None, options=())
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)

    async def late() -> None:
        with pytest.raises(httpcore2.ConnectTimeout):
            await connect("127.0.0.1", port, 0, local=None, options=())

    asyncio.run(refused())
    asyncio.run(late())


def test_no_timer_is_left_behind() -> None:
    async def scene(stream: TcpStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        assert await stream.read(10, 3600) == b"x"
        reading = asyncio.create_task(stream.read(10, 3600))
        await asyncio.sleep(0.01)
        writer.write(b"y")
        await reading
        await stream.aclose()
        left = [h for h in asyncio.get_running_loop()._scheduled if not h.cancelled()]  # type: ignore[attr-defined]
        assert not [h for h in left if h.when() - asyncio.get_running_loop().time() > 100]

    between_two(scene)
