"""What Alembic runs: the steps that are due, on the connection and in the transaction that `versions.py` opened."""

from __future__ import annotations

from alembic import context

from nbllm.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
