"""The whole workspace against scripted faults, and what the server thinks of it afterwards.

llmock sees every request and its time: whether a hint to wait was kept, what was sent again and how often, whether a
broken answer was taken for a whole one, whether a silence was sat through.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from nbllm import errors
from nbllm.chat.options import ChatOptions
from nbllm.messages import FinishReason, Reply
from nbllm.workspace import Workspace
from peers import Llmock, Peers, add_row

pytestmark = pytest.mark.peers

MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-4-6", "gemini": "gemini-2.5-flash"}
TIMEOUT = {"first_token_s": 5.0, "between_tokens_s": 0.5}


class Asked:
    """One provider of a workspace."""

    def __init__(self, workspace: Workspace, kind: str, provider: str) -> None:
        self.kind = kind
        self._workspace = workspace
        self._ref = f"{provider}/{MODELS[kind]}"

    def __call__(self, **options: Any) -> Reply:
        """Ask, always the same."""
        return self._workspace.chat("Tell a long story.", ChatOptions(model=self._ref, new=True, **options))

    def failing(self) -> errors.NbllmError:
        with pytest.raises(errors.NbllmError) as caught:
            self()
        return caught.value

    @property
    def stored(self) -> str:
        """The text of the last answer in the store."""
        return self._workspace.conversation("main").messages[-1].text


@pytest.fixture(params=list(MODELS))
def asked(request: pytest.FixtureRequest, peers: Peers, llmock: Llmock) -> Iterator[Asked]:
    workspace = Workspace()
    name = add_row(workspace, peers["llmock"], request.param, timeout=TIMEOUT)
    yield Asked(workspace, request.param, name)
    workspace.close()


def failures(*statuses: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"type": "fail", "status": status, **fields} for status in statuses]


@dataclass(frozen=True)
class Passing:
    """Failures that are over before the attempts are."""

    id: str
    script: list[dict[str, Any]]


PASSING = [
    Passing("asked to wait", failures(429, retry_after=1.2)),
    Passing("asked to wait twice", failures(429, 429, retry_after=0.4)),
    Passing("failed", failures(500)),
    Passing("unavailable", failures(503)),
    Passing("overloaded", failures(529)),
    Passing("failed in many ways", failures(500, 502, 503)),
    Passing("hung up before a word", [{"type": "stream_fault", "kind": "disconnect", "after_chunks": 0}]),
]


@pytest.mark.parametrize("case", PASSING, ids=lambda c: c.id)
def test_a_failure_that_passes_is_waited_out(case: Passing, asked: Asked, llmock: Llmock) -> None:
    random.seed(4)  # waits that are long enough to be measured
    llmock.script(*case.script)

    reply = asked()

    assert reply.finish_reason is FinishReason.STOP
    assert llmock.verdict()["attempts"] == len(case.script) + 1
    assert not llmock.complaints()


def test_a_failure_that_stays_is_given_up_after_four_attempts(asked: Asked, llmock: Llmock) -> None:
    llmock.script(*failures(503, 503, 503, 503, 503))

    error = asked.failing()

    assert isinstance(error, errors.ServerError)
    assert error.attempts == llmock.verdict()["attempts"] == 4
    assert not llmock.complaints()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_no_retry_can_mend_is_asked_once(status: int, asked: Asked, llmock: Llmock) -> None:
    llmock.script(*failures(status))

    error = asked.failing()

    assert isinstance(error, errors.ProviderError)
    assert error.status == status
    assert llmock.verdict()["attempts"] == 1
    assert not llmock.complaints()


@dataclass(frozen=True)
class Broken:
    """A stream that breaks after its first words."""

    id: str
    words: str


BROKEN = [
    Broken("disconnect", "closed the connection"),
    Broken("truncate", "without saying that it is complete"),
    Broken("malformed", "not a JSON object"),
    Broken("stall", "stopped sending"),
]
FIRST_WORDS = {"openai": 3, "anthropic": 4, "gemini": 2}
"""The piece of llmock's answer before which there are some words, and behind which there is more."""


@pytest.mark.parametrize("case", BROKEN, ids=lambda c: c.id)
def test_a_broken_answer_is_an_error_that_keeps_its_words(case: Broken, asked: Asked, llmock: Llmock) -> None:
    llmock.script(
        {"type": "stream_fault", "kind": case.id, "stall_seconds": 4, "after_chunks": FIRST_WORDS[asked.kind]}
    )

    error = asked.failing()

    assert isinstance(error, errors.StreamBrokenError)
    assert error.partial
    assert error.partial == asked.stored
    assert case.words in error.message
    assert llmock.verdict()["attempts"] == 1  # nothing is sent again once there are words on the screen
    # llmock cannot see that an error was raised. It sees what follows one: that the user asks again.
    assert asked().text.startswith(error.partial.rstrip())
    assert not llmock.complaints()


def length(word: str) -> int:
    """How many letters a word has."""
    called.append(word)
    return len(word)


called: list[str] = []


@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
def test_a_call_that_makes_no_sense_is_told_to_the_model_and_not_made(kind: str, asked: Asked, llmock: Llmock) -> None:
    called.clear()
    llmock.script({"type": "tool_fault", "kind": kind})

    reply = asked(tools=[length])

    assert reply.finish_reason is FinishReason.STOP
    first_call, first_result = reply.tool_rounds[0]
    assert first_result.is_error
    if asked.kind != "gemini":  # whose arguments are objects, never text that could be cut
        assert first_call.complete is (kind == "unknown_tool")
    assert len(called) == len(reply.tool_rounds) - 1
    assert not llmock.complaints()


def test_a_function_is_called_and_its_result_is_used(asked: Asked, llmock: Llmock) -> None:
    called.clear()

    reply = asked(tools=[length])

    assert [(c.name, r.is_error) for c, r in reply.tool_rounds] == [("length", False)]
    assert len(called) == 1
    assert reply.text
    assert not llmock.complaints()
