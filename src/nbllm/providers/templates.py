"""Addresses with gaps: `https://${AZURE_RESOURCE_NAME}.openai.azure.com/openai/v1`, filled from the environment.

Some services give each customer an address of their own. The row says what all of them look like, and the variables
that the vendor's own tools read fill the gaps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from nbllm.errors import RegistryError

_GAP = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def variables(template: str) -> tuple[str, ...]:
    """The variables that fill it, each once."""
    return tuple(dict.fromkeys(_GAP.findall(template)))


def filled(template: str, environ: Mapping[str, str]) -> str | None:
    """The address, or None while a variable is not set.

    Raises:
        RegistryError: A variable holds what does not fit into its gap, such as a slash. No value is repeated.
    """
    values = {name: (environ.get(name) or "").strip() for name in variables(template)}
    if not all(values.values()):
        return None
    return _GAP.sub(lambda gap: _fitting(gap[1], values[gap[1]], whole=_is_whole_host(template, gap)), template)


def path(template: str) -> str:
    """The path behind the host; empty when a gap is in it, since then it is not the same for everybody."""
    _, _, rest = template.partition("://")
    found = "/" + (rest or template).partition("/")[2].rstrip("/")
    return "" if found == "/" or _GAP.search(found) else found


def _is_whole_host(template: str, gap: re.Match[str]) -> bool:
    return template[: gap.start()].endswith("://") and template[gap.end() : gap.end() + 1] in ("", "/")


def _fitting(name: str, value: str, *, whole: bool) -> str:
    if whole:  # DATABRICKS_HOST is often written as an address
        value = re.sub(r"^https://", "", value, flags=re.IGNORECASE).rstrip("/")
    if not (_HOST if whole else _PART).fullmatch(value):
        wanted = "a host such as my-team.example.com" if whole else "a name of letters, digits, '.', '_' and '-'"
        raise RegistryError(f"{name} does not fit into the address", hint=f"it must be {wanted}")
    return value
