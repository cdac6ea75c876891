"""The course against real servers: what recordings show is what happens, and a new one replays to the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import course

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def _outputs(node: Any) -> list[tuple[str, str]]:
    """What strict nbval compares: every text and every page, cell by cell."""
    found = []
    for cell in node.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stdout":
                found.append(("stdout", output.text))
            found += [(kind, text) for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
    return found


@pytest.mark.timeout(400)
def test_the_comparison_of_three_local_models_holds_live_and_replays_to_the_same_outputs(tmp_path: Path) -> None:
    notebook = NOTEBOOKS / "05-compare-models.ipynb"
    recording = tmp_path / "fresh.replay.jsonl"
    with course.three_servers(tmp_path) as (instead, keys):
        live = course.run(
            notebook,
            home=tmp_path / "live",
            instead=instead | {course.REPLAY: f"%llm_replay record {recording}"},
            environ=keys,
        )
    replayed = course.run(notebook, home=tmp_path / "replayed", instead={course.REPLAY: f"{course.REPLAY} {recording}"})
    assert sum("120 cells" in text for _, text in _outputs(live)) == 2  # as a page and as text
    # The addresses of the servers are named where providers are added; all else is the same, times included.
    changed = [
        (a, b) for a, b in zip(_outputs(live), _outputs(replayed), strict=True) if a != b and "127.0.0.1" not in a[1]
    ]
    assert changed == []
    assert len(recording.read_text().splitlines()) >= 120
    assert not any(key in recording.read_text() for key in keys.values())
