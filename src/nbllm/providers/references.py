"""What a model reference means, and the unified model list.

`provider/model`: the first `/` splits. Else an alias, else a bare id that exactly one provider offers.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nbllm.errors import RegistryError, UnknownModelError, UnknownProviderError
from nbllm.foreign import one_line
from nbllm.providers.environment import COMPATIBLE, parse_list, ref_of, value_of
from nbllm.providers.spec import ProviderConfig, env_id

_MAX_ALIASES = 5


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A provider and one of its models."""

    provider: str
    model: str

    @property
    def ref(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    def __str__(self) -> str:
        return self.ref


@dataclass(frozen=True, slots=True)
class Names:
    """What a reference is looked up in."""

    rows: Mapping[str, ProviderConfig]
    broken: Mapping[str, RegistryError]
    offered: Mapping[str, Collection[str]]
    """Model ids by provider."""
    aliases: Mapping[str, str]


def resolve(ref: str, names: Names) -> ModelRef:
    """The provider and model that `ref` names; see `Registry.resolve`."""
    target = _without_aliases(ref.strip(), names.aliases)
    if not target:
        raise UnknownModelError("no model is named", hint="name one as provider/model, e.g. demo/guide")
    provider, slash, model = target.partition("/")
    if slash and provider in names.rows:
        return _checked(provider, model, names)
    if slash and provider in names.broken:
        error = names.broken[provider]
        raise RegistryError(f"provider {provider} cannot be used: {error.message}", hint=error.hint)
    return _bare(target, names)


def is_bare(ref: str, rows: Mapping[str, ProviderConfig]) -> bool:
    """Whether `ref` is anything but `provider/model` of a known provider: an alias, a bare id, a mistake."""
    provider, _, model = ref.strip().partition("/")
    return not model or provider not in rows


def _without_aliases(ref: str, aliases: Mapping[str, str]) -> str:
    for _ in range(_MAX_ALIASES):
        if ref not in aliases:
            return ref
        ref = aliases[ref].strip()
    raise UnknownModelError("the alias leads in a circle", hint="correct [aliases] in config.toml")


def _checked(provider: str, model: str, names: Names) -> ModelRef:
    if not model:
        raise UnknownModelError(f"no model is named behind {provider}/", hint=_wanted(provider, names))
    if not names.rows[provider].enabled:
        raise RegistryError(f"provider {provider} is disabled", hint=f"`%llm_providers enable {provider}`")
    return ModelRef(provider, model)


def _bare(ref: str, names: Names) -> ModelRef:
    offering = [id for id, models in names.offered.items() if ref in models and _enabled(id, names)]
    if len(offering) == 1:
        return ModelRef(offering[0], ref)
    if len(offering) > 1:
        refs = [f"{id}/{ref}" for id in sorted(offering)]
        raise UnknownModelError(
            f"{len(offering)} providers offer {one_line(ref)!r}",
            hint=f"say which: {', '.join(refs[:5])}",
            suggestions=refs,
        )
    if ref in names.rows:
        raise UnknownModelError(f"{ref} is a provider, not a model", hint=_wanted(ref, names))
    if "/" in ref:
        raise unknown_provider(ref.partition("/")[0], names.rows.values())
    raise _unknown_model(ref, names)


def _enabled(id: str, names: Names) -> bool:
    return id in names.rows and names.rows[id].enabled


def _wanted(provider: str, names: Names) -> str:
    example = next(iter(sorted(names.offered.get(provider, ()))), "MODEL")
    return f"provider/model is wanted, e.g. {provider}/{one_line(example)}"


def _unknown_model(ref: str, names: Names) -> UnknownModelError:
    known = {model: f"{id}/{model}" for id, models in names.offered.items() if _enabled(id, names) for model in models}
    known |= {alias: alias for alias in names.aliases}
    close = [known[found] for found in difflib.get_close_matches(ref, known, n=3, cutoff=0.5)]
    providers = [row.id for row in closest_providers(ref, names.rows.values()) if _alike(ref, row) >= 0.6]
    close = close or [f"{id}/MODEL" for id in providers]
    return UnknownModelError(
        f"no provider that is set up offers a model {one_line(ref, 80)!r}",
        hint=f"did you mean {', '.join(map(one_line, close))}?"
        if close
        else "name it as provider/model, e.g. demo/guide",
        suggestions=close,
    )


def unknown_provider(id: str, rows: Iterable[ProviderConfig]) -> UnknownProviderError:
    """The error for an id that nobody has, with the three closest."""
    close = [row.id for row in closest_providers(id, rows)[:3]]
    return UnknownProviderError(
        f"there is no provider {one_line(id, 80)!r}",
        hint=f"did you mean {', '.join(close)}? `%llm_providers list --all` names all",
        suggestions=close,
    )


def closest_providers(id: str, rows: Iterable[ProviderConfig]) -> list[ProviderConfig]:
    """Enabled rows, those whose id or name is most like `id` first."""
    return sorted((row for row in rows if row.enabled), key=lambda row: -_alike(id, row))


def _alike(text: str, row: ProviderConfig) -> float:
    wanted = text.lower()[:80]
    return max(difflib.SequenceMatcher(None, wanted, name.lower()).ratio() for name in (row.id, row.title))


def model_list(listed: Any, ids: Collection[str], environ: Mapping[str, str]) -> tuple[list[ModelRef], list[str]]:
    """The unified model list, and one line for each item that cannot be used.

    Args:
        listed: The setting `models` as text or list; empty: the older `<ID>_MODELS` count.
    """
    problems: list[str] = []
    found = _unified(listed, problems) if listed else _older(ids, environ, problems)
    kept = []
    for ref in dict.fromkeys(found):
        if ref.provider in ids:
            kept.append(ref)
        else:
            problems.append(
                f"model {one_line(ref.ref)} is left out: there is no provider {one_line(ref.provider, 40)!r}"
            )
    return kept, problems


def _unified(listed: Any, problems: list[str]) -> list[ModelRef]:
    found = []
    for item in _items(listed, "the model list (NBLLM_MODELS, MODELS or the setting models)", problems):
        try:
            found.append(ModelRef(*ref_of(item)))
        except ValueError as exc:
            problems.append(f"an item of the model list is left out: {exc}")
    return found


def _older(ids: Collection[str], environ: Mapping[str, str], problems: list[str]) -> list[ModelRef]:
    found = []
    for id in ids:
        name = f"{env_id(id)}_MODELS"
        items = _items(value_of(environ, name), name, problems)
        if id == COMPATIBLE:
            items += _items(value_of(environ, "OPENAI_COMPATIBLE_MODEL_NAME"), "OPENAI_COMPATIBLE_MODEL_NAME", problems)
        found += [ModelRef(id, item.strip()) for item in items if isinstance(item, str) and item.strip()]
    return found


def _items(listed: Any, what: str, problems: list[str]) -> list[Any]:
    if isinstance(listed, list | tuple):
        return list(listed)
    try:
        return parse_list(str(listed))
    except ValueError:
        problems.append(f"{what} is neither a JSON array nor separated by commas")
        return []
