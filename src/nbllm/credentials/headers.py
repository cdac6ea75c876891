"""The user's own headers may be secrets: while they count, no message and no log shows their values."""

from __future__ import annotations

from nbllm.credentials.secret import Secret
from nbllm.providers.rows import bundled_rows
from nbllm.providers.spec import ProviderConfig

SHORTEST = 8
"""Characters from which a value is taken for a secret; a shorter one would eat into words."""


class KnownHeaders:
    """Holds the values as secrets, which is how the redaction knows of them."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Secret, ...]] = {}

    def learn(self, provider: ProviderConfig) -> None:
        """Know the row's headers, and forget those that it had before. Those that come with nbllm are no secrets."""
        given = bundled_rows().get(provider.id, {}).get("headers", {})
        own = [value for name, value in provider.headers.items() if given.get(name) != value]
        parts = [part for value in own for part in value.split() if len(part) >= SHORTEST and part.isprintable()]
        if [secret.reveal() for secret in self._kept.get(provider.id, ())] != parts:
            self._kept[provider.id] = tuple(Secret(part, source="header") for part in parts)
