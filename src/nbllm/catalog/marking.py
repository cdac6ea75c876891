"""What a user does with models of the catalogue, and what is answered, in sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nbllm.catalog.catalogue import Catalogue, Sources, usability
from nbllm.catalog.marks import Marked, Marks, nearest
from nbllm.catalog.recommend import AIMS, Adviser, Aim
from nbllm.catalog.table import ModelTable, facts_table
from nbllm.catalog.wanted import Wanted
from nbllm.errors import UsageError
from nbllm.foreign import one_line
from nbllm.providers.references import ModelRef
from nbllm.providers.registry import Registry
from nbllm.providers.spec import ModelInfo, ModelRow, ProviderConfig
from nbllm.tables import Sentences, Table

_NAMED = 5


class Marking:
    """Favourites, groups, aliases, models added by hand, and what is known of one model.

    Args:
        resolve: What a reference means.
        sources: Where facts come from.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        marks: Marks,
        registry: Registry,
        adviser: Adviser,
        *,
        resolve: Callable[[str], ModelRef],
        sources: Sources,
    ) -> None:
        self._catalogue, self._marks, self._registry, self._adviser = catalogue, marks, registry, adviser
        self._resolve, self._sources = resolve, sources

    # ------------------------------------------------------------ marks

    def favourite(self, refs: Sequence[str], wanted: Wanted | None, *, remove: bool = False) -> Sentences | ModelTable:
        """Make models favourites, or no longer; without any, show them.

        Args:
            refs: Which.
            wanted: And all that such a search finds; None: no search.
        """
        if not refs and wanted is None:
            return self._catalogue.search(Wanted(favourites=True, limit=None))
        chosen = self._chosen(refs, wanted)
        count = self._marks.set_favourites(chosen, removed=remove)
        what = "no longer a favourite" if remove else "now a favourite"
        whats = "no longer favourites" if remove else "now favourites"
        return Sentences([_changed(chosen, count, what, whats), *self._unlisted(() if remove else refs)])

    def group(
        self, name: str | None, refs: Sequence[str], wanted: Wanted | None, *, remove: bool = False
    ) -> Sentences | Table | ModelTable:
        """Put models into a group, or take them out; without models, show it; without a name, show all groups."""
        if name is None:
            groups = self._marks.read().groups
            rows = [{"group": group, "models": len(members)} for group, members in groups.items()]
            return Table(
                rows, columns=("group", "models"), note=None if rows else "`%llm_models group NAME REF` makes one"
            )
        if not refs and wanted is None:
            if not remove:
                return self._catalogue.search(Wanted(group=name, limit=None))
            count = self._marks.set_group(name, None, removed=True)
            return Sentences([f"the group {name} is gone; it had {count} model{'s' if count != 1 else ''}"])
        chosen = self._chosen(refs, wanted)
        count = self._marks.set_group(name, chosen, removed=remove)
        what = f"no longer in {name}" if remove else f"now in {name}"
        return Sentences([_changed(chosen, count, what, what), *self._unlisted(() if remove else refs)])

    def alias(self, name: str | None, ref: str | None, *, remove: bool = False) -> Sentences | Table:
        """Let a name stand for a model, or no longer; without a name, show all.

        Raises:
            UsageError: The name stands in `config.toml`, which wins; or it cannot be one.
        """
        if name is None:
            return self._aliases()
        if remove:
            return Sentences([f"{name} no longer stands for {self._marks.remove_alias(name)}"])
        if ref is None:
            raise UsageError("alias: which model does it stand for?", hint=f"`%llm_models alias {name} PROVIDER/MODEL`")
        if name in self._registry.own_aliases():
            raise UsageError(
                f"the alias {name} stands in config.toml, which wins over those made here",
                hint="change it in the file, or take another name",
            )
        target = self._resolve(ref).ref
        self._marks.set_alias(name, target)
        return Sentences([f"{name} stands for {target} from now on", *self._unlisted([target])])

    def _aliases(self) -> Table:
        own = self._registry.own_aliases()
        rows = [{"alias": a, "model": ref, "kept in": "config.toml"} for a, ref in own.items()]
        rows += [{"alias": a, "model": ref, "kept in": "store" if a not in own else "store; config.toml wins"}
                 for a, ref in self._marks.read().aliases.items()]  # fmt: skip
        note = None if rows else "`%llm_models alias NAME REF` makes one"
        return Table(rows, columns=("alias", "model", "kept in"), note=note)

    def add(self, ref: str, facts: Mapping[str, float | None], *, remove: bool = False) -> Sentences:
        """Add a model that no listing has, or say more of one; with `remove` take what was said away."""
        target = self._resolve(ref).ref
        if remove:
            if not self._marks.remove_models([target]):
                raise UsageError(
                    f"{target} was not added by hand", hint="`%llm_providers edit` changes a provider's row"
                )
            return Sentences([f"{target}: what you said of it is taken away"])
        said = {name: value for name, value in facts.items() if value is not None}
        if any(not math.isfinite(value) or value < 0 for value in said.values()) or said.get("context") == 0:
            raise UsageError(
                f"{target}: a context is 1 or more tokens, a price is 0 or more USD per million tokens",
                hint=f"for example `%llm_models add {target} --context 128000 --input-price 0.5`",
            )
        self._marks.add_model(target, said)
        told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in said.items())
        return Sentences([f"{target} is kept" + (f": {told}" if told else "")])

    def _chosen(self, refs: Sequence[str], wanted: Wanted | None) -> list[str]:
        named = [self._resolve(ref).ref for ref in refs]
        found = self._catalogue.refs(wanted) if wanted is not None else []
        if not named and not found:
            raise UsageError("no known model fits, so nothing was marked", hint="look with `%llm_models` first")
        return list(dict.fromkeys((*named, *found)))

    def _unlisted(self, refs: Sequence[str]) -> list[str]:
        unknown = [t for t in dict.fromkeys(self._resolve(r).ref for r in refs) if not self._is_known(t)]
        if not unknown:
            return []
        return [f"no listing that is known here has {_names(unknown)}; the mark stays all the same"]

    def _is_known(self, ref: str) -> bool:
        if self._catalogue.listed(ref) is not None:  # also one of which its listing says no more than the id
            return True
        model = self._catalogue.get(ref)
        return model is not None and bool(model.sources)

    # ------------------------------------------------------------ one model

    def info(self, ref: str) -> Table:
        """Everything that is known of one model: each value, who says so, of which day, and which one counts.

        Raises:
            UnknownProviderError, UnknownModelError: The reference means nothing.
        """
        target = self._resolve(ref)
        marked = self._marks.read()
        row = self._registry.get(target.provider)
        listed = self._catalogue.listed(target.ref)
        facts = self._sources.facts(with_own(row, marked), listed or ModelInfo(target.provider, target.model))
        rows: list[dict[str, Any]] = [
            {
                "field": f.field,
                "value": _value(f.field, f.value),
                "source": f.source,
                "date": f.date,
                "counts": f.chosen,
            }
            for f in facts
        ]
        note = None if facts else _bare_note(target, listed)
        rows += [{"field": name, "value": value, "source": "yours"} for name, value in _said(target.ref, marked)]
        rows.append(
            {"field": "usable", "value": usability(row, self._sources.usable()), "source": "your keys and settings"}
        )
        return facts_table(rows, title=target.ref, note=note)

    def recommend(self, aim: str | None) -> Table | Sentences:
        """Which model to take, from the user's own calls; without an aim the best for each, in a sentence."""
        if aim is None:
            return Sentences(self._adviser.recommend(a).sentence() for a in AIMS)
        chosen: Aim | None = next((a for a in AIMS if a == aim), None)
        if chosen is None:
            raise UsageError(f"there is nothing to recommend by {one_line(aim, 80)!r}", hint=nearest(aim, AIMS, "aims"))
        return self._adviser.recommend(chosen).shown()


def with_own(row: ProviderConfig, marked: Marked) -> ProviderConfig:
    """A provider's row with what the user said of its models in the store."""
    own = {m.id: m for m in row.models}
    for ref, facts in marked.models.items():
        provider, _, id = ref.partition("/")
        if provider == row.id:
            before = own[id].model_dump(exclude_none=True) if id in own else {"id": id}
            own[id] = ModelRow(**{**before, **facts})
    return row.model_copy(update={"models": tuple(own.values())}) if own else row


def _said(ref: str, marked: Marked) -> list[tuple[str, str]]:
    groups = [name for name, refs in marked.groups.items() if ref in refs]
    aliases = [name for name, target in marked.aliases.items() if target == ref]
    found = [("favourite", "yes")] if ref in marked.favourites else []
    found += [("groups", ", ".join(groups))] if groups else []
    return found + ([("aliases", ", ".join(aliases))] if aliases else [])


def _bare_note(target: ModelRef, listed: ModelInfo | None) -> str:
    if listed is not None:
        return f"{target.provider} lists {target.model}, and nobody says more of it"
    return f"nothing is known of {target.ref}; it can be asked all the same"


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if name.endswith("_price"):
        return f"{value:.6g} USD per million tokens"
    return f"{value:,}" if isinstance(value, int) else value


def _changed(refs: Sequence[str], count: int, what: str, whats: str) -> str:
    if count == 0:
        return (
            f"nothing changes: {_names(refs)} {'is' if len(refs) == 1 else 'are'} {what if len(refs) == 1 else whats}"
        )
    if len(refs) == 1:
        return f"{refs[0]} is {what}"
    known = f" ({len(refs) - count} were so before)" if count < len(refs) else ""
    return f"{count:,} models are {whats}{known}: {_names(refs)}"


def _names(refs: Sequence[str]) -> str:
    return ", ".join(refs[:_NAMED]) + (f" and {len(refs) - _NAMED:,} more" if len(refs) > _NAMED else "")
