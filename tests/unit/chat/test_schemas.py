"""Schemas that cannot be followed are refused before anything is paid for, and no answer breaks the reading of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from chatting import calls, says, talking
from nbllm.chat.options import ChatOptions
from nbllm.errors import PromptError, SchemaMismatchError

DEEP = "[" * 100_000


@dataclass(frozen=True)
class Lost:
    """A schema with a reference that leads nowhere."""

    id: str
    schema: dict[str, Any]


LOST = (
    Lost("nothing there", {"$ref": "#/$defs/nope"}),
    Lost("circle", {"$ref": "#"}),
    Lost("circle of two", {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
    Lost("network", {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/schema.json"}}}),
    Lost("file", {"type": "array", "items": {"$ref": "file:///etc/hostname"}}),
)


@pytest.mark.parametrize("case", LOST, ids=lambda c: c.id)
def test_a_reference_that_leads_nowhere_is_refused_before_anything_is_sent(case: Lost) -> None:
    with talking(says("{}")) as (workspace, server):
        with pytest.raises(PromptError, match=r"\$ref that leads") as caught:
            workspace.chat("x", ChatOptions(model="peer/m", schema=case.schema))
        assert caught.value.hint
        assert not server.requests


def test_a_tree_may_refer_to_itself() -> None:
    tree = {
        "type": "object",
        "properties": {"value": {"$ref": "#/$defs/n"}, "children": {"type": "array", "items": {"$ref": "#"}}},
        "$defs": {"n": {"type": "integer"}},
        "examples": [{"$ref": "this is data"}],
    }
    with talking(says('{"value": 1, "children": [{"value": 2}]}')) as (workspace, _):
        reply = workspace.chat("x", ChatOptions(model="peer/m", schema=tree))
    assert reply.parsed == {"value": 1, "children": [{"value": 2}]}


def test_a_reference_of_a_part_with_its_own_base_is_a_mismatch_at_worst() -> None:
    schema = {"type": "object", "properties": {"a": {"$id": "https://x.example/part", "$ref": "other"}}}
    with talking(says('{"a": 1}')) as (workspace, _), pytest.raises(SchemaMismatchError):
        workspace.chat("x", ChatOptions(model="peer/m", schema=schema))


def test_an_answer_of_lists_in_lists_without_end_does_not_fit() -> None:
    with talking(says(DEEP)) as (workspace, _), pytest.raises(SchemaMismatchError):
        workspace.chat("x", ChatOptions(model="peer/m", schema={"type": "object"}))


def test_arguments_of_lists_in_lists_without_end_are_told_to_the_model() -> None:
    def size(items: list[Any]) -> int:
        """How many."""
        return len(items)

    with talking(calls(("size", f'{{"items": {DEEP}')), says("sorry")) as (workspace, _):
        reply = workspace.chat("x", ChatOptions(model="peer/m", tools=[size]))
    assert reply.text == "sorry"
    assert reply.tool_rounds[0][1].is_error
