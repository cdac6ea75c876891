"""What an exporter is: providers and models in the words of another tool's configuration file.

Pure text: no file is opened, no network asked, no key known. `exporters/update.py` brings bytes in and out around
`merge`. A third party adds a tool through the entry-point group `nbllm.exporters`: name = the tool, object = a class
without arguments that has the protocol `Exporter`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from nbllm.providers.spec import ModelInfo, ProviderConfig

Strategy = Literal["add", "update", "replace"]
"""What `merge` may change: `add` what is missing; `update` also fields that we own; `replace` also the model list."""

STRATEGIES: tuple[Strategy, ...] = ("add", "update", "replace")

PLACEHOLDER = "not-needed"
"""Stands for a key where none is needed, in tools that would send the key of OpenAI when no key is named."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One provider as a tool's configuration shall have it."""

    config: ProviderConfig
    """Its row. `headers` may be secret and are never exported."""
    models: tuple[ModelInfo, ...]
    """What is known to be offered, in the provider's order, of every type."""
    key_env: str | None
    """NAME of the variable that holds the key, never a value; None: it needs no key, or no variable is known."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What `merge` made. The lists name entries as the tool's users know them, in the order of the file."""

    text: str
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    """Entries of ours whose fields or models changed."""
    kept: tuple[str, ...] = ()
    """Entries of ours that were left as they are."""
    removed: tuple[str, ...] = ()
    """Entries of ours that went, with `replace`, because their model is no longer offered."""


@dataclass(frozen=True, slots=True)
class Places:
    """What decides where a tool keeps its file."""

    home: Path
    environ: Mapping[str, str]
    platform: str
    """As `sys.platform`: linux, darwin, win32."""

    @classmethod
    def here(cls, environ: Mapping[str, str] | None = None) -> Places:
        """This user on this machine."""
        environ = os.environ if environ is None else environ
        home = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME")
        return cls(Path(home) if home else Path.home(), environ, sys.platform)

    def folder(self, variable: str) -> Path | None:
        """The absolute folder that a variable names; None when it is not set, or relative, as XDG has it."""
        value = self.environ.get(variable)
        return Path(value) if value and Path(value).is_absolute() else None

    def config_home(self, name: str, *, windows: str = "APPDATA", xdg_everywhere: bool = True) -> Path:
        """The folder `name` where programs keep configuration: `XDG_CONFIG_HOME`, else the platform's own place.

        Args:
            name: The tool's folder.
            windows: The variable of the folder on Windows, `APPDATA` or `LOCALAPPDATA`.
            xdg_everywhere: Whether the tool heeds `XDG_CONFIG_HOME` on a Mac and on Windows too.
        """
        xdg = self.folder("XDG_CONFIG_HOME")
        if xdg and (xdg_everywhere or self.platform not in ("darwin", "win32")):
            return xdg / name
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support" / name
        if self.platform == "win32":
            fallback = self.home / "AppData" / ("Local" if windows == "LOCALAPPDATA" else "Roaming")
            return (self.folder(windows) or fallback) / name
        return self.home / ".config" / name


@runtime_checkable
class Exporter(Protocol):
    """One tool's configuration file."""

    tool: str
    """What `--tool` takes."""
    extension: str
    """Of the file, with its dot: `.yaml`."""
    legacy: str | None
    """Why the tool should not be begun with any more, and what to take instead; None: it is alive."""

    def refuses(self, provider: Exported) -> str | None:
        """Why this tool cannot have a provider, in a sentence for people; None: it can."""

    def render(self, providers: Sequence[Exported]) -> str:
        """A whole new file with the providers that are not refused. Ends with a line end."""

    def locate(self, places: Places) -> Path | None:
        """Where the tool looks for the file; None: only `--file` can say."""

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """The user's file with the providers in it. Its own result merged again does not change.

        Lines end with a line feed here; `exporters/update.py` restores others, a byte order mark and a missing
        final line end.

        Args:
            text: The file as it is; "" for one that is not there.
            providers: Refused ones are passed over.
            strategy: What may be changed. A key, comment or entry of the user's stays in any case.

        Raises:
            ExportError: The text cannot be read as the tool's file, or cannot be changed without harm to the rest.
        """

    def next_steps(self, providers: Sequence[Exported]) -> Sequence[str]:
        """What is left for the user to do, a sentence each; never a key."""
