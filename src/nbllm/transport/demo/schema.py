"""The smallest value that fits a JSON Schema, as far as the common keywords go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEPTH = 12
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "demo@example.org",
    "uri": "https://example.org",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance_of(schema: Mapping[str, Any], *, usual: int = 0) -> Any:
    """A value made from the schema's own constants, defaults and examples, else the smallest of its type.

    Args:
        schema: The JSON Schema.
        usual: What a number is where the schema allows it.
    """
    return _Maker(schema, usual).make(schema, _DEPTH)


class _Maker:
    """Makes values for one schema document."""

    def __init__(self, root: Mapping[str, Any], usual: int) -> None:
        self._root = root
        self._usual = usual

    def make(self, schema: Any, depth: int) -> Any:
        """A value for this part of the document."""
        if not isinstance(schema, Mapping) or depth <= 0:
            return None
        schema = self._resolved(schema)
        for found in _given(schema):
            return found
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.make(schema[key][0], depth - 1)
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) and kind else kind
        if kind is None:
            kind = "object" if "properties" in schema else "string"
        return self._of_type(str(kind), schema, depth)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """With `$ref` followed inside the document and `allOf` laid over each other."""
        for _ in range(_DEPTH):
            ref = schema.get("$ref")
            if not isinstance(ref, str) or not ref.startswith("#"):
                break
            rest = {k: v for k, v in schema.items() if k != "$ref"}
            schema = {**_at(self._root, ref), **rest}
        for part in schema.get("allOf") or ():
            if isinstance(part, Mapping):
                schema = {**schema, **(_at(self._root, part["$ref"]) if "$ref" in part else part)}
        return schema

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        if kind == "object":
            properties = schema.get("properties")
            properties = properties if isinstance(properties, Mapping) else {}
            return {name: self.make(properties.get(name, {}), depth - 1) for name in schema.get("required") or ()}
        if kind == "array":
            return [self.make(schema.get("items", {}), depth - 1)] * int(schema.get("minItems", 0))
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer", usual=self._usual)
        if kind == "boolean":
            return False
        return None if kind == "null" else _text(schema)


def _given(schema: Mapping[str, Any]) -> list[Any]:
    given = [schema[key] for key in ("const", "default") if key in schema]
    for key in ("enum", "examples"):
        values = schema.get(key)
        given += values[:1] if isinstance(values, list) else []
    return given


def _at(root: Mapping[str, Any], ref: str) -> Mapping[str, Any]:
    here: Any = root
    for step in ref.lstrip("#/").split("/"):
        here = here.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(here, Mapping) else {}
    return here if isinstance(here, Mapping) else {}


def _text(schema: Mapping[str, Any]) -> str:
    text = _FORMATS.get(str(schema.get("format")), "demo")
    return text.ljust(int(schema.get("minLength", 0)), ".")[: int(schema.get("maxLength", len(text) + 10_000))]


def _number(schema: Mapping[str, Any], *, whole: bool, usual: int) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = 1 if whole else 0.5
    value: int | float = usual if low is None else max(low, usual)
    value = value if high is None else min(high, value)
    if value == schema.get("exclusiveMinimum"):
        value += step
    elif value == schema.get("exclusiveMaximum"):
        value -= step
    return int(value) if whole else value
