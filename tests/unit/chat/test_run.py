"""What becomes of one question: retried, answered, cut, repaired, with tools."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from chatting import calls, chunk, event, refuses, says, sent, talking
from nbllm import errors
from nbllm.chat import run as run_module
from nbllm.chat.options import ChatOptions
from nbllm.messages import FinishReason
from nbllm.workspace import Workspace
from wire_server import Close, Pause, Send, Stall, answer, head, until_close

PEER = ChatOptions(model="peer/m")


def asked(**fields: Any) -> ChatOptions:
    return ChatOptions(**{"model": "peer/m", **fields})


def test_an_answer_comes_with_its_facts() -> None:
    with talking(says("Hel", "lo")) as (workspace, _):
        reply = workspace.chat("hi", PEER)

    assert (reply.text, reply.finish_reason, reply.model_reported) == ("Hello", FinishReason.STOP, "served")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.source) == (3, 5, "provider")
    assert reply.cost_usd is None, "a server without a price is not free"
    assert reply.ttft_ms is not None
    assert reply.latency_ms is not None
    assert reply.ttft_ms <= reply.latency_ms
    assert reply.message_id
    assert reply.base_url_host == "127.0.0.1"


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    with talking(says("ok")) as (workspace, server):
        workspace.chat("hi", PEER)

    assert sent(server) == {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": "hi"}],
        "stream_options": {"include_usage": True},
    }


def test_options_win_over_the_preset_and_the_preset_over_the_row() -> None:
    with talking(says("ok"), params={"top_p": 0.1, "seed": 1}) as (workspace, server):
        workspace.set_preset("calm", {"temperature": 0.5, "seed": 2, "system": "be brief"})
        reply = workspace.chat("hi", asked(preset="calm", temperature=0.25, params={"stop": ["x"]}))

    body = sent(server)
    assert (body["temperature"], body["seed"], body["top_p"], body["stop"]) == (0.25, 2, 0.1, ["x"])
    assert body["messages"][0] == {"role": "system", "content": "be brief"}
    assert reply.params == {"temperature": 0.25, "seed": 2, "stop": ["x"]}


def test_an_answer_without_a_count_is_estimated_and_says_so() -> None:
    with talking(says("some words here", usage=None)) as (workspace, _):
        reply = workspace.chat("hi", PEER)

    assert reply.usage.source == "estimate"
    assert reply.usage.output_tokens


def test_a_429_is_waited_for_and_the_wait_is_told() -> None:
    with talking(refuses(429, "slow down", retry_after="0.3"), says("ok")) as (workspace, server):
        told = []
        with workspace.ask("hi", PEER) as run:
            for _ in run.deltas(on_tick=lambda: told.append(run.notice())):
                pass

    assert run.reply is not None
    assert run.reply.text == "ok"
    assert len(server.requests) == 2
    assert any(t and "trying again in" in t for t in told)


def test_after_four_attempts_the_last_error_is_raised() -> None:
    with (
        talking(refuses(503, "busy", retry_after="0.01")) as (workspace, server),
        pytest.raises(errors.ServerError) as e,
    ):
        workspace.chat("hi", PEER)

    assert len(server.requests) == 4
    assert e.value.attempts == 4
    assert "busy" in e.value.message


def test_a_long_wait_fails_at_once_and_says_how_long() -> None:
    refused = refuses(429, "later", retry_after="120")
    with talking(refused) as (workspace, server), pytest.raises(errors.RateLimitError) as e:
        workspace.chat("hi", PEER)

    assert len(server.requests) == 1
    assert e.value.retry_after_s == 120


def test_nothing_is_retried_after_the_first_token() -> None:
    cut = until_close(chunk({"content": "half an ans"}))
    with talking(cut, says("whole")) as (workspace, server):
        run = workspace.ask("hi", PEER)
        with pytest.raises(errors.StreamBrokenError) as e, run:
            list(run.deltas())
        kept = workspace.conversation().messages

    assert len(server.requests) == 1
    assert e.value.partial == "half an ans"
    assert run.reply is not None
    assert run.reply.finish_reason is FinishReason.BROKEN
    assert [m.text for m in kept] == ["hi", "half an ans"]


def test_stopping_early_keeps_what_arrived_and_closes_the_connection() -> None:
    slow = (Send(head(content_type="text/event-stream")), Send(chunk({"content": "one"})), Stall())
    with talking(slow) as (workspace, server):
        with workspace.ask("hi", PEER) as run:
            for delta in run.deltas():
                if delta.text:
                    break
        assert server.hung_up.wait(10)
        kept = workspace.conversation().messages

    assert run.reply is not None
    assert (run.reply.text, run.reply.finish_reason) == ("one", FinishReason.INTERRUPTED)
    assert [m.text for m in kept] == ["hi", "one"]


def test_a_stop_while_a_whole_answer_is_settled_does_not_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it cost is looked up then, which takes a while the first time."""
    stops = [KeyboardInterrupt()]
    cost = run_module.cost

    def slow(*args: Any, **fields: Any) -> Any:
        if stops:
            raise stops.pop()
        return cost(*args, **fields)

    monkeypatch.setattr(run_module, "cost", slow)
    with talking(says("all of it")) as (workspace, _):
        run = workspace.ask("hi", PEER)
        with pytest.raises(KeyboardInterrupt), run:
            list(run.deltas())
        kept = workspace.conversation().messages
    assert run.reply is not None
    assert (run.reply.text, run.reply.finish_reason) == ("all of it", FinishReason.STOP)
    assert [m.text for m in kept] == ["hi", "all of it"]


def test_stopping_before_anything_arrived_leaves_no_trace() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with talking((Stall(),)) as (workspace, _):
        run = workspace.ask("hi", PEER)
        with pytest.raises(KeyboardInterrupt), run:
            list(run.deltas(on_tick=interrupt))
    assert run.reply is not None
    assert run.reply.text == ""
    with pytest.raises(errors.UnknownConversationError):
        Workspace().conversation("main")


def test_an_error_before_any_text_is_not_part_of_the_conversation() -> None:
    with talking(refuses(400, "bad"), says("ok")) as (workspace, server):
        with pytest.raises(errors.BadRequestError):
            workspace.chat("first", PEER)
        workspace.chat("second", PEER)

    assert [m["content"] for m in sent(server)["messages"]] == ["second"]


def test_history_goes_along_and_no_history_sends_none() -> None:
    with talking(says("a"), says("b"), says("c"), says("d")) as (workspace, server):
        workspace.chat("1", PEER)
        workspace.chat("2", PEER)
        workspace.chat("3", asked(history=False))
        workspace.chat("4", PEER)

    assert [m["content"] for m in sent(server, 1)["messages"]] == ["1", "a", "2"]
    assert [m["content"] for m in sent(server, 2)["messages"]] == ["3"]
    assert [m["content"] for m in sent(server, 3)["messages"]] == ["1", "a", "2", "b", "4"]


def test_running_cells_again_sends_the_same_requests() -> None:
    with talking(says("x")) as (workspace, server):
        for _ in range(2):
            for cell, text in (("c1", "1"), ("c2", "2"), ("c3", "3")):
                workspace.chat(text, asked(cell=cell))

    assert [sent(server, i) for i in range(3)] == [sent(server, i) for i in range(3, 6)]


def weather(city: str, days: int = 1) -> dict[str, Any]:
    """How the weather will be.

    Args:
        city: Where.
    """
    called.append((city, days, threading.current_thread().name))
    if city == "Atlantis":
        raise LookupError("no such place")
    return {"city": city, "sun": True}


called: list[tuple[str, int, str]] = []


def test_tools_run_on_the_calling_thread_and_their_results_go_back() -> None:
    called.clear()
    with talking(calls(("weather", '{"city": "Rome"}'), ("weather", '{"city": "Oslo", "days": 2}')), says("sunny")) as (
        workspace,
        server,
    ):
        reply = workspace.chat("how is it?", asked(tools=[weather]))

    here = threading.current_thread().name
    assert called == [("Rome", 1, here), ("Oslo", 2, here)]
    assert sent(server, 0)["tools"][0]["function"]["parameters"]["required"] == ["city"]
    roles = [m["role"] for m in sent(server, 1)["messages"]]
    assert roles == ["user", "assistant", "tool", "tool"]
    assert reply.text == "sunny"
    assert [(c.name, r.is_error) for c, r in reply.tool_rounds] == [("weather", False), ("weather", False)]


def test_what_a_tool_raises_is_told_to_the_model() -> None:
    with talking(calls(("weather", '{"city": "Atlantis"}'), ("nope", "{}"), ("weather", "{}")), says("sorry")) as (
        workspace,
        server,
    ):
        workspace.chat("how is it?", asked(tools=[weather]))

    told = [m["content"] for m in sent(server, 1)["messages"] if m["role"] == "tool"]
    assert "LookupError: no such place" in told[0]
    assert "there is no tool" in told[1]
    assert "city" in told[2]


def test_cut_arguments_are_never_executed() -> None:
    called.clear()
    with talking(calls(("weather", '{"city": "Ro'), finish="length")) as (workspace, server):
        reply = workspace.chat("how is it?", asked(tools=[weather]))

    assert called == []
    assert len(server.requests) == 1
    assert reply.tool_calls[0].arguments == '{"city": "Ro'
    assert not reply.tool_calls[0].complete
    assert any("inside a tool call" in w for w in reply.warnings)


def test_malformed_arguments_are_told_in_words_and_not_executed() -> None:
    called.clear()
    with talking(calls(("weather", "{city: Rome"), ("weather", '{"city": "Oslo"}')), says("ok")) as (workspace, server):
        workspace.chat("how is it?", asked(tools=[weather]))

    assert [c[0] for c in called] == ["Oslo"]
    messages = sent(server, 1)["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "user"]
    assert len(messages[1]["tool_calls"]) == 1
    assert "not a complete JSON object" in messages[3]["content"]


def test_rounds_of_tools_end_at_the_limit() -> None:
    with talking(calls(("weather", '{"city": "Rome"}'))) as (workspace, server):
        reply = workspace.chat("loop", asked(tools=[weather], max_rounds=3))

    assert len(server.requests) == 4
    assert any("3 rounds" in w for w in reply.warnings)


class City(BaseModel):
    name: str
    people: int


def test_an_answer_by_schema_is_read() -> None:
    with talking(says('{"name": "Rome", "people": 3}')) as (workspace, server):
        reply = workspace.chat("which?", asked(schema=City))

    assert reply.parsed == City(name="Rome", people=3)
    assert sent(server)["response_format"]["json_schema"]["schema"]["required"] == ["name", "people"]


def test_an_answer_that_does_not_fit_is_asked_for_once_more() -> None:
    with talking(says('{"name": "Rome"}'), says('{"name": "Rome", "people": 3}')) as (workspace, server):
        reply = workspace.chat("which?", asked(schema=City))

    assert reply.parsed == City(name="Rome", people=3)
    assert "people" in sent(server, 1)["messages"][-1]["content"]
    assert any("second" in w for w in reply.warnings)


def test_an_answer_that_never_fits_is_an_error_with_the_reply() -> None:
    with talking(says("I would rather not")) as (workspace, server), pytest.raises(errors.SchemaMismatchError) as e:
        workspace.chat("which?", asked(schema=City.model_json_schema()))

    assert len(server.requests) == 2
    assert e.value.reply.text == "I would rather not"
    assert e.value.problems


def test_a_server_without_structured_output_gets_the_schema_in_the_prompt() -> None:
    refused = refuses(400, "response_format is not supported by this model")
    with talking(refused, says('```json\n{"name": "Rome", "people": 3}\n```')) as (workspace, server):
        reply = workspace.chat("which?", asked(schema=City))

    assert reply.parsed == City(name="Rome", people=3)
    assert "response_format" not in sent(server, 1)
    assert "JSON Schema" in sent(server, 1)["messages"][0]["content"]


def test_an_empty_answer_is_returned_with_a_warning() -> None:
    with talking(says(usage=None)) as (workspace, _):
        reply = workspace.chat("hi", PEER)

    assert reply.text == ""
    assert any("empty" in w for w in reply.warnings)


def test_the_asynchronous_ways_give_the_same() -> None:
    async def main(workspace: Workspace) -> tuple[str, str]:
        streamed = [d.text async for d in workspace.astream("hi", PEER)]
        reply = await workspace.achat("hi", PEER)
        return "".join(streamed), reply.text

    with talking(says("a", "b")) as (workspace, _):
        assert asyncio.run(main(workspace)) == ("ab", "ab")


def test_awaiting_runs_coroutine_tools_on_the_callers_loop() -> None:
    loops = []

    async def look(city: str) -> str:
        """Look."""
        loops.append(asyncio.get_running_loop())
        return city

    async def main(workspace: Workspace) -> str:
        reply = await workspace.achat("?", asked(tools=[look]))
        assert loops == [asyncio.get_running_loop()]
        return reply.text

    with talking(calls(("look", '{"city": "Rome"}')), says("done")) as (workspace, _):
        assert asyncio.run(main(workspace)) == "done"


def test_an_error_inside_a_stream_is_the_providers_error() -> None:
    broken = answer(chunk({"content": "par"}) + event({"error": {"message": "the engine fell over", "code": 500}}))
    with talking(broken) as (workspace, _), pytest.raises(errors.ServerError, match="fell over"):
        workspace.chat("hi", PEER)


@pytest.mark.parametrize(
    ("options", "error", "says_what"),
    [
        ({"model": "nosuch/m"}, errors.UnknownProviderError, "nosuch"),
        ({"model": "nosuchmodel"}, errors.UnknownModelError, "nosuchmodel"),
        ({"preset": "nope"}, errors.SettingsError, "nope"),
        ({"attachments": ["missing.png"]}, errors.PromptError, "missing.png"),
        ({"attachments": [object()]}, errors.PromptError, "object"),
        ({"schema": 5}, errors.PromptError, "schema"),
        ({"schema": {"type": "nonsense"}}, errors.PromptError, "JSON Schema"),
        ({"schema": {}}, errors.PromptError, "schema"),
        ({"tools": [5]}, errors.PromptError, "not a function"),
        ({"max_tokens": 0}, errors.PromptError, "max_tokens"),
        ({"max_tokens": -1}, errors.PromptError, "max_tokens"),
        ({"temperature": -1}, errors.PromptError, "temperature"),
    ],
)
def test_bad_input_is_one_line_and_sends_nothing(
    options: dict[str, Any], error: type[errors.NbllmError], says_what: str
) -> None:
    with talking(says("never")) as (workspace, server):
        with pytest.raises(error, match=says_what) as e:
            workspace.chat("hi", asked(**options))
        assert "\n" not in str(e.value)
        assert server.requests == []
        assert not workspace.conversations.names()


def test_an_empty_prompt_is_refused() -> None:
    with talking(says("never")) as (workspace, server), pytest.raises(errors.PromptError, match="empty"):
        workspace.chat(" \n ", PEER)
    assert server.requests == []


def test_a_dry_run_sends_nothing_and_needs_no_key() -> None:
    shown = Workspace().dry_run("hi", ChatOptions(model="groq/m", max_tokens=5)).to_text()

    assert "nothing was sent" in shown
    assert "https://api.groq.com" in shown
    assert '"max_tokens": 5' in shown


def test_a_conversation_goes_on_after_a_turn_that_ended_in_a_tool_call() -> None:
    with talking(calls(("look", "{}"), finish="length"), says("fine")) as (workspace, server):
        workspace.chat("look", PEER)
        workspace.chat("and now?", PEER)

    assert [m["role"] for m in sent(server, 1)["messages"]] == ["user", "user"]


def test_a_failed_call_keeps_no_frame_that_holds_what_the_server_sent() -> None:
    """Local values are shown by `%xmode Verbose` when the error is the context of another."""
    echoed = "echoed-canary"  # of a header of one's own, which is a secret, so that messages do not show it
    plans = {
        "in the stream": answer(event({"error": {"message": "echoed-canary"}})),
        "in a 200": answer(b'{"error": {"message": "echoed-canary"}}', kind="application/json"),
        "as a status": refuses(400, "echoed-canary"),
    }
    for how, plan in plans.items():
        with talking(plan, headers={"X-Team": echoed}) as (workspace, _):
            workspace.settings.set("max_wait_s", 0, keep=False)
            with pytest.raises(errors.NbllmError) as caught:
                workspace.chat("hi", PEER)
        frames = [entry.frame.f_locals for entry in caught.traceback if "src/nbllm" in str(entry.path)]
        assert frames, how
        assert echoed not in str(frames), how
        assert caught.value.__context__ is None, how


def test_waiting_for_a_limit_of_ones_own_is_no_attempt() -> None:
    seen: list[str | None] = []

    def tick() -> None:
        seen.append(run.notice())
        if any(seen):
            raise KeyboardInterrupt

    with talking(says("ok"), rate_limit={"requests_per_minute": 1}) as (workspace, _):
        workspace.chat("hi", PEER)
        with pytest.raises(KeyboardInterrupt), workspace.ask("hi", PEER) as run:
            list(run.deltas(on_tick=tick))
    assert any(notice and "rate limit" in notice and "attempt" not in notice for notice in seen)


def test_a_server_may_think_after_its_first_words_without_text() -> None:
    timeout = {"first_token_s": 5, "between_tokens_s": 0.3}
    start = (Send(head(content_type="text/event-stream")), Send(chunk({"role": "assistant", "content": ""})))
    end = Send(chunk({"content": "ok"}) + chunk({}, finish="stop") + event("[DONE]"))
    with talking((*start, Pause(1), end, Close()), timeout=timeout) as (workspace, _):
        assert workspace.chat("hi", PEER).text == "ok"


def test_silence_after_the_first_token_ends_the_wait() -> None:
    timeout = {"first_token_s": 5, "between_tokens_s": 0.3}
    plan = (Send(head(content_type="text/event-stream")), Send(chunk({"content": "so"})), Stall())
    with talking(plan, timeout=timeout) as (workspace, _), pytest.raises(errors.StreamBrokenError) as e:
        workspace.chat("hi", PEER)
    assert e.value.partial == "so"


def test_many_at_once_open_one_store() -> None:
    async def main(workspace: Workspace) -> list[str]:
        return [r.text for r in await asyncio.gather(*(workspace.achat(str(i), PEER) for i in range(20)))]

    others = set(threading.enumerate())
    with talking(says("ok")) as (workspace, _):
        assert asyncio.run(main(workspace)) == ["ok"] * 20
        writers = [t for t in set(threading.enumerate()) - others if t.name == "nbllm-store"]
    assert len(writers) == 1
