"""`nbllm fetch` as a process of its own, against many providers on loopback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cli.shell import nbllm
from replaying import FAULTS, KEY, KEY_VARIABLE, Listed, made_by_hand, recorded, replaying

WITH_KEY = {KEY_VARIABLE: KEY}


def _by_provider(stdout: str) -> dict[str, dict[str, Any]]:
    return {row["provider"]: row for row in json.loads(stdout)}


def _all(home: Path, listings: dict[str, Listed]) -> None:
    """What `fetch --all` says of every listing and of every fault."""
    with replaying(home, listings, FAULTS) as given:
        done = nbllm("fetch", "--all", "--json", "--timeout", "12", env=WITH_KEY)
        found = _by_provider(done.stdout)
        memory = json.loads((home / "cache" / "failed.json").read_text())

    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert {i: found[i]["models"] for i in listings} == {i: listed.count for i, listed in listings.items()}
    assert {found[i]["outcome"] for i in listings} == {"ok"}
    assert {i: found[i]["reason"] for i in listings if found[i]["reason"]} == {}
    said = {name: found[id] for name, id in given.items()}
    assert {name: row["outcome"] for name, row in said.items()} == dict.fromkeys(FAULTS, "failed")
    assert {name: row["kind"] for name, row in said.items()} == {n: f.kind for n, f in FAULTS.items()}
    assert [n for n, f in FAULTS.items() if f.reason not in said[n]["reason"]] == []
    assert [n for n, f in FAULTS.items() if f.status is not None and said[n]["status"] != f.status] == []
    others = found.keys() - listings.keys() - set(given.values()) - {"demo"}
    assert {found[i]["outcome"] for i in others} <= {"skipped"}
    assert all(found[i]["reason"] for i in others)
    assert {i for i, entry in memory.items() if entry["failed"]} == set(given.values())
    assert KEY not in done.stdout + done.stderr + json.dumps(memory)


def test_all_recorded_listings_and_every_fault_are_told_truthfully(shared: Path, home: Path) -> None:
    _all(home, recorded(shared / "data" / "listings"))


def test_listings_made_by_hand_and_every_fault_are_told_truthfully(home: Path) -> None:
    _all(home, made_by_hand())
