"""Keys: where they come from, where they are kept, and how they are kept out of everything else."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nbllm.credentials.redaction import install_log_filter, looks_like_key, redact, redactor, uninstall_log_filter
from nbllm.credentials.secret import Secret

if TYPE_CHECKING:
    from nbllm.credentials.store import Credentials, KeyStatus, SavedKey

__all__ = ["Credentials", "KeyStatus", "SavedKey", "Secret", "install_log_filter", "looks_like_key", "redact",
           "redactor", "uninstall_log_filter"]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Redaction is wanted in places where the providers' rows (pydantic) are not.
    if name in ("Credentials", "KeyStatus", "SavedKey"):
        return getattr(import_module("nbllm.credentials.store"), name)
    raise AttributeError(f"module 'nbllm.credentials' has no attribute {name!r}")
