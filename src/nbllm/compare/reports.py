"""A comparison as files: CSV, JSON lines, Parquet, and a web page that stands by itself.

Each is written whole or not at all, in UTF-8. A text survives as it is, with two exceptions, both spelt out: a half
surrogate anywhere, and in CSV the character NUL, at which readers stop.
"""

from __future__ import annotations

import html
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbllm.compare.cells import Arm, Case, Row
from nbllm.compare.frames import arrow_frame, columns_of, json_value, to_columns, without_halves
from nbllm.compare.layout import lay_out
from nbllm.compare.page import answers_html, counts, notes_html, stray_notes, style, summary_html
from nbllm.errors import ExportError
from nbllm.files import write_atomic
from nbllm.foreign import escape

PAGE_REST = "the files of `to_csv` and `to_jsonl` have all of them"
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet may run. https://owasp.org/www-community/attacks/CSV_Injection"""
_NEEDS_QUOTES = (",", '"', "\n", "\r")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"
"""The page may load nothing and run nothing, whatever came into it."""


def to_csv(path: str | Path, rows: Sequence[Row], scorers: Sequence[str] = (), *, safe: bool = False) -> Path:
    """Write the cells as CSV: a header, commas, lines that end in a line feed.

    What is unknown is empty, an empty text is `""`. `vars` and `params` are JSON.

    Args:
        path: The file; one that is there is replaced.
        rows: The cells.
        scorers: Columns of `rows` that hold scores.
        safe: Put `'` before texts that a spreadsheet would take for a formula. For people who open the file there;
            a program that reads it back gets texts that are not quite the model's.

    Raises:
        ExportError: The file cannot be written.
    """
    columns = to_columns(rows, scorers)
    field = _safe_field if safe else _field
    lines = [",".join(map(field, columns))]
    lines += [",".join(map(field, values)) for values in zip(*columns.values(), strict=True)]
    return write_report(path, "\n".join(lines) + "\n")


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)  # `true` is what every reader knows


def _quoted(text: str) -> str:
    if "\0" in text:
        text = text.replace("\0", "<U+0000>")
    # Quoted when it could be taken for something else: for nothing, or for white space that readers cut.
    if not text or any(c in text for c in _NEEDS_QUOTES) or text[0].isspace() or text[-1].isspace():
        return '"' + text.replace('"', '""') + '"'
    return text


def _safe_field(value: Any) -> str:
    return _field("'" + value if isinstance(value, str) and value.startswith(_FORMULAS) else value)


def to_jsonl(path: str | Path, rows: Sequence[Row], scorers: Sequence[str] = ()) -> Path:
    """Write the cells as JSON lines: an object each, `vars` and `params` as objects in it, null for what is unknown.

    Raises:
        ExportError: The file cannot be written.
    """
    names = columns_of(rows, scorers)
    lines = (json.dumps({n: json_value(row.get(n)) for n in names}, ensure_ascii=False) for row in rows)
    return write_report(path, "".join(without_halves(line) + "\n" for line in lines))


def to_parquet(path: str | Path, rows: Sequence[Row], scorers: Sequence[str] = ()) -> Path:
    """Write the cells as Parquet, with the columns and types of `frames.to_frame_rows`, by pyarrow or else polars.

    Raises:
        ExportError: The file cannot be written.
        UnsupportedError: Neither pyarrow nor polars is installed.
    """
    frame, file = arrow_frame(rows, scorers), io.BytesIO()
    if hasattr(frame, "write_parquet"):  # polars
        frame.write_parquet(file)
    else:
        import pyarrow.parquet as pq  # noqa: PLC0415  (optional, and heavy)

        pq.write_table(frame, file)
    return write_report(path, file.getvalue())


def to_html(
    path: str | Path, rows: Sequence[Row], arms: Sequence[Arm], cases: Sequence[Case] = (), **parts: Any
) -> Path:
    """Write the comparison as a web page that stands by itself; the arguments are those of `standalone_html`.

    Raises:
        ExportError: The file cannot be written.
    """
    return write_report(path, standalone_html(rows, arms, cases, **parts))


def standalone_html(
    rows: Sequence[Row],
    arms: Sequence[Arm],
    cases: Sequence[Case] = (),
    *,
    scorers: Sequence[str] = (),
    summary: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
    title: str = "Comparison",
    pictures: Sequence[str] = (),
    manifest: Mapping[str, Any] | None = None,
    differences: bool = False,
    limit: int | None = None,
    rest: str = PAGE_REST,
) -> str:
    """A whole page: results, pictures, every answer in full, and how it was made. It loads nothing and runs nothing.

    Args:
        rows: The cells.
        arms: The columns, in order.
        cases: The prompts, in order.
        scorers: Columns of `rows` that hold scores.
        summary: The rows of `Comparison.summary()`.
        notes: Sentences to show above the answers.
        title: What the comparison is called.
        pictures: SVG elements of our own making, which go in as they are.
        manifest: What `manifest.manifest` gives, shown folded at the end.
        differences: Show the answers of all arms but the first as what differs from the first.
        limit: Prompts that are shown at most; None: all.
        rest: How to see what was left out.
    """
    layout = lay_out(rows, arms, cases)
    parts = (
        f'<h1 class="nbc-title"><strong>{escape(title)}</strong></h1>',
        f'<p class="nbc-counts">{escape(counts(layout), 400)}</p>',
        summary_html(summary, arms),
        notes_html([*notes, *stray_notes(layout)]),
        *(f"<figure>{picture}</figure>" for picture in pictures),
        answers_html(layout, scorers, differences=differences, limit=limit, rest=rest, text_cap=None),
        _manifest_html(manifest),
    )
    inner = "\n".join(filter(None, parts))
    return without_halves("".join(_frame(title, inner)))


def _frame(title: str, inner: str) -> Iterator[str]:
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield '<meta name="color-scheme" content="light dark">\n<meta name="generator" content="nbllm">\n'
    yield f"<title>{escape(title)}</title>\n{style()}\n</head>\n"
    yield f'<body class="nbc-page">\n<main class="nbllm-compare">\n{inner}\n</main>\n</body>\n</html>\n'


def _manifest_html(manifest: Mapping[str, Any] | None) -> str:
    if manifest is None:
        return ""
    text = html.escape(json.dumps(json_value(manifest), indent=2, ensure_ascii=False), quote=True)
    folded = f'<summary>How it was made</summary><pre class="nbc-words nbc-code">{text}</pre>'
    return f'<details class="nbc-manifest">{folded}</details>'


def write_report(path: str | Path, content: str | bytes) -> Path:
    """Write a file whole or not at all; an older one keeps its mode, a new one is its owner's alone.

    Raises:
        ExportError: It cannot be written; nothing was changed.
    """
    target = Path(path).expanduser()
    try:
        write_atomic(target, content, mode=None)
    except (OSError, UnicodeEncodeError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ExportError(f"{target} cannot be written: {reason}", hint="choose another file or folder") from exc
    return target
