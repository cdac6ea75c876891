"""Lines of results, however they are cut, and ids that are fit for a vendor."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asking import row
from nbllm.adapters import blocks, chunks
from nbllm.adapters.whole import read_whole
from nbllm.compare.engines import batch_wire
from nbllm.compare.engines.batch_api import checked_id, custom_id
from nbllm.compare.engines.batch_wire import is_cut, json_bytes, lines
from nbllm.errors import ProviderError, StreamBrokenError
from nbllm.messages import ChatRequest, FinishReason, Message

REQUEST = ChatRequest("there", "m", (Message.user("hi"),))
PROVIDER = row("https://there.example/v1")
OBJECTS = st.lists(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20), max_size=3), max_size=8)


def as_file(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json_bytes(r) + b"\n" for r in rows)


@given(OBJECTS)
def test_every_object_of_a_file_comes_out_as_it_was(rows: list[dict[str, Any]]) -> None:
    file = io.BytesIO(as_file(rows))

    assert not is_cut(file)
    file.seek(0)
    assert list(lines(file)) == rows


@given(OBJECTS.filter(bool), st.data())
def test_a_file_that_is_cut_is_noticed_unless_nothing_is_missing_of_a_line(
    rows: list[Any], data: st.DataObject
) -> None:
    whole = as_file(rows)
    cut = whole[: data.draw(st.integers(0, len(whole)))]

    in_a_line = not cut.endswith(b"\n") and cut != b"" and whole[len(cut) :][:1] != b"\n"
    assert is_cut(io.BytesIO(cut)) == in_a_line


def test_a_line_beyond_the_cap_is_passed_over_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_wire, "LINE_CAP", 50)
    long = {"text": "x" * 500}
    file = io.BytesIO(as_file([{"a": 1}, long, {"b": 2}, long]))

    assert list(lines(file)) == [{"a": 1}, None, {"b": 2}, None]


@pytest.mark.parametrize("junk", [b"[]", b"7", b"null", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000])
def test_a_line_that_is_no_object_is_none(junk: bytes) -> None:
    assert list(lines(io.BytesIO(junk + b"\n" + b'{"a": 1}\n\n'))) == [None, {"a": 1}]


@given(st.text())
def test_half_characters_are_written_as_escapes_and_all_else_as_it_is(text: str) -> None:
    assert json.loads(json_bytes({"t": text})) == {"t": text}


@given(st.text(min_size=1))
def test_a_custom_id_is_one_that_both_vendors_take(key: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", custom_id(key))


def test_a_cells_key_is_its_custom_id() -> None:
    key = hashlib.sha256(b"x").hexdigest()

    assert custom_id(key) == key


@pytest.mark.parametrize("id", ["", "../files", "a/b", "a?b", "a b", None, 7, "x" * 300, "a\n"])
def test_an_id_that_could_lead_elsewhere_is_refused(id: Any) -> None:
    with pytest.raises(ProviderError):
        checked_id(id, provider="there")


# ---------------------------------------------------------------- whole answers


def test_a_kept_answer_of_either_format_is_read_as_a_live_one_is() -> None:
    completion = {"model": "m-1", "choices": [{"message": {"content": "hi"}, "finish_reason": "length"}]}
    message = {"model": "m-1", "content": [{"type": "thinking", "thinking": "so", "signature": "s"},
                                           {"type": "text", "text": "hi"}], "stop_reason": "max_tokens"}  # fmt: skip

    one = read_whole(chunks.Answer, completion, REQUEST, PROVIDER, headers={"x-request-id": "r1"})
    two = read_whole(blocks.Answer, message, REQUEST, PROVIDER)

    assert (one.text, one.finish_reason, one.model_reported, one.request_id) == ("hi", FinishReason.LENGTH, "m-1", "r1")
    assert (two.text, two.reasoning, two.finish_reason) == ("hi", "so", FinishReason.LENGTH)
    assert one.usage is None  # not counted is not zero


def test_a_kept_answer_without_a_finish_reason_ends_for_another_reason_as_a_live_one_does() -> None:
    kept = read_whole(chunks.Answer, {"choices": [{"message": {"content": "hi"}}]}, REQUEST, PROVIDER)

    assert kept.finish_reason is FinishReason.OTHER


@pytest.mark.parametrize("payload", [None, [], {}, "hi", {"choices": []}])
def test_what_is_no_answer_is_not_taken_for_one(payload: Any) -> None:
    with pytest.raises((ProviderError, StreamBrokenError)):
        read_whole(chunks.Answer, payload, REQUEST, PROVIDER)
