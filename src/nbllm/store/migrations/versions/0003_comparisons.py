"""Comparisons: what is compared, what came of each cell, who is asking, what people voted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_comparisons"),
    )
    op.create_table(
        "comparison_runs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("comparison_id", sa.String(32), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("design", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_comparison_runs"),
    )
    op.create_index("ix_comparison_runs_comparison_id", "comparison_runs", ["comparison_id"])
    op.create_table(
        "cells",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("comparison_id", sa.String(32), nullable=False),
        sa.Column("cell_key", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("estimated_tokens", sa.Integer),
        sa.Column("outcome", sa.JSON, nullable=False),
        sa.Column("asked", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cells"),
    )
    op.create_index("ix_cells_comparison_id_cell_key", "cells", ["comparison_id", "cell_key"])
    op.create_index("ix_cells_provider_model", "cells", ["provider", "model", "created_at"])
    op.create_table(
        "cell_claims",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("comparison_id", sa.String(32), nullable=False),
        sa.Column("cell_key", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cell_claims"),
    )
    op.create_index("ix_cell_claims_comparison_id", "cell_claims", ["comparison_id"])
    op.create_table(
        "comparison_words",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("comparison_id", sa.String(32), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_comparison_words"),
    )
    op.create_index("ix_comparison_words_comparison_id", "comparison_words", ["comparison_id"])
    op.create_table(
        "votes",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("comparison_id", sa.String(32), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("vote", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_votes"),
    )
    op.create_index("ix_votes_comparison_id", "votes", ["comparison_id"])
