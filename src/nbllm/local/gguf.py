"""The head of a GGUF file, read as data: is it one, what is the model called, how much context was it trained for.

Layout: github.com/ggml-org/ggml/blob/master/docs/gguf.md (read 2026-11): magic `GGUF`, version (u32), number of
tensors (u64), number of key-value pairs (u64), then the pairs. Only the first megabyte is looked at, and lists are
the end of the reading: the facts that matter here stand before the tokenizer's lists.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbllm.errors import RegistryError

_MAGIC = b"GGUF"
_READ_BYTES = 1_000_000
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Value types by their number, as `struct` writes them."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What the head of a model file says. None: it does not say."""

    path: Path
    name: str | None
    architecture: str | None
    context: int | None
    """Tokens of context that the model was trained with."""


def read_head(path: Path) -> ModelFile:
    """Look at a model file.

    Raises:
        RegistryError: There is no such file, it cannot be read, or it is no GGUF.
    """
    facts = _facts(_first_bytes(path), path)
    architecture = facts.get("general.architecture")
    context = facts.get(f"{architecture}.context_length")
    name = facts.get("general.name")
    return ModelFile(
        path,
        name=name if isinstance(name, str) and name.strip() else None,
        architecture=architecture if isinstance(architecture, str) else None,
        context=context if isinstance(context, int) and context > 0 else None,
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_READ_BYTES)
    except FileNotFoundError:
        said = RegistryError(f"there is no model file {path}", hint="give the path of a .gguf file")
    except IsADirectoryError:
        said = RegistryError(f"{path} is a folder, not a model file", hint="name the .gguf file in it")
    except OSError as exc:
        said = RegistryError(f"the model file {path} cannot be read: {exc.strerror}", hint="check its permissions")
    raise said


def _facts(data: bytes, path: Path) -> dict[str, Any]:
    if data[:4] != _MAGIC:
        raise RegistryError(
            f"{path.name} is not a GGUF file", hint="local models are GGUF files; other formats need converting first"
        )
    facts: dict[str, Any] = {}
    try:
        _version, _tensors, pairs = struct.unpack_from("<IQQ", data, 4)
        at = 24
        for _ in range(min(pairs, 1000)):
            key, at = _text(data, at)
            (kind,) = struct.unpack_from("<I", data, at)
            at += 4
            if kind == _STRING:
                facts[key], at = _text(data, at)
            elif kind in _NUMBERS:
                (facts[key],) = struct.unpack_from("<" + _NUMBERS[kind], data, at)
                at += struct.calcsize("<" + _NUMBERS[kind])
            else:
                break
    except (struct.error, UnicodeDecodeError):
        if not facts:
            said = RegistryError(f"{path.name} is cut or damaged: its header ends early", hint="fetch the file again")
        else:
            return facts  # longer than what was looked at
    else:
        return facts
    raise said


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise struct.error("text ends behind the bytes that were read")
    return data[at + 8 : end].decode(), end
