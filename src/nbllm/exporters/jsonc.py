"""JSON with comments and trailing commas, changed in place: every byte that is not spoken of stays.

The text is read into nodes that know where they stand; changes are splices of the text, made all at once. No library
for Python does this and is kept up (docs/adr/0020): those that round-trip write the whole document anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_DEPTH = 100
_TOKEN = re.compile(
    r"""
      (?P<blank> [ \t\r\n]+ | //[^\n]* | /\*.*?\*/ )
    | (?P<mark> [{}\[\],:] )
    | (?P<string> "(?:[^"\\\x00-\x1f]|\\.)*" )
    | (?P<word> [-+.\w]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class JsoncError(ValueError):
    """The text is not JSON with comments; the message says where."""


@dataclass(slots=True)
class Node:
    """A value and where it stands in the text."""

    kind: str
    """`object`, `array` or `scalar`."""
    start: int
    end: int = 0
    value: Any = None
    """Of a scalar."""
    members: dict[str, Member] = field(default_factory=dict)
    """Of an object. A key that stands twice counts as where it stands last, as for other readers of JSON."""
    items: list[Node] = field(default_factory=list)
    trailing_comma: bool = False

    def plain(self) -> Any:
        """The value as `json.loads` would give it."""
        if self.kind == "object":
            return {key: member.value.plain() for key, member in self.members.items()}
        return [item.plain() for item in self.items] if self.kind == "array" else self.value


@dataclass(slots=True)
class Member:
    """One entry of an object."""

    start: int
    """Of the key."""
    value: Node
    comma: int | None = None
    """Where the comma behind it stands."""


def parse(text: str) -> Node:
    """The document.

    Raises:
        JsoncError: With line and column.
    """
    return _Reader(text).document()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._scan()
        self._kind, self._start, self._end = next(self._tokens)

    def _scan(self) -> Iterator[tuple[str, int, int]]:
        at, text = 0, self._text
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self._error(at)
            if match.lastgroup != "blank":
                kind = match[0] if match.lastgroup == "mark" else match.lastgroup
                yield kind, match.start(), match.end()
            at = match.end()
        yield "end", len(text), len(text)

    def _error(self, at: int) -> JsoncError:
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return JsoncError(f"line {line}, column {column}")

    def _take(self, kind: str) -> tuple[int, int]:
        if self._kind != kind:
            raise self._error(self._start)
        taken = self._start, self._end
        self._kind, self._start, self._end = next(self._tokens, ("end", len(self._text), len(self._text)))
        return taken

    def document(self) -> Node:
        node = self._value(0)
        self._take("end")
        return node

    def _value(self, depth: int) -> Node:
        if depth > _DEPTH:
            raise self._error(self._start)
        if self._kind == "{":
            return self._object(depth)
        if self._kind == "[":
            return self._array(depth)
        start, end = self._take("string" if self._kind == "string" else "word")
        return Node("scalar", start, end, self._scalar(start, end))

    def _scalar(self, start: int, end: int) -> Any:
        try:
            return json.loads(self._text[start:end], parse_constant=_refuse)
        except ValueError:
            raise self._error(start) from None

    def _object(self, depth: int) -> Node:
        node = Node("object", self._take("{")[0])
        while self._kind != "}":
            start, end = self._take("string")
            self._take(":")
            member = Member(start, self._value(depth + 1))
            node.members.pop(key := self._scalar(start, end), None)
            node.members[key] = member
            node.trailing_comma = self._kind == ","
            if not node.trailing_comma:
                break
            member.comma = self._take(",")[0]
        node.end = self._take("}")[1]
        return node

    def _array(self, depth: int) -> Node:
        node = Node("array", self._take("[")[0])
        while self._kind != "]":
            node.items.append(self._value(depth + 1))
            node.trailing_comma = self._kind == ","
            if not node.trailing_comma:
                break
            self._take(",")
        node.end = self._take("]")[1]
        return node


def _refuse(word: str) -> Any:
    raise ValueError(word)


# ---------------------------------------------------------------- changes


class Editor:
    """Collects changes to a text and makes them all at once. Positions are those of the text as it was.

    Take out first: an object from which entries are removed takes no new ones from the same editor.

    Raises:
        JsoncError: The text cannot be read.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.root = parse(text)
        self._splices: list[tuple[int, int, str]] = []
        found = re.search(r"(?m)^([ \t]+)[^\s*/]", text)
        self._unit = ("\t" if found[1].startswith("\t") else found[1]) if found else "  "

    def lay_over(self, node: Node, wanted: Mapping[str, Any], *, keep: Collection[str] = ()) -> bool:
        """Give an object these entries, and those within them; whatever else stands there stays.

        Args:
            node: An object.
            wanted: Entries to add or refresh.
            keep: Keys that are added when they are missing and never refreshed, at any depth.

        Returns:
            Whether something changes.
        """
        missing = {k: v for k, v in wanted.items() if k not in node.members}
        self.insert(node, missing)
        changed = bool(missing)
        for key, value in wanted.items():
            if key in node.members and key not in keep:
                there = node.members[key].value
                if there.kind == "object" and isinstance(value, Mapping):
                    changed |= self.lay_over(there, value, keep=keep)
                else:
                    changed |= self._set(there, value)
        return changed

    def _set(self, node: Node, value: Any) -> bool:
        if _same(node.plain(), value):
            return False
        self._splices.append((node.start, node.end, self._written(value, self._indent_at(node.start))))
        return True

    def insert(self, node: Node, entries: Mapping[str, Any]) -> None:
        """Add entries at the end of an object; once for each object."""
        if not entries:
            return
        last = max(node.members.values(), key=lambda m: m.start, default=None)
        if last and last.comma is None:
            self._splices.append((last.value.end, last.value.end, ","))
        tail = "," if node.trailing_comma else ""
        if last and "\n" not in self.text[node.start : node.end]:
            at = last.value.end if last.comma is None else last.comma + 1
            self._splices.append(
                (at, at, " " + ", ".join(f"{_dumps(k)}: {_dumps(v)}" for k, v in entries.items()) + tail)
            )
            return
        outer = self._indent_at(node.start)
        indent = self._indent_at(last.start) if last else outer + self._unit
        lines = ",\n".join(f"{indent}{_dumps(k)}: {self._written(v, indent)}" for k, v in entries.items())
        brace = node.end - 1
        at = len(self.text[:brace].rstrip())  # behind everything inside, comments too
        if "\n" in self.text[at:brace]:
            self._splices.append((at, at, f"\n{lines}{tail}"))
        else:
            self._splices.append((at, brace, f"\n{lines}{tail}\n{outer}"))

    def remove(self, node: Node, keys: Collection[str]) -> None:
        """Take entries out of an object; comments in and around them stay."""
        members = sorted(node.members.items(), key=lambda m: m[1].start)
        left = [m for k, m in members if k not in keys]
        for _, member in ((k, m) for k, m in members if k in keys):
            self._cut(member.start, member.value.end if member.comma is None else member.comma + 1)
        # Who is the last one now needs no comma, unless that was the habit.
        if left and members[-1][0] in keys and not node.trailing_comma and left[-1].comma is not None:
            self._splices.append((left[-1].comma, left[-1].comma + 1, ""))

    def _cut(self, start: int, end: int) -> None:
        """Remove a span but for the comments in it, and whole lines where nothing else stands on them."""
        kept = _comments(self.text[start:end])
        line, newline = self.text.rfind("\n", 0, start) + 1, self.text.find("\n", end)
        alone = newline >= 0 and not (self.text[line:start] + self.text[end:newline]).strip()
        if alone and not kept:
            start, end = line, newline + 1
        left = f"\n{self._indent_at(start)}".join(kept)
        if kept and kept[-1].startswith("//") and self.text[end : end + 1] != "\n":
            left += "\n"  # else it would swallow what follows
        self._splices.append((start, end, left))

    def result(self) -> str:
        """The text with all changes."""
        pieces, done = [], 0
        for start, end, new in sorted(self._splices, key=lambda s: s[0]):
            pieces += [self.text[done:start], new]
            done = end
        return "".join([*pieces, self.text[done:]])

    def _indent_at(self, at: int) -> str:
        line = self.text[self.text.rfind("\n", 0, at) + 1 : at]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def _written(self, value: Any, indent: str) -> str:
        return _dumps(value, self._unit).replace("\n", "\n" + indent)


def _same(there: Any, wanted: Any) -> bool:
    """Equal as JSON: `true` is not 1."""
    return bool(there == wanted) and isinstance(there, bool) == isinstance(wanted, bool)


def _dumps(value: Any, unit: str | None = None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=unit, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair in a foreign text
        return json.dumps(value, indent=unit, allow_nan=False)
    return text


def dumps(value: Any) -> str:
    """A whole new document, as `Editor` would indent it."""
    return _dumps(value, "  ") + "\n"


def _comments(text: str) -> list[str]:
    found = (m for m in _TOKEN.finditer(text) if m.lastgroup == "blank")
    return [m[0].rstrip() for m in found if m[0].startswith("/")]
