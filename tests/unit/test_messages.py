"""The words that travel: JSON and back, keys that stay, answers put together from pieces."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.messages import (
    ChatRequest,
    Delta,
    File,
    FinishReason,
    Image,
    Message,
    Part,
    Reasoning,
    Reply,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    message_from_json,
    message_to_json,
)
from nbllm.reply_builder import ReplyBuilder

_texts = st.text(max_size=20)
_parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, _texts),
    st.builds(Reasoning, _texts, st.none() | _texts, st.none() | _texts),
    st.builds(Image, st.binary(max_size=20), st.just("image/png"), st.none() | _texts),
    st.builds(File, st.binary(max_size=20), st.just("application/pdf"), st.none() | _texts),
    st.builds(ToolCall, _texts, _texts, _texts, st.booleans(), st.none() | _texts),
    st.builds(ToolResult, _texts, _texts, _texts, st.booleans()),
)


@given(st.sampled_from(Role), st.lists(_parts, max_size=4))
def test_a_message_survives_json(role: Role, parts: list[Part]) -> None:
    message = Message(role, tuple(parts))
    assert message_from_json(message_to_json(message)) == message


@pytest.mark.parametrize("shape", [{}, {"role": "user"}, {"role": "nobody", "parts": []},
                                   {"role": "user", "parts": [{"type": "tune"}]},
                                   {"role": "user", "parts": [{"type": "text", "colour": "red"}]}])  # fmt: skip
def test_what_is_no_message_is_refused(shape: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a (message|valid)|nobody"):
        message_from_json(shape)


REQUEST = ChatRequest(
    provider="p", model="m", messages=(Message.user("hé", Image(b"\x00\xff", "image/png")),), system="s",
    temperature=0.5, params={"b": 1, "a": [1, {"y": 2, "x": 1}]}, tools=(Tool("f", "d", {"type": "object"}),),
)  # fmt: skip


def test_a_key_does_not_depend_on_the_order_of_parameters() -> None:
    turned = replace(REQUEST, params={"a": [1, {"x": 1, "y": 2}], "b": 1})
    assert turned.key() == REQUEST.key()


def test_a_key_is_the_same_in_another_process() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); from unit.test_messages import REQUEST; print(REQUEST.key())"
    tests = Path(__file__).resolve().parents[1]
    env = {**os.environ, "PYTHONPATH": str(tests.parent / "src"), "PYTHONHASHSEED": "5"}
    out = subprocess.run(
        [sys.executable, "-c", script, str(tests)], env=env, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == REQUEST.key()


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, model="n"),
        replace(REQUEST, system=None),
        replace(REQUEST, system=""),
        replace(REQUEST, temperature=0.0),
        replace(REQUEST, max_tokens=1),
        replace(REQUEST, schema={}),
        replace(REQUEST, tool_choice="none"),
        replace(REQUEST, messages=(Message.user("hé", Image(b"\x00\xfe", "image/png")),)),
    ],
)
def test_whatever_decides_the_answer_changes_the_key(other: ChatRequest) -> None:
    assert other.key() != REQUEST.key()


def test_streaming_does_not_change_the_key_and_half_characters_have_one() -> None:
    assert replace(REQUEST, stream=False).key() == REQUEST.key()
    assert replace(REQUEST, system="\ud800").key()


# ---------------------------------------------------------------- usage

_counts = st.none() | st.integers(0, 10**6)
_usages = st.builds(Usage, _counts, _counts, _counts, _counts, _counts, st.sampled_from(["provider", "estimate"]))


def test_an_unknown_part_makes_the_sum_unknown() -> None:
    total = Usage(1, output_tokens=2) + Usage(None, output_tokens=3)
    assert (total.input_tokens, total.output_tokens, total.cached_input_tokens) == (None, 5, None)


@given(_usages, _usages, _usages)
def test_adding_usage_knows_no_order(a: Usage, b: Usage, c: Usage) -> None:
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)


@given(_usages)
def test_prompt_tokens_are_none_only_when_nothing_is_known(usage: Usage) -> None:
    known = [n for n in (usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens) if n is not None]
    assert usage.prompt_tokens == (sum(known) if known else None)


# ---------------------------------------------------------------- answers from pieces


@dataclass(frozen=True)
class Built:
    id: str
    deltas: tuple[Delta, ...]
    parts: tuple[Part, ...]


def _call(index: int, arguments: str, *, id: str | None = None, name: str | None = None) -> Delta:
    return Delta(tool_call=ToolCallDelta(index, id, name, arguments))


BUILT = (
    Built("nothing", (), ()),
    Built("text in pieces", (Delta("a"), Delta(""), Delta("b")), (Text("ab"),)),
    Built("reasoning first", (Delta("b"), Delta(reasoning="a")), (Reasoning("a"), Text("b"))),
    Built("a signature alone", (Delta(reasoning_signature="s"),), (Reasoning("", "s"),)),
    Built("redacted reasoning", (Delta(reasoning_redacted="r"),), (Reasoning("", None, "r"),)),
    Built(
        "arguments in pieces, calls out of order",
        (_call(1, "{}", id="y", name="g"), _call(0, '{"a"', id="x", name="f"), _call(0, ":1}")),
        (ToolCall("x", "f", '{"a":1}'), ToolCall("y", "g", "{}")),
    ),
    Built("cut arguments", (_call(0, '{"a', id="x", name="f"),), (ToolCall("x", "f", '{"a', complete=False),)),
    Built("no arguments", (_call(0, "", id="x", name="f"),), (ToolCall("x", "f", ""),)),
    Built("arguments that are no object", (_call(0, "[1]", id="x", name="f"),),
          (ToolCall("x", "f", "[1]", complete=False),)),
    Built("no id and no name", (_call(3, "{}"),), (ToolCall("call_3", "", "{}", complete=False),)),
)  # fmt: skip


@pytest.mark.parametrize("case", BUILT, ids=lambda c: c.id)
def test_an_answer_is_put_together_from_its_pieces(case: Built) -> None:
    builder = ReplyBuilder()
    for delta in case.deltas:
        builder.add(delta)
    assert builder.message() == Message(Role.ASSISTANT, case.parts)


def test_the_newest_facts_count_and_notices_add_up() -> None:
    builder = ReplyBuilder()
    for delta in (Delta(usage=Usage(1), notice="a"), Delta(usage=Usage(2), notice="b"), Delta(request_id="r")):
        builder.add(delta)
    assert (builder.usage, builder.notices, builder.request_id) == (Usage(2), ["a", "b"], "r")


def test_a_reply_reads_as_its_text() -> None:
    reply = Reply("x" * 100, "p", "m", FinishReason.STOP)
    assert str(reply) == "x" * 100
    assert len(repr(reply)) < 120
    assert reply.provenance()["cost_usd"] is None
