"""Changes to `[providers]` in `config.toml`, and its rows as text for others."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from nbllm.errors import RegistryError, SettingsError
from nbllm.foreign import one_line
from nbllm.providers.rows import BUNDLED, CONFIG, SESSION, bundled_rows, refuse_keys
from nbllm.providers.snapshot import Snapshot
from nbllm.providers.spec import ProviderConfig
from nbllm.providers.urls import origin_of

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Table

_LISTS = ("env", "base_url_env", "models")
_SHOWN = ("kind", "base_url", "models_url", "auth", "env", "headers", "enabled", "gguf")


def cleaned(fields: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
    """Fields as they are written down: known ones, lists as lists, no key among them.

    Args:
        new: Leave out fields that are None; else None stays and means "take away".

    Raises:
        RegistryError: A field is unknown, or a header or parameter would hold a key.
    """
    for name in fields:
        if name not in ProviderConfig.model_fields or name == "id":
            close = difflib.get_close_matches(name, ProviderConfig.model_fields, n=1)
            hint = f"did you mean {close[0]}?" if close else "docs/reference/provider-rows.md names every field"
            raise RegistryError(f"a provider has no field {one_line(name, 40)!r}", hint=hint)
    refuse_keys(fields)
    return {k: _plain(k, v) for k, v in fields.items() if not (new and v is None)}


def _plain(name: str, value: Any) -> Any:
    if name in _LISTS and isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return {str(k): _plain("", v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain("", item) for item in value]
    return value.model_dump(exclude_defaults=True) if hasattr(value, "model_dump") else value


def own_table(config: Mapping[str, Any], id: str) -> dict[str, Any]:
    """The user's table of a provider; empty when there is none."""
    tables = config.get("providers")
    table = tables.get(id) if isinstance(tables, Mapping) else None
    return dict(table) if isinstance(table, Mapping) else {}


def laid_over(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`table` with `changes` on top: tables entry by entry, None takes away."""
    result = dict(table)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = laid_over(result[name], value)
        elif isinstance(value, Mapping):
            result[name] = laid_over({}, value)
        else:
            result[name] = value
        if result.get(name) == {}:
            del result[name]
    return result


def writing(tables: Mapping[str, Mapping[str, Any]]) -> Callable[[TOMLDocument], None]:
    """A change that makes each user's table equal to the one given; an empty one goes. Comments elsewhere stay."""

    def change(document: TOMLDocument) -> None:
        import tomlkit  # noqa: PLC0415  (30 ms, and only writers need it)

        text = tomlkit.dumps(document)
        wanted = _content_after(text, tables)
        draft = tomlkit.parse(text)
        # Dotted keys and inline tables are legal ways to write [providers] that tomlkit does not always change
        # rightly; then the section is written anew, at the price of the comments in it.
        if _applied(draft, tables) and _reads_as(draft, wanted):
            _apply(document, tables)
        else:
            document.pop("providers", None)
            _apply(document, wanted.get("providers", {}))
        if not _reads_as(document, wanted):
            raise SettingsError("config.toml is written in a way that nbllm cannot change", hint="change it by hand")

    return change


def _content_after(text: str, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    content = tomllib.loads(text)
    providers = content.setdefault("providers", {})
    for id, wanted in tables.items():
        providers.pop(id, None)
        if wanted:
            providers[id] = _stored(wanted)
    return content


def _reads_as(document: TOMLDocument, wanted: Mapping[str, Any]) -> bool:
    import tomlkit  # noqa: PLC0415  (30 ms, and only writers need it)

    return {"providers": {}, **tomllib.loads(tomlkit.dumps(document))} == wanted


def _stored(value: Any) -> Any:
    """As it is read again: lists for tuples, and no None, which TOML does not have."""
    if isinstance(value, Mapping):
        return {k: _stored(v) for k, v in value.items() if v is not None}
    return [_stored(v) for v in value if v is not None] if isinstance(value, list | tuple) else value


def _applied(draft: TOMLDocument, tables: Mapping[str, Mapping[str, Any]]) -> bool:
    try:
        _apply(draft, tables)
    except Exception:  # noqa: BLE001  (what tomlkit raises here has no common class; the other way follows)
        return False
    return True


def _apply(document: TOMLDocument, tables: Mapping[str, Mapping[str, Any]]) -> None:
    import tomlkit  # noqa: PLC0415  (30 ms, and only writers need it)

    if "providers" not in document:
        document["providers"] = tomlkit.table(is_super_table=True)
    providers: Any = document["providers"]
    for id, wanted in tables.items():
        if not wanted:
            providers.pop(id, None)
            continue
        if id not in providers:
            providers[id] = tomlkit.table()
        _equalise(providers[id], wanted)


def _equalise(table: Any, wanted: Mapping[str, Any]) -> None:
    """Only what differs is touched, so that comments on the rest stay."""
    for name in [name for name in table if name not in wanted]:
        del table[name]
    for name, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(table.get(name), Mapping):
            _equalise(table[name], value)
        elif table.get(name) != value:
            table[name] = _item(value)


def _item(value: Any) -> Any:
    import tomlkit  # noqa: PLC0415  (30 ms, and only writers need it)

    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update({k: _item(v) for k, v in value.items() if v is not None})
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        array.extend(_item(v) for v in value if v is not None)
        return array
    return value


def removing(ids: Iterable[str]) -> Callable[[TOMLDocument], None]:
    """A change that takes the user's tables of these providers away."""
    return writing({id: {} for id in ids})


def removal(now: Snapshot, id: str) -> str:
    """What removing a provider from the file does, as a sentence.

    Raises:
        RegistryError: Nothing of it stands in the file.
    """
    below = now.below(id)
    if now.has(id, CONFIG) or now.has(id, SESSION):
        if not below:
            return f"{id}: removed"
        origin = "nbllm" if now.has(id, BUNDLED) else f"the {below[0].source}"
        return f"{id}: your changes are removed, the row that comes with {origin} counts again"
    if not below:
        variable = now.layers[id][-1].source
        raise RegistryError(f"{id} comes from the {variable}", hint="unset that variable to remove it")
    origin = "nbllm" if now.has(id, BUNDLED) else f"the {below[0].source}"
    raise RegistryError(
        f"{id} comes with {origin} and cannot be removed", hint=f"`%llm_providers disable {id}` puts it out of use"
    )


def left_behind(table: Mapping[str, Any], changes: Mapping[str, Any], before: str, now: str) -> dict[str, Any]:
    """`changes` that also take away what was given for the earlier address, when it moves to another origin.

    Headers of the user's own may be secret, and plain http was agreed to for one host.

    Args:
        table: What the user gave earlier.
        changes: What is given now.
        before: The address until now; empty when there is none.
        now: The address from now on.
    """
    if same_origin(before, now):
        return dict(changes)
    kept = dict(changes)
    headers = table.get("headers")
    if isinstance(headers, Mapping) and kept.get("headers", {}) is not None:
        kept["headers"] = {**dict.fromkeys(headers), **kept.get("headers", {})}
    if "confirmed_http" in table:
        kept.setdefault("confirmed_http", None)
    return kept


def same_origin(one: str, other: str) -> bool:
    """Whether two addresses, of which each may be empty, have one origin."""
    return one == other or bool(one and other and origin_of(one) == origin_of(other))


def with_own_headers(given: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """An imported table with the headers of the user's present one, since those are not exported."""
    headers = own.get("headers")
    return {**given, "headers": {**headers, **given.get("headers", {})}} if isinstance(headers, Mapping) else given


def exported(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """`[providers.ID]` tables as TOML."""
    import tomlkit  # noqa: PLC0415  (30 ms, and only writers need it)

    document = tomlkit.document()
    document.add(tomlkit.comment("Providers of nbllm. No key stands in here; `nbllm providers` asks for them again."))
    providers = tomlkit.table(is_super_table=True)
    for id, row in rows.items():
        refuse_keys(row)
        table: Table = tomlkit.table()
        secret = _own_headers(id, row)
        if secret:
            table.add(tomlkit.comment(f"headers are not exported, since they may be secret: {', '.join(secret)}"))
        for name, value in {**row, "headers": _without(row.get("headers"), secret)}.items():
            if value is not None:
                table[name] = _item(_plain(name, value))
        providers[id] = table
    document["providers"] = providers
    return tomlkit.dumps(document)


def _own_headers(id: str, row: Mapping[str, Any]) -> list[str]:
    """Names of the headers that do not come with nbllm."""
    given = bundled_rows().get(id, {}).get("headers", {})
    headers = row.get("headers")
    return [n for n, v in headers.items() if given.get(n) != v] if isinstance(headers, Mapping) else []


def _without(headers: Any, names: Iterable[str]) -> dict[str, Any] | None:
    kept = {n: v for n, v in headers.items() if n not in names} if isinstance(headers, Mapping) else {}
    return kept or None


def imported(text: str) -> dict[str, dict[str, Any]]:
    """The tables of an exported text: under `[providers]`, or each at the top.

    Raises:
        RegistryError: It is not TOML, or holds something that is no provider.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        where = re.search(r"at line (\d+)", str(exc))
        raise RegistryError(
            f"not valid TOML (line {where[1] if where else 'last'})",
            hint="`%llm_providers export FILE` writes what this reads",
        ) from None
    tables = content.get("providers", content)
    if not isinstance(tables, Mapping) or not tables or not all(isinstance(t, Mapping) for t in tables.values()):
        raise RegistryError(
            "there is no [providers.ID] table in it", hint="`%llm_providers export FILE` writes what this reads"
        )
    return {id: {k: v for k, v in table.items() if k != "id"} for id, table in tables.items()}


def preview(before: ProviderConfig | None, after: ProviderConfig, variables: Iterable[str]) -> list[str]:
    """What changes, a line each; first of all where keys would go."""
    lines = []
    if before is None:
        lines.append(f"{after.id}: new ({after.kind}, {after.base_url or after.gguf})")
    else:
        lines += [
            f"{after.id}: {name} {_shown(getattr(before, name))} -> {_shown(getattr(after, name))}"
            for name in ProviderConfig.model_fields
            if getattr(before, name) != getattr(after, name) and name in _SHOWN
        ]
        others = [n for n in ProviderConfig.model_fields if n not in _SHOWN and getattr(before, n) != getattr(after, n)]
        if others:
            lines.append(f"{after.id}: also {', '.join(others)}")
    moved = before is None or before.base_url != after.base_url or before.env != after.env
    if moved and (names := ", ".join(variables)):
        lines.append(f"{after.id}: a key in {names} would be sent to {after.base_url}")
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):  # headers: their names only
        value = tuple(value)
    return one_line(", ".join(map(str, value)) if isinstance(value, tuple) else value, 80)
