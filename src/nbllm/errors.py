"""Everything that nbllm raises on purpose.

    NbllmError                      message, hint
    ├── SettingsError               file, line, key
    ├── RegistryError               UnknownProviderError, UnknownModelError (suggestions)
    ├── CredentialError             MissingKeyError (provider, env), LockedStoreError
    ├── ProviderError               provider, status, request_id, retry_after_s, retryable, attempts, body
    │   ├── AuthenticationError     401, 403, and keys refused behind a 400
    │   ├── QuotaError              402, credit used up (also when it comes as 429)
    │   ├── ModelNotFoundError      404
    │   ├── RateLimitError          429
    │   ├── BadRequestError         400, 413, 422
    │   │   ├── ContextLengthError
    │   │   ├── ContentFilterError
    │   │   └── UnsupportedError
    │   ├── ServerError             5xx
    │   │   └── OverloadedError     529
    │   ├── RedirectError           3xx; location: the new origin
    │   └── UnreachableError        no answer; phase: dns, connect, tls, closed, timeout
    ├── StreamBrokenError           the stream ended without saying so; partial
    ├── SchemaMismatchError         the answer did not fit the schema; reply, problems
    ├── UsageError                  a magic or command was called with words that do not fit
    ├── PromptError                 what was asked cannot be sent: empty, a bad {{expression}}, a bad attachment
    ├── BudgetError
    ├── ReplayMissError
    ├── OfflineError
    ├── StoreError                  UnknownConversationError (suggestions)
    └── ExportError

An error is one line of what happened and to whom (`message`) and one of what to do next (`hint`);
`str(error)` joins the two. Facts are attributes. No error carries a key, a request, or a response:
`body` is an excerpt from which secrets were removed before it came here.
Standard library only, so that every layer can raise these.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "BudgetError",
    "ContentFilterError",
    "ContextLengthError",
    "CredentialError",
    "ExportError",
    "LockedStoreError",
    "MissingKeyError",
    "ModelNotFoundError",
    "NbllmError",
    "OfflineError",
    "OverloadedError",
    "PromptError",
    "ProviderError",
    "QuotaError",
    "RateLimitError",
    "RedirectError",
    "RegistryError",
    "ReplayMissError",
    "SchemaMismatchError",
    "ServerError",
    "SettingsError",
    "StoreError",
    "StreamBrokenError",
    "UnknownConversationError",
    "UnknownModelError",
    "UnknownProviderError",
    "UnreachableError",
    "UnsupportedError",
    "UsageError",
]


_debug: Callable[[], bool] | None = None


def debug_when(ask: Callable[[], bool] | None) -> None:
    """Have errors shown with their whole traceback whenever `ask` says so: the setting `debug` of a workspace."""
    global _debug
    _debug = ask


def tracebacks_wanted() -> bool:
    """Whether errors are shown with their whole traceback: `NBLLM_DEBUG=1`, or the setting `debug`."""
    if os.environ.get("NBLLM_DEBUG") == "1":
        return True
    try:
        return _debug is not None and _debug()
    except NbllmError:  # the settings cannot be read, which is told where they are used
        return False


class NbllmError(Exception):
    """Base of all errors of nbllm.

    Args:
        message: What happened, and to whom. One line, no full stop, no key.
        hint: What to do next. One line, or None when there is nothing sensible to say.
    """

    message: str
    hint: str | None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = _one_line(message)
        self.hint = _one_line(hint) if hint else None

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only facts do not survive the default `cls(*args)`.
        return _restore, (type(self), self.__dict__.copy())

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback; the hook is IPython's, the import is not needed."""
        if tracebacks_wanted():
            return traceback.format_exception(self)
        return [self.describe()]

    def describe(self) -> str:
        """Class and message, and the hint on a second line: what a person is shown."""
        first = f"{type(self).__name__}: {self.message}"
        return f"{first}\n  hint: {self.hint}" if self.hint else first


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _restore(cls: type[NbllmError], state: dict[str, Any]) -> NbllmError:
    error = cls.__new__(cls, state.get("message", ""))
    error.__dict__.update(state)
    error.args = (state.get("message", ""),)
    return error


class SettingsError(NbllmError):
    """A setting or the file it stands in cannot be used.

    Attributes: `file` (path), `line` (from 1), `key` (dotted name); each None when it does not apply.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.file, self.line, self.key = file, line, key


class RegistryError(NbllmError):
    """A provider or model is unknown, or a provider's row cannot be used."""

    def __init__(self, message: str, *, hint: str | None = None, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.suggestions = tuple(suggestions)


class UnknownProviderError(RegistryError):
    """No provider has this id. `suggestions`: the closest ids, best first, at most three."""


class UnknownModelError(RegistryError):
    """A bare model id that no configured provider, or more than one, offers."""


class CredentialError(NbllmError):
    """A key is missing, cannot be read, or cannot be kept where it was asked to be."""

    def __init__(self, message: str, *, hint: str | None = None, provider: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider


class MissingKeyError(CredentialError):
    """The provider wants a key and no source has one. `env`: the variables that were looked at."""

    def __init__(
        self, message: str, *, hint: str | None = None, provider: str | None = None, env: Sequence[str] = ()
    ) -> None:
        super().__init__(message, hint=hint, provider=provider)
        self.env = tuple(env)


class LockedStoreError(CredentialError):
    """The keyring or the vault is there but locked, or the passphrase does not fit."""


class ProviderError(NbllmError):
    """The provider answered with an error, or not at all.

    Attributes:
        provider: The provider's id.
        status: HTTP status; None when there was no answer.
        request_id: The provider's own id of the request, for its support; None when it sent none.
        retry_after_s: Seconds the provider asked to wait; None when it did not.
        retryable: Whether the same request may succeed later.
        attempts: How often the request was sent.
        body: Redacted excerpt of the answer; None for 401 and 403, whose text echoes keys.
    """

    retryable_by_default = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        provider: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        retryable: bool | None = None,
        attempts: int = 1,
        body: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.attempts = attempts
        self.body = body


class AuthenticationError(ProviderError):
    """The key was refused."""


class QuotaError(ProviderError):
    """The account has no credit left; waiting does not help."""


class ModelNotFoundError(ProviderError):
    """The provider does not offer this model, or the path does not exist there."""


class RateLimitError(ProviderError):
    """Too many requests or tokens in a short time."""

    retryable_by_default = True


class BadRequestError(ProviderError):
    """The provider understood the request and refuses it."""


class ContextLengthError(BadRequestError):
    """The prompt and the answer do not fit into the model's context window."""


class ContentFilterError(BadRequestError):
    """The provider's content filter refused the prompt or the answer."""


class UnsupportedError(BadRequestError):
    """The model or server cannot do what was asked: a parameter, images, tools, a schema."""


class ServerError(ProviderError):
    """The provider failed, not the request."""

    retryable_by_default = True


class OverloadedError(ServerError):
    """The provider has no capacity at the moment (529 and its kin)."""


class RedirectError(ProviderError):
    """The provider points to another address. nbllm does not follow, since the key would go along.

    Attributes: `location`: the new address, without query and userinfo; None when none was given.
    """

    def __init__(self, message: str, *, location: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.location = location


class UnreachableError(ProviderError):
    """There was no answer. `phase`: dns, connect, tls, closed (before an answer), or timeout."""

    retryable_by_default = True

    def __init__(self, message: str, *, phase: str, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.phase = phase


class StreamBrokenError(NbllmError):
    """The stream ended without saying that the answer is complete.

    Attributes: `partial`: the text that had arrived; it also stays on the screen and in the store.
    """

    def __init__(
        self, message: str, *, partial: str = "", hint: str | None = None, provider: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.partial = partial
        self.provider = provider


class SchemaMismatchError(NbllmError):
    """The answer did not fit the schema, also after one turn of repair.

    Attributes: `reply`: the last `Reply`; `problems`: what does not fit, one line each.
    """

    def __init__(
        self, message: str, *, reply: Any = None, problems: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.reply = reply
        self.problems = tuple(problems)


class UsageError(NbllmError):
    """A magic or a command was called with words that do not fit; nothing was done."""


class PromptError(NbllmError):
    """What was asked cannot be sent as it stands: nothing was sent and nothing was changed."""


class BudgetError(NbllmError):
    """The next request could cost more than is left of the budget."""


class ReplayMissError(NbllmError):
    """The recording has no answer to this request; the message names the nearest one and the first difference."""


class OfflineError(NbllmError):
    """`NBLLM_OFFLINE` is set and the request would leave this machine."""


class StoreError(NbllmError):
    """The store cannot be read or written."""


class UnknownConversationError(StoreError):
    """No conversation has this name. `suggestions`: the closest names."""

    def __init__(self, message: str, *, hint: str | None = None, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.suggestions = tuple(suggestions)


class ExportError(NbllmError):
    """A file cannot be written or read in the format asked for."""
