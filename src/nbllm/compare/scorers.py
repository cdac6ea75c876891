"""From what a user names as a scorer to a function that is ready to score, with its name and version.

    exact:COLUMN[:casefold]   contains:COLUMN[:casefold][:word]   regex:COLUMN   numeric:COLUMN[:TOLERANCE]
    json:SCHEMA   NAME (a function of the notebook, or one that an installed package brings)

Everything that is wrong with the words is said here, before anything is asked and paid for.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from nbllm.chat.structured import Shape, shape_of
from nbllm.compare.cells import COLUMNS, Case
from nbllm.compare.scorer_kinds import VERSION, Contains, Exact, Fits, Matches, Near
from nbllm.credentials.redaction import redact
from nbllm.errors import UsageError
from nbllm.foreign import one_line
from nbllm.messages import Reply

ENTRY_POINTS = "nbllm.scorers"
KINDS = ("exact", "contains", "regex", "numeric", "json")
_RESERVED = frozenset({*COLUMNS, "judge"})
_EXAMPLES = "for example exact:answer, numeric:answer:1%, json:SCHEMA, or the name of a function"


class ScorerFunction(Protocol):
    """What scores: `(reply, case)` to a number, a bool, a dict of these, a `Score`, or None; may be awaited."""

    def __call__(self, reply: Reply, case: Case, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Scorer:
    """A function that scores, and what is known of it."""

    name: str
    """Of its column in the table of cells."""
    version: str | None
    """Of built-in ones a number, with what else decides; of a package's its name and version; of a function the
    SHA-256 of its source, without what it calls; None where there is no source."""
    function: ScorerFunction
    wants_column: str | None = None
    """The column of the data that it needs."""
    word: str | None = None
    """As it was written; None: it was given as a function."""
    note: str | None = None
    """Why it gives no score at all: a package's scorer that cannot be loaded."""

    @property
    def is_async(self) -> bool:
        """Whether its results are awaited."""
        function: Any = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

    def check(self, case: Case) -> str | None:
        """Why this case can never be scored; None: it can, or nobody knows."""
        check: Callable[[Case], str | None] | None = getattr(self.function, "check", None)
        return check(case) if check is not None and self.wants_column is not None else None

    def close(self) -> None:
        """Let go of what it holds; it can go on."""
        if isinstance(self.function, Matches):
            self.function.close()


def scorers_of(
    given: Any,
    *,
    namespace: Mapping[str, Any] | None = None,
    columns: Sequence[str] | None = None,
    folder: Path | None = None,
) -> tuple[Scorer, ...]:
    """Everything that was given as scorers, ready, each with a name of its own.

    A word of a built-in kind is called by its kind (`exact`), or by the whole of it where the kind appears twice
    (`exact:city`).

    Args:
        given: One, or a sequence of: a word, a function, a schema (class or dict), a `Scorer`, a pair of a name and one
            of these. Or a mapping of names to these. None: none.
        namespace: Where names are looked up: the notebook's variables.
        columns: Those of the data; None leaves them unchecked.
        folder: Where relative paths of schemas start; None: the current one.

    Raises:
        UsageError: A word is unknown, a column is not there, two have the same name, or something is no scorer.
        PromptError: A schema is none.
    """
    found = [
        _named(scorer_of(item, namespace=namespace, columns=columns, folder=folder), name)
        for name, item in _items(given)
    ]
    kinds = Counter(s.name for s in found if s.word is not None)
    ready = tuple(replace(s, name=s.word) if s.word and s.name in KINDS and kinds[s.name] > 1 else s for s in found)
    _refuse_names(ready)
    return ready


def _items(given: Any) -> list[tuple[str | None, Any]]:
    if given is None:
        return []
    if isinstance(given, Mapping) and not _is_schema(given):
        return [(_as_name(name), item) for name, item in given.items()]
    if isinstance(given, (str, type, Scorer, Mapping)) or callable(given):
        return [(None, given)]
    if not isinstance(given, Iterable):
        raise UsageError(f"scorers are a list, not {_shown(given)}", hint=_EXAMPLES)
    return [(_as_name(i[0]), i[1]) if isinstance(i, tuple) and len(i) == 2 else (None, i) for i in given]


def _is_schema(given: Mapping[Any, Any]) -> bool:
    """A dict of names to scorers has no plain words of JSON Schema in it."""
    return any(isinstance(given.get(word), kind) for word, kind in (("type", str), ("properties", dict), ("$ref", str)))


def _as_name(name: Any) -> str:
    if isinstance(name, str) and name.strip():
        return name.strip()
    raise UsageError(f"a scorer's name is a text, not {_shown(name)}")


def _named(scorer: Scorer, name: str | None) -> Scorer:
    return scorer if name is None else replace(scorer, name=name, word=None)


def _refuse_names(scorers: Sequence[Scorer]) -> None:
    for name, count in Counter(s.name for s in scorers).items():
        if count > 1:
            raise UsageError(
                f"{count} scorers are called {one_line(name, 60)}",
                hint='name each once; in Python a dict gives names: {"polite": function}',
            )
        if name in _RESERVED:
            raise UsageError(f"a scorer cannot be called {name}: a column of cells is", hint="rename the function")


def scorer_of(
    given: Any,
    *,
    namespace: Mapping[str, Any] | None = None,
    columns: Sequence[str] | None = None,
    folder: Path | None = None,
) -> Scorer:
    """One scorer; its arguments and errors are those of `scorers_of`."""
    if isinstance(given, Scorer):
        return given
    if isinstance(given, str):
        return _of_word(given.strip(), namespace or {}, columns, folder)
    if isinstance(given, (Mapping, type)):
        return _of_schema(shape_of(given), "json")
    return _of_function(given)


def check_cases(scorers: Sequence[Scorer], cases: Sequence[Case]) -> None:
    """See that what the cases are measured by can be used: patterns compile, numbers are numbers. Gaps may be there.

    Raises:
        UsageError: The first that cannot.
    """
    for scorer in scorers:
        problems = [(case, problem) for case in cases if (problem := scorer.check(case))]
        if problems:
            case, problem = problems[0]
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise UsageError(
                f"{one_line(scorer.name, 60)}: prompt {one_line(case.prompt_id, 40)} cannot be scored{more}: {problem}",
                hint=f"correct the column {one_line(scorer.wants_column, 60)}",
            )


# ---------------------------------------------------------------- words


def _of_word(word: str, namespace: Mapping[str, Any], columns: Sequence[str] | None, folder: Path | None) -> Scorer:
    kind, colon, rest = word.partition(":")
    if not colon:
        return _of_name(word, namespace, columns)
    if kind not in KINDS:
        raise UsageError(f"there is no scorer {one_line(word, 60)}", hint=_close(kind, KINDS) or _EXAMPLES)
    if not rest.strip():
        raise UsageError(f"{kind}: says no {'schema' if kind == 'json' else 'column'}", hint=_EXAMPLES)
    if kind == "json":
        return _of_schema(_schema(rest.strip(), namespace, folder), word)
    column, options = _column(rest, columns, kind)
    return Scorer(kind, VERSION, _BUILDERS[kind](column, options), wants_column=column, word=word)


def _of_name(name: str, namespace: Mapping[str, Any], columns: Sequence[str] | None) -> Scorer:
    if name in namespace:
        found = scorer_of(namespace[name]) if not isinstance(namespace[name], str) else None
        if found is None:
            raise UsageError(f"{one_line(name, 60)} is a text in the notebook, not a scorer", hint=_EXAMPLES)
        return found
    if points := [p for p in _entry_points() if p.name == name]:
        return _of_entry_point(points[0])
    if name in KINDS:
        example = (list(columns or ()) or ["COLUMN"])[0]
        raise UsageError(
            f"{name} needs to know where to look", hint=f"{name}:{'SCHEMA' if name == 'json' else one_line(example)}"
        )
    functions = [n for n, value in namespace.items() if not n.startswith("_") and inspect.isfunction(value)]
    known = [*functions, *(p.name for p in _entry_points()), *KINDS]
    raise UsageError(f"there is no scorer {one_line(name, 60)}", hint=_close(name, known) or _EXAMPLES)


def _close(word: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(word, [str(k) for k in known], n=3)
    return f"did you mean {', '.join(one_line(c, 60) for c in close)}?" if close else None


def _column(rest: str, columns: Sequence[str] | None, kind: str) -> tuple[str, list[str]]:
    """The column and the options behind it. A column may have colons in its name: the longest that is there counts."""
    parts = rest.split(":")
    for end in range(len(parts), 0, -1):
        column = ":".join(parts[:end])
        if columns is None and all(_is_option(kind, o) for o in parts[end:]) and not _is_option(kind, parts[end - 1]):
            return column, parts[end:]
        if columns is not None and column in columns:
            return column, parts[end:]
    if columns is None:
        return parts[0], parts[1:]
    raise UsageError(
        f"{kind}: the data has no column {one_line(parts[0], 60)}",
        hint=_close(parts[0], columns) or (f"it has {one_line(', '.join(columns))}" if columns else "there is no data"),
    )


def _is_option(kind: str, word: str) -> bool:
    if kind == "numeric":
        return _tolerance(word) is not None
    return word in _OPTIONS[kind]


_OPTIONS: Mapping[str, tuple[str, ...]] = {"exact": ("casefold",), "contains": ("casefold", "word"), "regex": ()}


def _flags(kind: str, options: list[str]) -> dict[str, bool]:
    for option in options:
        if option not in _OPTIONS[kind]:
            known = ", ".join(_OPTIONS[kind]) or "none"
            raise UsageError(f"{kind} has no option {one_line(option, 60)}", hint=f"its options: {known}")
    return dict.fromkeys(options, True)


def _near(column: str, options: list[str]) -> Near:
    if not options:
        return Near(column)
    tolerance = _tolerance(options[0]) if len(options) == 1 else None
    if tolerance is None:
        raise UsageError(
            f"numeric: {one_line(':'.join(options), 60)} is not a tolerance",
            hint="for example 0.01, or 1% of the value",
        )
    return Near(column, *tolerance)


def _tolerance(word: str) -> tuple[Decimal, bool] | None:
    """The distance, or the share and True."""
    relative = word.strip().endswith("%")
    try:
        value = Decimal(word.strip().removesuffix("%"))
    except InvalidOperation:
        return None
    if not value.is_finite() or value < 0:
        return None
    return (value / 100 if relative else value), relative


_BUILDERS: Mapping[str, Callable[[str, list[str]], ScorerFunction]] = {
    "exact": lambda column, options: Exact(column, **_flags("exact", options)),
    "contains": lambda column, options: Contains(column, **_flags("contains", options)),
    "regex": lambda column, options: Matches(column, **_flags("regex", options)),  # type: ignore[arg-type]
    "numeric": _near,
}


# ---------------------------------------------------------------- schemas


def _of_schema(shape: Shape, word: str) -> Scorer:
    digest = hashlib.sha256(json.dumps(shape.schema, sort_keys=True, default=str).encode()).hexdigest()
    return Scorer(
        "json", f"{VERSION}:{digest[:16]}", Fits(shape), word=f"json:{shape.name}" if word == "json" else word
    )


def _schema(name: str, namespace: Mapping[str, Any], folder: Path | None) -> Shape:
    if name in namespace:
        return shape_of(namespace[name], name=name)
    path = (folder or Path()) / name
    if path.is_file():
        return shape_of(_read(path), name=path.stem)
    schemas = [n for n, v in namespace.items() if isinstance(v, (Mapping, type)) and not n.startswith("_")]
    raise UsageError(
        f"json: there is no schema {one_line(name, 60)}",
        hint=_close(name, schemas) or "give a pydantic class or a JSON Schema dict of the notebook, or a file",
    )


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as exc:
        raise UsageError(
            f"json: {one_line(path.name, 60)} cannot be read: {one_line(exc, 80)}", hint="it holds a JSON Schema"
        ) from exc


# ---------------------------------------------------------------- functions, and packages


def _of_function(function: Any) -> Scorer:
    if not callable(function):
        raise UsageError(f"{_shown(function)} is not a scorer", hint=_EXAMPLES)
    _refuse_signature(function)
    name = getattr(function, "__name__", None) or getattr(getattr(function, "func", None), "__name__", None)
    if not isinstance(name, str) or not name.isidentifier():  # a lambda
        name = "scorer" if isinstance(name, str) else type(function).__name__
    return Scorer(name, _source_version(function), function)


def _refuse_signature(function: Any) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return
    try:
        signature.bind(None, None)
    except TypeError:
        name = one_line(getattr(function, "__name__", "the function"), 60)
        raise UsageError(
            f"{name} cannot be called with a reply and a case", hint="a scorer is written def NAME(reply, case)"
        ) from None


def _source_version(function: Any) -> str | None:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # typed into a plain prompt, written in C, or an object with a state
        return None
    return hashlib.sha256(inspect.cleandoc(source).encode("utf-8", "surrogatepass")).hexdigest()


def _shown(value: Any) -> str:
    return f"{one_line(repr(value), 40)} of type {type(value).__name__}"


def installed_scorers() -> tuple[str, ...]:
    """The names of scorers that installed packages bring; none is loaded."""
    return tuple(sorted({p.name for p in _entry_points()}))


def _entry_points() -> list[metadata.EntryPoint]:
    return sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda p: (p.name, p.value))


def _of_entry_point(point: metadata.EntryPoint) -> Scorer:
    try:
        scorer = _of_function(point.load())
    except Exception as exc:  # noqa: BLE001  (foreign code; the answers of a run must not depend on it)
        problem = one_line(redact(f"{type(exc).__name__}: {exc}"))
        note = f"the scorer {one_line(point.name, 60)} of {one_line(point.value, 60)} cannot be loaded: {problem}"
        return Scorer(point.name, None, _nothing, word=point.name, note=note)
    package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else scorer.version
    return replace(scorer, name=point.name, version=package, word=point.name)


def _nothing(reply: Reply, case: Case) -> None:
    return None
