"""A JSON Schema, brought into the part of JSON Schema that Gemini reads.

The keywords are those listed for `responseJsonSchema` at https://ai.google.dev/api/generate-content (read
2026-11-20). What is left out is still checked when the answer has come: the whole schema stays with the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEPT = frozenset(
    {
        "$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems",
        "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties",
        "required", "propertyOrdering",
    }
)  # fmt: skip
_NAMED = frozenset({"$defs", "properties"})
"""Keywords whose value maps names to schemas."""


def accepted_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with the keywords that Gemini reads, and nothing else."""
    return _accepted(schema)


def _accepted(schema: Mapping[str, Any]) -> dict[str, Any]:
    schema = _plain(schema)
    made: dict[str, Any] = {}
    for keyword, value in schema.items():
        # Beside `$ref` only keywords that begin with `$` may stand.
        if keyword not in _KEPT or ("$ref" in schema and not keyword.startswith("$")):
            continue
        made[keyword] = _value(keyword, value)
    return made


def _value(keyword: str, value: Any) -> Any:
    if keyword in _NAMED and isinstance(value, Mapping):
        return {name: _accepted(inner) if isinstance(inner, Mapping) else inner for name, inner in value.items()}
    if isinstance(value, Mapping):
        return _accepted(value)
    if isinstance(value, (list, tuple)):
        return [_accepted(inner) if isinstance(inner, Mapping) else inner for inner in value]
    return value


def _plain(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Other ways to say what the kept keywords say: `definitions`, `const`, an `allOf` of one."""
    plain = dict(schema)
    if "definitions" in plain:
        plain.setdefault("$defs", plain.pop("definitions"))
    if isinstance(plain.get("$ref"), str):
        plain["$ref"] = plain["$ref"].replace("#/definitions/", "#/$defs/")
    if isinstance(plain.get("const"), (str, int, float)):
        plain.setdefault("enum", [plain["const"]])
    alone = plain.get("allOf")
    if isinstance(alone, list) and len(alone) == 1 and isinstance(alone[0], Mapping):
        plain = {**plain, **_plain(alone[0])}
    return plain
