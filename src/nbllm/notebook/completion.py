"""Tab: verbs, options, provider ids, model references, presets and conversations, from what is already known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher
from IPython.core.getipython import get_ipython

from nbllm.notebook.magics import chat, compare, config, models, providers, replay
from nbllm.notebook.session import started, workspace

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbllm.workspace import Workspace

_MAGIC = re.compile(
    r"^\s*(?:[\w, ]+=\s*)?%{1,2}(chat|compare|llm_providers|llm_models|llm_config|llm_replay)\s(.*)$", re.DOTALL
)
_PROVIDER_VERBS = ("show", "edit", "remove", "enable", "disable", "test", "models", "key", "forget")


@context_matcher(identifier="nbllm")
def matcher(context: CompletionContext) -> dict[str, Any]:
    """IPython's matcher, API version 2. Reads memory and small files; never the network."""
    found = _MAGIC.match(context.line_with_cursor[: context.cursor_position])
    if found is None or context.cursor_line > 0:
        return {"completions": [], "suppress": False}
    magic, typed = found.groups()
    *before, token = typed.split(" ")
    names = [n for n in _candidates(magic, [w for w in before if w], token) if n.startswith(token)]
    # IPython may see only the end of a reference such as `openai/gpt` as the token.
    cut = len(token) - len(context.token) if token.endswith(context.token) else 0
    completions = [SimpleCompletion(n[cut:], type="nbllm") for n in names]
    return {"completions": completions, "suppress": bool(completions)}


def _candidates(magic: str, before: Sequence[str], token: str) -> Iterable[str]:
    if magic == "chat":
        return _for_chat(before, token)
    if magic == "compare":
        return _for_compare(before, token)
    if magic == "llm_models":
        return _for_models(before, token)
    if magic == "llm_replay":
        return _for_replay(before, token)
    return _for_config(before, token) if magic == "llm_config" else _for_providers(before, token)


# ---------------------------------------------------------------- a magic each


def _for_chat(before: Sequence[str], token: str) -> Iterable[str]:
    last = before[-1] if before else ""
    if last in _VALUES:
        return _VALUES[last]()
    if token.startswith("-"):
        return chat.option_names()
    return () if before else _models()


def _for_compare(before: Sequence[str], token: str) -> Iterable[str]:
    last = before[-1] if before else ""
    if last in _COMPARE_VALUES:
        return _COMPARE_VALUES[last]()
    if token.startswith("-") and last not in ("-m", "--models"):
        return compare.option_names()
    done, comma, _ = token.rpartition(",")  # references are separated by commas
    named = {ref for word in (*before, done) for ref in word.split(",")}
    return [f"{done}{comma}{ref}" for ref in _models() if ref not in named]


def _for_config(before: Sequence[str], token: str) -> Iterable[str]:
    if not before:
        from nbllm.settings import SETTINGS  # noqa: PLC0415

        return [*SETTINGS, *config.VERBS]
    if token.startswith("-"):
        return config.parser(before[0]).option_names()
    return _presets() if before == ["preset"] else ()


def _for_replay(before: Sequence[str], token: str) -> Iterable[str]:
    if not before:
        return replay.VERBS
    return replay.parser(before[0]).option_names() if token.startswith("-") and before[0] in replay.VERBS else ()


def _for_providers(before: Sequence[str], token: str) -> Iterable[str]:
    if not before:
        return list(providers.VERBS)
    verb = before[0]
    if before[-1] == "--store":
        return providers.STORES
    if token.startswith("-") and verb in providers.VERBS:
        return providers.parser(verb).option_names()
    if verb in _PROVIDER_VERBS and not before[-1].startswith("--"):
        return _known(lambda w: w.registry.ids())
    return _models() if verb == "use" else ()


def _for_models(before: Sequence[str], token: str) -> Iterable[str]:
    verb = before[0] if before and before[0] in models.VERBS else ""
    last = before[-1] if before else ""
    if last in _MODEL_VALUES:
        return _MODEL_VALUES[last]()
    if token.startswith("-"):
        return models.parser(verb).option_names()
    if verb == "alias" and len(before) == 1:
        return _known(lambda w: w.marks.read().aliases)
    if verb == "group" and len(before) == 1:
        return _groups()
    if verb in ("", "recommend"):
        return () if before else [*models.VERBS, *_listed()]
    return _listed()


# ---------------------------------------------------------------- what is known


def _listed() -> Iterable[str]:
    return _known(lambda w: [*w.registry.aliases(), *w.catalogue().known_refs()])


def _groups() -> Iterable[str]:
    return _known(lambda w: w.marks.read().groups)


def _columns() -> Iterable[str]:
    from nbllm.catalog.wanted import SORTS  # noqa: PLC0415  (not before a Tab)

    return [*SORTS, *(f"-{column}" for column in SORTS)]


_MODEL_VALUES: Mapping[str, Callable[[], Iterable[str]]] = {
    "--provider": lambda: _known(lambda w: w.registry.ids()),
    "--group": _groups,
    "--sort": _columns,
    "--for": lambda: models.AIMS,
}


def _models() -> Iterable[str]:
    return _known(lambda w: [*w.overview.known_refs(), *w.registry.aliases()])


def _presets() -> Iterable[str]:
    return _known(lambda w: list(w.presets()))


def _conversations() -> Iterable[str]:
    return _known(lambda w: w.conversations.names())


def _variables() -> Iterable[str]:
    return [name for name in get_ipython().user_ns if not name.startswith("_")]


_VALUES: Mapping[str, Callable[[], Iterable[str]]] = {
    "-m": _models,
    "--model": _models,
    "-c": _conversations,
    "--conversation": _conversations,
    "--preset": _presets,
    "-a": _variables,
    "--attach": _variables,
    "--tool": _variables,
    "--schema": _variables,
    "-o": _variables,
    "--out": _variables,
}


def _comparisons() -> Iterable[str]:
    return _known(lambda w: w.comparisons.names())


_SCORERS = ("exact:", "contains:", "regex:", "numeric:", "json:")

_COMPARE_VALUES: Mapping[str, Callable[[], Iterable[str]]] = {
    "--judge": _models,
    "--data": _variables,
    "--score": lambda: [*_SCORERS, *_variables()],
    "--name": _comparisons,
    "--engine": lambda: compare.ENGINES,
    "--cluster": _variables,
    "-o": _variables,
    "--out": _variables,
}


def _known(ask: Callable[[Workspace], Iterable[str]]) -> Iterable[str]:
    global last_problem
    last_problem = None
    try:
        return list(ask(workspace()))
    except Exception as exc:  # noqa: BLE001  (a Tab never fails; what it hit is kept for those who look into it)
        last_problem = f"{type(exc).__name__}: {exc}"
        return ()
    finally:
        started()


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
