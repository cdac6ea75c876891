"""What is stored of an exchange, and how it is found again."""

from __future__ import annotations

import sqlite3
import threading
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from nbllm.conversations import Conversations
from nbllm.errors import RateLimitError, StoreError, UnknownConversationError
from nbllm.messages import (
    ChatRequest,
    File,
    FinishReason,
    Image,
    Message,
    Reasoning,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)  # fmt: skip
from nbllm.store import Store, schema
from unit.conversations.notebook import ask, reply_of, request_for, texts


def rows(store: Store, table: Any) -> list[dict[str, Any]]:
    return store.read(lambda c: [dict(r._mapping) for r in c.execute(select(table))])


def test_an_exchange_with_tools_images_and_reasoning_comes_back_as_it_was(store: Store) -> None:
    exchange = [
        Message.user("look", Image(b"\x89PNG\x00", "image/png", "a.png"), File(b"%PDF-1.7", "application/pdf")),
        Message(Role.ASSISTANT, (Reasoning("hm", "signed"), ToolCall("c1", "f", '{"x": 1}'), ToolCall("c2", "g", "{"))),
        Message(Role.TOOL, (ToolResult("c1", "f", "✓ " * 10), ToolResult("c2", "g", "cut", is_error=True))),
        Message(Role.ASSISTANT, (Reasoning("", None, "encrypted"), Text("two\n\n𝛑 \u202e"))),
    ]
    writer = Conversations(store, kernel="k1")
    turn = writer.begin("notes")
    last = writer.commit(turn, request_for(turn, exchange[0]), exchange, reply_of("two"))

    for reader in (writer, Conversations(store, kernel="k2")):
        again = reader.begin("notes")
        assert list(again.messages) == exchange
        assert again.parent_id == last


def test_bytes_are_stored_once(store: Store) -> None:
    conversations = Conversations(store, kernel="k")
    picture = Image(b"the same bytes", "image/png")
    for text in "abc":
        turn = conversations.begin()
        message = Message.user(text, picture, picture)
        conversations.commit(turn, request_for(turn, message), [message, Message.assistant("yes")], reply_of("yes"))

    assert [r["data"] for r in rows(store, schema.attachments)] == [b"the same bytes"]
    assert b"the same" not in str([r["parts"] for r in rows(store, schema.messages)]).encode()


def test_a_call_is_recorded_with_what_is_known_of_it(store: Store) -> None:
    conversations = Conversations(store, kernel="k")
    turn = conversations.begin("notes", cell="7")
    message = Message.user("hi")
    request = ChatRequest("groq", "llama", (message,), system="be brief", temperature=0.5, params={"seed": 1})
    reply = reply_of(
        "yes", provider="groq", model="llama", usage=Usage(3, 2, None, 5, 4), cost_usd=Decimal("0.0000375"),
        latency_ms=12.5, ttft_ms=3.25, model_reported="llama-x", request_id="r1", base_url_host="api.groq.com",
    )  # fmt: skip
    last = conversations.commit(
        turn, request, [message, Message.assistant("yes")], reply, attempts=2, price_source="config.toml"
    )

    [call] = rows(store, schema.calls)
    for name in ("id", "created_at", "conversation_id"):
        assert call.pop(name)
    assert call == {
        "kernel": "k", "message_id": last, "provider": "groq", "model": "llama", "model_reported": "llama-x",
        "base_url_host": "api.groq.com", "input_tokens": 3, "cached_input_tokens": 2, "cache_write_tokens": None,
        "output_tokens": 5, "reasoning_tokens": 4, "usage_source": "provider", "cost_pico_usd": 37_500_000,
        "price_source": "config.toml", "latency_ms": 12.5, "ttft_ms": 3.25, "finish_reason": "stop",
        "error_type": None, "status": None, "attempts": 2,
        "request": {"system": "be brief", "temperature": 0.5, "params": {"seed": 1}},
        "request_hash": request.key(), "request_id": "r1", "replayed": None,
    }  # fmt: skip
    assert schema.from_pico(call["cost_pico_usd"]) == reply.cost_usd


def test_unknown_stays_unknown(store: Store) -> None:
    conversations = Conversations(store, kernel="k")
    turn = conversations.begin()
    message = Message.user("hi")
    conversations.commit(turn, request_for(turn, message), [message], reply_of("", usage=Usage()))

    [call] = rows(store, schema.calls)
    assert {call[n] for n in ("input_tokens", "output_tokens", "cost_pico_usd", "latency_ms", "attempts")} == {None}


def test_an_answer_carries_its_provenance(conversations: Conversations) -> None:
    ask(conversations, "hi", name="notes", cell="3")

    [exchange] = conversations.get("notes")
    assert exchange.cell == "3"
    assert exchange.provenance["model"] == "guide"
    assert exchange.provenance["conversation"] == "notes"
    assert exchange.provenance["usage"]["output_tokens"] == 5
    assert exchange.created_at.endswith("Z")


@pytest.mark.parametrize("reason", [FinishReason.INTERRUPTED, FinishReason.BROKEN, FinishReason.LENGTH])
def test_an_answer_that_was_cut_is_a_part_of_the_conversation(
    conversations: Conversations, reason: FinishReason
) -> None:
    turn = conversations.begin()
    message = Message.user("tell me")
    cut = reply_of("Once upo", finish_reason=reason)
    conversations.commit(turn, request_for(turn, message), [message, Message.assistant("Once upo")], cut)

    assert texts(conversations.begin().messages) == ["tell me", "Once upo"]
    assert conversations.get().exchanges[-1].provenance["finish_reason"] == reason.value


def test_a_failed_call_is_counted_and_changes_no_conversation(store: Store, conversations: Conversations) -> None:
    ask(conversations, "before", cell="1")
    turn = conversations.begin(cell="2")
    error = RateLimitError("sk-secret said the server", provider="groq", status=429, attempts=4, request_id="r9")
    conversations.record_failure(turn, request_for(turn, Message.user("x")), error)
    unknown = conversations.begin("never before")
    conversations.record_failure(unknown, request_for(unknown, Message.user("x")), ValueError("sk-secret"))

    assert texts(conversations.begin(cell="2").messages)[0] == "before"
    assert conversations.names() == ["main"]
    failures = [r for r in rows(store, schema.calls) if r["error_type"]]
    assert [(f["error_type"], f["status"], f["attempts"], f["request_id"]) for f in failures] == [
        ("RateLimitError", 429, 4, "r9"),
        ("other", None, None, None),
    ]
    assert [f["conversation_id"] is None for f in failures] == [False, True]
    assert "sk-secret" not in str(failures)


def test_to_begin_changes_nothing(store: Store, conversations: Conversations) -> None:
    conversations.begin("a", new=True)
    conversations.begin(history=False)

    assert rows(store, schema.conversations) == []


def test_main_is_new_with_each_kernel_and_names_go_on(store: Store) -> None:
    for kernel in ("k1", "k2"):
        conversations = Conversations(store, kernel=kernel)
        ask(conversations, f"main of {kernel}")
        ask(conversations, f"notes of {kernel}", name="notes")

    assert [e.prompt for e in conversations.get("main")] == ["main of k2"]
    assert [e.prompt for e in conversations.get("notes")] == ["notes of k1", "notes of k2"]
    assert conversations.names() == ["notes", "main"]
    assert Conversations(store, kernel="k3").names() == ["notes"]


def test_the_earlier_answer_stays_as_a_branch(conversations: Conversations) -> None:
    for cell in ("1", "2", "1"):
        ask(conversations, f"cell {cell}", cell=cell, respond=lambda _: "answer")
    ask(conversations, "alone", history=False)

    conversation = conversations.get()

    assert [e.prompt for e in conversation.exchanges] == ["cell 1"]
    assert [[e.prompt for e in b] for b in conversation.branches] == [["cell 1", "cell 2"], ["alone"]]
    assert [b[-1].alone for b in conversation.branches] == [False, True]
    assert conversation.branches[0][1].parent_id == conversation.branches[0][0].id


def test_a_conversation_afresh_keeps_what_was_there_as_a_branch(conversations: Conversations) -> None:
    ask(conversations, "old", name="notes")
    ask(conversations, "new", name="notes", new=True)

    conversation = conversations.get("notes")

    assert [e.prompt for e in conversation] == ["new"]
    assert [[e.prompt for e in b] for b in conversation.branches] == [["old"]]


def test_an_unknown_name_is_answered_with_the_closest(conversations: Conversations) -> None:
    for name in ("field-notes", "thesis"):
        ask(conversations, "x", name=name)

    with pytest.raises(UnknownConversationError) as caught:
        conversations.get("fieldnotes")

    assert caught.value.suggestions == ("field-notes",)
    assert "field-notes" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb", "half \ud800"])
def test_a_name_that_is_none_is_refused(conversations: Conversations, name: str) -> None:
    with pytest.raises(StoreError, match="1 to 200 characters"):
        conversations.begin(name)


def test_a_conversation_can_be_read_by_its_id(conversations: Conversations) -> None:
    ask(conversations, "x", name="notes")
    by_name = conversations.get("notes")

    assert conversations.get(by_name.id) == by_name


def test_a_conversation_shows_foreign_text_without_letting_it_act(conversations: Conversations) -> None:
    ask(conversations, "<script>alert(1)</script>\nsecond line \u202e", respond=lambda _: "<img src=x onerror=y>")
    conversation = conversations.get()

    html = conversation._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    assert "<br>second line" in html
    assert "\u202e" not in html + repr(conversation)
    assert "1 exchange" in repr(conversation)
    assert (
        conversation.text() == "user: <script>alert(1)</script>\nsecond line \u202e\n\nassistant: <img src=x onerror=y>"
    )


def test_questions_asked_at_once_all_stay(store: Store, conversations: Conversations) -> None:
    """Turns that began before each other's end are branches; none is lost, and a next one has one way to go."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(10):
                ask(conversations, f"{number} {i}", name="shared")
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    conversation = conversations.get("shared")
    all_paths = [conversation.exchanges, *conversation.branches]
    assert {e.prompt for path in all_paths for e in path} == {f"{n} {i}" for n in range(8) for i in range(10)}
    assert len({r["seq"] for r in rows(store, schema.messages)}) == 160


def test_two_kernels_that_make_the_same_name_at_once_share_it(store: Store) -> None:
    kernels = [Conversations(store, kernel=k) for k in "ab"]
    turns = [k.begin("notes") for k in kernels]
    for kernel, turn in zip(kernels, turns, strict=True):
        message = Message.user(turn.conversation_id)
        kernel.commit(turn, request_for(turn, message), [message], reply_of(""))

    conversation = kernels[0].get("notes")
    assert len(conversation.exchanges) == len(conversation.branches) == 1


def test_an_exchange_without_messages_is_a_mistake_of_the_caller(conversations: Conversations) -> None:
    turn = conversations.begin()

    with pytest.raises(ValueError, match="at least one message"):
        conversations.commit(turn, request_for(turn), [], reply_of(""))


def test_what_servers_send_amiss_can_be_stored(store: Store) -> None:
    """Half a surrogate pair is valid JSON and no text; a zero byte is text that PostgreSQL does not take."""
    conversations = Conversations(store, kernel="k")
    turn = conversations.begin()
    bad = "half \ud83d and \x00"
    message = Message.user(bad)
    request = request_for(turn, message, params={"stop": object()})
    reply = reply_of(bad, model_reported=bad, request_id=bad, params={"x": object()})
    conversations.commit(turn, request, [message, Message.assistant(bad)], reply)

    for reader in (conversations, Conversations(store, kernel="k")):
        assert texts(reader.begin().messages) == [bad, bad]
    assert store.warning is None


def test_a_message_that_nbllm_did_not_write_is_named(store: Store, conversations: Conversations) -> None:
    ask(conversations, "x", name="notes")
    with sqlite3.connect(store.location) as connection:
        connection.execute('UPDATE messages SET parts = \'[{"type": "hologram"}]\'')

    with pytest.raises(StoreError, match="is not one that nbllm writes") as caught:
        Conversations(store, kernel="other").begin("notes")
    assert "--new" in str(caught.value.hint)
    assert Conversations(store, kernel="other").begin("notes", new=True).messages == ()
