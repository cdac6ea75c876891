"""What is read from the head of a model file."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import tiny_gguf
from nbllm.errors import RegistryError
from nbllm.local.gguf import read_head
from nbllm.local.servers import model_id, offered
from nbllm.providers.spec import ProviderConfig


def test_name_and_context_are_read_without_an_engine(tmp_path: Path) -> None:
    path = tiny_gguf.write(tmp_path / "small.gguf", name="Small <b>one</b>")

    head = read_head(path)

    assert (head.name, head.architecture, head.context) == ("Small <b>one</b>", "llama", 512)


def test_a_row_offers_its_file_under_the_file_name(tmp_path: Path) -> None:
    path = tiny_gguf.write(tmp_path / "Qwen3-0.6B-Q4_0.gguf")

    [model] = offered(ProviderConfig(id="mine", gguf=str(path)))

    assert model.ref == "mine/Qwen3-0.6B-Q4_0"
    assert model.context == 512


def test_the_parts_of_a_split_file_have_one_id() -> None:
    assert model_id(Path("/m/big-Q8_0-00001-of-00003.gguf")) == "big-Q8_0"


def test_a_row_may_ask_for_another_context(tmp_path: Path) -> None:
    path = tiny_gguf.write(tmp_path / "small.gguf")
    row = ProviderConfig.model_validate({"id": "mine", "gguf": str(path), "serve": {"context": 128}})

    assert offered(row)[0].context == 128


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04 a zip", "is not a GGUF file"),
        (b"", "is not a GGUF file"),
        (b"GGUF", "header ends early"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 5) + struct.pack("<Q", 2**63), "header ends early"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 5) + struct.pack("<Q", 2) + b"\xff\xfe", "header ends early"),
    ],
    ids=["zip", "empty", "magic-only", "endless-text", "not-utf-8"],
)
def test_what_is_no_model_file_is_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)

    with pytest.raises(RegistryError, match=said) as caught:
        read_head(path)
    assert caught.value.hint


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="there is no model file"):
        read_head(tmp_path / "none.gguf")
    with pytest.raises(RegistryError, match="is a folder"):
        read_head(tmp_path)


def test_a_head_longer_than_what_is_read_still_gives_its_facts(tmp_path: Path) -> None:
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    path = tmp_path / "x.gguf"
    pairs = text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama")
    pairs += text(b"general.description") + struct.pack("<I", 8) + struct.pack("<Q", 2_000_000) + b"x" * 2_000_000
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + pairs)

    assert read_head(path).architecture == "llama"
