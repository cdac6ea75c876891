"""How the tables came to be what `schema.py` says, step by step. A step is never edited once released.

A new step is a file `versions/NNNN_what.py` and a new `schema.VERSION`. Alembic runs them, and is imported only when
a database is older than this nbllm.
"""

REVISIONS: tuple[str, ...] = ("0001", "0002", "0003")
"""Every released step, oldest first. A database at a step that is not here was written by a newer nbllm."""
