"""What stands between a row and a question: a format that is not spoken, an address or a header that is not given.

Nothing of this can be known from the network, and no key helps; so it is said before anything is sent.
"""

from __future__ import annotations

import re

from nbllm.errors import RegistryError
from nbllm.providers import templates
from nbllm.providers.spec import ProviderConfig

_TO_FILL = re.compile(r"<[^<>]*>")


def lacking(row: ProviderConfig) -> tuple[str, ...]:
    """What the user must still give, by its name: `AZURE_RESOURCE_NAME`, `header Editor-Version`. Empty: nothing."""
    if row.status == "unsupported":
        return ()
    address = templates.variables(row.base_url_template or "") if not (row.base_url or row.gguf) else ()
    return (*address, *(f"header {name}" for name in _headers_to_fill(row)))


def hindrance(row: ProviderConfig) -> RegistryError | None:
    """Why the provider cannot be asked, whatever key there is; None when it can. A disabled row is not judged here."""
    if row.status == "unsupported":
        return RegistryError(f"{row.id} speaks a wire format that nbllm does not", hint=row.note or row.doc)
    if not (missing := lacking(row)):
        return None
    hints = [_address_hint(row)] if not (row.base_url or row.gguf) else []
    hints += [f"`%llm_providers edit {row.id} --header {name}=VALUE`" for name in _headers_to_fill(row)]
    return RegistryError(f"{row.id} is not set up: it lacks {', '.join(missing)}", hint="; ".join(hints))


def no_listing(row: ProviderConfig) -> str | None:
    """Why there is no model listing to ask for, in one line; None when there is one."""
    found = row.quirks.get("no_listing")
    return f"it has no model listing ({found.source}, {found.date})" if found and found.value else None


def _headers_to_fill(row: ProviderConfig) -> list[str]:
    return [name for name, value in row.headers.items() if _TO_FILL.search(value)]


def _address_hint(row: ProviderConfig) -> str:
    names = " and ".join(templates.variables(row.base_url_template or ""))
    variable = f" --env {row.env[0]}" if row.env else ""
    return f"set {names}, or `%llm_providers edit {row.id} --base-url URL{variable}`"
