"""A tool's file with our entries in it: everything else is as it was, whatever happens."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.catalogue import SECRET_HEADER, catalogue
from exporters.user_files import FILES, USERS_KEY
from nbllm import files
from nbllm.errors import ExportError
from nbllm.exporters import TOOLS, exporter
from nbllm.exporters.backup import Backups
from nbllm.exporters.base import STRATEGIES, Exporter, Strategy
from nbllm.exporters.update import Update, update

BOM = b"\xef\xbb\xbf"


def _known(tool: str) -> bool:
    try:
        exporter(tool)
    except ModuleNotFoundError:
        return False
    return True


PRESENT = [t for t in TOOLS if _known(t)]
every_tool = pytest.mark.parametrize("tool", PRESENT)


@pytest.fixture
def backups(home: Path) -> Backups:
    return Backups(home / "backups")


def run(tool: str, path: Path, backups: Backups, strategy: Strategy = "add", *, dry_run: bool = False) -> Update:
    return update(exporter(tool), catalogue(), path=path, backups=backups, strategy=strategy, dry_run=dry_run)


def written(tool: str, folder: Path, text: str | bytes | None = None) -> Path:
    path = folder / f"config{exporter(tool).extension}"
    data = FILES[tool].text if text is None else text
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def without(lines: list[bytes], inserted: list[bytes]) -> bool:
    """Whether `lines` stand in `inserted`, in their order."""
    rest = iter(inserted)
    return all(line in rest for line in lines)


def as_before(old: bytes, new: bytes) -> bool:
    """Whether each line came through, but for the comma that JSON wants behind the entry before a new one."""
    strip = [line.rstrip(b",\r\n") for line in old.splitlines(keepends=True)]
    return without(strip, [line.rstrip(b",\r\n") for line in new.splitlines(keepends=True)])


# ---------------------------------------------------------------- what is the user's


@every_tool
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_line_of_the_users_stays(tool: str, strategy: Strategy, tmp_path: Path, backups: Backups) -> None:
    path = written(tool, tmp_path)
    old = path.read_bytes()
    done = run(tool, path, backups, strategy)
    assert done.written
    assert done.files[0].added
    assert path.read_bytes() != old
    assert as_before(old, path.read_bytes())


@every_tool
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_second_run_changes_nothing_and_keeps_no_backup(
    tool: str, strategy: Strategy, tmp_path: Path, backups: Backups
) -> None:
    path = written(tool, tmp_path)
    run(tool, path, backups, strategy)
    after, stamp, kept = path.read_bytes(), path.stat(), len(backups.all())
    again = run(tool, path, backups, strategy)
    assert (again.written, again.changed, again.diff, again.backup) == (False, False, "", None)
    assert (path.read_bytes(), len(backups.all())) == (after, kept)
    assert path.stat().st_mtime_ns == stamp.st_mtime_ns


@every_tool
def test_windows_line_ends_a_byte_order_mark_and_a_missing_final_newline_stay(
    tool: str, tmp_path: Path, backups: Backups
) -> None:
    old = BOM + FILES[tool].text.rstrip("\n").replace("\n", "\r\n").encode()
    path = written(tool, tmp_path, old)
    run(tool, path, backups)
    new = path.read_bytes()
    assert new.startswith(BOM)
    assert not new[3:].startswith(BOM)
    assert new.count(b"\n") == new.count(b"\r\n") > old.count(b"\r\n")
    assert not new.endswith(b"\n")
    assert as_before(old, new)


@every_tool
def test_a_line_keeps_its_own_end_in_a_file_with_both_kinds(tool: str, tmp_path: Path, backups: Backups) -> None:
    lines = FILES[tool].text.encode().split(b"\n")
    old = b"".join(line + (b"\r\n" if i % 3 == 0 else b"\n") for i, line in enumerate(lines[:-1]))
    path = written(tool, tmp_path, old)
    run(tool, path, backups)
    new = path.read_bytes().splitlines(keepends=True)
    comma = [line.replace(b",", b"") for line in new]
    assert without([line.replace(b",", b"") for line in old.splitlines(keepends=True)], comma)


@every_tool
def test_mode_and_links_stay(tool: str, tmp_path: Path, backups: Backups) -> None:
    real = written(tool, tmp_path)
    real.chmod(0o640)
    middle, link = tmp_path / "middle", tmp_path / "deep" / "link"
    link.parent.mkdir()
    middle.symlink_to(real.name)
    link.symlink_to("../middle")
    run(tool, link, backups)
    assert link.is_symlink()
    assert middle.is_symlink()
    assert not real.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_bytes() != FILES[tool].text.encode()


def test_a_link_to_nothing_gets_its_file(tmp_path: Path, backups: Backups) -> None:
    link = tmp_path / "config.toml"
    link.symlink_to("dotfiles/codex.toml")
    done = run("codex", link, backups)
    assert done.backup is None
    assert link.is_symlink()
    assert "[model_providers.groq]" in (tmp_path / "dotfiles" / "codex.toml").read_text()


def test_links_in_a_circle_are_refused(tmp_path: Path, backups: Backups) -> None:
    a, b = tmp_path / "a.toml", tmp_path / "b.toml"
    a.symlink_to(b)
    b.symlink_to(a)
    with pytest.raises(ExportError, match="leads to itself"):
        run("codex", a, backups)
    assert a.is_symlink()


@every_tool
def test_a_new_file_is_made_with_its_folders_and_for_its_owner_alone(
    tool: str, tmp_path: Path, backups: Backups
) -> None:
    path = tmp_path / "not" / "there" / f"new{exporter(tool).extension}"
    done = run(tool, path, backups)
    assert done.written
    assert done.backup is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert run(tool, path, backups).written is False


def test_the_owner_stays(tmp_path: Path, backups: Backups) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away; what others keep is their own")
    path = written("codex", tmp_path)
    os.chown(path, 12345, 23456)
    run("codex", path, backups)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_access_lists_and_attributes_stay(tmp_path: Path, backups: Backups) -> None:
    path = written("codex", tmp_path)
    try:
        os.setxattr(path, "user.note", b"mine")
    except (OSError, AttributeError):
        pytest.skip("this file system knows no attributes")
    run("codex", path, backups)
    assert os.getxattr(path, "user.note") == b"mine"


# ---------------------------------------------------------------- refused, and untouched


@every_tool
@pytest.mark.parametrize("what", ["broken", "latin1", "utf16", "folder"])
def test_what_cannot_be_read_is_left_alone(tool: str, what: str, tmp_path: Path, backups: Backups) -> None:
    bad = {
        "broken": FILES[tool].broken.encode(),
        "latin1": FILES[tool].text.encode() + b"# \xe4\n",
        "utf16": FILES[tool].text.encode("utf-16"),
        "folder": b"",
    }[what]
    path = tmp_path / f"config{exporter(tool).extension}"
    if what == "folder":
        path.mkdir()
    else:
        path.write_bytes(bad)
    with pytest.raises(ExportError) as refused:
        run(tool, path, backups)
    assert refused.value.message.count(str(path)) == 1
    assert "\n" not in refused.value.message
    assert path.is_dir() if what == "folder" else path.read_bytes() == bad
    assert backups.all() == []


class _Forgetful:
    """An exporter whose own result it cannot read again."""

    tool, extension, legacy = "forgetful", ".toml", None

    def __init__(self) -> None:
        self.inner: Exporter = exporter("codex")

    def merge(self, text: str, providers: object, strategy: Strategy = "add") -> object:
        from nbllm.exporters.base import Merged

        return Merged(text + "[[[\n") if text.count("[[[") < 2 else Merged(text)


def test_a_result_that_is_not_final_is_never_written(tmp_path: Path, backups: Backups) -> None:
    path = written("codex", tmp_path)
    old = path.read_bytes()
    with pytest.raises(ExportError, match="could not be read again"):
        update(_Forgetful(), [], path=path, backups=backups)  # type: ignore[arg-type]
    assert path.read_bytes() == old


# ---------------------------------------------------------------- dry run, diff, keys


@every_tool
def test_a_dry_run_shows_the_diff_and_writes_nothing(tool: str, tmp_path: Path, home: Path, backups: Backups) -> None:
    path = written(tool, tmp_path)
    before = sorted(p for p in tmp_path.rglob("*"))
    planned = run(tool, path, backups, dry_run=True)
    assert sorted(p for p in tmp_path.rglob("*")) == before
    assert path.read_bytes() == FILES[tool].text.encode()
    assert not home.exists()
    assert planned.diff.startswith(f"--- {path} (as it is)")
    done = run(tool, path, backups)
    assert (done.diff, done.written, planned.written) == (planned.diff, True, False)


@every_tool
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_key_and_no_header_reaches_the_diff_the_file_or_a_repr(
    tool: str, strategy: Strategy, tmp_path: Path, backups: Backups
) -> None:
    path = written(tool, tmp_path)
    had = path.read_text().count(USERS_KEY)
    done = run(tool, path, backups, strategy)
    shown = done.diff + repr(done)
    assert USERS_KEY not in shown
    assert USERS_KEY[8:24] not in shown
    assert SECRET_HEADER not in shown
    new = "".join(f.path.read_text() for f in done.files)
    assert SECRET_HEADER not in new
    assert new.count(USERS_KEY) == had


# ---------------------------------------------------------------- when the disk says no


@every_tool
def test_a_full_disk_leaves_the_old_file(
    tool: str, tmp_path: Path, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tool, tmp_path)
    sync = os.fsync

    def full(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}").startswith(str(tmp_path / ".nbllm-tmp-")):
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ExportError, match="No space left on device; it is as it was"):
        run(tool, path, backups)
    assert path.read_bytes() == FILES[tool].text.encode()
    assert backups.all() == []
    assert not list(tmp_path.glob(".nbllm-tmp-*"))


def test_a_backup_that_cannot_be_kept_stops_the_update(tmp_path: Path, home: Path, backups: Backups) -> None:
    path = written("codex", tmp_path)
    home.mkdir()
    (home / "backups").write_text("in the way")
    with pytest.raises(ExportError, match=r"as it was|nothing was changed"):
        run("codex", path, backups)
    assert path.read_bytes() == FILES["codex"].text.encode()


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from exporters.catalogue import catalogue
from nbllm.errors import ExportError
from nbllm.exporters import exporter
from nbllm.exporters.backup import Backups
from nbllm.exporters.update import update
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, home = Path(sys.argv[1]), Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, resource.RLIM_INFINITY))
try:
    update(exporter("codex"), catalogue(), path=path, backups=Backups(home / "backups"))
except ExportError as exc:
    print(exc.message)
"""


def in_process(code: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    tests = Path(__file__).resolve().parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests.parent / "src"), str(tests)])}
    return subprocess.run(
        [sys.executable, "-c", code, *words], env=env, capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload, no-any-return]


def test_a_kernel_that_lets_no_file_grow_leaves_the_old_one(tmp_path: Path, home: Path) -> None:
    path = written("codex", tmp_path, FILES["codex"].text + "# " + "x" * 2000 + "\n")
    old = path.read_bytes()
    done = in_process(_LIMITED, str(path), str(home))
    assert "File too large; it is as it was" in done.stdout, done.stderr
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".nbllm")] == []


@pytest.mark.parametrize(("number", "said"), [(13, "Permission denied"), (30, "Read-only file system")])
def test_a_folder_that_cannot_be_written_leaves_the_old_file(
    number: int, said: str, tmp_path: Path, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written("codex", tmp_path)
    make = files.tempfile.mkstemp

    def refuse(*, prefix: str, dir: Path) -> tuple[int, str]:
        if dir == tmp_path:
            raise OSError(number, said)
        return make(prefix=prefix, dir=dir)

    monkeypatch.setattr(files.tempfile, "mkstemp", refuse)
    with pytest.raises(ExportError, match=f"cannot write .*{said}; it is as it was"):
        run("codex", path, backups)
    assert path.read_bytes() == FILES["codex"].text.encode()
    assert backups.all() == []


# ---------------------------------------------------------------- others at work


def test_a_file_that_others_changed_meanwhile_is_read_afresh(
    tmp_path: Path, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written("codex", tmp_path)
    sync, times = os.fsync, []

    def interfere(handle: int) -> None:
        sync(handle)
        if (
            not times
            and ".nbllm-tmp-" in os.readlink(f"/proc/self/fd/{handle}")
            and str(backups.folder) not in os.readlink(f"/proc/self/fd/{handle}")
        ):
            times.append(1)
            path.write_text("# somebody else was here\n" + path.read_text())

    monkeypatch.setattr(files.os, "fsync", interfere)
    done = run("codex", path, backups)
    assert times == [1]
    assert path.read_text().startswith("# somebody else was here\n# codex, my way")
    assert "[model_providers.groq]" in path.read_text()
    assert len(backups.all()) == 1
    assert done.backup is not None
    assert done.backup.read(done.backup.copies[0]).startswith(b"# somebody else")


def test_a_file_that_never_rests_is_left_to_the_others(
    tmp_path: Path, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written("codex", tmp_path)
    sync = os.fsync

    def interfere(handle: int) -> None:
        sync(handle)
        path.write_text(path.read_text() + "# more\n")

    monkeypatch.setattr(files.os, "fsync", interfere)
    with pytest.raises(ExportError, match="being changed by another program"):
        run("codex", path, backups)
    assert "[model_providers.groq]" not in path.read_text()
    assert backups.all() == []
