"""Changes to a YAML text that leave every other byte where it is.

The text is never dumped again: each change is an insertion, a replacement of one scalar, or the removal of whole items,
at places that the parser told. Before a result is given away it is read again and must say exactly what was meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbllm.errors import ExportError
from nbllm.exporters.yaml_document import Document, Node, plain_of, read_document
from nbllm.exporters.yaml_words import Style, as_plain, flow, indented, item, mapping, quoted

_BY_HAND = "change it by hand, or leave this entry out"


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str
    column: int
    number: int

    @property
    def order(self) -> tuple[int, int, int, int]:
        """At one place what is indented deeper comes first."""
        return self.start, self.end, -self.column, self.number


class Editor:
    """A YAML text and the changes to it.

    Raises:
        ExportError: The text cannot be read.
    """

    def __init__(self, text: str) -> None:
        self._lacks_end = bool(text) and not text.endswith("\n")
        self._document: Document = read_document(text + "\n" if self._lacks_end else text)
        self._edits: list[_Edit] = []
        self._gone: list[tuple[list[Any], int]] = []
        self._new_root: Any = None

    @property
    def root(self) -> Node | None:
        """The top of the document; None when it holds nothing."""
        return self._document.root

    def result(self) -> str:
        """The changed text.

        Raises:
            ExportError: It would not say what was meant.
        """
        text = self._document.text
        for edit in sorted(self._edits, key=lambda e: e.order, reverse=True):
            text = text[: edit.start] + edit.text + text[edit.end :]
        if self._edits:
            self._check(text)
        return text.removesuffix("\n") if self._lacks_end else text

    def _check(self, text: str) -> None:
        for plain, position in sorted(self._gone, key=lambda g: g[1], reverse=True):
            del plain[position]
        expected = self.root.plain if self.root is not None else self._new_root
        try:
            root = read_document(text).root
        except ExportError:
            root = None
        if root is None or root.plain != expected:
            raise ExportError("it is written in a way that cannot be added to without harm to the rest", hint=_BY_HAND)

    # ------------------------------------------------------------ adding

    def put(self, parent: Node | None, pairs: Mapping[str, Any]) -> None:
        """Add keys to a mapping, behind what it has; None stands for the root of a document that holds nothing."""
        if parent is None:
            self._begin(mapping(pairs, column=0, style=Style()), plain_of(pairs))
            return
        self._refuse_shared(parent)
        parent.plain.extend(plain_of(pairs))
        if parent.flow:
            self._insert_flow(parent, flow(pairs)[1:-1])
            return
        column = self._document.column(parent.pairs[0][0].start)
        lines = indented(mapping(pairs, column=column, style=self._style(parent)), column)
        self._insert_lines(self._behind(parent, column), lines, column)

    def append(self, sequence: Node | None, values: Sequence[Any]) -> None:
        """Add items to a sequence; None stands for the root of a document that holds nothing."""
        if not values:
            return
        if sequence is None:
            lines = [line for v in values for line in item(v, column=0, style=Style())]
            self._begin(lines, plain_of(values))
            return
        self._refuse_shared(sequence)
        sequence.plain.extend(plain_of(values))
        if sequence.flow:
            self._insert_flow(sequence, flow(values)[1:-1])
            return
        column = self._document.column(self._document.dash_of(sequence.items[0]))
        style = self._style(sequence)
        lines = [line for v in values for line in indented(item(v, column=column, style=style), column)]
        self._insert_lines(self._behind(sequence, column), lines, column)

    def fill(self, parent: Node, key: str, value: Any) -> None:
        """Give a key of a mapping whose value is null, `[]` or `{}` the list or mapping `value`."""
        name, old = next((k, v) for k, v in parent.pairs if k.text == key)
        self._refuse_shared(old)
        parent.plain[[v for _, v in parent.pairs].index(old)][1] = plain_of(value)
        if parent.flow:
            self._replace(old.start, old.end, flow(value) if old.end > old.start else f" {flow(value)}")
            return
        column, style = self._document.column(name.start), self._style(parent)
        if isinstance(value, Mapping):
            at = column + style.step
            lines = indented(mapping(value, column=at, style=style), at)
        else:
            at = column + style.dash
            lines = [line for v in value for line in indented(item(v, column=at, style=style), at)]
        if old.end > old.start:  # also the blank before it
            self._replace(old.start - (self._document.text[old.start - 1] == " "), old.end, "")
        self._insert_lines(self._over_comments(self._document.line_end(old.end), column + 1), lines, at)

    # ------------------------------------------------------------ changing and removing

    def change(self, parent: Node, key: str, value: Any) -> None:
        """Put another scalar in the place of the one that stands under `key`."""
        position, old = next((i, v) for i, (k, v) in enumerate(parent.pairs) if k.text == key)
        self._refuse_shared(old)
        if old.kind != "scalar" or old.style in ("|", ">"):
            raise ExportError(f"{key} in line {self._line(old)} is no plain value", hint=_BY_HAND)
        written = flow(value) if parent.flow else quoted(value, old.style)
        self._replace(old.start, old.end, written if old.end > old.start else f" {written}")
        parent.plain[position][1] = as_plain(value)

    def remove(self, parent: Node, unwanted: Sequence[Node]) -> list[Node]:
        """Take items of a sequence, or the pairs of a mapping that have these values, out; those that could go.

        What has a comment in it stays, since a comment is the user's, and what shares a line with something else.
        """
        children = [v for _, v in parent.pairs] if parent.kind == "mapping" else parent.items
        positions = [i for i, child in enumerate(children) if child in unwanted]
        if not positions:
            return []
        self._refuse_shared(parent)
        if parent.flow:
            regions = _flow_regions(parent, positions)
            if any(self._has_comment(*region, parent) for region in regions):
                return []
        else:
            found = {i: self._block_region(parent, i) for i in positions}
            gone = {i: r for i, r in found.items() if r is not None and not self._has_comment(*r, children[i])}
            positions, regions = list(gone), list(gone.values())
        for region in regions:
            self._replace(*region, "")
        self._gone += [(parent.plain, i) for i in positions]
        return [children[i] for i in positions]

    def _block_region(self, parent: Node, position: int) -> tuple[int, int] | None:
        text, lines = self._document.text, self._document
        if parent.kind == "mapping":
            begin, last = parent.pairs[position][0].start, parent.pairs[position][1]
        else:
            begin, last = lines.dash_of(parent.items[position]), parent.items[position]
        start = lines.line_start(begin)
        return None if text[start:begin].strip() else (start, self._line_behind(last))

    def _has_comment(self, start: int, end: int, node: Node) -> bool:
        """Whether a `#` stands in this part of the text, but in no value below `node`."""
        rest = self._document.text[start:end]
        for leaf in node.leaves():
            begin, stop = max(leaf.start, start) - start, min(leaf.end, end) - start
            if begin < stop:
                rest = rest[:begin] + "x" * (stop - begin) + rest[stop:]
        return "#" in rest

    # ------------------------------------------------------------ places

    def _behind(self, node: Node, column: int) -> int:
        """Where a sibling of the children of `node` can be inserted: behind it and the comments that belong to it."""
        at = self._line_behind(node)
        if column:
            return self._over_comments(at, column)
        rest = self._document.text[at:].splitlines(keepends=True)
        if node is self.root and all(not line.strip() or line.lstrip().startswith("#") for line in rest):
            return self._over_comments(at, 0)
        return at

    def _line_behind(self, node: Node) -> int:
        last = list(node.leaves())[-1:] or [node]
        end = last[0].end
        if last[0].style in ("|", ">") and self._document.column(end) == 0:
            return end
        return self._document.line_end(max(end, node.end) if node.flow else end)

    def _over_comments(self, index: int, column: int) -> int:
        """Behind the comments that follow and are indented at least `column`, blank lines between them included."""
        text, at = self._document.text, index
        while at < len(text):
            end = self._document.line_end(at)
            line = text[at:end]
            if line.strip():
                if not line.lstrip(" ").startswith("#") or len(line) - len(line.lstrip(" ")) < column:
                    break
                index = end
            at = end
        return index

    def _style(self, node: Node) -> Style:
        """How the neighbourhood of `node` is indented, else the rest of the file, else the usual way."""
        assert self.root is not None
        style = Style()
        for name, value in (*self._seen_in(self.root), *self._seen_in(node)):  # what is nearer has the last word
            setattr(style, name, value)
        return style

    def _seen_in(self, node: Node) -> Iterator[tuple[str, int]]:
        lines = self._document
        if node.flow:
            return
        for key, value in node.pairs:
            if value.kind == "sequence" and value.items and not value.flow:
                yield "dash", lines.column(lines.dash_of(value.items[0])) - lines.column(key.start)
            if value.kind == "mapping" and value.pairs and not value.flow:
                yield "step", max(1, lines.column(value.pairs[0][0].start) - lines.column(key.start))
            yield from self._seen_in(value)
        for child in node.items:
            if child.kind == "mapping" and child.pairs and not child.flow:
                dash, first = lines.dash_of(child), child.pairs[0][0].start
                if lines.line_start(dash) == lines.line_start(first):
                    yield "inside", first - dash
            yield from self._seen_in(child)

    # ------------------------------------------------------------ edits

    def _begin(self, lines: Sequence[str], plain: Any) -> None:
        if self.root is None and self._new_root is not None:
            raise ExportError("a document is begun once")
        self._new_root = plain
        self._insert_lines(len(self._document.text), lines, 0)

    def _insert_lines(self, index: int, lines: Sequence[str], column: int) -> None:
        self._edits.append(_Edit(index, index, "".join(f"{x}\n" for x in lines), column, len(self._edits)))

    def _insert_flow(self, node: Node, text: str) -> None:
        last = node.pairs[-1][1] if node.pairs else node.items[-1] if node.items else None
        index = node.end - 1 if last is None else last.end
        left = max(len(node.pairs), len(node.items)) - sum(plain is node.plain for plain, _ in self._gone)
        self._edits.append(_Edit(index, index, f", {text}" if left else text, 0, len(self._edits)))

    def _replace(self, start: int, end: int, text: str) -> None:
        self._edits.append(_Edit(start, end, text, 0, len(self._edits)))

    def _refuse_shared(self, node: Node) -> None:
        if node.is_shared:
            raise ExportError(
                f"what stands in line {self._line(node)} also stands elsewhere by an alias; both would change",
                hint="write it out where it is an alias, or name other providers with --provider",
            )

    def _line(self, node: Node) -> int:
        return self._document.line_number(node.start)


def _flow_regions(parent: Node, positions: Sequence[int]) -> list[tuple[int, int]]:
    """What to take out of `[a, b, c]` so that the commas are right."""
    starts = [k.start for k, _ in parent.pairs] or [i.start for i in parent.items]
    ends = [v.end for _, v in parent.pairs] or [i.end for i in parent.items]
    first_kept = next((i for i in range(len(starts)) if i not in positions), None)
    if first_kept is None:
        return [(starts[0], ends[-1])]
    before = [(starts[0], starts[first_kept])] if first_kept else []
    return before + [(ends[i - 1], ends[i]) for i in positions if i > first_kept]
