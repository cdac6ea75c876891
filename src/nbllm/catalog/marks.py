"""What the user says of models: favourites, groups, aliases, and models added by hand. Kept in the store.

A mark stays when its model is no longer listed, until the user takes it away.
"""

from __future__ import annotations

import difflib
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from nbllm.errors import UsageError
from nbllm.foreign import one_line
from nbllm.store import Changes, Store, schema

FACTS = ("context", "input_price", "output_price")
"""What the user may say of a model: tokens, and USD per million tokens."""
NAME_LENGTH = 64

_Kind = Literal["favourite", "group", "alias", "model"]
_Key = tuple[str, str, str]
_table = schema.marks


@dataclass(frozen=True, slots=True)
class Marked:
    """All marks at one moment. References stand in the order in which they were marked."""

    favourites: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Models added by hand: reference to those of `FACTS` that the user gave."""
    added_on: Mapping[str, str] = field(default_factory=dict)
    """The ISO date of each of `models`."""

    @property
    def refs(self) -> list[str]:
        """Every model that has a mark, once."""
        grouped = (ref for refs in self.groups.values() for ref in refs)
        return list(dict.fromkeys((*self.favourites, *grouped, *self.models)))


_NONE = Marked()


class Marks:
    """The marks of one store. May be called from any thread; other processes' marks are seen at the next `read`.

    Args:
        store: Gives the store; called when it is needed.
        is_there: Whether there is a store to read. Where there is none there are no marks, and looking makes none.
    """

    def __init__(self, store: Callable[[], Store], is_there: Callable[[], bool] = lambda: True) -> None:
        self._store = store
        self._is_there = is_there
        self._lock = threading.Lock()
        self._stamp: object = None
        self._marked = Marked()

    def read(self) -> Marked:
        """The marks as they are now; the same object while nothing has changed.

        Raises:
            StoreError: The store was written by a newer nbllm.
        """
        if not self._is_there():
            return _NONE
        store = self._store()
        stamp = (store.generation, store.read(_stamp))
        with self._lock:
            if stamp != self._stamp:
                rows = store.read(lambda connection: _current(connection, keep=store))
                self._marked, self._stamp = _gathered(rows), stamp
            return self._marked

    # ------------------------------------------------------------ changes

    def set_favourites(self, refs: Iterable[str], *, removed: bool = False) -> int:
        """Make models favourites, or no longer; how many were not so before."""
        return self._write("favourite", [("", ref, None) for ref in refs], removed=removed)

    def set_group(self, name: str, refs: Iterable[str] | None, *, removed: bool = False) -> int:
        """Put models into a group, or take them out; how many were not so before.

        Args:
            refs: None with `removed`: all that are in it. A group without models is gone.

        Raises:
            UsageError: The name is not one, or there is no group to take from; it names the nearest.
        """
        if removed and name not in (known := self.read().groups):
            raise unknown_group(name, known)
        members = self.read().groups[name] if refs is None else refs
        return self._write("group", [(checked_name(name, "group"), ref, None) for ref in members], removed=removed)

    def set_alias(self, name: str, ref: str) -> int:
        """Let `name` stand for a model; 0 when it did so before.

        Raises:
            UsageError: The name is not one.
        """
        return self._write("alias", [(checked_name(name, "alias"), ref, None)])

    def remove_alias(self, name: str) -> str:
        """Take an alias away; the reference that it stood for.

        Raises:
            UsageError: There is none of this name; it names the nearest.
        """
        known = self.read().aliases
        if name not in known:
            raise UsageError(f"there is no alias {one_line(name, 80)!r}", hint=nearest(name, known, "aliases"))
        self._write("alias", [(name, known[name], None)], removed=True)
        return known[name]

    def add_model(self, ref: str, facts: Mapping[str, float]) -> None:
        """Add a model by hand, or say more of one: what `facts` leaves out stays as it was said before."""
        known = self.read().models.get(ref, {})
        self._write("model", [("", ref, {**known, **facts})])

    def remove_models(self, refs: Iterable[str]) -> int:
        """Take models that were added by hand away again; how many there were."""
        return self._write("model", [("", ref, None) for ref in refs], removed=True)

    def _write(
        self, kind: _Kind, marks: Sequence[tuple[str, str, Mapping[str, float] | None]], *, removed: bool = False
    ) -> int:
        def build(connection: Connection) -> Changes:
            known = {_key(row): row for row in _current(connection)}
            seq = (connection.scalar(select(func.max(_table.c.seq))) or 0) + 1
            rows = [
                {"id": uuid.uuid4().hex, "created_at": schema.now(), "seq": seq, "kind": kind, "name": name, "ref": ref,
                 "facts": facts, "removed": removed}
                for (name, ref), facts in {(name, ref): facts for name, ref, facts in marks}.items()
            ]  # fmt: skip
            return Changes({_table.name: [row for row in rows if _says_more(row, known.get(_key(row)))]})

        return len(self._store().write(build).rows[_table.name])


def _key(row: Mapping[str, Any]) -> _Key:
    return row["kind"], row["name"], "" if row["kind"] == "alias" else row["ref"]


def _says_more(row: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    if before is None:
        return not row["removed"]
    return any(row[name] != before[name] for name in ("ref", "removed")) or (row["facts"] or {}) != (
        before["facts"] or {}
    )


def _stamp(connection: Connection) -> tuple[int, int]:
    count, last = connection.execute(select(func.count(), func.max(_table.c.seq)).select_from(_table)).one()
    return int(count), int(last or 0)


def _current(connection: Connection, *, keep: Store | None = None) -> list[dict[str, Any]]:
    """The last word on each mark, in the order in which they were first said."""
    order = (_table.c.seq, _table.c.created_at, _table.c.id)
    rows = [dict(row) for row in connection.execute(select(_table).order_by(*order)).mappings()]
    if keep is not None:
        keep.keep(_table.name, rows)
    return list({_key(row): row for row in rows}.values())


def _gathered(rows: Iterable[Mapping[str, Any]]) -> Marked:
    kept = [row for row in rows if not row["removed"]]
    of = {kind: [row for row in kept if row["kind"] == kind] for kind in ("favourite", "group", "alias", "model")}
    groups: dict[str, list[str]] = {}
    for row in of["group"]:
        groups.setdefault(row["name"], []).append(row["ref"])
    return Marked(
        favourites=tuple(row["ref"] for row in of["favourite"]),
        groups={name: tuple(refs) for name, refs in sorted(groups.items())},
        aliases={row["name"]: row["ref"] for row in sorted(of["alias"], key=lambda row: str(row["name"]))},
        models={row["ref"]: dict(row["facts"] or {}) for row in of["model"]},
        added_on={row["ref"]: row["created_at"][:10] for row in of["model"]},
    )


def checked_name(name: str, what: str) -> str:
    """`name`, when it can be the name of a group or an alias.

    Raises:
        UsageError: It is empty, too long, starts with a dash, or holds a slash, blanks or hidden characters.
    """
    plain = name.isprintable() and not any(c.isspace() or c in "/,\"'" for c in name)
    if not name or len(name) > NAME_LENGTH or name.startswith("-") or not plain:
        raise UsageError(
            f"{one_line(name, 80)!r} cannot be the name of {'an' if what == 'alias' else 'a'} {what}",
            hint=f"a name is at most {NAME_LENGTH} characters without blanks, quotes, commas and slashes",
        )
    return name


def unknown_group(name: str, known: Iterable[str]) -> UsageError:
    """The error for a group that is not there."""
    return UsageError(f"there is no group {one_line(name, 80)!r}", hint=nearest(name, known, "groups"))


def nearest(name: str, known: Iterable[str], what: str) -> str:
    """A hint with the names that are most like `name`, else with all there are."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(one_line(c, 80) for c in close)}?"
    return f"{what}: {', '.join(one_line(n, 80) for n in names[:12])}" if names else f"there are no {what} yet"
