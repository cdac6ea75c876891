"""Broken streams through whole adapters: one of our errors or a complete answer, never anything else."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import resource
from pathlib import Path

import pytest

from adapters.asking import KEY, ORIGIN, Answer, Prepared, prompt, row
from adapters.conformance.specimen import Call, Logical, Specimen, specimens
from adapters.recordings import kind_of, read
from fuzz import Broken, mutate
from nbllm.adapters import load_adapter
from nbllm.adapters.base import Endpoint
from nbllm.credentials.secret import Secret
from nbllm.errors import NbllmError, StreamBrokenError
from nbllm.messages import FinishReason, Usage
from nbllm.reply_builder import ReplyBuilder
from nbllm.transport.http import Http

ANSWERS = (
    Logical(text=("Once ", "upon ", "a time 🌍", " there"), usage=Usage(input_tokens=4, output_tokens=9)),
    Logical(text=("a",), reasoning=("b ", "c"), calls=(Call("c1", "f", ('{"a":', " 1}")), Call("c2", "g", ("{}",))),
            finish=FinishReason.TOOL_CALLS),
    Logical(text=tuple(f"{n} " for n in range(60)), usage=Usage(input_tokens=1, output_tokens=60)),
)  # fmt: skip
ENDS = (b"[DONE]", b"finish_reason", b"message_stop", b"stop_reason", b"finishReason", b'"done"')
"""An answer that is called complete must hold one of these in its bytes, mutated or not."""


def goods(wire: Specimen, folder: Path | None) -> list[bytes]:
    """Streams to break: hand-made ones, and recordings where there are any."""
    found = [b"".join(wire.events(a)) for a in ANSWERS] + [wire.document(a) for a in ANSWERS[:2]]
    if folder is not None:
        recorded = [read(p) for p in sorted(folder.glob("*/*stream*.raw"))]
        known = [r for r in recorded if r.status == 200 and kind_of(r) == wire.kind and len(r.body) < 12_000]
        found += [r.body for r in known if "resp_stream" not in r.name and "/gem_" not in r.name]
    return found


def is_document(data: bytes) -> bool:
    """Whether the body is one whole JSON document, which is complete by itself."""
    try:
        return isinstance(json.loads(data.decode("utf-8-sig", "replace")), (dict, list))
    except (ValueError, RecursionError):
        return False


async def run(broken: Broken, endpoint: Endpoint, transport: Prepared) -> None:
    """One broken stream: an answer with a finish reason, or one of our errors, within ten seconds."""
    transport.answers = [Answer(broken.chunks, lost=broken.seed % 5 == 0)]
    transport.requests.clear()
    reply = ReplyBuilder()
    last = None
    try:
        async with asyncio.timeout(10):
            async for delta in load_adapter(endpoint.provider.kind).stream(prompt(), endpoint):
                assert last is None or last.finish_reason is None, "a delta after the last one"
                reply.add(delta)
                last = delta
    except NbllmError as error:
        kept = error.partial if isinstance(error, StreamBrokenError) else reply.text
    else:
        kept = reply.text
        assert last is not None
        assert last.finish_reason is not None
        ended = is_document(broken.data) or any(end in broken.data for end in ENDS)
        assert ended, "an unfinished stream was called complete"
    assert kept == reply.text
    reply.text.encode()  # half a surrogate pair would fail here, and later in the store


@pytest.mark.campaign
@pytest.mark.parametrize("wire", specimens(), ids=lambda s: s.kind)
def test_broken_streams_end_in_our_errors_or_complete(
    wire: Specimen, campaign: bool, request: pytest.FixtureRequest
) -> None:
    count = 10_000 if campaign else 400
    try:
        folder: Path | None = request.getfixturevalue("shared") / "data" / "wire"
    except pytest.skip.Exception:
        folder = None
    good = goods(wire, folder)
    transport = Prepared()

    async def main() -> int:
        http = Http(mounts={ORIGIN: lambda: transport})
        endpoint = Endpoint(row(wire.kind), Secret(KEY), http)
        before = 0
        for seed in range(count):
            broken = mutate(good, seed)
            try:
                await run(broken, endpoint, transport)
            except NbllmError:
                raise
            except BaseException as error:
                error.add_note(f"seed {seed}: {', '.join(broken.how)}")
                raise
            if seed == min(200, count // 2):
                gc.collect()
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await http.aclose()
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    grown_kb = asyncio.run(main())

    assert grown_kb < 50_000


def an_answer(seed: int) -> Logical:
    """A short answer of any make: words of several scripts, reasoning, calls, usage, each there or not."""
    chance = random.Random(seed)
    words = ("a", " the", "é", "漢字", "🌍", "\n\n", '"', "\\n", "data: ", "[DONE]", " {", "}", "\u2028", "<b>")

    def some(most: int) -> tuple[str, ...]:
        return tuple(chance.choice(words) for _ in range(chance.randint(0, most)))

    calls = tuple(
        Call(f"c{n}", chance.choice("fgh"), ('{"a": ', f'"{chance.choice(("é", "漢", "x"))}"}}'))
        for n in range(chance.choice((0, 0, 1, 2)))
    )
    return Logical(
        text=some(8),
        reasoning=some(3),
        calls=calls,
        finish=FinishReason.TOOL_CALLS if calls else FinishReason.STOP,
        usage=Usage(input_tokens=chance.randint(1, 9), output_tokens=chance.randint(1, 9)),
    )


@pytest.mark.campaign
@pytest.mark.parametrize("wire", specimens(), ids=lambda s: s.kind)
def test_a_good_stream_cut_at_every_byte_gives_the_same_answer(wire: Specimen, campaign: bool) -> None:
    transport = Prepared()

    async def answer_of(chunks: list[bytes], endpoint: Endpoint) -> tuple[object, ...]:
        transport.answers = [Answer(chunks)]
        transport.requests.clear()
        reply = ReplyBuilder()
        async for delta in load_adapter(wire.kind).stream(prompt(), endpoint):
            reply.add(delta)
        return reply.text, reply.reasoning, reply.tool_calls, reply.usage

    async def main() -> None:
        http = Http(mounts={ORIGIN: lambda: transport})
        endpoint = Endpoint(row(wire.kind), Secret(KEY), http)
        for seed in range(200 if campaign else 2):
            answer = an_answer(seed)
            data = b"".join(wire.events(answer))
            whole = await answer_of([data], endpoint)
            assert whole[0] == "".join(answer.text)
            assert await answer_of([data[n : n + 1] for n in range(len(data))], endpoint) == whole
            for place in range(1, len(data)):
                assert await answer_of([data[:place], data[place:]], endpoint) == whole, (seed, place)
        await http.aclose()

    asyncio.run(main())
