"""nbllm: language models in notebooks.

`%load_ext nbllm` adds the magics; the functions here are the same core from Python. Nothing heavy is imported
until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbllm.api import achat, astream, chat, check, conversation, providers, workspace
    from nbllm.messages import Delta, Message, Reply, Usage
    from nbllm.notebook.extension import load_ipython_extension as load_ipython_extension
    from nbllm.notebook.extension import unload_ipython_extension as unload_ipython_extension

__version__ = "0.1.0.dev0"

_HOMES = {
    "achat": "nbllm.api",
    "astream": "nbllm.api",
    "chat": "nbllm.api",
    "check": "nbllm.api",
    "conversation": "nbllm.api",
    "providers": "nbllm.api",
    "workspace": "nbllm.api",
    "Delta": "nbllm.messages",
    "Message": "nbllm.messages",
    "Reply": "nbllm.messages",
    "Usage": "nbllm.messages",
    "load_ipython_extension": "nbllm.notebook.extension",
    "unload_ipython_extension": "nbllm.notebook.extension",
}

__all__ = ["Delta", "Message", "Reply", "Usage", "__version__", "achat", "astream", "chat", "check", "conversation",
           "providers", "workspace"]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'nbllm' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
