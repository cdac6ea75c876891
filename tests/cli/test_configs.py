"""`nbllm update-configs`, `backup-configs` and `restore-configs` as a user starts them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.shell import in_terminal, nbllm
from exporters.user_files import FILES, USERS_KEY
from nbllm.exporters import TOOLS
from nbllm.exporters.backup import Backups
from nbllm.settings import Paths

KEY = "-".join(("mine", "0" * 20))


@pytest.fixture(autouse=True)
def providers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One provider of the user's own that serves the Responses API, with a key and a model."""
    home.mkdir()
    (home / "config.toml").write_text(
        """\
[providers.acme]
base_url = "https://acme.example/v1"
env = ["ACME_API_KEY"]
models = [{id = "acme/big:1", context = 1000, max_output = 100, input_price = 0.5, output_price = 1.5}]
[providers.acme.quirks.responses]
value = true
source = "its documentation"
date = "2026-11-21"
"""
    )
    monkeypatch.setenv("ACME_API_KEY", KEY)


@pytest.fixture
def codex(tmp_path: Path) -> Path:
    path = tmp_path / "user-home" / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text(FILES["codex"].text)
    return path


def ids() -> list[str]:
    """Newest first."""
    return [b.id for b in Backups(Paths.from_environment().backups).all()]


def test_a_tools_own_file_is_updated_backed_up_and_put_back(codex: Path) -> None:
    old = codex.read_bytes()
    done = nbllm("update-configs", "--tool", "codex", "--provider", "acme")
    assert (done.returncode, done.stderr) == (0, "next: codex -c model_provider=acme -m MODEL\n")
    assert "+[model_providers.acme]" in done.stdout
    assert f"{codex}: changed (1 added)" in done.stdout
    assert codex.read_bytes().startswith(old)
    assert "\x1b" not in done.stdout
    (id,) = ids()
    assert f"backup: {id}" in done.stdout

    again = nbllm("update-configs", "--tool", "codex", "--provider", "acme")
    assert (again.returncode, again.stdout) == (0, f"{codex}: nothing changes (1 left as they were)\n")

    new = codex.read_bytes()
    assert id in nbllm("restore-configs", "--list").stdout
    assert nbllm("restore-configs", "--tool", "codex").returncode == 0
    assert codex.read_bytes() == old
    assert nbllm("restore-configs").returncode == 0  # what was overwritten is the newest now
    assert codex.read_bytes() == new
    assert nbllm("restore-configs", "--id", id).returncode == 0
    assert codex.read_bytes() == old


def test_without_a_provider_all_are_taken_that_can_be_used(codex: Path) -> None:
    done = nbllm("update-configs", "--tool", "codex")
    assert done.returncode == 0, done.stderr
    assert "[model_providers.acme]" in codex.read_text()
    assert "demo" not in codex.read_text()


@pytest.mark.parametrize("tool", TOOLS)
def test_no_key_is_shown_or_written(tool: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(FILES[tool].text)
    done = nbllm("update-configs", "--tool", tool, "--provider", "acme", "--file", str(file), "--strategy", "update")
    assert done.returncode == 0, done.stderr
    assert "acme" in file.read_text()
    assert KEY not in done.stdout + file.read_text()
    assert USERS_KEY[8:20] not in done.stdout


def test_who_is_left_out_for_want_of_a_catalogue_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISTRAL_API_KEY", KEY)
    done = nbllm("update-configs", "--tool", "opencode")
    assert done.returncode == 0
    assert "left out: mistral: no model is known of them; `nbllm fetch ID` asks" in done.stderr
    written = (tmp_path / "user-home" / ".config" / "opencode" / "opencode.json").read_text()
    assert '"acme"' in written
    assert "mistral" not in written


def test_a_dry_run_writes_nothing(codex: Path, home: Path) -> None:
    done = nbllm("update-configs", "--tool", "codex", "--provider", "acme", "--dry-run")
    assert done.returncode == 0
    assert f"{codex}: would be changed (1 added)" in done.stdout
    assert codex.read_text() == FILES["codex"].text
    assert [p.name for p in home.iterdir()] == ["config.toml"]


def test_who_is_left_out_is_named_with_the_reason(codex: Path) -> None:
    done = nbllm("update-configs", "--tool", "codex", "--provider", "acme,anthropic")
    assert done.returncode == 1
    assert "left out: anthropic: codex speaks OpenAI's Responses API" in done.stderr
    assert "[model_providers.acme]" in codex.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("update-configs", "--tool", "codexx"), "did you mean codex"),
        (("backup-configs", "--tool", "aidr"), "did you mean aider"),
        (("restore-configs", "--tool", "nothing-like-it"), "known tools: aichat, codex"),
        (("update-configs", "--tool", "codex", "--strategy", "merge"), "one of add, update, replace"),
        (("update-configs", "--tool", "codex", "--provider", "acmee"), "did you mean acme"),
        (("update-configs", "--tool", "litellm"), "--file PATH"),
        (("update-configs",), "--help"),
    ],
)
def test_wrong_words_get_the_nearest_right_ones(words: tuple[str, ...], said: str) -> None:
    done = nbllm(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_a_file_that_does_not_parse_is_one_line_and_untouched(codex: Path) -> None:
    codex.write_text("model = \n")
    done = nbllm("update-configs", "--tool", "codex", "--provider", "acme")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {codex} was left as it is: it is not valid TOML")
    assert len(done.stderr.splitlines()) == 2
    assert codex.read_text() == "model = \n"
    assert ids() == []


def test_all_nine_are_backed_up_and_those_that_are_not_there_are_said(codex: Path) -> None:
    done = nbllm("backup-configs")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(TOOLS)
    assert lines[TOOLS.index("codex")].startswith(f"codex: {codex} -> ")
    assert lines[TOOLS.index("crush")].startswith("crush: no /")
    assert lines[TOOLS.index("litellm")] == "litellm: no file of its own"
    assert len(ids()) == 1


def test_one_file_that_cannot_be_read_does_not_cost_the_others_their_copies(codex: Path, tmp_path: Path) -> None:
    (tmp_path / "user-home" / ".config" / "aichat" / "config.yaml").mkdir(parents=True)
    done = nbllm("backup-configs")
    assert done.returncode == 1
    assert "config.yaml is not a file" in done.stderr
    assert len(ids()) == 1


# ---------------------------------------------------------------- where a backup may go


def test_a_backup_of_a_named_file_goes_back_when_it_is_named_again(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(FILES["litellm"].text)
    nbllm("update-configs", "--tool", "litellm", "--provider", "acme", "--file", str(file))
    assert file.read_text() != FILES["litellm"].text
    refused = nbllm("restore-configs", "--tool", "litellm")
    assert refused.returncode == 1
    assert str(file) in refused.stderr
    assert "--file PATH" in refused.stderr
    assert nbllm("restore-configs", "--file", str(file)).returncode == 0
    assert file.read_text() == FILES["litellm"].text


def test_a_manifest_that_points_elsewhere_is_not_believed(codex: Path, tmp_path: Path, home: Path) -> None:
    nbllm("backup-configs", "--tool", "codex")
    (id,) = ids()
    prey = tmp_path / "prey"
    prey.write_text("precious")
    manifest = home / "backups" / "configs" / id / "manifest.json"
    manifest.write_text(manifest.read_text().replace(str(codex), str(prey)))
    for words in (("--tool", "codex"), ("--id", id), ()):
        done = nbllm("restore-configs", *words)
        assert done.returncode == 1
        assert f"is of {prey}" in done.stderr
        assert str(codex) in done.stderr
    assert prey.read_text() == "precious"


def test_a_backup_from_another_home_is_shown_and_goes_only_where_it_is_told(codex: Path, tmp_path: Path) -> None:
    nbllm("backup-configs", "--tool", "codex")
    (id,) = ids()
    moved = {"HOME": str(tmp_path / "new-home")}
    refused = nbllm("restore-configs", "--id", id, env=moved)
    assert refused.returncode == 1
    assert "nothing was restored" in refused.stderr
    target = tmp_path / "new-home" / ".codex" / "config.toml"
    done = nbllm("restore-configs", "--id", id, "--file", str(target), env=moved)
    assert done.returncode == 0, done.stderr
    assert target.read_text() == FILES["codex"].text
    assert codex.read_text() == FILES["codex"].text


def test_a_damaged_backup_is_refused(codex: Path, home: Path) -> None:
    nbllm("backup-configs", "--tool", "codex")
    (id,) = ids()
    (home / "backups" / "configs" / id / "0").write_text("something else")
    codex.write_text("new")
    done = nbllm("restore-configs")
    assert done.returncode == 1
    assert "checksum" in done.stderr
    assert codex.read_text() == "new"


def test_both_files_of_aider_come_back_together(tmp_path: Path) -> None:
    facts = tmp_path / "user-home" / ".aider.model.metadata.json"
    settings = facts.with_name(".aider.model.settings.yml")
    facts.write_text("{}\n")
    settings.write_text("- name: mine\n")
    done = nbllm("update-configs", "--tool", "aider", "--provider", "acme")
    assert done.returncode == 0, done.stderr
    assert '"acme/acme/big:1"' in facts.read_text()
    assert "hosted_vllm/acme/big:1" in settings.read_text()
    assert "next: HOSTED_VLLM_API_KEY=\"$ACME_API_KEY\" aider --model 'acme/acme/big:1'" in done.stderr
    assert nbllm("restore-configs", "--tool", "aider").returncode == 0
    assert (facts.read_text(), settings.read_text()) == ("{}\n", "- name: mine\n")
    assert len(ids()) == 2


# ---------------------------------------------------------------- in a terminal


def test_the_diff_has_colours_where_a_person_looks_and_none_with_no_color(codex: Path) -> None:
    words = ("update-configs", "--tool", "codex", "--provider", "acme", "--dry-run")
    plain = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    os.environ.clear()
    os.environ.update(plain)
    assert "\x1b[32m+[model_providers.acme]" in in_terminal(*words, env={})
    assert "\x1b" not in in_terminal(*words, env={"NO_COLOR": "1"})
