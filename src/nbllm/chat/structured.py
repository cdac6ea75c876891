"""An answer that must fit a schema: what is sent, how it is read, what is said when it does not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nbllm.errors import PromptError
from nbllm.foreign import one_line

_DATA = frozenset({"const", "enum", "default", "examples"})
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)\n?```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema and how to turn a fitting answer into an object."""

    name: str
    schema: Mapping[str, Any]
    model: Any = None
    """The pydantic class, or None: then the answer becomes plain JSON values."""

    def read(self, text: str) -> tuple[Any, list[str]]:
        """The object, and the problems; the object is None when there are any."""
        document, problem = _json_in(text)
        if problem:
            return None, [problem]
        try:
            return self._by_model(document) if self.model is not None else self._by_schema(document)
        except RecursionError:
            return None, ["answer: nested too deeply"]

    def _by_model(self, document: Any) -> tuple[Any, list[str]]:
        from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  (loaded by whoever gave the class)

        try:
            return TypeAdapter(self.model).validate_json(json.dumps(document)), []
        except ValidationError as exc:
            return None, [f"{_place(e['loc'])}: {e['msg']}" for e in exc.errors()]

    def _by_schema(self, document: Any) -> tuple[Any, list[str]]:
        from jsonschema import validators  # noqa: PLC0415  (only for answers with a schema)
        from referencing import Registry  # noqa: PLC0415  (comes with jsonschema)
        from referencing.exceptions import Unresolvable  # noqa: PLC0415

        # A registry of its own: without one, jsonschema fetches what a `$ref` to another document names.
        validator = validators.validator_for(self.schema)(self.schema, registry=Registry())
        try:
            problems = [f"{_place(e.absolute_path)}: {e.message}" for e in validator.iter_errors(document)]
        except Unresolvable as exc:
            problems = [f"answer: the schema cannot be followed to {one_line(exc.ref, 80)}"]
        return (None, problems) if problems else (document, [])

    def instruction(self) -> str:
        """What is added to the system text for servers without structured output."""
        return (
            "Answer with one JSON value that fits this JSON Schema, and nothing else: no code fence, no comment.\n"
            + json.dumps(self.schema, ensure_ascii=False)
        )

    def complaint(self, problems: list[str]) -> str:
        """The one turn of repair."""
        listed = "\n".join(f"- {p}" for p in problems[:20])
        return f"That answer does not fit the schema:\n{listed}\nAnswer again with one JSON value that fits it, only."


def shape_of(schema: Any, *, name: str | None = None) -> Shape:
    """Read what the user gave as a schema.

    Args:
        schema: A pydantic class, another class that pydantic understands (dataclass, TypedDict), or a JSON Schema
            as a dict.

    Raises:
        PromptError: It is none of these, or not a valid JSON Schema.
    """
    label = re.sub(r"[^a-zA-Z0-9_-]", "_", name or getattr(schema, "__name__", "") or "answer")[:64]
    if isinstance(schema, Mapping):
        return Shape(label, _checked(schema, label))
    if isinstance(schema, type):
        return Shape(label, _from_class(schema, label), schema)
    raise PromptError(
        f"the schema {label} is a {type(schema).__name__}, not a schema",
        hint="give a pydantic class or a JSON Schema dict",
    )


def _checked(schema: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    from jsonschema import validators  # noqa: PLC0415  (only for answers with a schema)
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415

    if not any(k in schema for k in ("type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const")):
        raise PromptError(f"the schema {label} says nothing about the answer", hint='a JSON Schema has a "type"')
    try:
        validators.validator_for(schema).check_schema(dict(schema))
    except SchemaError as exc:
        raise PromptError(
            f"the schema {label} is not a JSON Schema: {exc.message}",
            hint="give a pydantic class or a JSON Schema dict",
        ) from exc
    _check_references(schema, label)
    return schema


def _check_references(schema: Mapping[str, Any], label: str) -> None:
    """Every `$ref` leads to somewhere in the schema itself: nothing is fetched, and no answer is paid for in vain.

    Parts with an `$id` of their own have another base; what they refer to is left to the validator.
    """
    from jsonschema.validators import validator_for  # noqa: PLC0415  (only for answers with a schema)
    from referencing import Registry  # noqa: PLC0415  (comes with jsonschema)
    from referencing.exceptions import Unresolvable  # noqa: PLC0415
    from referencing.jsonschema import specification_with  # noqa: PLC0415

    dialect = validator_for(schema).META_SCHEMA["$schema"]
    resource = specification_with(dialect).create_resource(schema)
    resolver = Registry().resolver_with_root(resource)
    for reference in _references(schema):
        seen: list[str] = []
        try:
            while isinstance(reference, str) and reference not in seen:
                seen.append(reference)
                target = resolver.lookup(reference).contents
                reference = target.get("$ref") if isinstance(target, Mapping) else None
        except Unresolvable:
            why = "leads to nothing in the schema"
        else:
            if not isinstance(reference, str):
                continue
            why = "leads in a circle"
        raise PromptError(
            f"the schema {label} has a $ref that {why}: {one_line(seen[-1], 80)}",
            hint='put what it means under "$defs", and refer to it as "#/$defs/NAME"',
        )


def _references(schema: Any) -> Iterator[Any]:
    """Every `$ref` in a schema, which is a tree, since it is JSON; not those in data that stands in it."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for name, value in schema.items():
            if name not in _DATA and not (isinstance(value, Mapping) and "$id" in value):
                yield from _references(value)
    elif isinstance(schema, (list, tuple)):
        for item in schema:
            yield from _references(item)


def _from_class(cls: type, label: str) -> Mapping[str, Any]:
    from pydantic import TypeAdapter  # noqa: PLC0415  (loaded by whoever gave the class)
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    try:
        if cls in (str, int, float, bool, bytes):
            raise PromptError(f"the schema {label} is a plain type", hint="give a pydantic class or a JSON Schema dict")
        return TypeAdapter(cls).json_schema()
    except PydanticUserError as exc:
        raise PromptError(
            f"the schema {label} is a class that has no JSON Schema", hint="give a pydantic class or a JSON Schema dict"
        ) from exc


def _json_in(text: str) -> tuple[Any, str | None]:
    """The JSON value in an answer: the whole of it, or the one in a code fence, or between the outer brackets."""
    candidates = [text.strip(), *(m.strip() for m in _FENCE.findall(text))]
    start, end = min((i for i in map(text.find, "{[") if i >= 0), default=-1), max(text.rfind("}"), text.rfind("]"))
    if 0 <= start < end:
        candidates.append(text[start : end + 1])
    for candidate in candidates:
        try:
            return json.loads(candidate), None
        except (ValueError, RecursionError):
            continue
    return None, "the answer is not JSON"


def _place(path: Any) -> str:
    return ".".join(str(p) for p in path) or "answer"
