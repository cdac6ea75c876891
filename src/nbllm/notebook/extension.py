"""`%load_ext nbllm`: adds the magics, prints nothing, opens nothing, and never fails."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from nbllm.errors import NbllmError
from nbllm.notebook import completion, display, questions, session
from nbllm.notebook.magics import compare
from nbllm.notebook.magics.chat import ChatMagics
from nbllm.notebook.magics.compare import CompareMagics
from nbllm.notebook.magics.config import ConfigMagics
from nbllm.notebook.magics.models import ModelMagics
from nbllm.notebook.magics.providers import ProviderMagics
from nbllm.notebook.magics.replay import ReplayMagics
from nbllm.settings import ConfigFile, Paths

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_MAGICS = (ChatMagics, CompareMagics, ProviderMagics, ModelMagics, ReplayMagics, ConfigMagics)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics, their completion, and how a `Reply` is shown."""
    for magics in _MAGICS:
        shell.register_magics(magics)
    completion.install(shell)
    questions.install(shell)
    compare.install(shell)
    display.install(shell)
    _warn_of_broken_settings()


def _warn_of_broken_settings() -> None:
    try:
        ConfigFile(Paths.from_environment()).read()
    except NbllmError as exc:
        problem = exc.message
    except (OSError, RuntimeError) as exc:  # NBLLM_HOME names the home of a user who does not exist, for example
        problem = f"no place for settings: {exc}"
    else:
        return
    text = f"nbllm goes on without its settings: {problem}"
    try:
        # Explicit: with each load, and without a line of our source below it.
        warnings.warn_explicit(text, UserWarning, "nbllm", 0)
    except UserWarning:  # the user made errors of warnings; the magics work all the same
        sys.stderr.write(f"{text}\n")


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take everything away again, and close what was opened."""
    for magics in _MAGICS:
        for kind, names in magics.magics.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
        shell.magics_manager.registry.pop(magics.__name__, None)
    completion.uninstall(shell)
    questions.uninstall(shell)
    compare.uninstall(shell)
    display.uninstall(shell)
    session.close()
