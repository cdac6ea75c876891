"""From a cell to a question: `{{expressions}}`, variables named in options, other cells, the last error."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nbllm.errors import PromptError
from nbllm.foreign import one_line

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def expand(body: str, namespace: dict[str, Any]) -> str:
    r"""Replace each `{{expression}}` by its value; `\{{` is a literal `{{`.

    Evaluates only what stands in the user's own cell: what an expression gives back is inserted once, verbatim.

    Raises:
        PromptError: An expression cannot be read, or raised; it is named, with its error.
    """
    done: list[str] = []
    at = 0
    while (start := body.find("{{", at)) >= 0:
        if start and body[start - 1] == "\\":
            done += [body[at : start - 1], "{{"]
            at = start + 2
            continue
        expression, after = _expression(body, start)
        if expression is None:  # no closing braces: not an expression
            done.append(body[at : start + 2])
            at = start + 2
            continue
        done += [body[at:start], _text(_evaluate(expression, namespace))]
        at = after
    return "".join([*done, body[at:]])


def _expression(body: str, start: int) -> tuple[str | None, int]:
    """The shortest text up to a `}}` that is a Python expression, so that dicts and f-strings work inside."""
    end = first = body.find("}}", start + 2)
    if first < 0:
        return None, start
    while end >= 0:
        # `{{ {"a": {}}["a"] }}`: braces of the expression may stand right before the closing ones.
        for stop in range(end, end + _run(body, end) - 1):
            source = body[start + 2 : stop].strip()
            if _compiles(source):
                return source, stop + 2
        end = body.find("}}", end + 2)
    return body[start + 2 : first].strip(), first + 2


def _run(body: str, at: int) -> int:
    length = 0
    while at + length < len(body) and body[at + length] == "}":
        length += 1
    return length


def _compiles(source: str) -> bool:
    try:
        compile(source, "<expression>", "eval")
    except (SyntaxError, ValueError):
        return False
    return True


def _evaluate(expression: str, namespace: dict[str, Any]) -> Any:
    try:
        return eval(expression, namespace)  # noqa: S307  (the user's own cell)
    except Exception as exc:  # noqa: BLE001  (whatever the user's expression raises becomes one line that names it)
        problem = f"{type(exc).__name__}: {one_line(exc)}" if str(exc) else type(exc).__name__
    # Outside the handler: the cause may hold the namespace's values in its frames.
    raise PromptError(
        f"{{{{{one_line(expression, 80)}}}}} raised {_redacted(problem)}",
        hint=r"correct the expression, or write \{{ for literal braces",
    )


def _text(value: Any) -> str:
    """A value as text. A table is written out whole: its `str` would leave rows out without the model knowing."""
    if isinstance(value, str):
        return value
    if hasattr(value, "to_csv") and hasattr(value, "iloc"):
        return str(value.to_csv())
    if hasattr(value, "write_csv"):
        return str(value.write_csv())
    return str(value)


def attachment(word: str, namespace: Mapping[str, Any]) -> tuple[str, Any] | str:
    """What `-a` names: a variable if there is one of that name, else a path."""
    if word.isidentifier() and word in namespace:
        return word, namespace[word]
    return word


def named(word: str, namespace: Mapping[str, Any], *, option: str) -> Any:
    """The object that an option names.

    Raises:
        PromptError: The namespace has none of that name.
    """
    if word not in namespace:
        raise PromptError(
            f"{option} {one_line(word, 60)}: there is no such name in the notebook", hint="define it first"
        )
    return namespace[word]


def cell_context(shell: InteractiveShell, number: int) -> str:
    """The source and the output of an earlier cell, as text.

    Raises:
        PromptError: No cell ran with that number.
    """
    sources = shell.user_ns.get("In", [])
    if not 0 < number < len(sources) or number == shell.execution_count:
        raise PromptError(
            f"--cell {number}: no earlier cell has that number", hint="use the number in its brackets [ ]"
        )
    output = _output(shell, number)
    shown = f"\n\nIts output:\n```\n{output}\n```" if output else ""
    return f"Cell {number} of my notebook:\n```python\n{_redacted(sources[number])}\n```{shown}"


def _output(shell: InteractiveShell, number: int) -> str:
    recorded = getattr(shell.history_manager, "outputs", {}).get(number, [])
    texts = []
    for item in recorded:
        bundle = getattr(item, "bundle", {})
        text = bundle.get("stream") if "stream" in bundle else bundle.get("text/plain", "")
        texts.append("".join(text) if isinstance(text, list) else str(text))
    if not texts and number in (outs := shell.user_ns.get("Out", {})):
        texts.append(repr(outs[number]))
    return _redacted("\n".join(filter(None, texts)))


def last_error() -> str:
    """The last traceback, as text.

    Raises:
        PromptError: Nothing was raised in this kernel.
    """
    error = getattr(sys, "last_value", None)
    if error is None:
        raise PromptError("--last-error: no cell has raised an error in this kernel")
    lines = traceback.format_exception(type(error), error, getattr(sys, "last_traceback", None))
    return f"The last error in my notebook:\n```\n{_redacted(''.join(lines))}\n```"


def _redacted(text: str) -> str:
    from nbllm.credentials.redaction import redact  # noqa: PLC0415  (not needed before a magic runs)

    return redact(text)
