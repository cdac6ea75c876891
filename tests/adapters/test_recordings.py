"""Recordings of real servers, replayed through the adapters in many cuts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from adapters.asking import Answer, Outcome, ask, listed, prompt
from adapters.recordings import Recorded, kind_of, read
from nbllm import errors

NO_CHAT = ("resp", "health", "metrics", "props", "slots", "oll_", "gem_", "fault_gem", "x_apply_template",
           "x_completion", "x_tokenize", "v1_models", "models", "count_tokens")  # fmt: skip
NO_END = ("fault_oai_disconnect", "fault_oai_truncate", "fault_ant_disconnect", "fault_ant_truncate")
BROKEN_LINE = ("fault_oai_malformed", "fault_ant_malformed")


def chats(shared: Path) -> list[Recorded]:
    """All recordings of a chat in one of the two formats."""
    found = [read(p) for p in sorted((shared / "data" / "wire").glob("*/*.raw"))]
    return [r for r in found if not any(word in r.name.partition("/")[2] for word in NO_CHAT)]


def replay(recorded: Recorded, chunks: list[bytes]) -> Outcome:
    """The recording through its adapter."""
    answer = Answer(chunks, recorded.status, headers=recorded.headers, lost=not recorded.whole,
                    kind=recorded.headers.get("content-type", ""))  # fmt: skip
    return ask(kind_of(recorded), answer, request=prompt(max_tokens=9))


def test_every_recording_comes_out_the_same_however_it_is_cut(shared: Path) -> None:
    rng = random.Random(5)
    for recorded in chats(shared):
        whole = replay(recorded, [recorded.body]).facts
        body = recorded.body if len(recorded.body) < 8000 else recorded.body[:4000] + recorded.body[-4000:]
        if body is recorded.body:
            assert replay(recorded, [body[i : i + 1] for i in range(len(body))]).facts == whole, recorded.name
        for _ in range(3):
            places = sorted(rng.sample(range(len(recorded.body) + 1), k=min(5, len(recorded.body))))
            pieces = [recorded.body[a:b] for a, b in zip([0, *places], [*places, len(recorded.body)], strict=True)]
            assert replay(recorded, pieces).facts == whole, recorded.name


def test_every_good_recording_is_complete_and_every_bad_one_an_error(shared: Path) -> None:
    for recorded in chats(shared):
        name = recorded.name.partition("/")[2]
        got = replay(recorded, [recorded.body])
        if recorded.status >= 300:
            assert isinstance(got.error, errors.ProviderError), recorded.name
            assert got.error.status == recorded.status
        elif name in NO_END + BROKEN_LINE:
            assert isinstance(got.error, errors.StreamBrokenError), recorded.name
            assert got.error.partial == got.text
        else:
            assert got.error is None, (recorded.name, got.error)
            assert got.reply.finish_reason is not None
            assert got.reply.model_reported


def test_the_text_of_openai_streams_is_what_their_chunks_say(shared: Path) -> None:
    for recorded in chats(shared):
        if kind_of(recorded) != "openai" or recorded.status != 200 or b"data: " not in recorded.body:
            continue
        expected = ""
        for line in recorded.body.decode().split("\n"):
            if line.startswith("data: {") and line.endswith("}"):
                for choice in json.loads(line[6:])["choices"]:
                    expected += (choice["delta"].get("content") or "") if choice["index"] == 0 else ""
            elif line.startswith("data: {"):
                break
        assert replay(recorded, [recorded.body]).text == expected, recorded.name


def test_context_overflow_is_recognised_in_every_dialect(shared: Path) -> None:
    found = [r for r in chats(shared) if "overflow" in r.name or r.name.endswith("x_sse_ping_slow_prompt")]

    assert len(found) >= 6
    for recorded in found:
        assert type(replay(recorded, [recorded.body]).error) is errors.ContextLengthError, recorded.name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llamacpp/err_image", errors.UnsupportedError),
        ("llamacpp/err_bad_key", errors.AuthenticationError),
        ("llamacpp/ant_err_bad_key", errors.AuthenticationError),
        ("llamacpp/x_embeddings", errors.UnsupportedError),
        ("llmock/fault_oai_429", errors.RateLimitError),
        ("llmock/fault_ant_503", errors.OverloadedError),
        ("llmock/fault_oai_529", errors.OverloadedError),
        ("llmock/fault_oai_408", errors.ProviderError),
        ("llmock/fault_oai_413", errors.BadRequestError),
        ("llmock/err_405", errors.ProviderError),
        ("llmock/err_bad_json", errors.BadRequestError),
    ],
)
def test_recorded_errors_have_their_class(shared: Path, name: str, expected: type[errors.ProviderError]) -> None:
    recorded = read(shared / "data" / "wire" / f"{name}.raw")

    assert type(replay(recorded, [recorded.body]).error) is expected


def test_a_recorded_wait_is_read(shared: Path) -> None:
    error = replay(recorded := read(shared / "data" / "wire" / "llmock" / "fault_oai_429.raw"), [recorded.body]).error

    assert isinstance(error, errors.RateLimitError)
    assert error.retry_after_s == 1.5


def test_two_answers_at_once_give_the_first(shared: Path) -> None:
    recorded = read(shared / "data" / "wire" / "llamacpp" / "oai_n2_stream.raw")
    second = "".join(
        choice["delta"].get("content") or ""
        for line in recorded.body.decode().split("\n")
        if line.startswith("data: {")
        for choice in json.loads(line[6:])["choices"]
        if choice["index"] == 1
    )
    got = replay(recorded, [recorded.body])

    assert got.text
    assert second
    assert got.text != second


def test_a_cut_tool_call_is_kept_as_it_came_and_not_complete(shared: Path) -> None:
    cut = 0
    for recorded in chats(shared):
        for call in replay(recorded, [recorded.body]).reply.tool_calls:
            try:
                assert isinstance(json.loads(call.arguments or "{}"), dict) == call.complete
            except ValueError:
                cut += 1
                assert call.arguments
                assert not call.complete, recorded.name

    assert cut >= 3


def test_recorded_listings_are_read(shared: Path) -> None:
    wire = shared / "data" / "wire"
    for name, kind in (
        ("llamacpp/oai_models", "openai"),
        ("llmock/oai_models", "openai"),
        ("llmock/ant_models", "anthropic"),
        ("llamacpp/ant_models", "anthropic"),
    ):
        recorded = read(wire / f"{name}.raw")
        models = listed(kind, Answer([recorded.body], kind="application/json"))
        assert isinstance(models, list), name
        assert models, name
        assert len({m.id for m in models}) == len(models)
    context = listed("openai", Answer([read(wire / "llamacpp/oai_models.raw").body], kind="application/json"))
    assert isinstance(context, list)
    assert context[0].context == 512
