"""Other tools' configuration files, written from the providers and models that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nbllm.exporters import exporter
from nbllm.exporters.base import Exported, Exporter
from nbllm.exporters.own_files import OwnFiles
from nbllm.files import write_atomic
from nbllm.foreign import one_line
from nbllm.tables import Table

_SHOWN_IDS = 12


class GeneratedTable(Table):
    """What `generate` wrote, a row a provider: `provider`, `file`, `reason`. Without a file there is a reason."""

    columns = ("provider", "file", "reason")

    def __init__(self, rows: Sequence[dict[str, Any]], *, ok: bool, steps: Sequence[str], note: str | None) -> None:
        super().__init__(rows, note=note)
        self.ok = ok
        """Whether something was written, and all that was asked for by name."""
        self.steps = tuple(steps)
        """What is left for the user to do, a sentence each."""

    @property
    def files(self) -> list[Path]:
        """What was written."""
        return [Path(row["file"]) for row in self.rows if row["file"]]


class ToolConfigs:
    """Configurations of other tools.

    Args:
        exported: Gives providers as tools shall have them, by their ids; all that are enabled for none.
        own: The files that the tools already have.
    """

    def __init__(self, exported: Callable[[Sequence[str]], Sequence[Exported]], own: OwnFiles) -> None:
        self._exported = exported
        self.own = own

    def generate(self, tool: str, provider_ids: Sequence[str] = (), *, out: Path | str = ".") -> GeneratedTable:
        """Write a file for each provider, `TOOL/models_ID.EXT`; one that is there is replaced as a whole.

        Args:
            tool: One of `nbllm.exporters.tools()`.
            provider_ids: None: all that are enabled, live or unverified, and have models that are known.
            out: The folder above `TOOL`; made when it is not there.

        Raises:
            UsageError: No such tool.
            UnknownProviderError: No such provider. Nothing was written.
        """
        writer = exporter(tool)
        named = list(dict.fromkeys(provider_ids))
        given = self._exported(named)
        if not named:
            given = [p for p in given if p.config.status in ("live", "unverified") and p.config.kind != "demo"]
        rows, written, unknown = [], [], []
        for provider in given:
            reason = writer.refuses(provider)
            if reason is None and not provider.models:
                unknown.append(provider.config.id)
                if not named:
                    continue
                reason = f"no model of it is known; `nbllm fetch {provider.config.id}` asks for them"
            if reason is None and writer.render([provider]) == writer.render([]):
                reason = f"none of its {len(provider.models)} models is one for {writer.tool}"
            files: list[str] = []
            if reason is None:
                files, reason = _write(writer, provider, Path(out) / writer.tool)
            if reason is None:
                written.append(provider)
            # A second file (aider has one) is a row of its own.
            named_files: list[str | None] = [*files] or [None]
            rows += [{"provider": provider.config.id, "file": f, "reason": reason} for f in named_files]
        ok = bool(written) and not any(row["reason"] for row in rows if named or row["file"])
        return GeneratedTable(
            rows, ok=ok, steps=_steps(writer, written), note=_without_models([] if named else unknown)
        )


def _write(writer: Exporter, provider: Exported, folder: Path) -> tuple[list[str], str | None]:
    """The files, and why the last of them could not be written."""
    done: list[str] = []
    for part in (writer, *getattr(writer, "companions", ())):
        path = folder / f"models_{provider.config.id}{part.extension}"
        try:
            write_atomic(path, part.render([provider]))
        except OSError as exc:
            return done, f"{path} could not be written: {one_line(exc.strerror or exc)}; what was there is as it was"
        done.append(str(path))
    return done, None


def _steps(writer: Exporter, written: Sequence[Exported]) -> list[str]:
    steps = writer.next_steps(written) if written else ()
    return [step for step in steps if step]


def _without_models(ids: Sequence[str]) -> str | None:
    if not ids:
        return None
    more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
    return f"no model is known of {', '.join(ids[:_SHOWN_IDS])}{more}; `nbllm fetch --all` or `nbllm fetch ID` asks"
