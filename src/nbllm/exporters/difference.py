"""What a change would do to a file, as lines for people, without the keys that stand in it.

Around our lines the user's own are shown, and a config file is where people put keys. Three sieves take them out:
`credentials.redaction`, then the value behind each name that holds a secret, unless that value is the name of a
variable, and last each word that has the looks of a key.
"""

from __future__ import annotations

import difflib
import re

from nbllm.credentials.redaction import MASK, looks_like_key, redact
from nbllm.foreign import visible

_SECRET = re.compile(
    r"""(?ix)
    (?P<name> ["']? [\w.-]* (?:key|keys|token|secret|passw(?:or)?d|credentials?|authorization|auth|cookie|bearer)
        [\w-]* ["']? \s* (?:=|:(?!//)) \s* )
    (?P<value> [^\s].* )
    """
)
_NAMED = re.compile(r"(?i)[\w.-]*(?:_env|-env|env_key|key_name)[\w-]*[\"']?\s*[=:]|env_http_headers")
"""Names whose value is itself the name of a variable."""
_REFERENCE = re.compile(
    r"""(?x)
      \$\{\{ [^}]* \}\} | \$\{? \w+ \}? | \{env:\w+\} | \{file:[^}]*\} | os\.environ/\w+ | !\w+ | [*&]\w+
    | (?-i:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)
    | true | false | null | ~ | -?\d{1,7} | \d*\.\d+(?:e-?\d+)? | [\[{|>]
    """
)
_WORD = re.compile(r"[A-Za-z0-9_+/=.~-]{16,}")


def difference(old: str, new: str, name: str) -> str:
    """A unified diff from `old` to `new`, keys masked and control characters shown; "" when they are equal."""
    if old == new:
        return ""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), f"{name} (as it is)", f"{name} (as it will be)", lineterm=""
    )
    return "\n".join(_clean(line) for line in lines)


def _clean(line: str) -> str:
    if line.startswith(("--- ", "+++ ", "@@ ")):
        return visible(line)
    return visible(line[:1] + without_keys(line[1:]))


def without_keys(line: str) -> str:
    """One line of a config file without the secrets in it."""
    line = redact(line)
    if not _NAMED.search(line):
        line = _SECRET.sub(_masked, line)
    return _WORD.sub(lambda m: MASK if looks_like_key(m[0]) else m[0], line)


def _masked(match: re.Match[str]) -> str:
    value = match["value"].rstrip()
    bare = value.rstrip(",").strip().strip("\"'")
    bare = re.sub(r"\s+#.*$", "", bare).strip("\"'")
    if not bare or MASK in bare or _REFERENCE.fullmatch(bare):
        return match[0]
    return f"{match['name']}{MASK}"
