"""What the exporters of YAML files have in common: who can be spoken to, which models go in, how a new file begins."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from nbllm.exporters.base import Exported, Merged, Strategy
from nbllm.exporters.entries import Container, Entry, labels_of, merge_entries
from nbllm.exporters.offered import chat_models, no_way
from nbllm.exporters.yaml_words import Style, indented, item, mapping
from nbllm.providers.spec import ModelInfo

_KEY_HEADER = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}
_EMBEDDING = ("embedding", "embeddings")
_LONGEST_ID = 300
_USUAL_HEADERS = frozenset({"anthropic-version"})


def refusal(provider: Exported, tool: str, kinds: Collection[str]) -> str | None:
    """Why a tool that speaks `kinds` cannot have a provider; None: it can."""
    row = provider.config
    if reason := no_way(provider):
        return reason
    if row.status == "retired":
        return "it is retired"
    if row.kind not in kinds:
        return f"{tool} does not speak its wire format ({row.kind})"
    if row.auth not in ("none", "bearer", _KEY_HEADER.get(row.kind, "bearer")):
        return f"{tool} cannot send its key the way it wants it ({row.auth.partition(':')[0]})"
    return None


def keyless(provider: Exported) -> bool:
    """Whether no key is sent."""
    return provider.key_env is None and not provider.config.needs_key


def models_of(provider: Exported, *, embeddings: bool = False) -> list[ModelInfo]:
    """Chat models, then with `embeddings` also those; each id once, and none that no tool could write down."""
    found = chat_models(provider)
    if embeddings:
        rows = tuple(replace(m, type=None) for m in provider.models if is_embedding(m))
        types = {m.id: m.type for m in provider.models}
        found += [replace(m, type=types[m.id]) for m in chat_models(replace(provider, models=rows))]
    return [m for m in found if len(m.id) <= _LONGEST_ID]


def is_embedding(model: ModelInfo) -> bool:
    """Whether the provider says so."""
    return (model.type or "").lower() in _EMBEDDING


def sees_images(model: ModelInfo) -> bool | None:
    """None: not known."""
    return None if model.input_modalities is None else "image" in model.input_modalities


def known(**fields: Any) -> dict[str, Any]:
    """The fields whose value is known; the names lose a final `_`."""
    return {k.rstrip("_"): v for k, v in fields.items() if v is not None}


def per_token(price: float | None) -> Decimal | None:
    """USD per million tokens as USD per token."""
    return None if price is None else Decimal(str(price)) / 1_000_000


def headers_step(providers: Sequence[Exported]) -> Iterator[str]:
    """Headers are not exported, since their values may be secret; what to do about those that are wanted."""
    for p in providers:
        if names := sorted(h for h in p.config.headers if h.lower() not in _USUAL_HEADERS):
            yield f"{p.config.id} is asked with the header {', '.join(names)}, which was not written: add it by hand"


def sequence_text(head: Sequence[str], key: str | None, entries: Sequence[Entry]) -> str:
    """A new file: comment lines and whatever else comes first, then the entries as a list."""
    if key is None:
        lines = [line for e in entries for line in item(e.fields, column=0, style=Style())]
        return _ended([*head, *(lines or ["[]"])])
    if not entries:
        return _ended([*head, f"{key}: []"])
    return _ended([*head, *mapping({key: [e.fields for e in entries]}, column=0, style=Style())])


def mapping_text(head: Sequence[str], key: str, entries: Sequence[Entry]) -> str:
    """A new file: comment lines, then the entries as a mapping."""
    if not entries:
        return _ended([*head, f"{key}: {{}}"])
    return _ended([*head, *mapping({key: {e.label: e.fields for e in entries}}, column=0, style=Style())])


def _ended(lines: Sequence[str]) -> str:
    return "\n".join(indented(lines, 0)) + "\n"


def first_of_each(entries: Sequence[Entry]) -> list[Entry]:
    """Each label once: an entry that came before wins."""
    found: dict[str, Entry] = {}
    for entry in entries:
        found.setdefault(entry.label, entry)
    return list(found.values())


def merge_models(
    text: str,
    entries: Sequence[Entry],
    providers: Sequence[Exported],
    strategy: Strategy,
    container: Container,
) -> Merged:
    """`merge_entries` for tools where each model is an entry called `provider/model`."""
    gone: set[str] = set()
    if strategy == "replace" and entries:
        prefixes = tuple(f"{p.config.id}/" for p in providers)
        ours = {e.label for e in entries}
        there = labels_of(text, container)
        gone = {label for label in there if label.startswith(prefixes) and label not in ours}
    return merge_entries(text, entries, strategy, container, gone)
