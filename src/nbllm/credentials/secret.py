"""A key that does not show itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


class Secret:
    """Holds one key. It does not print, pickle, copy, compare in text, or turn into JSON.

    The text is kept as a closure so that neither `vars()` nor a traceback that shows local values finds it;
    `reveal` gives it out, and is called in one place: the authentication of a request.
    """

    __slots__ = ("_get", "source")

    def __init__(self, key: str, *, source: str = "session") -> None:
        kept = key.strip()
        if not kept:
            raise ValueError("the key is empty")
        if any(c.isspace() or not c.isprintable() for c in kept):
            raise ValueError("the key has a space or a control character inside")
        self._get: Callable[[], str] = lambda: kept
        self.source = source
        """Where it came from, for people: `environment (GROQ_API_KEY)`, `keyring`, `vault`, `session`."""

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
