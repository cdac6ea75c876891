"""When a provider was tested last, and how that went; for the status table, which asks no network."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbllm.connection.result import STAGES, ConnectionCheck
from nbllm.errors import RegistryError
from nbllm.files import write_atomic
from nbllm.providers.spec import ProviderConfig
from nbllm.providers.urls import origin_of


@dataclass(frozen=True, slots=True)
class LastCheck:
    """The newest test of a provider."""

    ok: bool
    stage: str
    at: float
    """Seconds since 1970."""
    latency_ms: float
    error: str | None


class LastChecks:
    """One small file a provider, in `paths.cache_dir / "checks"`. Losing one loses nothing else."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def save(self, provider: ProviderConfig, check: ConnectionCheck) -> None:
        """Remember a test. A cache that cannot be written is no error."""
        content = {
            "place": _place(provider),
            "ok": check.ok,
            "stage": check.stage,
            "at": self._clock(),
            "latency_ms": check.latency_ms,
            "error": check.error,
        }
        with contextlib.suppress(OSError):
            write_atomic(self._folder / f"{provider.id}.json", json.dumps(content))

    def last(self, provider: ProviderConfig) -> LastCheck | None:
        """The newest test; None when there is none for the place that the row has now."""
        try:
            kept = json.loads((self._folder / f"{provider.id}.json").read_text(encoding="utf-8"))
            if kept["place"] != _place(provider) or kept["stage"] not in STAGES:
                return None
            error = None if kept["error"] is None else str(kept["error"])
            return LastCheck(bool(kept["ok"]), kept["stage"], float(kept["at"]), float(kept["latency_ms"]), error)
        except (OSError, ValueError, TypeError, KeyError, RegistryError):
            return None


def _place(provider: ProviderConfig) -> str:
    """What a test was of: the origin, or the model file, whose server is at another port each time."""
    if provider.gguf:
        return f"file {provider.gguf}"
    return origin_of(provider.base_url) if provider.base_url else ""
