"""What the literals of a Python file say, read from its syntax tree. Nothing of it is run."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

_DEPTH = 20
"""Literals nested deeper than this are no table of providers."""
_TEXT_CAP = 1_000_000
_ITEMS_CAP = 20_000
"""What adding may give; `a = a + a`, line after line, would fill the memory."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string, and the line where it begins."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Variable:
    """`os.environ.get("NAME", "default")` and its like."""

    name: str
    default: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Items:
    """A list, tuple, set, or a call with nothing but positions."""

    values: tuple[Value, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Fields:
    """A dict, or a call such as `Provider(name="x")`."""

    values: dict[str, Value]
    line: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Only running the script would tell."""

    line: int


Value: TypeAlias = "Text | Variable | Items | Fields | Unknown | None"


@dataclass(frozen=True, slots=True)
class Named:
    """A value and the name it is given."""

    name: str
    value: Value
    line: int
    is_local: bool
    """Whether it stands in a function."""


def named_values(tree: ast.Module) -> list[Named]:
    """Every value that is assigned, appended or returned, in the order of the file."""
    reader = _Reader()
    found = []
    for node, is_local in sorted(_statements(tree), key=lambda pair: pair[0].lineno):
        if isinstance(node, ast.ClassDef):
            reader.learn(node)
        elif (given := _given(node)) is not None:
            name, expression = given
            value = reader.value(expression)
            reader.names.setdefault(name, value)
            found.append(Named(name, value, node.lineno, is_local))
    return found


def _statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, bool]]:
    """Every statement that may give a value to a name, and whether it stands in a function."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, is_local = waiting.pop()
        if isinstance(node, ast.ClassDef | ast.Assign | ast.AnnAssign | ast.Expr | ast.Return):
            yield node, is_local
        inner = is_local or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        waiting += [(child, inner) for child in ast.iter_child_nodes(node) if isinstance(child, _WITH_STATEMENTS)]


_WITH_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)


def _given(node: ast.stmt) -> tuple[str, ast.expr] | None:
    """The name and the expression of a statement that gives one to the other."""
    if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
        return target.id, node.value
    if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Subscript):
        if isinstance(target.value, ast.Name):  # PROVIDERS["x"] = ...
            return target.value.id, ast.copy_location(ast.Dict([target.slice], [node.value]), node)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        return node.target.id, node.value
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.List | ast.Dict | ast.Tuple):
        return "return", node.value
    elif isinstance(node, ast.Expr) and isinstance(call := node.value, ast.Call):
        method = call.func
        if isinstance(method, ast.Attribute) and method.attr == "append" and isinstance(method.value, ast.Name):
            return method.value.id, ast.copy_location(ast.List(call.args, ast.Load()), node)
    return None


class _Reader:
    """Expressions to values, with the names that were met."""

    def __init__(self) -> None:
        self.names: dict[str, Value] = {}
        self._fields: dict[str, list[str]] = {}

    def learn(self, node: ast.ClassDef) -> None:
        """A class's fields in their order, and its constants, as an Enum has them."""
        self._fields[node.name] = [
            n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
        ]
        for inner in node.body:
            if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                self.names[f"{node.name}.{inner.targets[0].id}"] = self.value(inner.value)

    def value(self, node: ast.expr | None, depth: int = 0) -> Value:
        if depth > _DEPTH or node is None:
            return Unknown(getattr(node, "lineno", 0))
        read = _READERS.get(type(node))
        return read(self, node, depth + 1) if read else Unknown(node.lineno)

    def _constant(self, node: ast.Constant, depth: int) -> Value:
        if node.value is None or isinstance(node.value, bool | int | float):
            return None
        return Text(node.value, node.lineno) if isinstance(node.value, str) else Unknown(node.lineno)

    def _items(self, node: ast.List | ast.Tuple | ast.Set, depth: int) -> Value:
        return Items(tuple(self.value(n, depth) for n in node.elts), node.lineno)

    def _dict(self, node: ast.Dict, depth: int) -> Value:
        fields: dict[str, Value] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            name = self.value(key, depth)
            if isinstance(name, Text):
                fields[name.value] = self.value(value, depth)
            else:  # **more, or a key that is computed
                fields[f"line {value.lineno}"] = Unknown(value.lineno)
        return Fields(fields, node.lineno)

    def _name(self, node: ast.Name, depth: int) -> Value:
        return self.names.get(node.id, Unknown(node.lineno))

    def _attribute(self, node: ast.Attribute, depth: int) -> Value:
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        known = self.names.get(f"{owner}.{node.attr}")
        if isinstance(known, Text):
            return known
        # A constant of a class that stands elsewhere says by its own name what it is: `Kind.OPENAI`.
        return Text(node.attr.lower(), node.lineno) if owner[:1].isupper() else Unknown(node.lineno)

    def _sum(self, node: ast.BinOp, depth: int) -> Value:
        left, right = self.value(node.left, depth), self.value(node.right, depth)
        if not isinstance(node.op, ast.Add):
            return Unknown(node.lineno)
        if isinstance(left, Text) and isinstance(right, Text) and len(left.value) + len(right.value) < _TEXT_CAP:
            return Text(left.value + right.value, left.line)
        if isinstance(left, Items) and isinstance(right, Items) and len(left.values) + len(right.values) < _ITEMS_CAP:
            return Items(left.values + right.values, left.line)
        return Unknown(node.lineno)

    def _joined(self, node: ast.JoinedStr, depth: int) -> Value:
        parts = [self.value(p.value if isinstance(p, ast.FormattedValue) else p, depth) for p in node.values]
        texts = [p.value for p in parts if isinstance(p, Text)]
        if len(texts) < len(parts) or sum(map(len, texts)) > _TEXT_CAP:
            return Unknown(node.lineno)
        return Text("".join(texts), node.lineno)

    def _subscript(self, node: ast.Subscript, depth: int) -> Value:
        if _dotted(node.value) in ("os.environ", "environ") and isinstance(name := self.value(node.slice, depth), Text):
            return Variable(name.value, None, node.lineno)
        return Unknown(node.lineno)

    def _call(self, node: ast.Call, depth: int) -> Value:
        name = _dotted(node.func)
        args = [self.value(a, depth) for a in node.args]
        first = args[0] if args else None
        if name in ("os.getenv", "getenv", "os.environ.get", "environ.get") and isinstance(first, Text):
            default = args[1].value if len(args) > 1 and isinstance(args[1], Text) else None
            return Variable(first.value, default, node.lineno)
        if name in ("textwrap.dedent", "dedent") and isinstance(first, Text):
            return Text(textwrap.dedent(first.value), first.line)
        if isinstance(method := node.func, ast.Attribute):
            owner = self.value(method.value, depth)
            text = _of_text(owner, method.attr) if isinstance(owner, Text) else None
            if text is not None:
                return text
        return self._record(name, args, node, depth)

    def _record(self, name: str, args: list[Value], node: ast.Call, depth: int) -> Value:
        keywords = {k.arg: self.value(k.value, depth) for k in node.keywords if k.arg}
        if name in ("list", "tuple", "set", "sorted") and len(args) == 1:
            return args[0]
        if not keywords and not self._fields.get(name):
            return Items(tuple(args), node.lineno)
        names = self._fields.get(name) or [f"position {i}" for i in range(len(args))]
        return Fields(dict(zip(names, args, strict=False)) | keywords, node.lineno)


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def _of_text(text: Text, method: str) -> Value:
    """What a method of a string gives; None for those that tables are not made with."""
    if method in ("strip", "lstrip"):
        rest = text.value.lstrip()
        skipped = text.value[: len(text.value) - len(rest)].count("\n")
        return Text(rest.rstrip() if method == "strip" else rest, text.line + skipped)
    if method == "rstrip":
        return Text(text.value.rstrip(), text.line)
    if method in ("split", "splitlines"):
        lines = enumerate(text.value.splitlines(), text.line)
        return Items(tuple(Text(value, line) for line, value in lines), text.line)
    return None


_READERS: Mapping[type, Callable[..., Value]] = {
    ast.Constant: _Reader._constant,
    ast.List: _Reader._items,
    ast.Tuple: _Reader._items,
    ast.Set: _Reader._items,
    ast.Dict: _Reader._dict,
    ast.Name: _Reader._name,
    ast.Attribute: _Reader._attribute,
    ast.BinOp: _Reader._sum,
    ast.JoinedStr: _Reader._joined,
    ast.Subscript: _Reader._subscript,
    ast.Call: _Reader._call,
}
