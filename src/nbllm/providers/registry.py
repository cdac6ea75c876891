"""Which providers there are, as they count now, and what a model reference means.

Later wins: bundled row, entry point, `config.toml`, environment, session. The rows are built again when the file or
a variable that counts has changed, so a change holds at once. No network, no key.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from nbllm.errors import RegistryError, SettingsError
from nbllm.foreign import one_line
from nbllm.providers import edit, environment, references
from nbllm.providers.references import ModelRef
from nbllm.providers.rows import BUNDLED, CONFIG, SESSION, Layer, entry_point_layers, merge
from nbllm.providers.snapshot import Configs, Snapshot, build, granted_variables
from nbllm.providers.spec import ProviderConfig, env_id
from nbllm.providers.urls import check_url
from nbllm.settings import ConfigFile, Settings

__all__ = ["ModelRef", "Registry"]

_log = logging.getLogger("nbllm.providers")
_FALLBACK = "demo/guide"


class Registry:
    """The providers of one workspace. May be called from any thread.

    Args:
        config: The user's file.
        settings: The settings, whose environment counts here too.
        more_aliases: Gives short names that are kept elsewhere; asked only for a reference that may be one. Those of
            `config.toml` win.
    """

    def __init__(
        self, config: ConfigFile, settings: Settings, *, more_aliases: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        self._more_aliases = more_aliases
        self._config = config
        self._settings = settings
        self._lock = threading.RLock()
        self._session: dict[str, dict[str, Any]] = {}
        self._installed: tuple[dict[str, list[Layer]], list[str]] | None = None
        self._watched: frozenset[str] = frozenset()
        self._seen: object = None
        self._snapshot = Snapshot()
        self._granted: tuple[Snapshot, dict[str, tuple[str, ...]]] = (self._snapshot, {})
        self._repaired: dict[str, tuple[str, ...]] = {}
        self._logged: set[str] = set()
        self._held = threading.local()

    # --- reading

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Within the block this thread sees the rows as they are at its start.

        For hundreds of questions at once: file and environment are looked at once, and no row goes away in between.
        Nothing may be written within it.
        """
        outer = getattr(self._held, "snapshot", None)
        self._held.snapshot = self._now()
        try:
            yield
        finally:
            self._held.snapshot = outer

    def all(self) -> list[ProviderConfig]:
        """Every row that can be used, disabled and retired ones too: the bundled ones first, then the user's."""
        return [row.config for row in self._now().rows.values()]

    def ids(self) -> list[str]:
        """The ids of `all`."""
        return list(self._now().rows)

    def get(self, id: str) -> ProviderConfig:
        """The row of a provider, disabled or not.

        Raises:
            UnknownProviderError: There is none; it names the three closest.
            RegistryError: There is one and it cannot be used.
        """
        now = self._now()
        if id in now.rows:
            return now.rows[id].config
        if id in now.broken:
            raise RegistryError(f"provider {id} cannot be used: {now.broken[id].message}", hint=now.broken[id].hint)
        raise references.unknown_provider(id, Configs(now.rows).values())

    def sources(self, id: str) -> dict[str, str]:
        """Where each field that is set comes from: bundled, entry point NAME, config.toml, environment VAR, session."""
        self.get(id)
        return dict(self._now().rows[id].sources)

    def remarks(self, id: str) -> tuple[str, ...]:
        """Sentences for the user: what was repaired in the address just now, plain http, a punycode host."""
        self.get(id)
        return tuple(dict.fromkeys((*self._repaired.get(id, ()), *self._now().rows[id].remarks)))

    def is_own(self, id: str) -> bool:
        """Whether the user brought it along: no bundled row and no installed package stands behind it."""
        self.get(id)
        return not self._now().below(id)

    def problems(self) -> list[str]:
        """What could not be used, one line each, with the file or variable; also logged once."""
        return list(self._now().problems)

    @property
    def config_error(self) -> SettingsError | None:
        """What is wrong with `config.toml` as a whole. None: nothing. The bundled rows work all the same."""
        return self._now().config_error

    def key_variables(self, id: str) -> tuple[str, ...]:
        """The variables whose key may go to where the row points now, most common first; empty when none may.

        A key from the environment goes to the origin of the bundled (or installed) row, to a base URL that comes
        from the environment too, and to an origin whose table in `config.toml` names the variable in `env`.
        """
        latest = self._now()
        if id not in latest.rows:
            self.get(id)  # says why
        now, known = self._granted
        if now is not latest:  # a search asks this of every row
            now, known = self._granted = latest, {}
        if id not in known:
            known[id] = granted_variables(now.rows[id].config, now.layers[id])
        return known[id]

    def aliases(self) -> dict[str, str]:
        """Short names for model references: those of `config.toml`, and others that the user made."""
        return {**self._more_aliases(), **self.own_aliases()}

    def own_aliases(self) -> dict[str, str]:
        """Short names from `[aliases]` in `config.toml`."""
        table = self._now().config.get("aliases")
        return {k: v for k, v in table.items() if isinstance(v, str)} if isinstance(table, Mapping) else {}

    # --- models

    def model_list(self) -> list[ModelRef]:
        """The models to choose from: `NBLLM_MODELS` or `MODELS` (or the setting), else each `<ID>_MODELS`."""
        found, problems = references.model_list(self._listed(), self.ids(), self._settings.environ)
        self._say_once(problems)
        return found

    def choices(self, usable: Callable[[str], bool]) -> list[ModelRef]:
        """`model_list` without the models whose provider cannot be used; the reason is logged once.

        Args:
            usable: Whether a provider has a key or needs none.
        """
        kept = []
        for ref in self.model_list():
            if not self.get(ref.provider).enabled:
                self._say_once([f"model {one_line(ref.ref)} is left out: provider {ref.provider} is disabled"])
            elif not usable(ref.provider):
                self._say_once([f"model {one_line(ref.ref)} is left out: provider {ref.provider} has no key"])
            else:
                kept.append(ref)
        return kept

    def default_model(self, usable: Callable[[str], bool]) -> str:
        """The setting `model`, else the first of `choices`, else the demo provider's guide."""
        try:
            chosen = self._settings["model"]
        except SettingsError:  # a broken file; `config_error` says so
            chosen = self._settings.environ.get("NBLLM_MODEL")
        if chosen:
            return str(chosen)
        first = next(iter(self.choices(usable)), None)
        return first.ref if first else _FALLBACK

    def resolve(self, ref: str, *, offered: Mapping[str, Collection[str]] | None = None) -> ModelRef:
        """What a model reference means: `provider/model`, an alias, or a bare id that one provider offers.

        Args:
            offered: Model ids by provider, of the providers that are set up.

        Raises:
            UnknownProviderError: The part before the first `/` is no provider.
            UnknownModelError: A bare id that no provider offers, or more than one.
            RegistryError: The provider is disabled or its row cannot be used.
        """
        now = self._now()
        rows = Configs(now.rows)
        aliases = self.own_aliases()
        if not references.is_bare(ref, rows) and ref.strip() not in aliases:
            return references.resolve(ref, references.Names(rows, now.broken, {}, {}))
        known = self._known_models(offered)
        return references.resolve(ref, references.Names(rows, now.broken, known, self.aliases()))

    def _known_models(self, offered: Mapping[str, Collection[str]] | None) -> dict[str, set[str]]:
        """Model ids by provider, from everywhere; only bare ids and suggestions need it."""
        now = self._now()
        known = {id: set(models) for id, models in (offered or {}).items()}
        for id in now.speaking_of("models"):
            if models := now.rows[id].config.models:
                known.setdefault(id, set()).update(m.id for m in models)
        for listed in self.model_list():
            known.setdefault(listed.provider, set()).add(listed.model)
        return known

    def _listed(self) -> Any:
        try:
            setting = self._settings.lookup("models")
        except SettingsError:
            return self._settings.environ.get("NBLLM_MODELS") or self._settings.environ.get("MODELS")
        if setting.source != CONFIG:
            return setting.value
        table = self._now().config.get("settings")  # a TOML list does not survive being made into text
        return table.get("models") if isinstance(table, Mapping) else setting.value

    # --- changing

    def add(self, id: str, **fields: Any) -> ProviderConfig:
        """Write a new provider into `config.toml` and return it.

        Without `env` its key is looked for in `<ID>_API_KEY`, and that name is written down with it: a key from the
        environment goes to an address of the user's own only where the file says so.

        Raises:
            RegistryError: The id is taken or not one, or a field is not allowed. Nothing was changed.
            SettingsError: The file is broken or cannot be written.
        """
        with self._lock:
            if id in self._now().layers:
                raise RegistryError(
                    f"there is already a provider {one_line(id, 40)!r}",
                    hint=f"`%llm_providers edit {one_line(id, 40)}` changes it",
                )
            given = edit.cleaned(fields, new=True)
            if given.get("base_url") and given.get("auth") != "none":
                given.setdefault("env", [f"{env_id(id)}_API_KEY"])
            merge(id, self._now().planned(id, given))
            self._write(f"add provider {id}", {id: given})
            return self.get(id)

    def edit(self, id: str, **fields: Any) -> ProviderConfig:
        """Change fields of a provider in `config.toml`; None takes the user's value away again.

        `headers`, `params`, `extra_body` and other tables are laid over what is there; None takes an entry away.

        Raises:
            UnknownProviderError, RegistryError, SettingsError: As `add`. Nothing was changed.
        """
        with self._lock:
            table = edit.own_table(self._known(id).config, id)
            wanted = edit.cleaned(fields, new=False)
            given = self._moved(id, table, wanted)
            self._write(f"edit provider {id}", {id: edit.laid_over(table, given)})
            if gone := set(given.get("headers") or ()) - set(wanted.get("headers") or ()):
                said = f"removed the header {', '.join(sorted(gone))}, which was given for the earlier address"
                self._repaired[id] = (*self._repaired.get(id, ()), said)
            return self.get(id)

    def remove(self, ids: str | Iterable[str]) -> list[str]:
        """Take providers, or the user's changes to bundled ones, out of `config.toml`; a sentence for each.

        Raises:
            UnknownProviderError, RegistryError: One of them cannot be removed. Nothing was changed.
            SettingsError: The file is broken or cannot be written.
        """
        with self._lock:
            wanted = [ids] if isinstance(ids, str) else list(ids)
            said = [edit.removal(self._known(id), id) for id in wanted]
            if in_file := [id for id in wanted if self._now().has(id, CONFIG)]:
                self._config.update(f"remove provider {' '.join(in_file)}", edit.removing(in_file))
            for id in wanted:
                self._session.pop(id, None)
            self._seen = None
            return said

    def set_enabled(self, ids: str | Iterable[str], enabled: bool) -> list[ProviderConfig]:
        """Put providers into or out of use, in `config.toml`.

        Raises:
            UnknownProviderError, RegistryError, SettingsError: Nothing was changed.
        """
        with self._lock:
            wanted = [ids] if isinstance(ids, str) else list(ids)
            changes = {}
            for id in wanted:
                below = self._known(id).below(id)
                default = next((x.fields["enabled"] for x in reversed(below) if "enabled" in x.fields), True)
                change = {"enabled": None if enabled is default else enabled}
                changes[id] = edit.laid_over(edit.own_table(self._now().config, id), change)
            self._write(f"{'enable' if enabled else 'disable'} {' '.join(wanted)}", changes)
            return [self.get(id) for id in wanted]

    def set_session(self, id: str, **fields: Any) -> ProviderConfig:
        """Lay fields over a provider, or make a new one, until this process ends. Nothing is written.

        Raises:
            RegistryError: The row could not be used with them. Nothing was changed.
        """
        with self._lock:
            table = self._session.get(id, {})
            given = edit.laid_over(table, self._moved(id, table, edit.cleaned(fields, new=False)))
            before = (layer for layer in self._now().layers.get(id, ()) if layer.source != SESSION)
            merge(id, [*before, Layer(SESSION, given)])
            self._session[id] = given
            self._seen = None
            return self.get(id)

    def _moved(self, id: str, table: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        """`given` and, when it moves the provider to another origin, without what belonged to the earlier one."""
        row = self._now().rows.get(id)
        address = given.get("base_url")
        if row is None or not isinstance(address, str):
            return given
        to = check_url(address, kind=str(given.get("kind") or row.config.kind)).url
        return edit.left_behind(table, given, row.config.base_url, to)

    def clear_session(self, id: str) -> None:
        """Take back what `set_session` did."""
        with self._lock:
            self._session.pop(id, None)
            self._seen = None

    def export(self, ids: Iterable[str] | None = None) -> str:
        """The user's rows as TOML that `import_` reads, or those named, bundled ones too. Never a key."""
        now = self._now()
        if ids is None:
            own = {id: edit.own_table(now.config, id) for id in now.layers if now.has(id, CONFIG)}
            return edit.exported(own)
        return edit.exported({self.get(id).id: now.kept_fields(id) for id in ids})

    def import_(self, text: str, *, dry_run: bool = False) -> list[str]:
        """Take rows over from `export`, and say what changes, a line each.

        Args:
            dry_run: Only say it.

        Raises:
            RegistryError: The text is not TOML, or a row cannot be used. Nothing was changed.
            SettingsError: The file is broken or cannot be written.
        """
        with self._lock:
            now = self._now()
            changes: dict[str, dict[str, Any]] = {}
            lines: list[str] = []
            for id, table in edit.imported(text).items():
                given = edit.cleaned(table, new=True)
                before = now.rows[id].config if id in now.rows else None
                after = merge(id, now.planned(id, given)).config
                if before and edit.same_origin(before.base_url, after.base_url):
                    given = edit.with_own_headers(given, edit.own_table(now.config, id))
                layers = now.planned(id, given)
                after = merge(id, layers).config
                if before == after:
                    lines.append(f"{id}: no change")
                    continue
                lines += edit.preview(before, after, granted_variables(after, layers))
                changes[id] = given
            if changes and not dry_run:
                self._write(f"import {' '.join(changes)}", changes)
            return lines

    def _known(self, id: str) -> Snapshot:
        now = self._now()
        if id not in now.layers:
            raise references.unknown_provider(id, self.all())
        return now

    def _write(self, what: str, tables: Mapping[str, dict[str, Any]]) -> None:
        """Check the rows as they would be, then write them, addresses in their one spelling."""
        now = self._now()
        if now.config_error is not None:
            raise now.config_error
        ready = {}
        for id, table in tables.items():
            row = merge(id, now.planned(id, table)).config if table or now.below(id) else None
            ready[id] = dict(table)
            if row and table.get("base_url"):
                verdict = check_url(table["base_url"], kind=row.kind)
                ready[id]["base_url"] = verdict.url
                self._repaired[id] = verdict.repairs
        self._config.update(what, edit.writing(ready))
        self._seen = None

    # --- keeping up

    def _now(self) -> Snapshot:
        held: Snapshot | None = getattr(self._held, "snapshot", None)
        if held is not None:
            return held
        with self._lock:
            environ = self._settings.environ
            seen = (self._config.stamp(), environment.fingerprint(environ, self._watched))
            if seen != self._seen:
                self._snapshot = self._build(environ)
                # The rows name more variables to watch, so the mark is taken again.
                self._watched = self._snapshot.address_variables()
                self._seen = (seen[0], environment.fingerprint(environ, self._watched))
                self._report(self._snapshot)
            return self._snapshot

    def _build(self, environ: Mapping[str, str]) -> Snapshot:
        if self._installed is None:
            self._installed = entry_point_layers()
        config: Mapping[str, Any] | SettingsError
        try:
            config = self._config.read()
        except SettingsError as error:
            config = error
        return build(config, file=self._config.path, environ=environ, installed=self._installed, session=self._session)

    def _report(self, now: Snapshot) -> None:
        self._say_once(now.problems)
        for id in now.speaking_of("enabled"):
            if not now.rows[id].config.enabled:
                self._say_once([f"provider {id} is disabled ({now.rows[id].sources.get('enabled', BUNDLED)})"])

    def _say_once(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line not in self._logged:
                self._logged.add(line)
                _log.info("%s", line)
