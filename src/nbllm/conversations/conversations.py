"""Keeps exchanges, and finds what goes along with the next question.

`begin` reads and changes nothing, `commit` writes an exchange and its call in one transaction. A call that fails
without a word leaves the conversation as it was.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, or_, select

from nbllm.conversations import rows
from nbllm.conversations.conversation import Conversation, Exchange
from nbllm.conversations.tree import Node, Placed, Tree
from nbllm.errors import StoreError, UnknownConversationError
from nbllm.foreign import one_line
from nbllm.messages import ChatRequest, Message, Reply
from nbllm.store import Changes, Store, schema

MAIN = "main"
"""The conversation that is new with each kernel."""
_NAME_LENGTH = 200
_CHUNK = 400

_NODE = (
    schema.messages.c.id,
    schema.messages.c.parent_id,
    schema.messages.c.exchange_id,
    schema.messages.c.seq,
    schema.messages.c.cell,
    schema.messages.c.placed,
)


@dataclass(frozen=True, slots=True)
class Turn:
    """Where the next exchange goes, and what is sent before it. Changes nothing until it is committed."""

    conversation_id: str
    name: str
    parent_id: str | None
    """The message that it follows; None: it stands at the root."""
    messages: tuple[Message, ...]
    """From the root to the parent."""
    cell: str | None
    placed: Placed = "cell"


class Conversations:
    """The conversations of one store, as one kernel sees them. Calls block while the disk writes: some milliseconds.

    Args:
        store: Where they are kept.
        kernel: An id of this process; `main` belongs to it.
    """

    def __init__(self, store: Store, *, kernel: str) -> None:
        self._store = store
        self._kernel = kernel
        self._generation = store.generation
        self._trees: dict[str, Tree] = {}
        self._messages: dict[str, Message] = {}

    def begin(
        self,
        name: str = MAIN,
        *,
        new: bool = False,
        history: bool = True,
        append: bool = False,
        cell: str | None = None,
    ) -> Turn:
        """Find where the next exchange goes.

        Args:
            name: The conversation; it comes to be with its first exchange.
            new: Begin at the root again: nothing earlier goes along, and what comes next follows this exchange.
            history: False sends nothing earlier, and stores the exchange as a branch that nothing follows.
            append: Go on behind the head, although the cell was run before.
            cell: An id of the place in the notebook. It must differ between questions that one run of a cell asks
                (`"CELL:0"`, `"CELL:1"`), and be the same when the cell is run again. None: behind the head.

        Raises:
            StoreError: The name is empty, too long, or holds characters that cannot be shown; or the store holds
                something that nbllm did not write.
        """
        _check_name(name)

        def look(connection: Connection) -> Turn:
            found = self._find(connection, name)
            if found is None:
                return Turn(rows.new_id(), name, None, (), cell, "cell" if history else "alone")
            parent_id, placed = self._place(connection, found, new=new, history=history, append=append, cell=cell)
            return Turn(found.id, name, parent_id, self._path(connection, found.id, parent_id), cell, placed)

        return self._store.read(look)

    def _place(
        self, connection: Connection, found: Row[Any], *, new: bool, history: bool, append: bool, cell: str | None
    ) -> tuple[str | None, Placed]:
        if not history:
            return None, "alone"
        if new:
            return None, "cell"
        return self._tree(connection, found.id).place(cell, found.head_id, append=append)

    def commit(
        self,
        turn: Turn,
        request: ChatRequest,
        messages: Sequence[Message],
        reply: Reply,
        *,
        attempts: int | None = None,
        price_source: str | None = None,
    ) -> str:
        """Store an exchange and its call, in one transaction.

        Args:
            turn: From `begin`.
            request: What was sent.
            messages: The user's message, rounds of tools, the answer, as far as it came.
            reply: Where the answer comes from; an interrupted or broken one is stored like any other.
            attempts: How often the request was sent; None: not known.
            price_source: Where `reply.cost_usd` comes from.

        Returns:
            The id of the last message, which is now the head, unless the turn was asked without history.
        """
        if not messages:
            raise ValueError("an exchange has at least one message")
        call = rows.call_of(request, kernel=self._kernel) | rows.answered(reply)
        call |= {"attempts": attempts, "price_source": price_source}
        ids = [rows.new_id() for _ in messages]
        attachments = rows.attachment_rows(messages)

        def build(connection: Connection) -> Changes:
            home = self._home(connection, turn)
            written = self._message_rows(connection, home["id"], turn, ids, messages, reply)
            owned = call | {"conversation_id": home["id"], "message_id": ids[-1]}
            tables = {"conversations": [home], "attachments": attachments, "messages": written, "calls": [owned]}
            return Changes(tables, {} if turn.placed == "alone" else {home["id"]: ids[-1]})

        self._store.write(build)
        self._messages.update(zip(ids, messages, strict=True))
        return ids[-1]

    def record_failure(self, turn: Turn, request: ChatRequest, error: BaseException) -> None:
        """Store that a call failed, for the totals. The conversation stays as it was."""
        call = rows.call_of(request, kernel=self._kernel) | rows.failed(error)

        def build(connection: Connection) -> Changes:
            known = connection.scalar(_conversation_ids().where(schema.conversations.c.id == turn.conversation_id))
            return Changes({"calls": [call | {"conversation_id": known}]})

        self._store.write(build)

    def get(self, name: str = MAIN) -> Conversation:
        """The conversation of this name, or of this id.

        Raises:
            UnknownConversationError: There is none.
        """

        def look(connection: Connection) -> Conversation | list[str]:
            found = self._find(connection, name) or self._find_id(connection, name)
            return self._names(connection) if found is None else self._conversation(connection, found)

        found = self._store.read(look)
        if isinstance(found, Conversation):
            return found
        close = difflib.get_close_matches(name, found, n=3, cutoff=0.5)
        raise UnknownConversationError(
            f"no conversation is called {one_line(name)!r}",
            hint=f"did you mean {', '.join(map(one_line, close))}?" if close else "the first exchange makes it",
            suggestions=close,
        )

    def names(self) -> list[str]:
        """The named conversations and this kernel's `main`, the one used last first."""
        return self._store.read(self._names)

    # ---------------------------------------------------------------- reading

    def _names(self, connection: Connection) -> list[str]:
        table = schema.conversations
        mine = or_(table.c.kernel == "", table.c.kernel == self._kernel)
        return list(connection.scalars(select(table.c.name).where(mine).order_by(table.c.updated_at.desc())))

    def _kernel_of(self, name: str) -> str:
        return self._kernel if name == MAIN else ""

    def _find(self, connection: Connection, name: str) -> Row[Any] | None:
        table = schema.conversations
        return self._kept(
            connection, select(table).where(table.c.name == name, table.c.kernel == self._kernel_of(name))
        )

    def _find_id(self, connection: Connection, id: str) -> Row[Any] | None:
        return self._kept(connection, select(schema.conversations).where(schema.conversations.c.id == id))

    def _kept(self, connection: Connection, query: Select[Any]) -> Row[Any] | None:
        found = connection.execute(query).first()
        if found is not None:
            self._store.keep("conversations", [dict(found._mapping)])
        return found

    def _tree(self, connection: Connection, conversation_id: str) -> Tree:
        """The tree as it is now; only what is new since the last look is read."""
        if self._generation != self._store.generation:
            self._generation = self._store.generation
            self._trees.clear()
        tree = self._trees.setdefault(conversation_id, Tree())
        table = schema.messages
        # From the newest known on, not after it: kernels whose journals were merged may have counted alike.
        query = select(*_NODE).where(table.c.conversation_id == conversation_id, table.c.seq >= tree.seq)
        tree.add(connection.execute(query.order_by(table.c.seq, table.c.created_at, table.c.id)).all())
        return tree

    def _path(self, connection: Connection, conversation_id: str, message_id: str | None) -> tuple[Message, ...]:
        if message_id is None:
            return ()
        path = self._tree(connection, conversation_id).path(message_id)
        # A parent in the middle of an exchange ends the path there.
        ids = [i for node in path[:-1] for i in node.message_ids]
        last = path[-1].message_ids
        ids += last[: last.index(message_id) + 1]
        self._load(connection, ids)
        return tuple(self._messages[i] for i in ids)

    def _load(self, connection: Connection, ids: Sequence[str]) -> None:
        """Read the messages that are not in memory yet."""
        missing = [i for i in ids if i not in self._messages]
        found: dict[str, Any] = {}
        for start in range(0, len(missing), _CHUNK):
            query = select(schema.messages).where(schema.messages.c.id.in_(missing[start : start + _CHUNK]))
            found |= {row.id: row for row in connection.execute(query)}
        ordered = [found[i] for i in missing]
        data = self._attachments(connection, ordered)
        self._store.keep("messages", [dict(row._mapping) for row in ordered])
        for row in ordered:
            self._messages[row.id] = _message(row, data)

    def _attachments(self, connection: Connection, found: Sequence[Row[Any]]) -> dict[str, bytes]:
        data: dict[str, bytes] = {}
        for id in {i for row in found for i in rows.attachment_ids(row.parts)}:
            table = schema.attachments
            data[id] = connection.execute(select(table.c.data).where(table.c.id == id)).scalar_one()
        self._store.keep("attachments", [{"id": id, "data": content} for id, content in data.items()])
        return data

    def _conversation(self, connection: Connection, found: Row[Any]) -> Conversation:
        tree = self._tree(connection, found.id)
        self._load(connection, [i for node in tree for i in node.message_ids])
        table = schema.messages
        query = select(table.c.exchange_id, table.c.provenance, table.c.created_at)
        facts: dict[str, dict[str, Any]] = {}
        for row in connection.execute(query.where(table.c.conversation_id == found.id).order_by(table.c.seq)):
            known = facts.setdefault(row.exchange_id, {"created_at": row.created_at, "provenance": {}})
            known["provenance"] = row.provenance or known["provenance"]
        exchanges = {node.id: self._exchange(tree, node, facts[node.id]) for node in tree}
        current = tree.path(found.head_id)
        shown = {node.id for node in current}
        others = [tree.path(leaf.last_id) for leaf in tree.leaves() if leaf.id not in shown]
        return Conversation(
            id=found.id,
            name=found.name,
            exchanges=tuple(exchanges[n.id] for n in current),
            branches=tuple(tuple(exchanges[n.id] for n in path) for path in others),
        )

    def _exchange(self, tree: Tree, node: Node, facts: dict[str, Any]) -> Exchange:
        before = tree.of_message(node.parent_id)
        return Exchange(
            id=node.id,
            parent_id=None if before is None else before.id,
            messages=tuple(self._messages[i] for i in node.message_ids),
            cell=node.cell,
            alone=node.placed == "alone",
            **facts,
        )

    # ---------------------------------------------------------------- writing

    def _home(self, connection: Connection, turn: Turn) -> dict[str, Any]:
        """The row of the turn's conversation, made now if this is its first exchange.

        Another kernel may have made one of that name since `begin`; then this exchange is a branch of it.
        """
        table = schema.conversations
        by_id = table.c.id == turn.conversation_id
        by_name = (table.c.name == turn.name) & (table.c.kernel == self._kernel_of(turn.name))
        for condition in (by_id, by_name):
            found = connection.execute(select(table).where(condition).with_for_update()).first()
            if found is not None:
                return dict(found._mapping)
        moment = schema.now()
        return {
            "id": turn.conversation_id,
            "name": turn.name,
            "kernel": self._kernel_of(turn.name),
            "head_id": None,
            "created_at": moment,
            "updated_at": moment,
        }

    def _message_rows(
        self,
        connection: Connection,
        conversation_id: str,
        turn: Turn,
        ids: Sequence[str],
        messages: Sequence[Message],
        reply: Reply,
    ) -> list[dict[str, Any]]:
        newest = select(func.max(schema.messages.c.seq)).where(schema.messages.c.conversation_id == conversation_id)
        seq = (connection.scalar(newest) or 0) + 1
        common = {
            "conversation_id": conversation_id,
            "exchange_id": ids[0],
            "cell": turn.cell,
            "placed": turn.placed,
            "created_at": schema.now(),
        }
        written = [
            common
            | {"id": id, "parent_id": parent, "seq": seq + i, "role": m.role.value, "parts": rows.parts_of(m)}
            | {"provenance": None}
            for i, (id, parent, m) in enumerate(zip(ids, (turn.parent_id, *ids), messages, strict=False))
        ]
        facts = {"conversation": turn.name, "message_id": ids[-1]}
        written[-1]["provenance"] = rows.plain(reply.provenance() | facts)
        return written


def _message(row: Row[Any], attachments: dict[str, bytes]) -> Message:
    try:
        return rows.message_from(row.role, row.parts, attachments)
    except (KeyError, ValueError, TypeError) as exc:
        raise StoreError(
            f"message {row.id} in the store is not one that nbllm writes",
            hint="begin afresh with --new, or in another conversation with -c NAME",
        ) from exc


def _conversation_ids() -> Select[Any]:
    return select(schema.conversations.c.id)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable():
        raise StoreError(
            f"a conversation's name has 1 to {_NAME_LENGTH} characters that can be shown",
            hint="for example `-c field-notes`",
        )
