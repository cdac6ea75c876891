"""Provider definitions of a `dump_models.py` script, or one like it, read without running it.

Such a script keeps its providers in text tables (`name, kind, key variable, address variable` a line, and
`address variable, address` a line), or in lists, dicts or calls that say the same. What is not a literal is named with
its line; a key that stands in the script is neither taken nor shown.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nbllm.catalog.script_values import Fields, Items, Named, Text, Unknown, Value, Variable, named_values
from nbllm.credentials.redaction import looks_like_key
from nbllm.errors import NbllmError, UsageError
from nbllm.foreign import one_line
from nbllm.providers.registry import Registry
from nbllm.providers.urls import origin_of

SIZE_CAP = 1_000_000
"""Bytes; such a script has about 30,000."""
_ROWS_CAP = 10_000

_KINDS = {
    "oai": "openai", "openai": "openai", "openai-compatible": "openai", "ant": "anthropic", "anthropic": "anthropic",
    "url": "url", "gemini": "gemini", "ollama": "ollama",
}  # fmt: skip
_FIELDS = {
    "name": ("id", "name", "provider", "provider_id", "slug"),
    "kind": ("kind", "type", "api_type"),
    "env": ("api_key_env", "key_env", "env_key", "env", "api_key_var", "env_var", "key_var", "api_key", "key", "token"),
    "url_env": ("url_env", "base_url_env", "api_url_env", "url_var"),
    "base_url": ("base_url", "url", "api_base", "api_url", "endpoint", "base"),
}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,60}")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_ADDRESS_VARIABLE = re.compile(r".*(_URL|_BASE|_ENDPOINT|_HOST|_API_OPENAI|_URI)")
_TABLE_NAME = re.compile(r"(?i).*(provider|api_?config|url_?config|endpoint)")


@dataclass(frozen=True, slots=True)
class Definition:
    """A provider as the script has it."""

    id: str
    line: int
    kind: str = "openai"
    env: str | None = None
    """The variable of its key."""
    url_env: str | None = None
    """The variable of its address."""
    base_url: str | None = None


@dataclass(slots=True)
class Script:
    """What a script says, as far as it can be read."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    addresses: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Variable to address and line."""
    problems: list[str] = field(default_factory=list)
    """What was not understood, or refused, with its line."""
    remarks: list[str] = field(default_factory=list)
    """What is odd and stops nothing."""
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a script."""

    known: tuple[str, ...]
    """Ids that nbllm knows already; nothing was changed of them."""
    lines: tuple[str, ...]
    """What changes, or would change, a sentence each."""
    remarks: tuple[str, ...]
    """Known providers that have another address in the script, and what is odd in it."""
    problems: tuple[str, ...]
    """What was not taken over, and why, with its line."""


def import_script(registry: Registry, path: Path, *, dry_run: bool = False) -> Imported:
    """Take the providers of a script over that nbllm does not know, as rows of `config.toml`.

    Args:
        registry: Where they go.
        path: The script.
        dry_run: Only say what would change.

    Raises:
        UsageError: The file cannot be read as Python, or defines no provider.
        SettingsError: `config.toml` is broken or cannot be written. Nothing was changed.
    """
    script = read_script(path)
    ids = set(registry.ids())
    known = [d for d in script.definitions.values() if d.id in ids]
    problems = list(script.problems)
    tables: dict[str, dict[str, Any]] = {}
    for new in script.definitions.values():
        if new.id not in ids:
            try:
                tables[new.id] = _row(new)
                registry.import_(_toml({new.id: tables[new.id]}), dry_run=True)
            except NbllmError as exc:  # one row that cannot be used must not hide the others
                tables.pop(new.id, None)
                problems.append(f"line {new.line}: {new.id}: {exc.message}")
    lines = registry.import_(_toml(tables), dry_run=dry_run) if tables else []
    remarks = [*script.remarks, *(r for d in known if (r := _elsewhere(d, registry.get(d.id).base_url)))]
    return Imported(tuple(d.id for d in known), tuple(lines), tuple(remarks), tuple(problems))


def _row(definition: Definition) -> dict[str, Any]:
    if not definition.base_url:
        asks = f"; {definition.url_env} may name it" if definition.url_env else ""
        raise UsageError(f"its address does not stand in the script{asks}")
    row: dict[str, Any] = {"base_url": definition.base_url, "kind": definition.kind}
    if definition.env:
        row["env"] = [definition.env]
    else:
        row["auth"] = "none"
    if definition.url_env:
        row["base_url_env"] = [definition.url_env]
    return row


def _elsewhere(definition: Definition, ours: str) -> str | None:
    theirs = definition.base_url
    if not theirs or not ours or _same(theirs, ours):
        return None
    return (
        f"{definition.id}: the script has {one_line(theirs)}, nbllm {ours}; "
        f"`%llm_providers edit {definition.id} --base-url URL` changes it"
    )


def _same(one: str, other: str) -> bool:
    try:
        return origin_of(one) == origin_of(other)
    except (NbllmError, ValueError):
        return False


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    import tomli_w  # noqa: PLC0415  (only this command needs it)

    return tomli_w.dumps({"providers": tables})


# ---------------------------------------------------------------- reading


def read_script(path: Path) -> Script:
    """What a script says of providers.

    Raises:
        UsageError: As `import_script`.
    """
    tree = _parse(path, _source(path))
    script = Script()
    for named in named_values(tree):
        _take(named, script)
    for id, definition in script.definitions.items():
        if definition.base_url is None and definition.url_env in script.addresses:
            script.definitions[id] = replace(definition, base_url=script.addresses[definition.url_env][0])
    read = {d.url_env for d in script.definitions.values()}
    script.remarks += [
        f"line {line}: {variable} has an address, and no provider reads it from there"
        for variable, (_, line) in script.addresses.items()
        if variable not in read
    ]
    if not script.definitions:
        raise UsageError(
            f"{path} defines no provider that can be read without running it",
            hint="`nbllm providers add ID --base-url URL` adds one by hand",
        )
    script.problems.sort(key=lambda p: int(found[1]) if (found := re.match(r"line (\d+)", p)) else 0)
    return script


def _source(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UsageError(f"{path} is no file" if path.exists() else f"there is no file {path}", hint=_WANTED)
        if path.stat().st_size > SIZE_CAP:
            raise UsageError(f"{path} is larger than {SIZE_CAP // 1000} kB, which no such script is", hint=_WANTED)
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror or exc}", hint=_WANTED) from exc


def _parse(path: Path, source: bytes) -> ast.Module:
    try:
        source.decode("utf-8-sig")
        if b"\0" in source:
            raise UsageError(f"{path} is no text", hint=_WANTED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning about an escape would show the script's line
            return ast.parse(source)
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", hint=_WANTED) from None
    except (RecursionError, MemoryError):
        raise UsageError(f"{path} is nested too deeply to be read", hint=_WANTED) from None
    except (SyntaxError, ValueError) as exc:
        line = getattr(exc, "lineno", None)
        where = f", line {line}" if line else ""
        raise UsageError(f"{path}{where}: this is not valid Python", hint=_WANTED) from None


_WANTED = "name a dump_models.py, or a script like it"


def _take(named: Named, script: Script) -> None:
    """Take a value for a table of providers, where it is one."""
    draft = Script(rows=script.rows)
    likely = bool(_TABLE_NAME.match(named.name))
    is_table = likely and not named.is_local  # functions compute; what they compute is no definition that is lost
    if isinstance(named.value, Unknown):
        if is_table:
            script.problems.append(f"line {named.line}: {named.name} can only be known by running the script")
        return
    for key, cells, line in _rows(named.value):
        draft.rows += 1
        if draft.rows > _ROWS_CAP:
            raise UsageError(f"line {line}: more than {_ROWS_CAP} rows, which no such script has", hint=_WANTED)
        _read_row(key, cells, line, draft, likely=likely)
    script.rows = draft.rows
    if not draft.definitions and not draft.addresses:
        # Other tables of the script are no concern of ours, unless they look like it.
        wanted = [p for p in draft.problems if is_table or _SECRET in p]
        script.problems += wanted
        return
    script.problems += draft.problems
    script.remarks += draft.remarks
    for id, definition in draft.definitions.items():
        script.definitions.setdefault(id, definition)
    for variable, address in draft.addresses.items():
        script.addresses.setdefault(variable, address)


Cells = Fields | list["Value"] | Unknown


def _rows(value: Value) -> Iterator[tuple[str | None, Cells, int]]:
    """The rows of a table: the key that stands before one, its cells, its line."""
    if isinstance(value, Text):
        if "\n" in value.value:
            for line, text in enumerate(value.value.splitlines(), value.line):
                yield from _split(text, line)
    elif isinstance(value, Items):
        for item in value.values:
            if isinstance(item, Fields):
                yield None, item, item.line
            elif isinstance(item, Items):
                yield None, list(item.values), item.line
            elif isinstance(item, Text):
                yield from _split(item.value, item.line)
            elif isinstance(item, Unknown):
                yield None, item, item.line
    elif isinstance(value, Fields):
        yield from _rows_of_fields(value)


def _rows_of_fields(value: Fields) -> Iterator[tuple[str | None, Cells, int]]:
    if any(name in value.values for name in _FIELDS["name"]) and any(
        n in value.values for n in _FIELDS["base_url"] + _FIELDS["url_env"]
    ):
        yield None, value, value.line
        return
    for key, inner in value.values.items():
        if isinstance(inner, Fields | Unknown):
            yield key, inner, inner.line
        elif isinstance(inner, Items):
            yield key, list(inner.values), inner.line
        elif isinstance(inner, Text | Variable):
            yield key, [inner], inner.line


def _split(text: str, line: int) -> Iterator[tuple[str | None, Cells, int]]:
    bare = text.strip()
    if not bare or bare.startswith("#"):
        return
    mark = next((m for m in (",", "|", "\t", ";") if m in bare), None)
    yield None, [Text(part.strip(), line) for part in (bare.split(mark) if mark else bare.split())], line


# ---------------------------------------------------------------- one row

_SECRET = "a key stands in the script"  # noqa: S105  (a sentence)


def _read_row(key: str | None, cells: Cells, line: int, script: Script, *, likely: bool) -> None:
    if isinstance(cells, Unknown):
        script.problems.append(f"line {line}: a row that can only be known by running the script")
        return
    if _holds_key(key, cells):
        script.problems.append(f"line {line}: {_SECRET}; the row was not taken. Replace the key at the provider")
        return
    if isinstance(cells, Fields):
        facts = _of_fields(cells)
        if key is not None:
            facts.setdefault("name", key)
    else:
        facts = _of_cells(cells if key is None else [Text(key, line), *cells])
    address, variable, name = facts.get("base_url"), facts.get("variable"), facts.get("name")
    if name is None and variable and address:
        script.addresses.setdefault(variable, (address, line))
    elif name is None or not _ID.fullmatch(name) or not (facts.keys() & {"env", "url_env", "base_url"}):
        script.problems.append(f"line {line}: no provider could be read from this row")
    elif not likely and set(facts) <= {"name", "base_url"}:
        script.problems.append(f"line {line}: a name and an address, in a table that does not say they are providers")
    else:
        _define(_plain_id(name), facts, line, script)


def _define(id: str, facts: Mapping[str, str], line: int, script: Script) -> None:
    if id in script.definitions:
        script.remarks.append(f"line {line}: {id} is defined a second time; the first counts")
        return
    kind = facts.get("kind", "openai")
    if kind.lower() not in _KINDS:
        script.remarks.append(f"line {line}: {id}: kind {one_line(kind, 20)!r} is not known here; taken for openai")
    script.definitions[id] = Definition(
        id=id,
        line=line,
        kind=_KINDS.get(kind.lower(), "openai"),
        env=facts.get("env"),
        url_env=facts.get("url_env"),
        base_url=facts.get("base_url"),
    )


def _plain_id(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _of_fields(fields: Fields) -> dict[str, str]:
    """The facts of a row whose cells are named."""
    facts: dict[str, str] = {}
    for fact, names in _FIELDS.items():
        value = next((fields.values[n] for n in names if fields.values.get(n) is not None), None)
        if isinstance(value, Items):  # several variables: the first
            value = next(iter(value.values), None)
        if isinstance(value, Variable):
            facts["url_env" if fact == "base_url" else fact] = value.name
            if value.default and fact == "base_url":
                facts["base_url"] = value.default
        elif isinstance(value, Text) and value.value.strip():
            facts.setdefault(fact, value.value.strip())
    if "env" in facts and not _VARIABLE.fullmatch(facts["env"]):
        del facts["env"]
    if not facts.get("base_url", "http").startswith("http"):
        del facts["base_url"]
    return facts


def _of_cells(cells: Iterable[Value]) -> dict[str, str]:
    """The facts of a row whose cells are told apart by their looks."""
    facts: dict[str, str] = {}
    for cell in cells:
        if isinstance(cell, Variable):
            text, default = cell.name, cell.default
        elif isinstance(cell, Text):
            text, default = cell.value.strip(), None
        else:
            continue
        if default and default.startswith(("http://", "https://")):
            facts |= {"url_env": text, "base_url": default}
        elif text.startswith(("http://", "https://")):
            facts.setdefault("base_url", text)
        elif _VARIABLE.fullmatch(text):
            _note_variable(text, facts)
        elif text.lower() in _KINDS and "name" in facts:
            facts.setdefault("kind", text)
        elif text and "name" not in facts:
            facts["name"] = text
    if "name" not in facts and (variable := facts.pop("url_env", None) or facts.pop("env", None)):
        facts["variable"] = variable
    return facts


def _note_variable(text: str, facts: dict[str, str]) -> None:
    if _ADDRESS_VARIABLE.fullmatch(text) or "env" in facts:
        facts.setdefault("url_env", text)
    else:
        facts["env"] = text


def _holds_key(key: str | None, cells: Fields | list[Value]) -> bool:
    """Whether one of the texts of a row is probably a key, or stands where a key would."""
    values = list(cells.values.items()) if isinstance(cells, Fields) else [("", v) for v in cells]
    for name, value in values:
        text = value.value if isinstance(value, Text) else value.default if isinstance(value, Variable) else None
        if not text:
            continue
        if name in ("api_key", "key", "token", "secret") and not _VARIABLE.fullmatch(text.strip()):
            return True
        if any(looks_like_key(part) for part in re.split(r"[\s,?&=:@/]+|Bearer ", text)):
            return True
        if text.startswith("http") and "@" in text.partition("//")[2].partition("/")[0]:
            return True
    return key is not None and looks_like_key(key)
