"""The whole workspace against a real engine: llama.cpp in both of its dialects, with a tiny random model.

What the model says is babble: shape is asserted, not text. It may end after any word, or babble until `max_tokens`.
"""

from __future__ import annotations

import json
import struct
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbllm import errors
from nbllm.chat.options import ChatOptions
from nbllm.messages import FinishReason, Reply
from nbllm.workspace import Workspace
from peers import Peers, add_row

pytestmark = pytest.mark.peers

MODEL = "tiny-random"
BABBLING = {"ignore_eos": True}
"""The engine's own word for: until the limit. It reads it in the OpenAI dialect only."""
SLOW = {"logprobs": True, "top_logprobs": 20, "n_probs": 20, "dry_multiplier": 0.8}
"""What makes the tiny model slow enough to be caught at work."""
MUST_CALL: dict[str, dict[str, Any]] = {
    "openai": {"tool_choice": "required"},
    "anthropic": {"tool_choice": {"type": "any"}},
}
STOP_WORDS = {"openai": "stop", "anthropic": "stop_sequences"}


class Real:
    """One dialect of the engine, with its three models, in a workspace."""

    def __init__(self, workspace: Workspace, peers: Peers, kind: str) -> None:
        self.workspace, self.peers, self.kind = workspace, peers, kind
        self._rows = {p: add_row(workspace, peers[p], kind) for p in peers if p.startswith("llamacpp")}

    def options(self, peer: str = "llamacpp", **options: Any) -> ChatOptions:
        ref = options.pop("model", None) or f"{self._rows[peer]}/{MODEL}"
        return ChatOptions(**{"model": ref, "max_tokens": 24, "history": False, **options})

    def chat(self, prompt: str = "Tell me of the river.", **options: Any) -> Reply:
        return self.workspace.chat(prompt, self.options(**options))

    def until(self, holds: Callable[[Reply], object], **options: Any) -> Reply:
        """Ask until chance gives such an answer."""
        found = []
        for seed in range(1, 41):
            try:
                reply = self.chat(**{**options, "params": {"seed": seed, **options.get("params", {})}})
            except errors.ContextLengthError as exc:  # a babbling first round leaves no room for a second one
                found.append(repr(exc))
                continue
            if holds(reply):
                return reply
            found.append(repr(reply))
        raise AssertionError("not in 40 answers: " + "\n".join(found[-5:]))

    def failing(self, prompt: str = "Tell me of the river.", **options: Any) -> errors.NbllmError:
        with pytest.raises(errors.NbllmError) as caught:
            self.chat(prompt, **options)
        return caught.value

    def busy(self, peer: str = "llamacpp") -> int:
        """How many answers the engine is working on; it has two slots."""
        row = self.peers[peer]
        request = urllib.request.Request(f"{row['anthropic']}/slots", headers={"Authorization": f"Bearer {row['key']}"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as answer:
            return sum(slot["is_processing"] for slot in json.loads(answer.read()))


@pytest.fixture(params=["openai", "anthropic"])
def real(request: pytest.FixtureRequest, peers: Peers) -> Iterator[Real]:
    workspace = Workspace()
    yield Real(workspace, peers, request.param)
    workspace.close()


def test_an_answer_streams_in_with_what_it_took(real: Real) -> None:
    for _ in range(20):
        with real.workspace.ask("Tell me of the river.", real.options(params=BABBLING, max_tokens=200)) as run:
            deltas = list(run.deltas())
        if sum(bool(d.text) for d in deltas) > 3:
            break
    reply = run.reply

    assert reply is not None
    assert len([d for d in deltas if d.text]) > 3
    assert "".join(d.text for d in deltas) == reply.text
    assert reply.model_reported == MODEL
    assert reply.usage is not None
    assert reply.usage.source == "provider"
    assert 3 < (reply.usage.output_tokens or 0) <= 200
    assert (reply.usage.input_tokens or 0) + (reply.usage.cached_input_tokens or 0) > 5
    assert reply.ttft_ms is not None
    assert 0 < reply.ttft_ms < reply.latency_ms
    assert reply.cost_usd is None  # nobody knows a price: not 0


def test_an_answer_may_come_in_one_piece(real: Real) -> None:
    reply = real.until(lambda r: r.text, stream=False)

    assert reply.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert reply.usage is not None
    assert reply.usage.output_tokens


def test_the_limit_of_tokens_is_kept_and_said(real: Real) -> None:
    reply = real.until(lambda r: r.finish_reason is FinishReason.LENGTH, params=BABBLING, max_tokens=5)

    assert reply.usage is not None
    assert reply.usage.output_tokens == 5
    assert any("limit of tokens" in w for w in reply.warnings)


def test_a_stop_word_ends_the_answer_and_is_not_in_it(real: Real) -> None:
    params = {STOP_WORDS[real.kind]: ["e"], **BABBLING}

    reply = real.chat(params=params, max_tokens=200)

    assert reply.finish_reason is FinishReason.STOP
    assert "e" not in reply.text


def test_a_conversation_goes_along(real: Real) -> None:
    for question in ("one", "two", "three"):
        real.chat(question, history=True)

    assert [m.text for m in real.workspace.conversation("main").messages][::2] == ["one", "two", "three"]
    grown = real.chat("four", history=True).usage
    alone = real.chat("four", new=True).usage
    assert grown is not None
    assert alone is not None
    assert grown.prompt_tokens > alone.prompt_tokens


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "rain": {"type": "boolean"}},
    "required": ["city", "rain"],
    "additionalProperties": False,
}


def test_an_answer_has_the_shape_that_was_asked_for(peers: Peers) -> None:
    # In the OpenAI dialect only: this engine leaves out the schema of the other one without a word.
    real = Real(Workspace(), peers, "openai")
    reply = real.until(lambda r: r.parsed, schema=SCHEMA, max_tokens=300)
    real.workspace.close()

    assert set(reply.parsed) == {"city", "rain"}
    assert isinstance(reply.parsed["rain"], bool)


def test_an_answer_without_the_shape_is_an_error_after_one_more_turn(peers: Peers) -> None:
    real = Real(Workspace(), peers, "anthropic")
    error = real.failing(schema=SCHEMA)
    real.workspace.close()

    assert isinstance(error, errors.SchemaMismatchError)
    assert error.reply.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert error.reply.usage is not None
    assert error.reply.usage.output_tokens  # an empty answer is one token, its end
    assert error.problems


seen: list[str] = []


def weather(city: str) -> str:
    """The weather in a city."""
    seen.append(city)
    return "rain, 4 degrees"


def test_a_function_of_ours_is_called_with_what_the_model_wrote(real: Real) -> None:
    seen.clear()

    # One round: with a forced choice the model would never do anything else.
    reply = real.until(
        lambda r: any(not result.is_error for _, result in r.tool_rounds),
        peer="llamacpp-tools", tools=[weather], max_rounds=1, max_tokens=90, params=MUST_CALL[real.kind],
    )  # fmt: skip

    call, result = next((c, r) for c, r in reply.tool_rounds if not r.is_error)
    assert call.complete
    assert json.loads(call.arguments)["city"] in seen
    assert (result.call_id, result.content) == (call.id, "rain, 4 degrees")


def test_a_call_that_was_cut_is_never_made(real: Real) -> None:
    seen.clear()

    reply = real.until(
        lambda r: not r.tool_rounds and any(not c.complete for c in r.tool_calls),
        peer="llamacpp-tools", tools=[weather], max_rounds=1, max_tokens=150, params=MUST_CALL[real.kind],
    )  # fmt: skip

    assert reply.finish_reason is FinishReason.LENGTH
    assert not [c for c in reply.tool_calls if c.complete and json.loads(c.arguments)["city"] in seen]
    assert any("not called" in w for w in reply.warnings)


def test_reasoning_is_kept_apart(real: Real) -> None:
    for _ in range(20):
        with real.workspace.ask("Why?", real.options("llamacpp-think", params=BABBLING, max_tokens=60)) as run:
            deltas = list(run.deltas())
        if sum(bool(d.reasoning) for d in deltas) > 1:
            break

    assert run.reply is not None
    assert run.reply.reasoning == "".join(d.reasoning for d in deltas) != ""
    assert run.reply.text == "".join(d.text for d in deltas)
    assert "<think>" not in run.reply.text


def picture(path: Path) -> Path:
    """A PNG of one dot."""

    def block(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + block(b"IHDR", head) + block(b"IDAT", zlib.compress(b"\0\0")) + block(b"IEND", b"")
    )
    return path


def test_a_picture_is_refused_in_the_servers_own_words(real: Real, tmp_path: Path) -> None:
    error = real.failing(attachments=[picture(tmp_path / "dot.png")])

    assert isinstance(error, errors.UnsupportedError)
    assert "image input is not supported" in error.message


def test_a_prompt_that_does_not_fit_says_so_and_leaves_no_trace(real: Real) -> None:
    error = real.failing("river garden " * 3000, history=True)

    assert isinstance(error, errors.ContextLengthError)
    assert "512" in error.message
    assert error.hint
    assert real.chat(history=True).finish_reason is not None
    assert len(real.workspace.conversation("main").messages) == 2


def test_a_wrong_key_is_told_in_our_words(real: Real) -> None:
    name = add_row(real.workspace, real.peers["llamacpp"], real.kind, id="shut", key="sk-of-someone-else-4711")

    error = real.failing(model=f"{name}/{MODEL}")

    assert type(error) is errors.AuthenticationError
    assert "shut refused the key (401)" in error.message
    assert "4711" not in str(error)
    assert error.body is None


def test_a_key_that_is_wanted_and_was_not_sent_is_not_called_wrong(real: Real) -> None:
    row = real.peers["llamacpp"]
    real.workspace.registry.set_session("open", base_url=row[real.kind], kind=real.kind, auth="none")

    error = real.failing(model=f"open/{MODEL}")

    assert type(error) is errors.AuthenticationError
    assert error.message == "open wants a key, and none was sent (401)"
    assert "%llm_providers key open" in (error.hint or "")


def test_a_wrong_path_is_told_as_one(real: Real) -> None:
    name = add_row(
        real.workspace, real.peers["llamacpp"], real.kind, id="lost", base_url=real.peers["llamacpp"][real.kind] + "/x"
    )

    error = real.failing(model=f"{name}/{MODEL}")

    assert isinstance(error, errors.ModelNotFoundError)
    assert error.status == 404
    assert "base URL" in (error.hint or "")


def test_the_connection_test_goes_through_all_stages(real: Real) -> None:
    found = real.workspace.check(f"llamacpp-{real.kind}", model=MODEL)

    assert found.ok, str(found)
    assert (found.stage, found.model, found.model_count) == ("done", MODEL, 1)


def test_a_question_that_is_left_frees_the_slot(real: Real) -> None:
    slow = real.options(params=BABBLING | SLOW, max_tokens=450)
    for _ in range(200):  # on the Anthropic surface the model may stop after a word, before it can be looked at
        with real.workspace.ask("Go on and on.", slow) as run:
            began = next((d for d in run.deltas() if d.text), None)  # it may also end without a word
            if began and real.busy():
                break
    else:
        pytest.fail("the engine was never caught at work")
    left = time.monotonic()
    while real.busy():
        assert time.monotonic() - left < 5, "the engine goes on with an answer that nobody reads"

    assert run.reply is not None
    assert run.reply.finish_reason is FinishReason.INTERRUPTED
    assert run.reply.text
    assert real.workspace.conversation("main").branches[-1][-1].answer == run.reply.text


def test_more_questions_than_slots_wait_their_turn(real: Real) -> None:
    replies: dict[int, Reply] = {}

    def ask(number: int) -> None:
        name = f"talk {number % 2}"
        replies[number] = real.chat(
            str(number), conversation=name, history=True, params=BABBLING | SLOW, max_tokens=100
        )  # three in a row still fit the context

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {r.finish_reason for r in replies.values()} <= {FinishReason.LENGTH, FinishReason.STOP}
    assert sorted(replies) == list(range(6))
    for number, reply in replies.items():
        talk = real.workspace.conversation(f"talk {number % 2}")
        kept = {e.answer for path in (talk.exchanges, *talk.branches) for e in path}
        assert reply.text in kept
