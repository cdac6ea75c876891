"""A YAML text as a tree whose nodes know where they stand in it.

ruamel.yaml reads; nothing is ever dumped, so that what is not ours cannot change (ADR 19). Values stay text: whether
`yes` is a boolean depends on who reads the file, and nobody here needs to know.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nbllm.errors import ExportError
from nbllm.exporters.yaml_words import as_plain, is_text

_DEEPEST = 100


@dataclass(slots=True, eq=False)
class Node:
    """A mapping, a sequence, a scalar, or an alias."""

    kind: Literal["mapping", "sequence", "scalar", "alias"]
    start: int
    """Index of the first character, an anchor or tag included."""
    end: int = -1
    """Index behind the last character; of a block collection behind that of its last child."""
    parent: Node | None = None
    flow: bool = False
    text: str = ""
    """Of a scalar its value, of an alias the name of the anchor."""
    style: str | None = None
    """Of a scalar: its quote, `|`, `>` or None; ruamel tells it."""
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    target: Node | None = None
    """What an alias stands for."""
    shared: bool = False
    """Whether an alias elsewhere stands for it."""
    plain: Any = None
    """What it says, for comparing: lists of pairs, lists, and `as_plain` of scalars."""

    @property
    def real(self) -> Node:
        """The node itself, or what the alias stands for."""
        return self.target or self

    def own(self, key: str) -> Node | None:
        """The value that stands under `key` in this mapping."""
        return next((v for k, v in self.pairs if k.kind == "scalar" and k.text == key), None)

    def get(self, key: str) -> Node | None:
        """As `own`; else what a merge key (`<<`) brings, aliases followed."""
        found = self.own(key)
        if found is not None:
            return found.real
        merged = self.own("<<")
        if merged is None:
            return None
        bases = merged.real.items if merged.real.kind == "sequence" else [merged]
        return next((v for b in bases if b.real.kind == "mapping" and (v := b.real.get(key)) is not None), None)

    def word(self, key: str) -> str | None:
        """The text under `key`; None when there is none."""
        found = self.get(key) if self.kind == "mapping" else None
        return found.text if found is not None and found.kind == "scalar" else None

    @property
    def is_null(self) -> bool:
        """Whether it stands for nothing."""
        return self.kind == "scalar" and self.style is None and self.text in ("", "~", "null", "Null", "NULL")

    @property
    def is_shared(self) -> bool:
        """Whether a change to it would be a change elsewhere too."""
        return self.shared or (self.parent is not None and self.parent.is_shared)

    def leaves(self) -> Iterator[Node]:
        """Scalars and aliases below, in the order of the text."""
        if self.kind in ("scalar", "alias"):
            yield self
        for key, value in self.pairs:
            yield from key.leaves()
            yield from value.leaves()
        for item in self.items:
            yield from item.leaves()


@dataclass(slots=True)
class Document:
    """One YAML document."""

    text: str
    root: Node | None
    """None: the text holds nothing but comments."""
    dashes: list[int]
    """Where the `-` of list items stand."""

    def dash_of(self, item: Node) -> int:
        """Where the `-` of an item of a block sequence stands."""
        return self.dashes[bisect_left(self.dashes, item.start) - 1]

    def line_start(self, index: int) -> int:
        """Where the line of `index` begins."""
        return self.text.rfind("\n", 0, index) + 1

    def line_end(self, index: int) -> int:
        """Where the line behind that of `index` begins."""
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found + 1

    def column(self, index: int) -> int:
        """Characters before `index` on its line."""
        return index - self.line_start(index)

    def line_number(self, index: int) -> int:
        """The line of `index`, counted from 1."""
        return self.text.count("\n", 0, index) + 1


def read_document(text: str) -> Document:
    """Read a text.

    Raises:
        ExportError: It is not YAML, holds several documents, a key twice, or is nested too deep.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415  (20 ms, and only a merge needs it)
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    try:
        dashes, ends = _scan(YAML(typ="safe", pure=True).scan(text))
        events = list(YAML(typ="safe", pure=True).parse(text))
    except (YAMLError, ValueError, RecursionError, AttributeError, AssertionError, IndexError, TypeError) as exc:
        # ruamel lets other errors through for some malformed texts (NotImplementedError, AttributeError).
        raise ExportError(f"it is not YAML: {_reason(exc)}", hint="correct the file, then try again") from exc
    document = Document(text, None, dashes)
    document.root = _Builder(document, ends).build(events)
    return document


def _scan(tokens: Iterable[Any]) -> tuple[list[int], list[int]]:
    """Where the dashes of lists stand, and where each token ends."""
    dashes, ends, depth = [], [], 0
    for token in tokens:
        name, start, end = type(token).__name__, token.start_mark.index, token.end_mark.index
        depth += name.endswith("StartToken") - name.endswith("EndToken")
        if depth > _DEEPEST:  # before the parser, whose time grows with the square of it
            raise ExportError(f"it is nested deeper than {_DEEPEST} levels")
        if name == "BlockEntryToken":
            dashes.append(start)
        if end > start:
            ends.append(end)
    return dashes, ends


def _reason(exc: Exception) -> str:
    mark = getattr(exc, "problem_mark", None)
    problem = getattr(exc, "problem", None) or type(exc).__name__
    return f"{problem}, line {mark.line + 1}" if mark is not None else str(problem)


class _Builder:
    """Events to nodes."""

    def __init__(self, document: Document, ends: Sequence[int]) -> None:
        self._document = document
        self._ends = ends
        self._anchors: dict[str, Node] = {}
        self._open: list[Node] = []
        self._keys: list[Node | None] = []
        """For each open mapping: the key that waits for its value."""
        self._root: Node | None = None

    def build(self, events: Sequence[Any]) -> Node | None:
        names = [type(e).__name__ for e in events]
        if names.count("DocumentStartEvent") > 1:
            raise ExportError("it holds several YAML documents", hint="nbllm changes files with one; split it")
        for name, event in zip(names, events, strict=True):
            self._take(name, event)
        return None if self._root is not None and self._root.is_null and not self._root.shared else self._root

    def _take(self, name: str, event: Any) -> None:
        start = event.start_mark.index
        if name == "ScalarEvent":
            end = event.end_mark.index
            if not event.value and not event.style:  # ruamel says of nothing that it stands where the next thing is
                end = self._ends[bisect_right(self._ends, end) - 1] if self._ends else 0
            node = Node("scalar", min(start, end), end, text=event.value, style=_style(event))
            node.plain = as_plain(event.value) if node.style or is_text(event.value) else ("plain", event.value)
            self._put(node, event.anchor)
        elif name == "AliasEvent":
            self._put(self._alias(event, start), None)
        elif name in ("MappingStartEvent", "SequenceStartEvent"):
            kind: Literal["mapping", "sequence"] = "mapping" if name[0] == "M" else "sequence"
            node = Node(kind, start, flow=bool(event.flow_style), plain=[])
            self._put(node, event.anchor)
            self._open.append(node)
            self._keys.append(None)
        elif name in ("MappingEndEvent", "SequenceEndEvent"):
            node = self._open.pop()
            self._keys.pop()
            last = node.pairs[-1][1] if node.pairs else node.items[-1] if node.items else None
            node.end = event.end_mark.index if node.flow or last is None else last.end

    def _alias(self, event: Any, start: int) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None or target in self._open:
            where = self._document.line_number(start)
            raise ExportError(f"it is not YAML: the alias *{event.anchor} in line {where} stands for nothing")
        target.shared = True
        return Node(
            "alias", start, event.end_mark.index, text=event.anchor, target=target, plain=("alias", event.anchor)
        )

    def _put(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            self._root = node
            return
        node.parent = self._open[-1]
        if node.parent.kind == "sequence":
            node.parent.items.append(node)
            node.parent.plain.append(node.plain)
            return
        key = self._keys[-1]
        if key is None:
            if node.kind == "scalar" and node.text != "<<" and node.parent.own(node.text) is not None:
                where = self._document.line_number(node.start)
                raise ExportError(f"the key {node.text!r} stands twice in one mapping, the second time in line {where}")
            self._keys[-1] = node
        else:
            node.parent.pairs.append((key, node))
            node.parent.plain.append([key.plain, node.plain])
            self._keys[-1] = None


def _style(event: Any) -> str | None:
    """ruamel says "'", '"', '|', '>' or None; a tag such as !!str makes a scalar more than plain text."""
    return event.style or ("!" if event.tag else None)


def plain_of(value: Any) -> Any:
    """A value of ours as `Node.plain` would have it once it is written and read again."""
    if isinstance(value, Mapping):
        return [[as_plain(k), plain_of(v)] for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain_of(v) for v in value]
    return as_plain(value)
