"""All rows as they count at one moment: the layers of each provider, put on top of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbllm.errors import RegistryError, SettingsError
from nbllm.foreign import one_line
from nbllm.providers import environment, templates
from nbllm.providers.rows import BUNDLED, CONFIG, SESSION, Layer, Row, bundled_row, bundled_rows, merge
from nbllm.providers.spec import ProviderConfig, env_id
from nbllm.providers.urls import origin_of


class Rows(Mapping[str, Row]):
    """Rows by id, in order. One that is as it came with nbllm is put together when it is first asked for.

    Args:
        made: Each row, or None for a bundled one that nothing lies over.
    """

    def __init__(self, made: Mapping[str, Row | None]) -> None:
        self._made = made

    def __getitem__(self, id: str) -> Row:
        return self._made[id] or bundled_row(id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __contains__(self, id: object) -> bool:
        return id in self._made


class Configs(Mapping[str, ProviderConfig]):
    """The same, without what the rows' sources are."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows

    def __getitem__(self, id: str) -> ProviderConfig:
        return self._rows[id].config

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read at one time. Never changed; a new one takes its place."""

    layers: Mapping[str, tuple[Layer, ...]] = field(default_factory=dict)
    """Every provider that somebody speaks of, usable or not."""
    rows: Mapping[str, Row] = field(default_factory=dict)
    broken: Mapping[str, RegistryError] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    """The user's file; empty when it is broken."""
    config_error: SettingsError | None = None

    def has(self, id: str, source: str) -> bool:
        """Whether a layer of this source speaks of the provider."""
        return any(layer.source == source for layer in self.layers.get(id, ()))

    def below(self, id: str) -> tuple[Layer, ...]:
        """The layers that the user's file lies on: bundled row and installed packages."""
        return tuple(layer for layer in self.layers.get(id, ()) if _is_given(layer))

    def kept_fields(self, id: str) -> dict[str, Any]:
        """The fields that are written down somewhere, without what the environment and the session say.

        A provider that only these two define is taken as it counts.
        """
        kept = [x for x in self.layers[id] if _is_given(x) or x.source == CONFIG]
        row = _merge_or_none(id, kept) or self.rows[id]
        content = row.config.model_dump(exclude_unset=True)
        return {name: value for name, value in content.items() if name in row.sources}

    def address_variables(self) -> frozenset[str]:
        """Every variable that some row, usable or not, takes an address from."""
        named: list[object] = []
        for layer in (layer for found in self.layers.values() for layer in found):
            named.append(layer.fields.get("base_url_env"))
            named.append(templates.variables(str(layer.fields.get("base_url_template", ""))))
        return frozenset(str(name) for names in named if isinstance(names, list | tuple) for name in names)

    def speaking_of(self, field: str) -> list[str]:
        """The providers that can be used and of which some layer sets `field`; a look that puts no row together."""
        return [id for id in self.rows if any(field in layer.fields for layer in self.layers[id])]

    def planned(self, id: str, table: Mapping[str, Any]) -> tuple[Layer, ...]:
        """The layers as they would be with `table` in the file."""
        above = (x for x in self.layers.get(id, ()) if x.source == SESSION or x.source.startswith("environment"))
        return (*self.below(id), Layer(CONFIG, table), *above)


def _is_given(layer: Layer) -> bool:
    return layer.source == BUNDLED or layer.source.startswith("entry point")


def build(
    config: Mapping[str, Any] | SettingsError,
    *,
    file: Path,
    environ: Mapping[str, str],
    installed: tuple[Mapping[str, list[Layer]], list[str]],
    session: Mapping[str, Mapping[str, Any]],
) -> Snapshot:
    """Put the layers of all providers together. A row that cannot be used does not stop the others."""
    content: Mapping[str, Any] = {} if isinstance(config, SettingsError) else config
    problems = [config.message] if isinstance(config, SettingsError) else []
    problems += installed[1]
    layers = {id: [Layer(BUNDLED, row)] for id, row in bundled_rows().items()}
    for id, found in installed[0].items():
        layers.setdefault(id, []).extend(found)
    for id, table in _tables(content, file, problems):
        layers.setdefault(id, []).append(Layer(CONFIG, table, f"{file}, [providers.{one_line(id, 40)}]"))
    broken = _add_environment(layers, environ)
    for id, fields in session.items():
        layers.setdefault(id, []).append(Layer(SESSION, fields))
    rows = _merged(layers, broken)
    problems += [_problem(id, error) for id, error in broken.items()]
    frozen = {id: tuple(found) for id, found in layers.items()}
    error = config if isinstance(config, SettingsError) else None
    return Snapshot(frozen, rows, broken, tuple(problems), content, error)


def _tables(config: Mapping[str, Any], file: Path, problems: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    tables = config.get("providers", {})
    if not isinstance(tables, Mapping):
        problems.append(f"{file}: providers is not a table")
        return
    for id, table in tables.items():
        if isinstance(table, Mapping):
            yield id, table
        else:
            problems.append(f"{file}, providers.{one_line(id, 40)} is not a table")


def _add_environment(layers: dict[str, list[Layer]], environ: Mapping[str, str]) -> dict[str, RegistryError]:
    """Lay what the environment says over the rows; the errors of those where it cannot be."""
    broken: dict[str, RegistryError] = {}
    claimed = set(layers)
    for id, found in layers.items():
        if _is_bare(found):
            names = environment.address_variables(id, found[0].fields)
            claimed.update(names)
            if not any(name in environ for name in names):
                continue
        try:
            row = merge(id, found).config
            moved = environment.base_url_layer(row, environ)
        except RegistryError as error:
            broken[id] = error
            continue
        claimed.update(row.base_url_env)
        if moved:
            found.append(moved)
    for id, layer in environment.defined_providers(environ, claimed):
        layers.setdefault(id, []).append(layer)
    return broken


def _is_bare(found: list[Layer]) -> bool:
    """Whether it is a bundled row that nothing lies over."""
    return len(found) == 1 and found[0].source == BUNDLED


def _merged(layers: Mapping[str, list[Layer]], broken: dict[str, RegistryError]) -> Rows:
    """The rows that can be used; the errors of the others go into `broken`."""
    made: dict[str, Row | None] = {}
    for id, found in layers.items():
        try:
            made[id] = None if _is_bare(found) else merge(id, found)
        except RegistryError as error:
            broken.setdefault(id, error)
    return Rows({id: row for id, row in made.items() if id not in broken})


def _problem(id: str, error: RegistryError) -> str:
    return f"provider {one_line(id, 40)} cannot be used: {error.message}"


def granted_variables(row: ProviderConfig, layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """The variables whose key may go to where `row` points; the rule is told in `Registry.key_variables`."""
    if row.auth == "none" or not row.base_url:
        return ()
    own = (f"{env_id(row.id)}_API_KEY",)
    if all(_is_given(layer) for layer in layers):  # nothing moved it
        return tuple(dict.fromkeys((*row.env, *own)))
    origin = origin_of(row.base_url)
    granted: list[str] = []
    if _address_from_environment(layers, origin):
        granted += [*row.env, *own]
    given = _merge_or_none(row.id, [x for x in layers if _is_given(x)])
    if given and given.config.base_url and origin_of(given.config.base_url) == origin:
        granted += [*given.config.env, *own]
    filed = _merge_or_none(row.id, [x for x in layers if _is_given(x) or x.source == CONFIG])
    if (
        filed
        and filed.sources.get("env") == CONFIG
        and filed.config.base_url
        and origin_of(filed.config.base_url) == origin
    ):
        granted = [*filed.config.env, *granted]
    return tuple(dict.fromkeys(granted))


def _address_from_environment(layers: tuple[Layer, ...], origin: str) -> bool:
    """Whether the base URL that counts is the environment's."""
    setter = next((x for x in reversed(layers) if x.fields.get("base_url")), None)
    return setter is not None and setter.source.startswith("environment")


def _merge_or_none(id: str, layers: list[Layer]) -> Row | None:
    try:
        return merge(id, layers) if layers else None
    except RegistryError:
        return None
