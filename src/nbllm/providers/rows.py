"""Rows from where they stand: the bundled file, installed packages, the user's file; and how layers become one row.

A layer is a partial row. Later layers win field by field; tables (`headers`, `timeout`, ...) win entry by entry.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata, resources
from typing import Any

from pydantic import ValidationError

from nbllm.errors import RegistryError
from nbllm.foreign import one_line
from nbllm.providers import templates
from nbllm.providers.spec import KINDS, ProviderConfig
from nbllm.providers.urls import check_listing_url, check_url, is_loopback, move_to_origin, origin_of

ENTRY_POINTS = "nbllm.providers"
ADAPTERS = "nbllm.adapters"
BUNDLED = "bundled"
CONFIG = "config.toml"
SESSION = "session"

LOCAL_FIRST_TOKEN_S = 300.0
"""Unless the row says otherwise; also for a server of the user's own on this machine."""
_FIELDS_HINT = "docs/reference/provider-rows.md names every field"
_TABLES = ("headers", "params", "extra_body", "listing", "quirks", "rate_limit", "timeout")
_KEY_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "x-auth-token"}
)
_KEY_PARAMS = frozenset({"key", "api_key", "apikey", "api-key", "token", "access_token", "secret", "password"})
_KEY_PREFIXES = ("sk-", "gsk_", "hf_", "xai-", "aiza", "bearer ", "basic ", "r8_", "pplx-", "ghp_", "github_pat_")


@dataclass(frozen=True, slots=True)
class Layer:
    """A partial row and where it stands."""

    source: str
    """`bundled`, `entry point NAME`, `config.toml`, `environment VARIABLE`, `session`."""
    fields: Mapping[str, Any]
    where: str = ""
    """For messages: the file and the table, or the package."""
    remarks: tuple[str, ...] = ()
    """What was repaired in its address before it came here."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it counts now, field by field known where from."""

    config: ProviderConfig
    sources: Mapping[str, str]
    remarks: tuple[str, ...]
    """What was repaired, and what the user should know."""


@dataclass(slots=True)
class _Merge:
    fields: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@functools.cache
def bundled_row(id: str) -> Row:
    """A row of `providers.toml` with nothing laid over it. Made once a process: most are never asked for."""
    return merge(id, [Layer(BUNDLED, bundled_rows()[id])])


@functools.cache
def bundled_rows() -> Mapping[str, Mapping[str, Any]]:
    """The rows of `providers.toml`, in the order of the file."""
    text = resources.files("nbllm.providers").joinpath("providers.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def entry_point_layers() -> tuple[dict[str, list[Layer]], list[str]]:
    """What installed packages add, and one line for each package whose rows cannot be read."""
    layers: dict[str, list[Layer]] = {}
    problems = []
    for point in sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda p: (p.name, p.value)):
        where = f"entry point {point.name}"
        try:
            for row in _rows_of(point.load(), point.name):
                given = dict(row)
                layers.setdefault(str(given.pop("id")), []).append(Layer(where, given, where))
        except Exception as exc:  # noqa: BLE001  (foreign code; one package must not take the others along)
            problems.append(f"{where} ({one_line(point.value)}): {type(exc).__name__}: {one_line(exc)}")
    return layers, problems


def _rows_of(found: Any, name: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(found, ProviderConfig):
        yield found.model_dump(exclude_unset=True)
    elif isinstance(found, Mapping):
        yield from _rows_of_mapping(found, name)
    elif callable(found):
        yield from _rows_of(found(), name)
    elif isinstance(found, Iterable) and not isinstance(found, str | bytes):
        for item in found:
            yield from _rows_of(item, name)
    else:
        raise TypeError("neither a mapping, nor a ProviderConfig, nor a callable that gives them")


def _rows_of_mapping(found: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """One row (it has fields of a row), or rows by id."""
    if "id" in found or "base_url" in found:
        yield {"id": name, **found}
        return
    for key, row in found.items():
        if isinstance(row, ProviderConfig):
            yield {**row.model_dump(exclude_unset=True), "id": key}
        elif isinstance(row, Mapping):
            yield {**row, "id": key}
        else:
            raise TypeError(f"the row {one_line(key)} is not a table")


def merge(provider: str, layers: Iterable[Layer]) -> Row:
    """One row out of its layers.

    Raises:
        RegistryError: The row cannot be used; the text says which layer and why.
    """
    merged = _Merge()
    where = ""
    try:
        for layer in layers:
            where = layer.where or where
            _lay_over(merged, layer)
        _settle(merged)
        return Row(validated({"id": provider, **merged.fields}), merged.sources, tuple(merged.remarks))
    except RegistryError as error:
        place = f"{where}: " if where else ""
        raise RegistryError(f"{place}{error.message}", hint=error.hint) from None


def _lay_over(merged: _Merge, layer: Layer) -> None:
    refuse_keys(layer.fields)
    _refuse_unknown(layer.fields)
    new = {name: value for name, value in layer.fields.items() if name != "id"}
    if new.get("base_url"):
        new["base_url"] = _normalised(merged, new)
        merged.remarks += layer.remarks
        _follow_move(merged, new["base_url"])
    if new.get("base_url_template"):
        _refuse_template(_text(new["base_url_template"], "base_url_template"))
    if new.get("models_url"):
        new["models_url"] = check_listing_url(_text(new["models_url"], "models_url"))
    for name, value in new.items():
        old = merged.fields.get(name)
        both = name in _TABLES and isinstance(value, Mapping) and isinstance(old, Mapping)
        merged.fields[name] = {**old, **value} if both and isinstance(old, Mapping) else value
        merged.sources[name] = layer.source


def _refuse_unknown(fields: Mapping[str, Any]) -> None:
    for name in fields:
        if name not in ProviderConfig.model_fields:
            close = difflib.get_close_matches(str(name), ProviderConfig.model_fields, n=1)
            raise RegistryError(
                f"there is no field {one_line(name, 40)!r}",
                hint=f"did you mean {close[0]}?" if close else _FIELDS_HINT,
            )


def _normalised(merged: _Merge, new: Mapping[str, Any]) -> str:
    kind = str(new.get("kind", merged.fields.get("kind", "openai")))
    verdict = check_url(_text(new["base_url"], "base_url"), kind=kind)
    merged.remarks = [*verdict.repairs]
    return verdict.url


def _refuse_template(template: str) -> None:
    """A template must be an address when its gaps are filled.

    Raises:
        RegistryError: It is none, or has no gap.
    """
    gaps = templates.variables(template)
    if not gaps:
        raise RegistryError("base_url_template has no ${VARIABLE} in it", hint="an address without gaps is base_url")
    check_url(templates.filled(template, dict.fromkeys(gaps, "x")) or "")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RegistryError(f"{name} is not a text")
    return value


def _follow_move(merged: _Merge, base_url: str) -> None:
    """What belonged to the earlier address does not go along to another one."""
    before = merged.fields.get("base_url")
    if not before or before == base_url:
        return
    _drop(merged, "models_url")
    if origin_of(before) == origin_of(base_url):
        return
    _drop(merged, "confirmed_http")
    _drop(merged, "local")
    if merged.sources.get("headers") == CONFIG:  # the user's own headers may be secret
        _drop(merged, "headers")
    listing = merged.fields.get("listing")
    if isinstance(listing, Mapping) and listing.get("join_url"):
        merged.fields["listing"] = {**listing, "join_url": move_to_origin(str(listing["join_url"]), base_url)}


def _drop(merged: _Merge, name: str) -> None:
    merged.fields.pop(name, None)
    merged.sources.pop(name, None)


def _settle(merged: _Merge) -> None:
    """What follows from the whole row: is it local, may a key go there."""
    fields = merged.fields
    url = fields.get("base_url")
    if not url:
        if fields.get("gguf"):  # served by nbllm itself, on a port of this machine
            fields.setdefault("local", True)
            fields.setdefault("auth", "none")  # the key of its server is made and known by nbllm alone
            _be_patient(fields)
            return
        if fields.get("base_url_template") or fields.get("status") == "unsupported":
            return  # `readiness` says what is missing when somebody asks
        raise RegistryError("the row has no base_url", hint="give it one: --base-url https://HOST/v1")
    verdict = check_url(
        str(url), kind=str(fields.get("kind", "openai")), confirmed_http=fields.get("confirmed_http") is True
    )
    fields.setdefault("local", is_loopback(_host(str(url))))
    if fields["local"] and fields.get("auth") != "none" and BUNDLED not in merged.sources.values():
        # Most servers on one's own machine want no key; one that does says so, and the hint asks for it.
        fields.setdefault("key_optional", True)
    if fields["local"]:
        _be_patient(fields)
    if verdict.warning:
        merged.remarks.append(verdict.warning)
    if verdict.needs_confirmation and fields.get("auth") != "none":
        _withhold_key(merged)


def _be_patient(fields: dict[str, Any]) -> None:
    """A model on one's own machine may read a long prompt for minutes before its first token."""
    timeout = fields.get("timeout", {})
    if isinstance(timeout, Mapping):
        fields["timeout"] = {"first_token_s": LOCAL_FIRST_TOKEN_S, **timeout}


def _withhold_key(merged: _Merge) -> None:
    if not merged.fields.get("key_optional"):
        raise RegistryError(
            "its address is plain http beyond this machine, and a key would be sent in the clear",
            hint="use https, or agree with `--confirm-http` (confirmed_http = true beside base_url in config.toml)",
        )
    merged.fields["auth"] = "none"
    merged.sources["auth"] = "plain http, not confirmed"
    merged.remarks.append("no key is sent there until confirmed_http = true stands in its table of config.toml")


def _host(url: str) -> str:
    return origin_of(url).partition("://")[2].rpartition(":")[0]


def validated(fields: Mapping[str, Any]) -> ProviderConfig:
    """The row as a `ProviderConfig`.

    Raises:
        RegistryError: A field is unknown or has a value that is not allowed. No value is repeated.
    """
    try:
        row = ProviderConfig.model_validate(dict(fields))
    except ValidationError as exc:
        said = "; ".join(_said(dict(error)) for error in exc.errors(include_url=False, include_input=False)[:3])
        failed = RegistryError(said, hint=_FIELDS_HINT)
    else:
        if row.kind in known_kinds() or row.status == "unsupported":
            return row
        failed = RegistryError(f"kind is not one of {', '.join(known_kinds())}")
    raise failed  # outside the except: the validation error holds the input


def _said(error: Mapping[str, Any]) -> str:
    place = one_line(".".join(str(part) for part in error["loc"])) or "the row"
    if error["type"] == "extra_forbidden":
        return f"there is no field {place!r}"
    return f"{place}: {str(error['msg']).removeprefix('Value error, ')}"


@functools.cache
def known_kinds() -> tuple[str, ...]:
    """The wire formats that come along and those that installed packages add."""
    return KINDS + tuple(p.name for p in metadata.entry_points(group=ADAPTERS) if p.name not in KINDS)


def refuse_keys(fields: Mapping[str, Any]) -> None:
    """A row never holds a key.

    Raises:
        RegistryError: A header or parameter is one that carries keys, or its value has the shape of one.
    """
    for table, names in (("headers", _KEY_HEADERS), ("params", _KEY_PARAMS), ("extra_body", _KEY_PARAMS)):
        content = fields.get(table)
        if not isinstance(content, Mapping):
            continue
        for name, value in content.items():
            if str(name).lower() in names or _has_key_shape(value):
                raise RegistryError(
                    f"{table}.{one_line(name, 40)} would hold a key, and a row never does",
                    hint="use `%llm_providers key ID`; a key that was typed here should be replaced at the provider",
                )


def _has_key_shape(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 20 and value.lower().startswith(_KEY_PREFIXES)
