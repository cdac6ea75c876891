"""The user's own functions as tools: schema from type hints and docstring, safe execution, results as text."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from nbllm.errors import PromptError
from nbllm.messages import Tool, ToolCall, ToolResult


@dataclass(frozen=True, slots=True)
class BoundTool:
    """A function and what the model is told of it."""

    spec: Tool
    function: Callable[..., Any]
    arguments: Any
    """A pydantic model class that reads the arguments."""


def bind(function: Callable[..., Any], *, name: str | None = None) -> BoundTool:
    """Make a tool of a function.

    Its parameters become the schema; those without a default are required. A parameter without a type hint takes
    anything.

    Raises:
        PromptError: It cannot be called by name: not callable, or it has positional-only parameters or `*args`.
    """
    label = str(name or getattr(function, "__name__", "tool"))
    if not callable(function):
        raise PromptError(f"the tool {label} is not a function")
    fields = _fields(function, label)
    model = create_model(label, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=True), **fields)
    try:
        schema = model.model_json_schema()
    except Exception as exc:
        raise PromptError(
            f"the tool {label} has a parameter whose type has no JSON Schema",
            hint=f"use str, int, float, bool, list, dict, Literal or a pydantic class ({type(exc).__name__})",
        ) from exc
    schema.pop("title", None)
    return BoundTool(Tool(label, inspect.getdoc(function) or label, schema), function, model)


def _fields(function: Callable[..., Any], label: str) -> dict[str, Any]:
    try:
        signature = inspect.signature(function)
        hints = get_type_hints(function, include_extras=True)
    except (TypeError, ValueError, NameError) as exc:
        raise PromptError(f"the tool {label} has a signature that cannot be read: {exc}") from exc
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise PromptError(f"the tool {label} has the parameter {parameter}, which cannot be given by name")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    return fields


def bind_all(tools: Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]]) -> dict[str, BoundTool]:
    """Tools by name.

    Raises:
        PromptError: One cannot be a tool, or two have the same name.
    """
    named = tools.items() if isinstance(tools, Mapping) else [(getattr(t, "__name__", "tool"), t) for t in tools]
    bound: dict[str, BoundTool] = {}
    for name, function in named:
        if name in bound:
            raise PromptError(f"two tools have the name {name}")
        bound[name] = bind(function, name=name)
    return bound


def prepare(call: ToolCall, tools: Mapping[str, BoundTool]) -> Callable[[], Any] | ToolResult:
    """The call, ready to be made, or the error that the model is told instead."""
    tool = tools.get(call.name)
    if tool is None:
        return _error(call, f"there is no tool {call.name!r}; there are: {', '.join(tools)}")
    if not call.complete:
        return _error(call, "the arguments are not a complete JSON object; the function was not called")
    try:
        read = tool.arguments.model_validate_json(call.arguments or "{}")
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in exc.errors())
        return _error(call, f"the arguments do not fit: {problems}")
    values = {name: getattr(read, name) for name in type(read).model_fields}
    return lambda: tool.function(**values)


def result_of(call: ToolCall, value: Any) -> ToolResult:
    """What the function gave back, as text for the model."""
    if isinstance(value, str):
        return ToolResult(call.id, call.name, value)
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = repr(value)
    return ToolResult(call.id, call.name, text)


def failure_of(call: ToolCall, exc: Exception) -> ToolResult:
    """What the model is told when the function raised."""
    return _error(call, f"{type(exc).__name__}: {exc}")


def _error(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, text, is_error=True)
