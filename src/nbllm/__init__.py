"""nbllm: language models in notebooks.

`%load_ext nbllm` adds the magics; the functions here are the same core from Python. Nothing heavy is imported
until it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbllm.api import (
        achat,
        acompare,
        astream,
        chat,
        check,
        compare,
        comparison,
        conversation,
        models,
        providers,
        workspace,
    )
    from nbllm.compare.comparison import Comparison
    from nbllm.messages import Delta, Message, Reply, Usage
    from nbllm.notebook.extension import load_ipython_extension as load_ipython_extension
    from nbllm.notebook.extension import unload_ipython_extension as unload_ipython_extension
    from nbllm.notebook.panels.providers import ProviderPanel

__version__ = "0.1.0.dev0"

__all__ = [
    "Comparison",
    "Delta",
    "Message",
    "ProviderPanel",
    "Reply",
    "Usage",
    "__version__",
    "achat",
    "acompare",
    "astream",
    "chat",
    "check",
    "compare",
    "comparison",
    "conversation",
    "models",
    "providers",
    "workspace",
]

_HOMES = {
    "achat": "nbllm.api",
    "acompare": "nbllm.api",
    "astream": "nbllm.api",
    "chat": "nbllm.api",
    "check": "nbllm.api",
    "compare": "nbllm.api",
    "comparison": "nbllm.api",
    "conversation": "nbllm.api",
    "models": "nbllm.api",
    "providers": "nbllm.api",
    "workspace": "nbllm.api",
    "Comparison": "nbllm.compare.comparison",
    "ProviderPanel": "nbllm.notebook.panels.providers",
    "Delta": "nbllm.messages",
    "Message": "nbllm.messages",
    "Reply": "nbllm.messages",
    "Usage": "nbllm.messages",
    "load_ipython_extension": "nbllm.notebook.extension",
    "unload_ipython_extension": "nbllm.notebook.extension",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'nbllm' has no attribute {name!r}")
    found = getattr(import_module(home), name)
    # Importing the home may have bound a package of the same name, which stands for the function from then on.
    return globals().get(name, found)


def __dir__() -> list[str]:
    return sorted(__all__)


class _CallablePackage(ModuleType):
    """A package whose name is also a public function: `nbllm.providers()` beside `nbllm.providers.registry`.

    docs/adr/0003-functions-named-like-packages.md
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        return getattr(import_module("nbllm.api"), self.__name__.rpartition(".")[2])

    @property
    def __signature__(self) -> Any:
        return signature(self.__wrapped__)


class _Root(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds a submodule to its parent by this very call.
        if isinstance(value, ModuleType) and _HOMES.get(name) == "nbllm.api":
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Root
