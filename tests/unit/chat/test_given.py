"""What cannot be sent is refused in one line before anything is sent, whatever Python object it is."""

from __future__ import annotations

import datetime
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chatting import calls, says, sent, talking
from nbllm.chat.options import ChatOptions
from nbllm.errors import PromptError


def cousin(schema: str, _limit: int = 3, copy: str = "c", model_fields: str = "m") -> str:
    """Names that pydantic has for itself."""
    return f"{schema} {_limit} {copy} {model_fields}"


@dataclass(frozen=True)
class Refused:
    """Something that cannot be sent, and what is said of it."""

    id: str
    says: str
    prompt: Any = "x"
    options: dict[str, Any] = field(default_factory=dict)


REFUSED = (
    Refused("half a character", "half a character (U+D83D)", prompt="a \ud83d b"),
    Refused("half in the system text", "the system text holds half", options={"system": "\udc80"}),
    Refused("no text", "the prompt is of type NoneType", prompt=None),
    Refused("model of the wrong type", "the model is of type int", options={"model": 3}),
    Refused("conversation of the wrong type", "name is of type NoneType", options={"conversation": None}),
    Refused("a set as parameter", "the parameter stop is {1}", options={"params": {"stop": {1}}}),
    Refused("not a number", "the parameter top_p is nan", options={"params": {"top_p": float("nan")}}),
    Refused("endless temperature", "temperature is a number from 0", options={"temperature": float("inf")}),
    Refused("path with NUL", "cannot read the attachment", options={"attachments": ["a\0b"]}),
    Refused("device", "it is not a file", options={"attachments": ["/dev/zero"]}),
    Refused("lambda", "has a name that providers do not take", options={"tools": [lambda a: a]}),
    Refused("tool that is none", "is not a function", options={"tools": 3}),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c.id)
def test_what_cannot_be_sent_is_refused_and_nothing_is_sent(case: Refused) -> None:
    with talking(says("hi")) as (workspace, server):
        with pytest.raises(PromptError) as caught:
            workspace.chat(case.prompt, ChatOptions(**{"model": "peer/m", **case.options}))
        assert case.says in caught.value.message
        assert caught.value.hint
        assert not server.requests


def test_a_pipe_is_refused_instead_of_being_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with talking(says("hi")) as (workspace, _), pytest.raises(PromptError, match="it is not a file"):
        workspace.chat("x", ChatOptions(model="peer/m", attachments=(tmp_path / "pipe",)))


def test_two_halves_of_a_character_become_the_character() -> None:
    with talking(says("hi")) as (workspace, server):
        workspace.chat("\ud83d\ude00", ChatOptions(model="peer/m"))
        assert sent(server)["messages"][-1]["content"] == "\N{GRINNING FACE}"


def test_one_attachment_and_one_tool_need_no_list(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("forty-two")
    with talking(says("hi")) as (workspace, server):
        workspace.chat("x", ChatOptions(model="peer/m", attachments=str(note), tools=cousin))  # type: ignore[arg-type]
        assert "forty-two" in str(sent(server)["messages"])
        assert sent(server)["tools"][0]["function"]["name"] == "cousin"


def test_parameters_may_have_any_name() -> None:
    """Names of pydantic's own, and with an underscore in front, without a warning."""
    wanted = calls(("cousin", '{"schema": "s", "_limit": 7, "copy": "k"}'))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with talking(wanted, says("done")) as (workspace, server):
            workspace.chat("x", ChatOptions(model="peer/m", tools=[cousin]))
            schema = sent(server, 0)["tools"][0]["function"]["parameters"]
            assert list(schema["properties"]) == ["schema", "_limit", "copy", "model_fields"]
            assert sent(server)["messages"][-1]["content"] == "s 7 k m"


def test_a_result_with_bytes_that_are_no_text_is_told_all_the_same() -> None:
    def file_name() -> str:
        """The name of a file."""
        return os.fsdecode(b"caf\xe9.txt")

    with talking(calls(("file_name", "{}")), says("done")) as (workspace, server):
        assert workspace.chat("x", ChatOptions(model="peer/m", tools=[file_name])).text == "done"
        assert sent(server)["messages"][-1]["content"] == "caf?.txt"


def test_numbers_of_numpy_are_numbers() -> None:
    class Int64:
        """As `numpy.int64` is: no int, but it has `item`."""

        def item(self) -> int:
            return 7

    with talking(says("hi")) as (workspace, server):
        workspace.chat("x", ChatOptions(model="peer/m", params={"seed": Int64()}))
        assert sent(server)["seed"] == 7


def test_an_empty_answer_is_said_once() -> None:
    with talking(says("")) as (workspace, _):
        assert len(workspace.chat("x", ChatOptions(model="peer/m")).warnings) == 1


@dataclass
class Place:
    """What a tool may give back."""

    name: str
    seen: datetime.date


class Frame:
    """Reads well when it is printed, and JSON has nothing like it."""

    def __str__(self) -> str:
        return "  a\n0 1"


class Zero:
    """As numpy's scalars are."""

    shape = ()

    def item(self) -> int:
        return 5


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "null"),
        ("as it is", "as it is"),
        ({"b": [1, None]}, '{"b": [1, null]}'),
        (Place("Ulm", datetime.date(2026, 11, 20)), '{"name": "Ulm", "seen": "2026-11-20"}'),
        ({"ulm": Place("Ulm", datetime.date(2026, 1, 2))}, '{"ulm": {"name": "Ulm", "seen": "2026-01-02"}}'),
        (Frame(), "  a\n0 1"),
        (Zero(), "5"),
        ([float("nan")], "[NaN]"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_a_tool_gives_back_is_told_in_a_form_that_models_read(value: Any, told: str) -> None:
    def look() -> Any:
        """Look."""
        return value

    with talking(calls(("look", "{}")), says("done")) as (workspace, server):
        workspace.chat("x", ChatOptions(model="peer/m", tools=[look]))
        assert sent(server)["messages"][-1]["content"] == told
