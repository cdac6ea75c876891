"""Words for what a connection test finds: what failed, why, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from nbllm.connection.result import Fix
from nbllm.errors import (
    AuthenticationError,
    CredentialError,
    ModelNotFoundError,
    NbllmError,
    ProviderError,
    RateLimitError,
    RedirectError,
    RegistryError,
    UnreachableError,
)
from nbllm.foreign import one_line
from nbllm.providers.spec import ProviderConfig

_START = {
    "ollama": "is Ollama running? start it with `ollama serve`",
    "lmstudio": "is LM Studio's server running? start it with `lms server start`, or in its Developer tab",
    "llamacpp": "is the server running? start it with `llama-server -m FILE.gguf --port {port}`",
    "llamafile": "is the llamafile running? start it with `./NAME.llamafile --server --port {port}`",
    "vllm": "is vLLM running? start it with `vllm serve MODEL --port {port}`",
    "jan": "is Jan's server running? start it in Jan under Local API Server",
    "localai": "is LocalAI running? start it with `local-ai run`",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stage did not pass."""

    stage: str
    error: str
    hint: str | None
    fix: Fix | None = None
    retry_after_s: float | None = None


def from_error(exc: NbllmError, provider: ProviderConfig, *, stage: str, with_key: bool = True) -> Failure:
    """The failure for an error: its own words, and what more is known of this provider.

    Args:
        exc: What was raised.
        provider: Whose.
        stage: The stage under way.
        with_key: Whether a key was sent.
    """
    if isinstance(exc, UnreachableError):
        start = exc.phase == "connect" and not provider.gguf
        fix: Fix = "wait" if exc.phase == "timeout" else "url"
        return Failure(stage, exc.message, _start_hint(provider) if start else exc.hint or _LATER, fix)
    if isinstance(exc, AuthenticationError):
        return _refused(exc, provider, with_key=with_key)
    if isinstance(exc, CredentialError):
        return Failure("auth", exc.message, exc.hint or _give_key(provider), "key")
    if isinstance(exc, RateLimitError):
        wait = "later" if exc.retry_after_s is None else f"in {exc.retry_after_s:.0f} s"
        hint = f"the limit is reached, not the key refused: try again {wait}"
        return Failure(stage, exc.message, hint, "wait", exc.retry_after_s)
    fix_of: Fix | None = "url" if isinstance(exc, (RedirectError, RegistryError)) else None
    return Failure(stage, exc.message, exc.hint or _LATER, fix_of)


_LATER = "try again later"


def _give_key(provider: ProviderConfig, *, another: bool = False) -> str:
    return f"give {'another' if another else 'the'} key with `%llm_providers key {provider.id}`"


def _start_hint(provider: ProviderConfig) -> str:
    port = urlsplit(provider.base_url).port or "PORT"
    if provider.local:
        words = _START.get(provider.id) or _START.get(provider.kind) or "is the server running, and is the port right?"
        return words.format(port=port)
    return "is the server running, and are host and port of the base URL right?"


def _refused(exc: AuthenticationError, provider: ProviderConfig, *, with_key: bool) -> Failure:
    if not with_key:
        return Failure("auth", f"{provider.id} wants a key, and none was sent", _give_key(provider), "key")
    return Failure("auth", exc.message, exc.hint or _give_key(provider, another=True), "key")


def wrong_path(provider: ProviderConfig, exc: NbllmError, better: str | None) -> Failure:
    """Nothing that looks like a model server is at the base URL. `better`: where one answered instead."""
    if better is not None:
        return Failure(
            "models",
            f"{provider.id}: there is no model server at {one_line(provider.base_url)}, but there is at {better}",
            f"run `%llm_providers edit {provider.id} --base-url {better}`",
            "url",
        )
    if isinstance(exc, ModelNotFoundError):
        return Failure(
            "models",
            f"{provider.id} has no model listing at {one_line(provider.base_url)} ({exc.status})",
            "check the path of the base URL; if the server has no listing, test a model with --model",
            "url",
        )
    return Failure("models", exc.message, exc.hint or "check the base URL: is a model server there?", "url")


def is_wrong_path(exc: NbllmError) -> bool:
    """Whether the answer may come from a path that is not the listing's: 404, 405, a page, something else."""
    if isinstance(exc, (AuthenticationError, RedirectError, UnreachableError)) or not isinstance(exc, ProviderError):
        return False
    return exc.status is None or exc.status < 300 or exc.status in (400, 404, 405, 410)


def missing_model(failure: Failure, model: str, offered: Collection[str]) -> Failure:
    """The model is not there: name those that are close."""
    close = difflib.get_close_matches(model, offered, n=3)
    if not close:
        return failure
    hint = "did you mean " + ", ".join(one_line(c, 80) for c in close) + "?"
    return Failure(failure.stage, failure.error, hint, "model")


def not_in_listing(model: str, offered: Collection[str] | None) -> str:
    """A remark for a model that answered: is the answer proof that it exists?"""
    if not offered or model in offered:
        return ""
    # llama.cpp and others answer to any name (wire facts in docs/explanation/wire-formats.md).
    return "; the listing does not name it, and some servers answer to any name"
