"""Where nbllm keeps its files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders and files of one user. Nothing is created until something is written."""

    config_dir: Path
    data_dir: Path
    cache_dir: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Paths:
        """`NBLLM_HOME` when it is set, else the platform's own folders for config, data and cache."""
        environ = os.environ if environ is None else environ
        if home := environ.get("NBLLM_HOME"):
            root = Path(home).expanduser()
            return cls(config_dir=root, data_dir=root, cache_dir=root / "cache")
        import platformdirs  # noqa: PLC0415  (not needed when NBLLM_HOME is set)

        return cls(
            config_dir=Path(platformdirs.user_config_dir("nbllm", appauthor=False)),
            data_dir=Path(platformdirs.user_data_dir("nbllm", appauthor=False)),
            cache_dir=Path(platformdirs.user_cache_dir("nbllm", appauthor=False)),
        )

    @property
    def config_file(self) -> Path:
        """Settings, providers and presets of the user; never a key."""
        return self.config_dir / "config.toml"

    @property
    def database(self) -> Path:
        """The SQLite store, unless `NBLLM_DATABASE_URL` names another."""
        return self.data_dir / "nbllm.db"

    @property
    def vault(self) -> Path:
        """The encrypted vault."""
        return self.data_dir / "vault.json"

    @property
    def backups(self) -> Path:
        """Earlier versions of files that nbllm changed."""
        return self.data_dir / "backups"
