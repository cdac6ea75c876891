"""Pieces of tool calls, brought together although servers number them in different ways."""

from __future__ import annotations

import json
from typing import Any

from nbllm.messages import ToolCallDelta


class CallIndex:
    """Which call a piece belongs to. Pieces of one call get one index, counted from 0."""

    __slots__ = ("_by_wire", "_ids", "_last")

    def __init__(self) -> None:
        self._by_wire: dict[Any, int] = {}
        self._ids: list[str | None] = []
        self._last: int | None = None

    @property
    def any(self) -> bool:
        """Whether there was any call."""
        return bool(self._ids)

    def piece(self, call: dict[str, Any], *, position: int, whole: bool) -> ToolCallDelta:
        """One entry of `tool_calls`.

        Args:
            call: The entry.
            position: Its place in the list.
            whole: Whether the list holds whole calls and not pieces, so that a missing index is the place.
        """
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        id_ = _text(call.get("id"))
        name = _text(function.get("name"))
        wire = call.get("index")
        if whole or not isinstance(wire, int):
            wire = ("whole", position) if whole else None
        return ToolCallDelta(
            index=self._index(wire, id_, name), id=id_, name=name, arguments=_arguments(function.get("arguments"))
        )

    def _index(self, wire: Any, id_: str | None, name: str | None) -> int:
        known = self._by_wire.get(wire) if wire is not None else self._without_number(id_, name)
        # Some servers number all parallel calls 0: another id and a name begin another call.
        renamed = known is not None and id_ and name and self._ids[known] not in (None, id_)
        if known is None or renamed:
            known = len(self._ids)
            self._ids.append(id_)
        if wire is not None:
            self._by_wire[wire] = known
        self._ids[known] = self._ids[known] or id_
        self._last = known
        return known

    def _without_number(self, id_: str | None, name: str | None) -> int | None:
        """No number: the same id is the same call, and a piece without id and name goes on with the last one."""
        if id_ is not None:
            return self._ids.index(id_) if id_ in self._ids else None
        return None if name is not None else self._last


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _arguments(value: Any) -> str:
    """JSON text, as it came; a server that sends an object instead of its text is understood too."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
