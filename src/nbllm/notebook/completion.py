"""Tab: verbs, options, provider ids, model references, presets and conversations, from what is already known."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from nbllm.notebook.magics import chat, config, providers

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbllm.workspace import Workspace

_MAGIC = re.compile(r"^\s*%{1,2}(chat|llm_providers|llm_config)\s(.*)$", re.DOTALL)
_MODEL_OPTIONS = ("-m", "--model")
_CONVERSATION_OPTIONS = ("-c", "--conversation")
_TAKES_PROVIDER = ("show", "edit", "remove", "enable", "disable", "test", "models", "key", "forget")


@context_matcher(identifier="nbllm")
def matcher(context: CompletionContext) -> dict[str, Any]:
    """IPython's matcher, API version 2. Reads memory and small files; never the network."""
    found = _MAGIC.match(context.line_with_cursor[: context.cursor_position])
    if found is None or context.cursor_line > 0:
        return {"completions": [], "suppress": False}
    magic, typed = found.groups()
    words = typed.split(" ")
    token = words[-1]
    names = [n for n in _candidates(magic, words) if n.startswith(token)]
    # IPython may see only the end of a reference such as `openai/gpt` as the token.
    cut = len(token) - len(context.token) if token.endswith(context.token) else 0
    completions = [SimpleCompletion(n[cut:], type="nbllm") for n in names]
    return {"completions": completions, "suppress": bool(completions)}


def _candidates(magic: str, words: list[str]) -> Iterable[str]:
    before = [w for w in words[:-1] if w]
    if magic == "chat":
        return _for_chat(before, words[-1])
    if magic == "llm_config":
        return _for_config(before)
    return _for_providers(before)


def _for_chat(before: list[str], token: str) -> Iterable[str]:
    last = before[-1] if before else ""
    if last in _MODEL_OPTIONS:
        return _known(_models)
    if last in _CONVERSATION_OPTIONS:
        return _known(lambda w: w.conversations.names())
    if last == "--preset":
        return _known(lambda w: list(w.presets()))
    if token.startswith("-"):
        return chat.option_names()
    return _known(_models) if not before else ()


def _for_config(before: list[str]) -> Iterable[str]:
    if not before:
        from nbllm.settings import SETTINGS  # noqa: PLC0415

        return [*SETTINGS, *config.VERBS]
    return _known(lambda w: list(w.presets())) if before == ["preset"] else ()


def _for_providers(before: list[str]) -> Iterable[str]:
    if not before:
        return list(providers.VERBS)
    if before[0] in _TAKES_PROVIDER:
        return _known(lambda w: w.registry.ids())
    return _known(_models) if before[0] == "use" else ()


def _models(workspace: Workspace) -> list[str]:
    return [*workspace.overview.known_refs(), *workspace.registry.aliases()]


def _known(ask: Callable[[Workspace], Iterable[str]]) -> Iterable[str]:
    from nbllm.notebook.session import workspace  # noqa: PLC0415

    try:
        return list(ask(workspace()))
    except Exception as exc:  # noqa: BLE001  (a Tab never fails; what it hit is kept for `doctor` and for tests)
        sys.modules[__name__].__dict__["last_problem"] = f"{type(exc).__name__}: {exc}"
        return ()


last_problem: str | None = None
"""What the last completion could not read, for people who debug it."""


def install(shell: InteractiveShell) -> None:
    """Add the matcher to the shell's completer."""
    if matcher not in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.append(matcher)


def uninstall(shell: InteractiveShell) -> None:
    """Take it away."""
    if matcher in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(matcher)
