"""A key that does not show itself."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NoReturn, final

from nbllm.errors import CredentialError

_alive: dict[int, weakref.ref[Secret]] = {}


@final
class Secret:
    """Holds one key. It does not print, pickle, copy, compare in text, or turn into JSON.

    The text is kept as a closure so that neither `vars()` nor a traceback that shows local values finds it;
    `reveal` gives it out, and is called in two places: the authentication of a request, and the redaction that
    takes keys out of texts.

    Args:
        key: The text; blanks around it are dropped.
        source: Where it came from, for people: `environment (GROQ_API_KEY)`, `keyring`, `vault`, `session`.

    Raises:
        CredentialError: The text is empty, or has a space or a control character inside.
    """

    __slots__ = ("__weakref__", "_get", "source")

    _get: Callable[[], str]

    def __init__(self, key: str, *, source: str = "session") -> None:
        kept = key.strip()
        problem = _problem(kept)
        if problem is not None:
            del key, kept  # a traceback that shows local values must not find it here
            raise CredentialError(problem, hint="copy the key again, whole and alone")
        self._get = lambda: kept
        self.source = source
        number = id(self)
        _alive[number] = weakref.ref(self, lambda _: _alive.pop(number, None))

    def reveal(self) -> str:
        """The key itself."""
        return self._get()

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a key cannot be pickled or copied")

    def __copy__(self) -> NoReturn:
        raise TypeError("a key cannot be pickled or copied")

    def __deepcopy__(self, memo: Any) -> NoReturn:
        raise TypeError("a key cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a key cannot be pickled or copied")

    def __iter__(self) -> NoReturn:
        raise TypeError("a key cannot be listed")


def _problem(text: str) -> str | None:
    if not text:
        return "the key is empty"
    if any(c.isspace() or not c.isprintable() for c in text):
        return "the key has a space or a control character inside"
    return None


def alive() -> list[Secret]:
    """Every key that this process holds at the moment."""
    # `list` of a dict's values runs no Python code, so another thread cannot change the dict meanwhile.
    return [secret for ref in list(_alive.values()) if (secret := ref()) is not None]
