"""A recording looked at and tidied up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nbllm.files import locked, write_atomic
from nbllm.transport.recording import said_in
from nbllm.transport.recording_file import Place, newest_run
from nbllm.transport.recordings import Opened


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in a recording."""

    good: int
    problems: list[str]


def verify(opened: Opened) -> Verified:
    """Look at every line: its form, its hash, and whether it holds anything like a key."""
    recording, holds_key = opened
    good, found = 0, []
    for place, exchange in recording.exchanges():
        where = f"{recording.path.name}, line {place.number}"
        if exchange.asked.hash != place.hash:
            found.append(f"{where} was changed: its request does not fit its hash")
        elif holds_key(recording.line(place).decode(errors="replace")) or holds_key(said_in(exchange.chunks)):
            found.append(f"{where} holds something that looks like a key")
        else:
            good += 1
    return Verified(good, [*recording.problems(), *found])


def prune(opened: Opened, *, last_run: bool, dry_run: bool) -> tuple[int, int]:
    """Remove what no replay gives any more. Lines that cannot be read stay.

    Args:
        opened: The recording.
        last_run: Also remove what the last run did not ask: of each test or notebook, where several share the file.
        dry_run: Only count.

    Returns:
        Lines that go, and lines that stay.
    """
    recording, _ = opened
    with locked(recording.lock):
        places = recording.places()
        stay = _last_runs(places) if last_run else _given(places)
        gone = {place.number for place in places if place not in stay}
        if gone and not dry_run:
            lines = recording.path.read_bytes().split(b"\n")
            left = b"\n".join(line for number, line in enumerate(lines, 1) if number not in gone)
            write_atomic(recording.path, left, mode=None)
    return len(gone), len(places) - len(gone)


def _last_runs(places: Sequence[Place]) -> set[Place]:
    last = {place.scope: place.run for place in places}
    return {place for place in places if place.run == last[place.scope]}


def _given(places: Sequence[Place]) -> set[Place]:
    """What some replay gives: each scope has its own newest run."""
    alike: dict[str, list[Place]] = {}
    for place in places:
        alike.setdefault(place.hash, []).append(place)
    stay: set[Place] = set()
    for same in alike.values():
        runs = {newest_run(same, scope) for scope in {"", *(place.scope for place in same)}}
        stay.update(place for place in same if place.run in runs)
    return stay


def stats(opened: Opened) -> list[str]:
    """What is in a recording, in lines."""
    recording, _ = opened
    rows = list(recording.exchanges())
    models = Counter(f"{e.asked.provider}/{e.asked.body.get('model') or e.asked.path}" for _, e in rows)
    ends = Counter("broken off" if e.ends == "broken" else f"status {e.status}" for _, e in rows)
    days = sorted({e.day for _, e in rows})
    size = recording.path.stat().st_size / 1e6
    lines = [f"{recording.path.name}: {len(rows)} exchanges, {len({p.hash for p, _ in rows})} requests, {size:.2f} MB"]
    if days:
        lines.append(f"recorded {days[0]} to {days[-1]} in {len({p.run for p, _ in rows})} runs")
    lines += [f"{number} × {name}" for name, number in (*models.most_common(), *ends.most_common())]
    return [*lines, *recording.problems()]
