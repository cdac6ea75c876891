"""`nbllm fetch --layout dump-models` from the wire to the files, and what it prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli.shell import nbllm
from nbllm.workspace import Workspace
from replaying import FAULTS, KEY, KEY_VARIABLE, Listed, made_by_hand, recorded, replaying

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


def test_failures_are_remembered_in_the_words_of_the_script(home: Path, tmp_path: Path) -> None:
    faults = {name: FAULTS[name] for name in ("401", "503", "html", "redirect", "not-utf-8")}
    out = tmp_path / "out"
    with replaying(home, {}, faults) as given:
        done = nbllm("fetch", *given.values(), "--layout", "dump-models", "--out", str(out), env=WITH_KEY)
    assert done.returncode == 1
    kept = json.loads((out / "failed_models.json").read_text())
    texts = {name: kept[id]["error"] for name, id in given.items()}
    assert texts["401"].startswith("Unexpected error: Client error '401 Unauthorized' for url 'http://127.0.0.1:")
    assert texts["503"].startswith("Unexpected error: Server error '503 Service Unavailable' for url '")
    assert texts["redirect"].startswith("Unexpected error: Redirect response '301 Moved Permanently' for url '")
    assert "\nRedirect location: 'https://elsewhere.example/v1/models'\n" in texts["redirect"]
    assert texts["html"].startswith("JSON decode error: ")
    assert texts["not-utf-8"].startswith("Unexpected error: ")
    assert [list(entry) for entry in kept.values()] == [["failed", "error", "last_attempt"]] * len(faults)
    assert KEY not in (out / "failed_models.json").read_text()
    assert [p.name for p in out.iterdir()] == ["failed_models.json"]


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
