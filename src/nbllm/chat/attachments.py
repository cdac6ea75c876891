"""From a path or a Python object to a part of a message.

Pictures and PDFs travel as their bytes; tables, dictionaries and text as text files. What a given wire format or
model cannot take is refused by its adapter; what no model takes is refused here.
"""

from __future__ import annotations

import io
import json
import mimetypes
import stat
from pathlib import Path
from typing import Any

from nbllm.errors import PromptError
from nbllm.messages import File, Image

DEFAULT_CAP_BYTES = 20_000_000

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Pictures that the providers' documentation agrees on."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


def attach(value: Any, *, name: str | None = None, cap_bytes: float = DEFAULT_CAP_BYTES) -> Image | File:
    """Make an attachment.

    Args:
        value: A path (`Path`, or a str that names one), bytes, a figure with `savefig`, a picture with `save`
            (Pillow), a DataFrame (pandas or polars), a dict or a list. An `Image` or `File` passes as it is.
        name: What to call it; by default the file's or the variable's name.
        cap_bytes: Refuse what is larger.

    Raises:
        PromptError: Missing, too large, empty, or of a kind that no model takes.
    """
    if isinstance(value, (Image, File)):
        return value
    data, label, media_type = _bytes_of(value, name, cap_bytes)
    # The file's name, or the variable's with an ending that says what it is. Not every file's name is UTF-8.
    shown = label.encode(errors="replace").decode()
    if len(data) > cap_bytes:
        raise _too_large(shown, len(data), cap_bytes)
    if not data:
        raise PromptError(f"the attachment {shown} is empty", hint="leave it out, or check the path or the variable")
    media_type = _media_type(data, shown, media_type)
    return Image(data, media_type, shown) if media_type in IMAGE_TYPES else File(data, media_type, shown)


def _too_large(name: str, size: float, cap_bytes: float) -> PromptError:
    return PromptError(
        f"the attachment {name} is too large: {size / 1e6:.1f} MB, and at most {cap_bytes / 1e6:g} MB are sent",
        hint="attach a smaller file, or raise the limit with `%llm_config attachment_mb N`",
    )


def _bytes_of(value: Any, name: str | None, cap_bytes: float) -> tuple[bytes, str, str | None]:
    """The bytes, a name, and the media type if it is known for sure."""
    if isinstance(value, (str, Path)):
        return _read(Path(value).expanduser(), cap_bytes)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value), name or "attachment", None
    if hasattr(value, "savefig") or hasattr(getattr(value, "figure", None), "savefig"):
        return _figure(value), f"{name or 'figure'}.png", "image/png"
    if hasattr(value, "save") and hasattr(value, "mode") and hasattr(value, "size"):
        return _picture(value), f"{name or 'picture'}.png", "image/png"
    if hasattr(value, "to_csv"):  # pandas
        return value.to_csv(index=True).encode(), f"{name or 'table'}.csv", "text/csv"
    if hasattr(value, "write_csv"):  # polars
        return value.write_csv().encode(), f"{name or 'table'}.csv", "text/csv"
    if isinstance(value, (dict, list, tuple)):
        return _json(value, name), f"{name or 'data'}.json", "application/json"
    raise PromptError(
        f"cannot attach {name or 'a value'} of type {type(value).__name__}",
        hint="attach a path, a figure, a picture, a DataFrame, a dict, a list, or bytes",
    )


def _read(path: Path, cap_bytes: float) -> tuple[bytes, str, None]:
    try:
        facts = path.stat()
        if facts.st_size > cap_bytes:  # before reading: it may be a disk image
            raise _too_large(path.name, facts.st_size, cap_bytes)
        if not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):  # a pipe or a device may never end
            raise PromptError(
                f"cannot read the attachment {path}: it is not a file", hint="attach a file with an end, or a variable"
            )
        return path.read_bytes(), path.name, None
    except FileNotFoundError:
        raise PromptError(
            f"there is no file {path}, and no variable of that name",
            hint="a path is taken from the folder of the notebook",
        ) from None
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        why = getattr(exc, "strerror", None) or exc
        raise PromptError(
            f"cannot read the attachment {path}: {why}", hint="check the path, and that you may read it"
        ) from exc


def _figure(value: Any) -> bytes:
    figure = value if hasattr(value, "savefig") else value.figure
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def _picture(value: Any) -> bytes:
    buffer = io.BytesIO()
    value.save(buffer, format="PNG")
    return buffer.getvalue()


def _json(value: Any, name: str | None) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, indent=1, default=str).encode()
    except (TypeError, ValueError) as exc:
        raise PromptError(
            f"cannot attach {name or 'the value'}: {exc}", hint="attach what JSON has, or a text made of it"
        ) from exc


def _media_type(data: bytes, name: str, known: str | None) -> str:
    if known is not None:
        return known
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        guessed = mimetypes.guess_type(name)[0] or "unknown"
        raise PromptError(
            f"the attachment {name} is of a kind that models do not take ({guessed})",
            hint="pictures (png, jpeg, gif, webp), PDF and UTF-8 text can be attached",
        ) from None
    guessed = mimetypes.guess_type(name)[0] or "text/plain"
    return guessed if guessed.startswith("text/") or guessed == "application/json" else "text/plain"
