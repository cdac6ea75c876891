"""Whatever a user's file looks like, every line of it comes through."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.catalogue import catalogue
from exporters.test_update import as_before
from exporters.user_files import FILES
from nbllm.exporters import TOOLS, exporter
from nbllm.exporters.backup import Backups
from nbllm.exporters.base import STRATEGIES
from nbllm.exporters.update import update

COMMENT = {"opencode": "//", "aider": "//"}


@st.composite
def texts(draw: st.DrawFn, tool: str) -> bytes:
    """The tool's file with comments and empty lines of the user's in any place, and any line ends."""
    lines = FILES[tool].text.splitlines()
    keep_first = 2 if tool == "crush" else 0  # its first lines say whose file it is
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(keep_first, len(lines)))
        words = draw(
            st.sampled_from(["", "  ", "note: {x: [", 'it is "quoted', "}], end", "ü 模型", "key = value", "- item"])
        )
        indent = draw(st.sampled_from(["", "  ", "      "]))
        lines.insert(at, f"{indent}{COMMENT.get(tool, '#')} {words}" if words.strip() else words.strip())
    ends = draw(st.sampled_from([["\n"], ["\r\n"], ["\n", "\r\n"]]))
    text = "".join(line + draw(st.sampled_from(ends)) for line in lines)
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()


@pytest.mark.parametrize("tool", TOOLS)
@settings(max_examples=20)
@given(data=st.data())
def test_every_byte_outside_our_entries_survives(tool: str, data: st.DataObject) -> None:
    old = data.draw(texts(tool))
    strategy = data.draw(st.sampled_from(STRATEGIES))
    some = data.draw(st.lists(st.sampled_from(catalogue()), unique_by=lambda p: p.config.id, min_size=1))
    with tempfile.TemporaryDirectory() as folder:
        path, backups = Path(folder) / "file", Backups(Path(folder) / "backups")
        path.write_bytes(old)
        for providers in (some, catalogue()):
            update(exporter(tool), providers, path=path, backups=backups, strategy=strategy)
        new = path.read_bytes()
        assert as_before(old, new)
        assert new.startswith(b"\xef\xbb\xbf") == old.startswith(b"\xef\xbb\xbf")
        assert new.endswith(b"\n") == old.endswith(b"\n")
        assert [b.read(b.copies[0]) for b in backups.all()][-1:] == [old]
        assert not update(exporter(tool), catalogue(), path=path, backups=backups, strategy=strategy).changed
