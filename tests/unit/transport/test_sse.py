"""Bytes to events, wherever the network cut them."""

from __future__ import annotations

import json
import random
import re
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import pytest

from fuzz import Broken, mutate
from nbllm.errors import NbllmError, StreamBrokenError
from nbllm.transport import sse
from nbllm.transport.sse import EVENT_CAP, Event, JsonLinesDecoder, SseDecoder, parse_object


def decode(*chunks: bytes) -> list[tuple[str, str]]:
    decoder = SseDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return [tuple(event) for event in events + decoder.finish()]


@dataclass(frozen=True)
class Case:
    id: str
    data: bytes
    events: list[tuple[str, str]]


CASES = [
    Case("plain", b"data: {}\n\n", [("message", "{}")]),
    Case("no space after the colon", b"data:{}\n\n", [("message", "{}")]),
    Case("only one space is taken", b"data:  x\n\n", [("message", " x")]),
    Case("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", [("message", "a"), ("message", "b")]),
    Case("CR", b"data: a\r\rdata: b\r\r", [("message", "a"), ("message", "b")]),
    Case("mixed line ends", b"data: a\r\n\ndata: b\n\rdata: c\r\r\n", [("message", c) for c in "abc"]),
    Case("byte order mark", b"\xef\xbb\xbfdata: a\n\n", [("message", "a")]),
    Case("byte order mark later is text", b"data: \xef\xbb\xbfa\n\n", [("message", "\ufeffa")]),
    Case("data over several lines", b"data: {\ndata: }\n\n", [("message", "{\n}")]),
    Case("data over several lines, one empty", b"data: a\ndata\ndata: b\n\n", [("message", "a\n\nb")]),
    Case("comment", b": OPENROUTER PROCESSING\n\ndata: a\n\n", [("message", "a")]),
    Case("comment inside an event", b"data: a\n: ping\ndata: b\n\n", [("message", "a\nb")]),
    Case("named", b"event: ping\ndata: {}\n\n", [("ping", "{}")]),
    Case("name after data", b"data: {}\nevent: ping\n\n", [("ping", "{}")]),
    Case("a name lasts for one event", b"event: a\ndata: 1\n\ndata: 2\n\n", [("a", "1"), ("message", "2")]),
    Case("a name without data is no event", b"event: a\n\ndata: 2\n\n", [("message", "2")]),
    Case("a named event with empty data counts", b"event: done\ndata:\n\n", [("done", "")]),
    Case("an empty event is a sign of life", b"data:\n\ndata\n\n\n\ndata: a\n\n", [("message", "a")]),
    Case("id and retry", b"id: 7\nretry: 5\ndata: a\n\n", [("message", "a")]),
    Case("unknown field, and a line without a colon", b"foo: x\nbar\ndata: a\n\n", [("message", "a")]),
    Case("missing blank line at the end", b"data: a\n\ndata: [DONE]\n", [("message", "a"), ("message", "[DONE]")]),
    Case("missing line end at the end", b"data: a\n\ndata: [DONE]", [("message", "a"), ("message", "[DONE]")]),
    Case("missing line end, named", b"event: x\ndata:b", [("x", "b")]),
    Case("characters of 2, 3 and 4 bytes", "data: é 文 🧪\n\n".encode(), [("message", "é 文 🧪")]),
    Case("line ends of Python only", "data: a\u2028b\x0bc\x85\n\n".encode(), [("message", "a\u2028b\x0bc\x85")]),
    Case("bytes that are no UTF-8", b"data: a\xffb\xe2\x82\n\n", [("message", "a\ufffdb\ufffd")]),
    Case("a character cut by a line end", b"data: \xf0\x9f\n\ndata: b\n\n", [("message", "\ufffd"), ("message", "b")]),
    Case("nothing", b"", []),
    Case("only line ends", b"\n\r\n\r\n\n", []),
    Case("no event stream", b"<html>\n<body>no</body>\n</html>", []),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_events_are_read_as_the_specification_has_it(case: Case) -> None:
    assert decode(case.data) == case.events


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_events_do_not_depend_on_where_the_stream_is_cut(case: Case) -> None:
    for at in range(len(case.data) + 1):
        assert decode(case.data[:at], case.data[at:]) == case.events, at
    assert decode(*[case.data[i : i + 1] for i in range(len(case.data))]) == case.events
    assert decode(b"", *[case.data[i : i + 2] for i in range(0, len(case.data), 2)], b"") == case.events


def good_stream(seed: int) -> bytes:
    """A made-up stream that is right by the specification, and as odd as that allows."""
    rng = random.Random(seed)
    end = rng.choice((b"\n", b"\r\n", b"\r"))
    alphabet = 'ab {}[]":,\\n0é文🧪\u200d\u2028\ufeff'
    out = [rng.choice((b"", b"\xef\xbb\xbf"))]
    for index in range(rng.randint(1, 8)):
        lines = [f"data:{rng.choice(('', ' '))}{json.dumps(''.join(rng.choices(alphabet, k=rng.randint(1, 30))))}"]
        if rng.random() < 0.3:
            lines.insert(0, f"event: kind{index}")
        if rng.random() < 0.3:
            lines.insert(rng.randrange(len(lines) + 1), ": a comment")
        if rng.random() < 0.2:
            lines.append("data: more")
        out += [line.encode() + end for line in lines] + [end]
    out.append(b"data: [DONE]" + rng.choice((b"", end, end + end)))
    return b"".join(out)


def test_200_good_streams_cut_at_every_byte_give_the_same_events() -> None:
    for seed in range(200):
        data = good_stream(seed)
        whole = decode(data)
        assert whole[-1] == ("message", "[DONE]")
        for at in range(1, len(data)):
            assert decode(data[:at], data[at:]) == whole, (seed, at)


def test_recordings_of_real_servers_give_the_same_events_wherever_they_are_cut(shared: Path) -> None:
    files = sorted((shared / "data" / "wire").rglob("*.raw"))
    assert len(files) > 50
    for file in files:
        data = file.read_bytes().partition(b"\r\n\r\n")[2][:6000]  # chunk sizes and all: just bytes here
        whole = decode(data)
        for at in range(0, len(data), 1 if len(data) < 1500 else 7):
            assert decode(data[:at], data[at:]) == whole, (file.name, at)
        assert decode(*[data[i : i + 1] for i in range(len(data))]) == whole, file.name


def test_an_event_of_a_megabyte_passes_and_a_longer_one_is_refused() -> None:
    whole = b"data: " + b"x" * EVENT_CAP + b"\n\n"
    assert len(decode(whole)[0][1]) == EVENT_CAP
    assert decode(*[whole[i : i + 999] for i in range(0, len(whole), 999)]) == decode(whole)

    for chunks in (
        [b"data: x" + whole[6:]],
        [b"data: " + b"x" * 700_000] * 2,
        [b"data: " + b"x" * 600_000 + b"\n"] * 2,
    ):
        with pytest.raises(StreamBrokenError, match="longer than 1 MB"):
            decode(*chunks)


def test_the_cap_counts_bytes_and_not_characters() -> None:
    text = "文" * (EVENT_CAP // 3 + 1)
    with pytest.raises(StreamBrokenError, match="longer than 1 MB"):
        decode(f"data: {text}\n\n".encode())


def test_an_endless_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "ANSWER_CAP", 5_000_000)
    with pytest.raises(StreamBrokenError, match="longer than 5 MB"):
        decode(*[b"data: " + b"x" * 100_000 + b"\n\n"] * 100)


def test_a_megabyte_that_drips_takes_no_quadratic_time_and_no_memory() -> None:
    decoder = SseDecoder()
    tracemalloc.start()
    for _ in range(EVENT_CAP // 4):
        decoder.feed(b"xxxx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60_000_000
    assert decoder.feed(b"\n\n") == []


# ---------------------------------------------------------------- JSON lines


def lines(*chunks: bytes) -> list[str]:
    decoder = JsonLinesDecoder()
    return [line for chunk in chunks for line in decoder.feed(chunk)] + decoder.finish()


def test_json_lines_are_cut_at_line_ends_only() -> None:
    data = '\ufeff{"a": "é\u2028🧪"}\n\r\n  \n{"b": 1}\r\n{"c": 2}'.encode()
    whole = ['{"a": "é\u2028🧪"}', '{"b": 1}', '{"c": 2}']
    assert lines(data) == whole
    for at in range(len(data)):
        assert lines(data[:at], data[at:]) == whole


def test_a_json_line_has_the_same_cap_as_an_event() -> None:
    for chunks in ([b"x" * 600_000] * 2, [b"x" * (EVENT_CAP + 1) + b"\n"]):
        with pytest.raises(StreamBrokenError, match="longer than 1 MB"):
            lines(*chunks)


# ---------------------------------------------------------------- objects


@pytest.mark.parametrize(
    "data",
    ["", "null", "7", '"text"', "[]", "true", "{", '{"a":', "{'a': 1}", "[" * 200_000, '{"a":' * 100_000, "9" * 9999],
)
def test_what_is_no_object_is_a_broken_stream(data: str) -> None:
    with pytest.raises(StreamBrokenError) as caught:
        parse_object(data, provider="there")
    assert caught.value.provider == "there"
    assert caught.value.__context__ is None
    assert len(str(caught.value)) < 200


def test_half_a_character_becomes_the_replacement_character() -> None:
    found = parse_object(
        r'{"a": ["x\ud83d", "\ud83e\uddea", {"k\udc00": "\uD83D\uDE00"}], "b": "\\ud83d"}', provider="there"
    )
    assert found == {"a": ["x\ufffd", "🧪", {"k\ufffd": "😀"}], "b": "\\ud83d"}
    json.dumps(found, ensure_ascii=False).encode()


# ---------------------------------------------------------------- fuzz

CHAT = "".join(
    f"data: {json.dumps({'id': 'x', 'choices': [{'index': 0, 'delta': {'content': word}, 'finish_reason': None}]})}\n\n"
    for word in ("Grü", "ße ", "文", "🧪", " and {\"more\": [1, 2]}", "\\n")
)  # fmt: skip
STOP = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"total_tokens":3}}\n\n'
DONE = "data: [DONE]\n\n"
MESSAGES = """event: message_start
data: {"type":"message_start"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}

event: message_stop
data: {"type":"message_stop"}

"""
GOOD = [
    text.encode()
    for text in (CHAT + STOP + DONE, ": ping\n\n" + CHAT + STOP, (CHAT + STOP + DONE).replace("\n", "\r\n"), MESSAGES)
]


def consume(broken: Broken) -> tuple[str, bool]:
    """The smallest reader: text, and whether the stream said that it is complete."""
    decoder = SseDecoder()
    text, complete = "", False
    chunks = broken.chunks
    for index in range(len(chunks) + 1):
        for event in decoder.feed(chunks[index]) if index < len(chunks) else decoder.finish():
            if event.data == "[DONE]":
                complete = True
                continue
            found = parse_object(event.data, provider="there")
            complete |= event.event == "message_stop" or found.get("type") == "message_stop"
            for choice in found.get("choices") or ():
                if isinstance(choice, dict):
                    delta = choice.get("delta")
                    text += str(delta.get("content") or "") if isinstance(delta, dict) else ""
                    complete |= isinstance(choice.get("finish_reason"), str)
    return text, complete


SAYS_SO = re.compile(rb"\[DONE\]|message_stop|\"finish_reason\"")


def test_broken_streams_end_in_an_error_of_ours_or_say_themselves_that_they_are_complete(campaign: bool) -> None:
    refused = ended = 0
    tracemalloc.start()
    for seed in range(10_000 if campaign else 300):
        broken = mutate(GOOD, seed)
        try:
            text, complete = consume(broken)
        except NbllmError:
            refused += 1
            continue
        except TypeError:
            assert b"choices" in broken.data  # the smallest reader's own weakness: `choices` that cannot be walked
            continue
        text.encode()
        if complete:
            ended += 1
            assert SAYS_SO.search(broken.data), (seed, broken.how)
        again = Broken(broken.seed, broken.how, broken.data, tuple(range(len(broken.data))), broken.good)
        if seed % 10 == 0:
            assert consume(again) == (text, complete), (seed, broken.how)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000
    assert refused
    assert ended


def test_an_event_is_what_it_says() -> None:
    assert Event("a", "b").event == "a"
    assert Event("a", "b").data == "b"
