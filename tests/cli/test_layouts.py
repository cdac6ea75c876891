"""`nbllm fetch --layout dump-models` from the wire to the files, and what it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.shell import nbllm
from nbllm.workspace import Workspace
from replaying import KEY, KEY_VARIABLE, Listed, made_by_hand, recorded, replaying

WITH_KEY = {KEY_VARIABLE: KEY}
MOVED = re.compile(r'^(base_url|env_key) = ".*"$', re.MULTILINE)


def fetched(home: Path, out: Path, listings: dict[str, Listed], *more: str) -> str:
    """Fetch all of them into `out`; what was said on stderr."""
    with replaying(home, listings, {}):
        done = nbllm("fetch", *listings, "--layout", "dump-models", "--out", str(out), *more, env=WITH_KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    return done.stderr


def test_recorded_answers_over_the_wire_make_the_recorded_files(shared: Path, home: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "listings"
    out = tmp_path / "out"
    fetched(home, out, recorded(folder))
    same = 0
    for path in out.iterdir():
        made, wanted = path.read_text("utf-8"), (folder / path.name).read_text("utf-8")
        if path.suffix == ".toml":  # the address and the variable are those of this test
            made, wanted = MOVED.sub("", made).rstrip("\n"), MOVED.sub("", wanted).rstrip("\n")
        assert made == wanted, path.name
        same += 1
    assert same == 61


def test_each_provider_that_is_asked_is_said_with_a_curl_line(home: Path, tmp_path: Path) -> None:
    listings = made_by_hand()
    said = fetched(home, tmp_path / "out", listings)
    lines = [line for line in said.splitlines() if line.startswith("curl ")]
    assert len(lines) == len(listings)
    assert sum(f"${KEY_VARIABLE}" in line for line in lines) == len(listings) - 1  # litellm's list wants no key
    assert sum('-H "x-api-key: $' in line for line in lines) == 1


def test_files_that_are_there_are_left_alone_until_forced(home: Path, tmp_path: Path) -> None:
    listings = {"openai": made_by_hand()["openai"]}
    out = tmp_path / "out"
    fetched(home, out, listings)
    (out / "models_openai.txt").write_text("mine")
    assert "curl" not in fetched(home, out, listings)
    assert (out / "models_openai.txt").read_text() == "mine"
    fetched(home, out, listings, "--force")
    assert (out / "models_openai.txt").read_text() == "a\nb/c:d"


@pytest.mark.parametrize("mark", [True, False])
def test_the_plain_layout_has_the_rows_of_the_catalogue(home: Path, tmp_path: Path, mark: bool) -> None:
    listings = {"openai": Listed(json.dumps({"data": [{"id": "gpt-4o"}]}).encode(), 1)}
    workspace = Workspace()
    if mark:
        workspace.marks.set_favourites(["openai/gpt-4o"])
        workspace.marks.set_group("mine", ["openai/gpt-4o"])
    workspace.close()
    with replaying(home, listings, {}):
        done = nbllm("fetch", "openai", "--format", "json", "--out", str(tmp_path), env=WITH_KEY)
        listed = nbllm("models", "--provider", "openai", "--json", env=WITH_KEY)
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads((tmp_path / "models_openai.json").read_text())
    assert (row["favourite"], row["groups"]) == (mark, ["mine"] if mark else [])
    assert row in json.loads(listed.stdout)
