"""Model lists as files for other programs: `nbllm fetch --format json,txt,toml,yaml [--layout dump-models]`.

One set of files a provider, `models_ID.EXT`, each replaced as a whole: a reader sees the old file or the new one, and
a provider that fails leaves its old files where they are.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from nbllm.adapters.listing import Listed
from nbllm.catalog import dump_models, metadata
from nbllm.catalog.knowledge import Knowledge
from nbllm.catalog.marks import Marked
from nbllm.catalog.table import row_of
from nbllm.catalog.wanted import COLUMNS
from nbllm.credentials.redaction import redact
from nbllm.errors import CredentialError, ExportError, NbllmError, OfflineError, UsageError
from nbllm.files import write_atomic
from nbllm.providers.spec import ModelInfo, ProviderConfig

FORMATS = ("json", "txt", "toml", "yaml")
LAYOUTS = ("plain", "dump-models")

Rows = Callable[[str, Sequence[ModelInfo]], Sequence[Mapping[str, Any]]]
"""A provider's id and its models to the rows that are written: the columns of `nbllm models --json`."""


class Fetched(Protocol):
    """What is read of a `FetchResult`."""

    @property
    def provider(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def error(self) -> NbllmError | None: ...
    @property
    def listed(self) -> Listed | None: ...
    @property
    def models(self) -> tuple[ModelInfo, ...]: ...


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one provider's files."""

    paths: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()
    """Sentences for people: rows that were left out."""


class Writer:
    """Writes what providers answered into one folder.

    Args:
        out_dir: The folder; made when something is written.
        layout: `plain`, or `dump-models`: exactly the files of the older script of that name.
        formats: Of `FORMATS`; empty: json in `plain`, all three in `dump-models`.
        provider: Gives the row of an id.
        rows: What is written of each model in `plain`; None: what the listing says of it.
        now: Local time; for the memory of failures in `dump-models`.

    Raises:
        UsageError: There is no such layout or format.
    """

    def __init__(
        self,
        out_dir: Path,
        layout: str = "plain",
        formats: Iterable[str] = (),
        *,
        provider: Callable[[str], ProviderConfig],
        rows: Rows | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.out_dir = out_dir
        self.layout = _known(layout, LAYOUTS, "layout")
        asked = tuple(dict.fromkeys(_known(f, FORMATS, "format") for f in formats))
        self.formats = asked or (dump_models.FORMATS if self.whole else ("json",))
        if self.whole and (odd := [f for f in asked if f not in dump_models.FORMATS]):
            raise UsageError(
                f"the layout dump-models has no {odd[0]}; it has {', '.join(dump_models.FORMATS)}",
                hint="leave --layout out for the other formats",
            )
        self._provider = provider
        self._rows = rows or rows_of_listing
        self._now = now
        self._events: list[dump_models.Event] = []

    @property
    def whole(self) -> bool:
        """Whether answers are needed as they came: a list from the cache, or "nothing is new", is not enough."""
        return self.layout == "dump-models"

    def needless(self, provider_id: str) -> str | None:
        """Why a provider need not be asked (unless forced): in `dump-models`, its files are there. None: ask it."""
        if self.whole and all(path.exists() for path in self._paths(provider_id)):
            return f"its files are in {self.out_dir}; --force writes them again"
        return None

    def by_hand(self, provider: ProviderConfig) -> str | None:
        """In `dump-models`: how to ask a provider by hand, as the script printed it. The key is its variable's name."""
        return dump_models.curl_line(provider, redact(provider.listing_url)) if self.whole else None

    def failed_ids(self) -> list[str]:
        """In `dump-models`: whose last attempt failed, as `failed_models.json` in the folder says."""
        return [id for id, e in self._memory().items() if isinstance(e, Mapping) and e.get("failed") is True]

    def write(self, result: Fetched) -> Written:
        """Write the files of one provider. What failed or was skipped leaves the old files.

        Raises:
            ExportError: A file cannot be written, and the one before stays; or there is nothing that could be.
        """
        if result.outcome == "failed":
            self._note_failure(result)
        if result.outcome in ("failed", "skipped"):
            return Written()
        if self.whole:
            return self._write_dump(result)
        rows = self._rows(result.provider, result.models)
        files = {path: _RENDER[path.suffix[1:]](rows) for path in self._paths(result.provider)}
        return Written(self._save(files))

    def finish(self) -> Path | None:
        """In `dump-models`: bring `failed_models.json` up to date, once all results are in or the run is given up.

        Raises:
            ExportError: It cannot be written.
        """
        events, self._events = self._events, []
        before = self._memory()
        after = dump_models.remembered(before, events)
        if after == before:
            return None
        path = self.out_dir / dump_models.FAILED_FILE
        return self._save({path: json.dumps(after, indent=2).encode()})[0]

    def _write_dump(self, result: Fetched) -> Written:
        listed = result.listed or Listed(())
        made = dump_models.dump(self._provider(result.provider), listed)
        wanted = {path.name for path in self._paths(result.provider)} | {dump_models.CHUTES_FILE}
        paths = self._save({self.out_dir / n: content for n, content in made.files.items() if n in wanted})
        self._events.append(dump_models.Event(result.provider, None, listed.date or ""))
        return Written(paths, made.refused)

    def _note_failure(self, result: Fetched) -> None:
        if not self.whole or result.error is None or isinstance(result.error, CredentialError | OfflineError):
            return  # a missing key is no failure there
        url = redact(self._provider(result.provider).listing_url)
        text = redact(dump_models.error_text(result.error, url))
        self._events.append(dump_models.Event(result.provider, text, at=self._now()))

    def _memory(self) -> dict[str, Any]:
        try:
            content = json.loads((self.out_dir / dump_models.FAILED_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def _paths(self, provider_id: str) -> list[Path]:
        # Ids are plain words; one that is not, from elsewhere, still names a file in this folder and no other.
        return [self.out_dir / f"models_{quote(provider_id, safe='')}.{format}" for format in self.formats]

    def _save(self, files: Mapping[Path, bytes]) -> tuple[Path, ...]:
        for path, content in files.items():
            try:
                write_atomic(path, content)
            except OSError as exc:
                raise ExportError(
                    f"cannot write {path}: {exc.strerror or exc}; what stood there stays",
                    hint="name another folder with --out",
                ) from exc
        return tuple(files)


def _known(word: str, words: Sequence[str], what: str) -> str:
    if word in words:
        return word
    close = difflib.get_close_matches(word.lower(), words, n=3)
    raise UsageError(f"there is no {what} {word!r}", hint=f"{what}s: {', '.join(close or words)}")


# ---------------------------------------------------------------- plain files


def rows_of_listing(provider_id: str, models: Sequence[ModelInfo]) -> list[dict[str, Any]]:
    """What a listing says of its models, in its order; nothing is marked."""
    return [row_of(m, Marked(), favourites=(), usable="") for m in models]


def rows_of_catalogue(provider: Callable[[str], ProviderConfig], marked: Marked, knowledge: Knowledge) -> Rows:
    """As `rows_of_listing`, with the user's marks, and what models.dev and genai-prices know beyond the listing."""
    favourites = frozenset(marked.favourites)

    def rows(provider_id: str, models: Sequence[ModelInfo]) -> list[dict[str, Any]]:
        known = metadata.enriched(provider(provider_id), models, knowledge)
        return [row_of(m, marked, favourites=favourites, usable="") for m in known]

    return rows


def _ordered(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f: _plain(row.get(f)) for f in COLUMNS}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(sorted(value.items()))
    return list(value) if isinstance(value, tuple) else value


def _json(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return (json.dumps([_ordered(r) for r in rows], indent=1, ensure_ascii=False) + "\n").encode(errors="replace")


def _txt(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """An id a line; an id with a line end in it takes one line all the same."""
    return "".join(f"{' '.join(str(r['id']).splitlines())}\n" for r in rows).encode(errors="replace")


def _toml(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """`[[models]]` tables; what is not known is left out, since TOML has no null."""
    import tomli_w  # noqa: PLC0415  (only this format and the dump-models layout need it)

    tables = [{k: v for k, v in _ordered(r).items() if v is not None} for r in rows]
    return tomli_w.dumps({"models": tables}).encode(errors="replace")


def _yaml(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A list of mappings. Values are written as JSON, which YAML 1.2 contains: no word is taken for a boolean.

    A round-trip library takes five seconds for the longest known listing (6,504 rows), this a twentieth of one.
    """
    if not rows:
        return b"[]\n"
    lines = []
    for row in rows:
        for number, (name, value) in enumerate(_ordered(row).items()):
            lines.append(f"{'- ' if number == 0 else '  '}{name}: {_scalar(value)}\n")
    return "".join(lines).encode()


# What YAML does not allow unescaped, or older readers take for a line end.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_EXPONENT = re.compile(r"(?<![.\d])(\d+)e([+-]\d+)")


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return _EXPONENT.sub(r"\1.0e\2", text)  # readers of YAML 1.1 take 1e-05 for a word
    return _UNPRINTABLE.sub(lambda m: f"\\u{ord(m[0]):04X}", text)


_RENDER: Mapping[str, Callable[[Sequence[Mapping[str, Any]]], bytes]] = {
    "json": _json,
    "txt": _txt,
    "toml": _toml,
    "yaml": _yaml,
}
