"""What is kept: conversations, attachments, and one row for each call. One writer; memory when the disk is lost."""

from nbllm.store.changes import Changes
from nbllm.store.store import Store

__all__ = ["Changes", "Store"]
