"""A file of the user's as text, and back to bytes with everything that text does not carry.

Editors of TOML, YAML and JSON work on text with plain line feeds. The byte order mark, the line ends, a missing final
newline belong to the user, so they are taken off here and put back when the new text is written.
"""

from __future__ import annotations

import difflib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from nbllm.errors import ExportError
from nbllm.foreign import one_line

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file as it was found."""

    path: Path
    """As the user names it; may be a link."""
    raw: bytes | None = field(repr=False)  # it may hold keys
    """None: there is no file yet."""

    @classmethod
    def read(cls, path: Path) -> TextFile:
        """Read the file, through links.

        Raises:
            ExportError: It is no regular file, its links lead in a circle, or it cannot be read.
        """
        real = Path(os.path.realpath(path))
        try:
            if real.is_symlink():
                raise ExportError(
                    f"{path} is a link that leads to itself", hint="put that link right; nothing was done"
                )
            if not stat.S_ISREG(real.stat().st_mode):
                raise ExportError(f"{path} is not a file", hint="name a file with --file")
            return cls(path, real.read_bytes())
        except FileNotFoundError:
            return cls(path, None)
        except OSError as exc:
            raise unusable(path, exc, "read") from exc

    @property
    def text(self) -> str:
        """The content with line feeds only and without a byte order mark; "" when there is no file.

        Raises:
            ExportError: It is not UTF-8.
        """
        try:
            text = (self.raw or b"").removeprefix(_BOM).decode("utf-8")
        except UnicodeDecodeError as exc:
            raise ExportError(
                f"it is not UTF-8 (byte {exc.start})",
                hint="save it as UTF-8 and try again",
            ) from None
        return text.replace("\r\n", "\n")

    def bytes_of(self, text: str) -> bytes:
        """`text` as this file has it: its byte order mark, its line ends, its final newline or the lack of one."""
        old = self.text
        if text == old:
            return self.raw or b""
        if old and not old.endswith("\n"):
            text = text.removesuffix("\n")
        elif not text.endswith("\n"):
            text += "\n"
        bom = _BOM if (self.raw or b"").startswith(_BOM) else b""
        return bom + self._with_line_ends(text)

    def _with_line_ends(self, text: str) -> bytes:
        raw = self.raw or b""
        both, windows = raw.count(b"\n"), raw.count(b"\r\n")
        if windows == 0:
            return text.encode()
        if windows == both:
            return text.replace("\n", "\r\n").encode()
        return _mixed(raw.removeprefix(_BOM), text, b"\r\n" if windows * 2 > both else b"\n")


def _mixed(raw: bytes, text: str, usual: bytes) -> bytes:
    """Both kinds of line ends: a line that was there keeps its own, a new one gets the usual."""
    old = raw.split(b"\n")
    bare, new = [line.removesuffix(b"\r") for line in old], text.encode().split(b"\n")
    lines: list[bytes] = []
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, bare, new, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += [line + b"\n" for line in old[i1:i2]]
        else:
            lines += [line + usual for line in new[j1:j2]]
    last = lines.pop() if lines else b""
    return b"".join(lines) + last.removesuffix(b"\n").removesuffix(b"\r")


def unusable(path: Path, exc: OSError, verb: str) -> ExportError:
    """A file that cannot be read or written, in one line."""
    return ExportError(
        f"cannot {verb} {path}: {one_line(exc.strerror or exc)}; it is as it was",
        hint="see to its owner, its mode and the room on the disk, or name another file with --file",
    )
