"""Keys that belong to nobody, in the shapes that real ones have, and a search for their traces.

They are put together when a test runs: no text in this repository has the shape of a key.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

WINDOW = 12

_LETTERS = string.ascii_letters + string.digits
_BASE64URL = _LETTERS + "-_"


@dataclass(frozen=True, slots=True)
class KeyShape:
    """How the keys of one family look."""

    id: str
    make: Callable[[random.Random], str]

    def key(self, seed: int = 7) -> str:
        """A key; the same for the same seed."""
        return self.make(random.Random(f"{self.id}-{seed}"))


def _run(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(length))


SHAPES = (
    KeyShape("openai", lambda r: "-".join(("sk", "proj", _run(r, _BASE64URL, 48)))),
    KeyShape("anthropic", lambda r: "-".join(("sk", "ant", "api03", _run(r, _BASE64URL, 60)))),
    KeyShape("groq", lambda r: "_".join(("gsk", _run(r, _LETTERS, 52)))),
    KeyShape("google", lambda r: "AI" + "za" + _run(r, _BASE64URL, 35)),
    KeyShape("google-new", lambda r: "AQ" + "." + _run(r, _BASE64URL, 50)),
    KeyShape("hugging-face", lambda r: "_".join(("hf", _run(r, _LETTERS, 34)))),
    KeyShape("short-hex", lambda r: _run(r, "0123456789abcdef", 16)),
    KeyShape("jwt", lambda r: "ey" + "J" + ".".join(_run(r, _BASE64URL, n) for n in (30, 60, 43))),
    KeyShape("escaped", lambda r: "+".join((_run(r, _LETTERS, 9), "/" + _run(r, _LETTERS, 20) + '"=', "/=="))),
)


def encodings(text: str) -> dict[str, str]:
    """The four ways in which a text may be hidden in another."""
    raw = text.encode()
    return {
        "plain": text,
        "url": quote(text, safe=""),
        "base64": base64.b64encode(raw).decode().rstrip("="),
        "hex": raw.hex(),
    }


def traces(key: str, text: str) -> list[str]:
    """In which forms `text` holds the key or any twelve characters of it; empty when it holds none.

    Also finds twelve characters of the key's base64 in each of the three alignments.
    """
    found = [name for name, form in encodings(key).items() if form in text]
    for start in range(len(key) - WINDOW + 1):
        found += [f"{name}[{start}]" for name, form in encodings(key[start : start + WINDOW]).items() if form in text]
    for shift in range(3):
        inner = base64.b64encode(b"\0" * shift + key.encode()).decode()[4:-4]
        pieces = (inner[i : i + WINDOW] for i in range(len(inner) - WINDOW + 1))
        found += [f"base64+{shift}" for piece in pieces if piece in text]
    return found
