"""A keyring that encrypts, as far as nbllm can tell: it keeps everything in memory. For use inside a kernel."""

from __future__ import annotations

from nbllm.credentials import keyring_store


class Fake:
    """What nbllm asks of a backend."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        return self._kept.get((service, name))

    def set_password(self, service: str, name: str, password: str) -> None:
        self._kept[service, name] = password

    def delete_password(self, service: str, name: str) -> None:
        del self._kept[service, name]


def plug_in() -> None:
    """Have nbllm find it."""
    fake = Fake()
    keyring_store._real_backend = lambda: fake  # type: ignore[assignment]
