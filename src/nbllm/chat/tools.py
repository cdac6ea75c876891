"""The user's own functions as tools: schema from type hints and docstring, safe execution, results as text."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic_core import to_jsonable_python

from nbllm.errors import PromptError
from nbllm.foreign import one_line
from nbllm.messages import Tool, ToolCall, ToolResult

# https://platform.openai.com/docs/api-reference/chat/create, `tools[].function.name`; the others take as much or more.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


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
        raise PromptError(
            f"the tool {label} is not a function", hint="define it with def, with type hints and a docstring"
        )
    if not _NAME.fullmatch(label):
        raise PromptError(
            f"the tool {one_line(label, 40)!r} has a name that providers do not take",
            hint="define a function whose name is made of a-z, 0-9 and _, at most 64 characters",
        )
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
        raise PromptError(
            f"the tool {label} has a signature that cannot be read: {exc}", hint="wrap it in a function of your own"
        ) from exc
    fields: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise PromptError(
                f"the tool {label} has the parameter {parameter}, which cannot be given by name",
                hint="wrap it in a function whose parameters have names",
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        # By alias: pydantic has names of its own, and takes none that start with an underscore.
        field = Field(default, alias=parameter.name, title=parameter.name)
        fields[f"value_{len(fields)}"] = (hints.get(parameter.name, Any), field)
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
            raise PromptError(f"two tools have the name {name}", hint="rename one of them")
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
    values = {field.alias: getattr(read, name) for name, field in type(read).model_fields.items()}
    return lambda: tool.function(**values)


def result_of(call: ToolCall, value: Any) -> ToolResult:
    """What the function gave back, as text for the model."""
    try:
        # Also dataclasses, models of pydantic, dates and sets; what JSON has not at all, as it prints.
        plain = to_jsonable_python(value, fallback=_plain, inf_nan_mode="strings")
        text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = repr(value)
    return ToolResult(call.id, call.name, _sendable(text))


def _plain(value: Any) -> Any:
    item = getattr(value, "item", None)  # a number of numpy
    return item() if item is not None and getattr(value, "shape", None) == () else str(value)


def failure_of(call: ToolCall, exc: Exception) -> ToolResult:
    """What the model is told when the function raised."""
    return _error(call, f"{type(exc).__name__}: {exc}")


def _error(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, _sendable(text), is_error=True)


def _sendable(text: str) -> str:
    """File names and the like may hold bytes that are no UTF-8; they become a question mark."""
    return text.encode(errors="replace").decode()
