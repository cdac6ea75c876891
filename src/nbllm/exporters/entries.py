"""Entries of ours in the lists and mappings of a YAML file: found by their names, added, refreshed, removed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from nbllm.errors import ExportError
from nbllm.exporters.base import PLACEHOLDER, Merged, Strategy
from nbllm.exporters.yaml_document import Node
from nbllm.exporters.yaml_edit import Editor
from nbllm.exporters.yaml_words import as_plain

_KEYS = frozenset({"api_key", "apiKey", "api-key"})
_KEY_SOURCES = _KEYS | {"api_key_name", "api-key-env", "api-key-cmd"}
_ADDRESSES = frozenset({"api_base", "apiBase", "base-url"})
_REFERENCES = ("os.environ/", "${{", PLACEHOLDER)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is written into a new file."""

    label: str
    """What `Merged` calls it."""
    fields: Mapping[str, Any]
    """Scalars, mappings, lists; in the order of the file."""
    once: frozenset[str] = frozenset()
    """Fields that are written with a new entry and never touched in one that is there."""
    models: str | None = None
    """The field that holds the models of the provider: a list of mappings told by `name`, or a mapping."""


@dataclass(frozen=True, slots=True)
class Container:
    """Where the entries of a tool stand: under a key of the top, or (None) at the top itself."""

    key: str | None
    kind: str
    """`sequence` or `mapping`."""
    told_by: tuple[str, ...] = ()
    """The fields by which an entry is found; empty in a mapping, where the key tells."""
    model_at: tuple[str, ...] = ()
    """Where each entry is a model: the way to its id. Ours are called `provider/ID`, so an entry of another name for
    the same thing is the user's."""

    fields: frozenset[str] = frozenset()
    """What nbllm may write into what it also removes, an entry or (aichat, mods) a model. With anything else in it,
    somebody has made it their own."""

    def is_untouched(self, node: Node) -> bool:
        """Whether nothing stands in it that nbllm would not write: no field of the user's, and no key."""
        if node.kind != "mapping":
            return node.is_null
        return all(
            key.text in self.fields
            and (key.text not in _KEYS or value.text.startswith(_REFERENCES))
            and (value.kind != "mapping" or self.is_untouched(value))
            for key, value in node.pairs
        )

    def is_ours(self, node: Node) -> bool:
        """Whether an entry that was found by its name is one that nbllm wrote."""
        if not self.model_at:
            return True
        found: Node | None = node
        for key in self.model_at[:-1]:
            found = found.get(key) if found is not None and found.kind == "mapping" else None
        written = (found.word(self.model_at[-1]) if found is not None else None) or ""
        return (node.word(self.told_by[0]) or "").partition("/")[2] in (written, written.partition("/")[2])

    def find(self, root: Node | None) -> Node | None:
        """The node; None when it is not there or empty.

        Raises:
            ExportError: Something else stands there.
        """
        if root is None:
            return None
        if self.key is None:
            return self._checked(root, "the top of the file")
        if root.kind != "mapping":
            raise ExportError(f"its top is a {root.kind} where a mapping with the key {self.key} belongs")
        found = root.own(self.key)
        return None if found is None or found.is_null else self._checked(found, self.key)

    def _checked(self, node: Node, what: str) -> Node:
        if node.kind == "alias":
            raise ExportError(f"{what} is an alias", hint="write out what it stands for")
        if node.kind != self.kind and not (node.flow and not node.items and not node.pairs):
            raise ExportError(f"{what} is a {node.kind}, where a {self.kind} belongs")
        return node


@dataclass(slots=True)
class _Outcome:
    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def merged(self, text: str) -> Merged:
        return Merged(text, tuple(self.added), tuple(self.updated), tuple(self.kept), tuple(self.removed))


def merge_entries(
    text: str, entries: Sequence[Entry], strategy: Strategy, container: Container, gone: Collection[str] = ()
) -> Merged:
    """The text with the entries in it; see `Exporter.merge`.

    Args:
        text: A file that is there.
        entries: Each label once.
        strategy: What may be changed.
        container: Where they stand.
        gone: With `replace`: labels that `labels_of` found in the file and that are to go.
    """
    editor, done = Editor(text), _Outcome()
    place = container.find(editor.root)
    new: list[Entry] = []
    for entry in entries:
        node = _find(place, entry, container)
        if node is None:
            new.append(entry)
            done.added.append(entry.label)
        elif (
            strategy != "add"
            and node.real.kind == "mapping"
            and container.is_ours(node.real)
            and _Refresh(editor, entry, strategy, container).run(node.real)
        ):
            done.updated.append(entry.label)
        else:
            done.kept.append(entry.label)
    if place is not None and gone:
        label = container.told_by[0]
        old = [n for n in place.items if n.word(label) in gone and container.is_ours(n) and container.is_untouched(n)]
        done.removed += [str(n.word(label)) for n in editor.remove(place, old)]
    _add(editor, container, place, new)
    return done.merged(editor.result())


def _find(place: Node | None, entry: Entry, container: Container) -> Node | None:
    if place is None:
        return None
    if place.kind == "mapping":
        return place.own(entry.label)
    wanted = [(name, entry.fields[name]) for name in container.told_by]
    return next((n for n in place.items if all(n.real.word(k) == v for k, v in wanted)), None)


def _add(editor: Editor, container: Container, place: Node | None, new: Sequence[Entry]) -> None:
    if not new:
        return
    values: Any = [e.fields for e in new] if container.kind == "sequence" else {e.label: e.fields for e in new}
    root = editor.root
    if container.key is None:
        editor.append(place, values)
    elif root is None or root.own(container.key) is None:
        editor.put(root, {container.key: values})
    elif place is None or not (place.items or place.pairs):
        editor.fill(root, container.key, values)
    elif container.kind == "mapping":
        editor.put(place, values)
    else:
        editor.append(place, values)


class _Refresh:
    """The fields of one entry that is there, brought up to date."""

    def __init__(self, editor: Editor, entry: Entry, strategy: Strategy, container: Container) -> None:
        self._editor, self._entry, self._strategy, self._container = editor, entry, strategy, container
        self._changed = False

    def run(self, node: Node) -> bool:
        """Whether something changed."""
        self._fields(node, self._entry.fields, self._entry.models)
        return self._changed

    def _fields(self, node: Node, fields: Mapping[str, Any], models: str | None = None) -> None:
        missing: dict[str, Any] = {}
        leave = _ADDRESSES if _has_own_key(node, fields) else frozenset[str]()
        for key, value in fields.items():
            if key in leave:
                continue
            found = node.get(key)
            if found is None:
                if key not in self._entry.once:
                    missing[key] = value
            elif key == models:
                self._models(node, key, value)
            elif key not in self._entry.once:
                self._field(node, key, found, value, missing)
        if missing:
            self._editor.put(node, missing)
            self._changed = True

    def _field(self, node: Node, key: str, found: Node, value: Any, missing: dict[str, Any]) -> None:
        if isinstance(value, Mapping):
            if found.kind == "mapping":
                self._fields(found, value)
            elif found.is_null:
                self._fill(node, key, value)
        elif not isinstance(value, (list, tuple)) and found.kind == "scalar" and not _same(found, value):
            if node.own(key) is None:  # from a merge key: its own value goes over it
                missing[key] = value
                return
            self._editor.change(node, key, value)
            self._changed = True

    def _fill(self, node: Node, key: str, value: Any) -> None:
        if node.own(key) is None:
            raise ExportError(f"{key} of {self._entry.label} comes from elsewhere by a merge key", hint="write it out")
        self._editor.fill(node, key, value)
        self._changed = True

    def _models(self, node: Node, key: str, wanted: Any) -> None:
        found = node.get(key)
        assert found is not None
        if found.is_null or (found.flow and not found.items and not found.pairs):
            self._fill(node, key, wanted)
            return
        by_name = wanted if isinstance(wanted, Mapping) else {m["name"]: m for m in wanted}
        if found.kind == "mapping" and isinstance(wanted, Mapping):
            there = {k.text: v for k, v in reversed(found.pairs)}
        elif found.kind == "sequence" and not isinstance(wanted, Mapping):
            there = {str(v.real.word("name")): v for v in reversed(found.items) if v.real.kind == "mapping"}
        else:
            raise ExportError(f"{key} of {self._entry.label} is a {found.kind}", hint="correct it, then try again")
        new = {name: model for name, model in by_name.items() if name not in there}
        for name, model in by_name.items():
            if name in there and there[name].real.kind == "mapping":
                self._fields(there[name].real, model)
        if self._strategy == "replace":
            # Those with fields or comments of the user's stay.
            old = [v for n, v in there.items() if n not in by_name and self._container.is_untouched(v)]
            self._changed |= bool(self._editor.remove(found, old))
        if new:
            self._editor.put(found, new) if found.kind == "mapping" else self._editor.append(found, list(new.values()))
            self._changed = True


def _has_own_key(node: Node, fields: Mapping[str, Any]) -> bool:
    """Whether a key is named that we did not name: it is for the address it was put there for."""
    found = ((name, node.get(name)) for name in _KEY_SOURCES)
    return any(n is not None and not n.is_null and n.text != fields.get(name) for name, n in found)


def _same(node: Node, value: Any) -> bool:
    if node.plain == as_plain(value):
        return True
    if isinstance(value, (str, bool)):
        return False
    try:
        return Decimal(node.text.replace("_", "")) == Decimal(str(value))
    except InvalidOperation:
        return False


def labels_of(text: str, container: Container) -> list[str]:
    """The labels of the entries that are in a file, in its order."""
    place = container.find(Editor(text).root)
    if place is None:
        return []
    return [label for n in place.items if (label := n.word(container.told_by[0])) is not None]
