"""Whether a word that somebody typed is a key: it is then refused, and never repeated.

How hard a word is judged depends on where it stands. A conversation may be called by a UUID and a system text may say
anything, so there only the known shapes of keys count; where no free text belongs, whatever looks random is refused;
and a parameter or header whose name says that it takes a key is refused with any value.
"""

from __future__ import annotations

import re

from nbllm.credentials.redaction import looks_like_key

_KNOWN = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        (?:sk|pk|rk|gsk|xai|pplx|nvapi|fw|csk|tgp|esecret|jina|r8|hf|glpat|ghp|gho|ghs|key)[-_](?P<tail>[A-Za-z0-9_-]{12,})
      | github_pat_[A-Za-z0-9_]{20,}
      | AIza[A-Za-z0-9_-]{20,}
      | AQ\.[A-Za-z0-9_-]{20,}
      | AKIA[A-Z0-9]{16}
      | eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*
    )""",
    re.VERBOSE,
)
_WORD = re.compile(r"[a-z]{1,14}|[A-Z]?[a-z]{1,13}|\d{1,4}|[A-Za-z0-9]{1,4}")
"""A piece of a name such as `sk-learn-notes-2026` or `jina-embeddings-v3`."""
_SECRET_NAMES = re.compile(
    r"(.*_)?(api_?key|authorization|access_token|auth_token|api_token|client_secret|password|passwd|cookie|secret)"
    r"|key|token|bearer"
)
_PLAIN_NAME = re.compile(r"-{0,2}[A-Za-z][A-Za-z_-]{0,40}")
_ACCOUNT = re.compile(r"(?:org|proj)[-_]\w+")
"""Ids of organisations and projects look random, and are no secrets."""


def holds_key(text: str) -> bool:
    """Whether a text has something in it of the shape that the keys of known vendors have."""
    return any(found["tail"] is None or not _is_name(found["tail"]) for found in _KNOWN.finditer(text))


def is_key(word: str) -> bool:
    """Whether a word is a key, where no free text belongs: a known shape, or letters and digits at random."""
    word = word.strip()
    if holds_key(word):
        return True
    return looks_like_key(word) and not _KNOWN.fullmatch(word) and not _ACCOUNT.fullmatch(word)


def takes_key(name: str) -> bool:
    """Whether a parameter or header of this name takes a key."""
    return _SECRET_NAMES.fullmatch(name.strip().lower().replace("-", "_")) is not None


def is_key_word(word: str, *, free: bool = False) -> bool:
    """Whether a word of a command line is a key or has one in it.

    Args:
        word: The word, also `name=value` or `--option=value`.
        free: It stands where the user may write what they like: only known shapes count.
    """
    if holds_key(word):
        return True
    pieces = word.split("=")
    for at, name in enumerate(pieces[:-1], 1):
        if takes_key(name.lstrip("-")) and any(pieces[at:]):
            return True
    if free:
        return False
    # A name and its value are judged apart: together any two of them look random.
    starts = (at for at, p in enumerate(pieces) if at == len(pieces) - 1 or not _PLAIN_NAME.fullmatch(p))
    return any(is_key("=".join(pieces[at:])) for at in starts)


def _is_name(tail: str) -> bool:
    return all(_WORD.fullmatch(piece) for piece in re.split(r"[-_]", tail) if piece)
