"""A recording looked at and tidied up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from nbllm.files import locked, write_atomic
from nbllm.transport.recording import Place, said_in
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
        elif holds_key(place.line.decode(errors="replace")) or holds_key(said_in(exchange.chunks)):
            found.append(f"{where} holds something that looks like a key")
        else:
            good += 1
    return Verified(good, [*recording.problems(), *found])


def prune(opened: Opened, *, last_run: bool, dry_run: bool) -> tuple[int, int]:
    """Remove what no replay gives any more. Lines that cannot be read stay.

    Args:
        opened: The recording.
        last_run: Also remove what the run that wrote the last line did not ask.
        dry_run: Only count.

    Returns:
        Lines that go, and lines that stay.
    """
    recording, _ = opened
    with locked(recording.lock):
        places = recording.places()
        newest = {place.hash: place.run for place in places}
        last = places[-1].run if places else ""

        def goes(place: Place) -> bool:
            return place.run != (last if last_run else newest[place.hash])

        gone = {place.number for place in places if goes(place)}
        if gone and not dry_run:
            lines = recording.path.read_bytes().split(b"\n")
            left = b"\n".join(line for number, line in enumerate(lines, 1) if number not in gone)
            write_atomic(recording.path, left, mode=None)
    return len(gone), len(places) - len(gone)


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
