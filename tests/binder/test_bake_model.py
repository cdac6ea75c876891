"""The model that is put into Binder's image: from a hub on loopback, which does what hubs do."""

from __future__ import annotations

import hashlib
import importlib.util
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "binder" / "bake_model.py"
GGUF = b"GGUF" + bytes(range(256)) * 9000
MODEL = "owner/name/small.gguf"


@pytest.fixture(scope="module")
def baking() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("bake_model", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bake_model"] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def hub(
    body: bytes = GGUF, *, status: int = 200, tag: str | None = None, length: int | None = None, moved: str = "/cdn"
) -> Iterator[str]:
    """A hub that names the digest (None: the right one) and redirects to where the bytes are."""
    named = hashlib.sha256(body).hexdigest() if tag is None else tag

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == f"/{MODEL.rpartition('/')[0]}/resolve/main/small.gguf":
                self.send_response(302 if status == 200 else status)
                self.send_header("X-Linked-Etag", f'"{named}"')
                self.send_header("Location", moved)
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_model_is_fetched_whole_and_only_once(baking: ModuleType, tmp_path: Path) -> None:
    with hub() as url:
        place = baking.fetch(MODEL, tmp_path / "model", hub=url)
    assert place.read_bytes() == GGUF
    assert baking.fetch(MODEL, tmp_path / "model", hub="http://127.0.0.1:9") == place
    assert [p.name for p in place.parent.iterdir()] == ["small.gguf"]


@pytest.mark.parametrize(
    ("served", "why"),
    [
        ({"tag": "0" * 64}, "another digest"),
        ({"body": b"<html>" + GGUF}, "no GGUF"),
        ({"body": b""}, "0 of 0 bytes"),
        ({"length": len(GGUF) + 5}, "bytes"),
        ({"length": 2_000_000_000}, "MB"),
        ({"status": 404}, "404"),
        ({"status": 503}, "503"),
        ({"moved": "file:///etc/passwd"}, "not allowed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_not_the_announced_model_is_not_kept(
    baking: ModuleType, tmp_path: Path, served: dict[str, Any], why: str
) -> None:
    with hub(**served) as url, pytest.raises(baking.NoModel, match=why):
        baking.fetch(MODEL, tmp_path, hub=url)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".gguf", ".part")]


def test_a_hub_that_leads_away_from_tls_is_not_followed(baking: ModuleType) -> None:
    asked = urllib.request.Request("https://hub.test/small.gguf")
    with pytest.raises(baking.NoModel, match="without TLS"):
        baking._KeepDigest().redirect_request(asked, None, 302, "Found", Message(), "http://hub.test/small.gguf")


def test_without_a_digest_the_length_decides(baking: ModuleType, tmp_path: Path) -> None:
    with hub(tag="not-a-digest") as url:
        assert baking.fetch(MODEL, tmp_path, hub=url).read_bytes() == GGUF


@pytest.mark.parametrize("name", ["", "small.gguf", "a/b/c.bin", "a/../c.gguf", "a/b/c/d.gguf"])
def test_a_name_that_is_none_is_refused(baking: ModuleType, tmp_path: Path, name: str) -> None:
    with pytest.raises(baking.NoModel, match="takes owner/name/file"):
        baking.fetch(name, tmp_path, hub="http://127.0.0.1:9")


def test_a_hub_that_is_not_there_is_said_in_one_line(
    baking: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert baking.main([str(tmp_path)]) == 1
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("bake_model: no model (127.0.0.1: ")


def test_none_is_fetched_when_none_is_wanted(
    baking: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBLLM_BINDER_MODEL", "none")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert baking.main([str(tmp_path)]) == 0
    assert not list(tmp_path.glob("*.gguf"))
