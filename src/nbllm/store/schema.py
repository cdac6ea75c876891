"""The tables of the store, in SQLAlchemy Core, the same for SQLite and every other database.

A conversation is a tree: a message knows its parent, an exchange is the messages that share `exchange_id` (a prompt,
rounds of tools, the answer). A message is never changed once it is there. Moments are ISO texts in UTC, money is a
whole number of pico-USD, so that both sort and add up alike in every database.

The released shape of these tables is what `migrations/` makes; a test holds the two to each other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "0003"
"""The newest migration: the shape that this nbllm reads and writes."""

PICO = Decimal(10) ** 12
"""One USD in the unit of the column: a token of the cheapest model costs some 10^4 of them, so nothing is rounded."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    # Empty for a named conversation; `main` carries the id of the kernel whose it is.
    Column("kernel", String(64), nullable=False),
    # The message that the next one follows; no foreign key, since each of the two tables would wait for the other.
    Column("head_id", String(32)),
    Column("created_at", String(32), nullable=False),
    Column("updated_at", String(32), nullable=False),
    UniqueConstraint("name", "kernel"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("conversation_id", String(32), ForeignKey("conversations.id"), nullable=False),
    Column("parent_id", String(32), ForeignKey("messages.id")),
    Column("exchange_id", String(32), nullable=False),
    # Order of arrival within the conversation.
    Column("seq", Integer, nullable=False),
    Column("role", String(16), nullable=False),
    # As `messages.message_to_json(..., inline_bytes=False)` writes them: bytes stand in `attachments`.
    Column("parts", JSON, nullable=False),
    # The notebook cell that asked, and how it found its place: see conversations/tree.py.
    Column("cell", Text),
    Column("placed", String(8), nullable=False),
    # Where an answer comes from: model, parameters, tokens, finish reason. Null for what the user wrote.
    Column("provenance", JSON(none_as_null=True)),
    Column("created_at", String(32), nullable=False),
    Index("ix_messages_conversation_id_seq", "conversation_id", "seq"),
)

attachments = Table(
    "attachments",
    metadata,
    # The SHA-256 of the bytes, so that a picture sent ten times is kept once.
    Column("id", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created_at", String(32), nullable=False, index=True),
    Column("kernel", String(64), nullable=False),
    Column("conversation_id", String(32), ForeignKey("conversations.id"), index=True),
    Column("message_id", String(32), ForeignKey("messages.id")),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("model_reported", Text),
    Column("base_url_host", Text),
    # Classes of tokens that do not overlap; null is unknown.
    Column("input_tokens", Integer),
    Column("cached_input_tokens", Integer),
    Column("cache_write_tokens", Integer),
    Column("output_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("usage_source", String(16)),
    Column("cost_pico_usd", BigInteger),
    Column("price_source", Text),
    Column("latency_ms", Float),
    Column("ttft_ms", Float),
    Column("finish_reason", String(32)),
    Column("error_type", String(64)),
    Column("status", Integer),
    Column("attempts", Integer),
    # All that decided the answer besides the messages, and the hash over both.
    Column("request", JSON, nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("request_id", Text),
    Column("replayed", Text),
)

marks = Table(
    "marks",
    metadata,
    # What the user says of models, as a log: the last row of a favourite, group member, alias or model counts. Nothing
    # is changed in place, so that journals of several kernels can be put together.
    Column("id", String(32), primary_key=True),
    Column("created_at", String(32), nullable=False),
    # One more than the greatest that its writer knew: the order of rows, also when a clock was set back.
    Column("seq", Integer, nullable=False),
    # favourite, group, alias, model.
    Column("kind", String(16), nullable=False),
    # Of the group or alias; empty for the other kinds.
    Column("name", Text, nullable=False),
    # `provider/model`.
    Column("ref", Text, nullable=False),
    # A model's: context, input_price, output_price (USD per million tokens).
    Column("facts", JSON(none_as_null=True)),
    Column("removed", Boolean, nullable=False),
)

comparisons = Table(
    "comparisons",
    metadata,
    # Made of the name, so that two processes that begin one at the same time write the same row.
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", String(32), nullable=False),
)

# The tables below point to a comparison without a foreign key: journals of several kernels are put together line by
# line, in any order.
comparison_runs = Table(
    "comparison_runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("comparison_id", String(32), nullable=False, index=True),
    Column("created_at", String(32), nullable=False),
    # Prompts and grid, as `compare.design` writes them: the newest is what `--resume` goes on with.
    Column("design", JSON, nullable=False),
)

cells = Table(
    "cells",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("comparison_id", String(32), nullable=False),
    # SHA-256 over all that decides the answer. A question that failed and was asked again has a row each time.
    Column("cell_key", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),
    # ok, error.
    Column("status", String(8), nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    # Of the request without its repeat: what other answers to it say of the next one.
    Column("request_hash", String(64), nullable=False),
    # What was guessed before it was asked, so that guesses can learn.
    Column("estimated_tokens", Integer),
    # As `compare.cells.Outcome` writes it.
    Column("outcome", JSON, nullable=False),
    # The canonical request as JSON, compressed by zlib. No header, no key.
    Column("asked", LargeBinary, nullable=False),
    Index("ix_cells_comparison_id_cell_key", "comparison_id", "cell_key"),
    Index("ix_cells_provider_model", "provider", "model", "created_at"),
)

cell_claims = Table(
    "cell_claims",
    metadata,
    # Made of comparison and cell key: of two processes that want the same cell, one gets it. The only rows that are
    # changed and removed again: they say what is under way, and nothing is lost with them.
    Column("id", String(64), primary_key=True),
    Column("comparison_id", String(32), nullable=False, index=True),
    Column("cell_key", String(64), nullable=False),
    Column("owner", String(80), nullable=False),
    # Until when it holds without being renewed.
    Column("until", Float, nullable=False),
)

comparison_words = Table(
    "comparison_words",
    metadata,
    # What an engine keeps with a comparison (the id of a batch), as a log: the last row of a name counts.
    Column("id", String(32), primary_key=True),
    Column("comparison_id", String(32), nullable=False, index=True),
    Column("created_at", String(32), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Text),
)

votes = Table(
    "votes",
    metadata,
    # What a person said of two answers beside each other, as a log: the last one of a ballot and a voter counts.
    Column("id", String(32), primary_key=True),
    Column("comparison_id", String(32), nullable=False, index=True),
    Column("created_at", String(32), nullable=False),
    Column("vote", JSON, nullable=False),
)


def now() -> str:
    """This moment, in the form of the columns."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_pico(usd: Decimal | None) -> int | None:
    """USD as the column keeps it."""
    return None if usd is None else int((usd * PICO).to_integral_value())


def from_pico(pico: int | None) -> Decimal | None:
    """The reverse of `to_pico`."""
    return None if pico is None else Decimal(pico) / PICO
