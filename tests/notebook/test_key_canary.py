"""A key that goes in by any way, and is used in any failure, is afterwards nowhere to be found.

A real kernel with its history on disk, a server that echoes the key wherever a server could, debug logs on, verbose
tracebacks. Then every artefact is searched for the key and for any twelve characters of it, in four encodings.
Two shapes of keys take every way by default, all eight the main one; with `--campaign` all eight take every way.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import nbformat
import pytest

from chatting import chunk, event
from kernels import Kernel
from key_shapes import SHAPES, KeyShape, traces
from wire_server import closed_port

WAYS = ("session", "environment", "file", "keyring", "vault")
PASSPHRASE = "a passphrase for the canary"


# ---------------------------------------------------------------- a server that echoes


class Echo(BaseHTTPRequestHandler):
    """Answers by the model's name, and puts the key that it was sent wherever it can."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[str]] = []
    elsewhere: ClassVar[str] = ""

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._error(401) if "refused" in self.path else self._body(200, b'{"data": [{"id": "ok"}]}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Echo.seen.append(self._key())
        getattr(self, "answer_" + body["model"].replace("-", "_"))()

    def _key(self) -> str:
        return (self.headers.get("authorization") or "").removeprefix("Bearer ")

    def _body(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.send_header("x-you-sent", self._key().encode("latin-1", "ignore").decode("latin-1"))
        self.end_headers()
        self.wfile.write(body)

    def _error(self, status: int, **headers: str) -> None:
        key = self._key()
        what = "Incorrect API key provided" if status in (401, 403) else "top_p is not allowed; you sent"
        said = f"{what}: {key} ({key[:14]}...{key[-6:]}). Authorization: Bearer {key}"
        body = {"error": {"message": said, "type": "error", "param": {"key": key}, "headers": {"x-api-key": key}}}
        self._body(status, json.dumps(body).encode(), **headers)

    def _stream(self, *events: bytes, whole: bool = True) -> None:
        body = b"".join(events)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body) + (0 if whole else 100)))
        self.end_headers()
        self.wfile.write(body)
        if not whole:
            self.wfile.flush()
            self.close_connection = True

    def answer_ok(self) -> None:
        self._stream(chunk({"content": "fine"}), chunk({}, finish="stop"), event("[DONE]"))

    def answer_e400(self) -> None:
        said = f"the prompt is of a bad kind (sent by {self._key()})"
        self._body(400, json.dumps({"error": {"message": said}}).encode())

    def answer_e400_for_a_key(self) -> None:
        said = f"API key not valid: {self._key()}"
        body = {"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}
        self._body(400, json.dumps(body).encode())

    def answer_e401(self) -> None:
        self._error(401)

    def answer_e403(self) -> None:
        self._error(403)

    def answer_e404(self) -> None:
        self._error(404)

    def answer_e429(self) -> None:
        self._error(429, **{"retry-after": "3600"})

    def answer_e500(self) -> None:
        key = self._key()
        page = f"<html><title>Oops</title><pre>headers: [('authorization', 'Bearer {key}')] key={key}</pre></html>"
        self._body(500, page.encode(), "text/html")

    def answer_redirect(self) -> None:
        self._body(307, b"", location=f"{Echo.elsewhere}/v1/chat/completions?key={self._key()}")

    def answer_cut(self) -> None:
        self._stream(chunk({"content": "half an "}), chunk({"content": "ans"}), whole=False)

    def answer_in_stream(self) -> None:
        error = {"error": {"message": f"key {self._key()} expired", "code": 401}}
        self._stream(chunk({"content": "par"}), event(error))

    def answer_in_200(self) -> None:
        self._body(200, json.dumps({"error": {"message": f"bad key {self._key()}"}}).encode())

    def answer_no_json(self) -> None:
        self._stream(chunk({"content": "par"}), f"data: {{not json {self._key()}\n\n".encode())

    def answer_no_stream(self) -> None:
        self._body(200, f"<html>welcome, {self._key()}</html>".encode(), "text/html")

    def answer_tool(self) -> None:
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "breaks", "arguments": "{}"}}
        self._stream(chunk({"tool_calls": [call]}), chunk({}, finish="tool_calls"), event("[DONE]"))


FAILURES = ("ok", "e400", "e400-for-a-key", "e401", "e403", "e404", "e429", "e500", "redirect", "cut", "in-stream",
            "in-200", "no-json",
            "no-stream")  # fmt: skip


@pytest.fixture
def server() -> Iterator[str]:
    Echo.seen = []
    other: list[str] = []

    class Other(Echo):
        def do_POST(self) -> None:
            other.append(str(self.headers) + self.path)
            self._body(200, b"{}")

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for handler in (Echo, Other)]
    for each in servers:
        threading.Thread(target=each.serve_forever, daemon=True).start()
    Echo.elsewhere = f"http://127.0.0.1:{servers[1].server_port}"
    yield f"http://127.0.0.1:{servers[0].server_port}"
    for each in servers:
        each.shutdown()
        each.server_close()
    assert other == [], "the redirect was followed"


# ---------------------------------------------------------------- what is done with the key

SETUP = """
import logging, os
logging.basicConfig(level=logging.DEBUG, filename="debug.log", force=True)
for name in ("openai", "httpx2", "httpcore2", "httpx", "httpcore", "nbllm", "asyncio"):
    logging.getLogger(name).setLevel(logging.DEBUG)
import fake_keyring
fake_keyring.plug_in()
%load_ext nbllm
import nbllm
def breaks():
    'Breaks.'
    raise ValueError("broken", dict(os.environ) and "no key here")
"""

BUG = """
import httpcore2
real = httpcore2.AsyncConnectionPool.handle_async_request
async def bug(self, request):
    raise ZeroDivisionError("a bug below us")
httpcore2.AsyncConnectionPool.handle_async_request = bug
"""


BUG_OF_OURS = """
import nbllm.adapters.openai
ours = nbllm.adapters.openai._messages
def bug(*args):
    raise ZeroDivisionError("a bug of ours, with all its frames")
nbllm.adapters.openai._messages = bug
"""


class Scene:
    """A kernel whose every trace is kept in one folder."""

    def __init__(self, folder: Path, key: str, url: str) -> None:
        self.folder, self.key, self.url = folder, key, url
        self.cells: list[Any] = []
        (folder / "secrets").mkdir()
        (folder / "secrets" / "key").write_text(key)
        (folder / "secrets" / "key").chmod(0o600)
        self.environ = {
            "VIA_ENVIRONMENT_API_KEY": key,
            "VIA_FILE_API_KEY_FILE": str(folder / "secrets" / "key"),
            "HOME": str(folder / "user"),
            "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "NBLLM_HOME": str(folder / "nbllm"),
            "OPENAI_LOG": "debug",
        }
        for name in ("user", "ipython", "runtime", "work"):
            (folder / name).mkdir()
        # What the kernel's process itself writes, beside its messages.
        self._process = (folder / "process.log").open("wb")
        self.kernel = Kernel(self.environ, folder=folder / "work", process_log=self._process)

    def __enter__(self) -> Scene:
        self.kernel.__enter__()
        self.run(SETUP)
        return self

    def __exit__(self, *exc: object) -> None:
        self.kernel.__exit__(*exc)
        self._process.close()

    def run(self, code: str) -> Any:
        run = self.kernel.run(code)
        self.cells.append((code, run))
        return run

    def give(self, way: str) -> None:
        """Define the provider `via-WAY`, and give its key by that way."""
        add = f"%llm_providers add via-{way} --base-url {self.url}/v1"
        if way in ("environment", "file"):
            assert self.run(f"{add} --env VIA_{way.upper()}_API_KEY").ok
            return
        assert self.run(add).ok
        self.kernel.answers = [*([PASSPHRASE] * 2 if way == "vault" else []), self.key]
        run = self.run(f"%llm_providers key via-{way} --store {way}")
        assert run.ok, run.error

    def use(self, way: str, modes: tuple[str, ...]) -> None:
        """Every failure, in each way to show errors."""
        self.run("%llm_config max_wait_s 0 --session")
        for mode in modes:
            self.run(f"os.environ['NBLLM_DEBUG'] = '{int(mode == 'debug')}'")
            self.run(f"%xmode {'Verbose' if mode == 'verbose' else 'Context'}")
            for name in FAILURES:
                self.run(f"%%chat via-{way}/{name} -c {way}-{name} -o r\nhello from {name}")
        self.run(f"%%chat via-{way}/tool --tool breaks --max-rounds 1 -c {way}-tool\ncall it")
        self.run(f"%%chat via-{way}/ok --dry-run\nhello")
        self.run(f"%llm_providers test via-{way}")
        self.run(f"%llm_providers test via-{way} --model e401")
        self.run(f"%llm_providers models via-{way} --refresh")
        self.run(f"%llm_providers show via-{way}")
        self.run("import traceback, sys; print(traceback.format_exception(sys.last_value)); repr(vars(sys.last_value))")
        self.run("%%chat via-session/ok --last-error\nwhat was it?")

    def break_below(self, way: str) -> None:
        """No network, no TLS, a bug in a library, with the most talkative tracebacks."""
        self.run("%xmode Verbose")
        for url in ("https://no-such-host.invalid/v1", f"http://127.0.0.1:{closed_port()}/v1",
                    self.url.replace("http:", "https:") + "/v1"):  # fmt: skip
            self.run(f"row = nbllm.workspace().registry.set_session('moved', base_url={url!r}, env=('MOVED_API_KEY',))")
            self.kernel.answers = [self.key]
            self.run("%llm_providers key moved --store session")
            self.run("%%chat moved/ok\nhello")
            self.run("%llm_providers test moved")
        self.run(BUG)
        self.run(f"%%chat via-{way}/ok\nhello")
        self.run(f"nbllm.chat('hello', model='via-{way}/ok')")
        self.run(f"%llm_providers test via-{way}")
        self.run("httpcore2.AsyncConnectionPool.handle_async_request = real")
        self.run(BUG_OF_OURS)
        assert self.run(f"%%chat via-{way}/ok\nhello").ename == "ZeroDivisionError"
        self.run(f"nbllm.chat('hello', model='via-{way}/ok')")
        self.run("nbllm.adapters.openai._messages = ours")

    def leave(self) -> None:
        """All that writes something at the end."""
        self.run("%llm_providers export rows.toml")
        self.run("%llm_providers list --all")
        self.run("%llm_config")
        self.run("%history -g")
        self.run("%whos")
        self.run("nbllm.workspace().close()")
        for words in (
            ["doctor", "--json"],
            ["providers", "list", "--all", "--json"],
            ["chat", "hi", "-m", "via-environment/e401"],
        ):
            command = [sys.executable, "-m", "nbllm", *words]
            done = subprocess.run(
                command, capture_output=True, env={**self.kernel.environ, **self.environ}, cwd=self.folder / "work"
            )
            (self.folder / f"command-{'-'.join(words[:2])}.txt".replace("/", "_")).write_bytes(
                done.stdout + done.stderr
            )

    def save(self) -> None:
        """The notebook as a front end saves it, and every message that was published."""
        cells = []
        for code, run in self.cells:
            outputs = [
                nbformat.v4.output_from_msg(m)
                for m in run.messages
                if m["msg_type"] in ("display_data", "execute_result", "error", "stream")
            ]
            cells.append(nbformat.v4.new_code_cell(code, outputs=outputs))
            cells[-1].metadata["final"] = [o.get("metadata") for o in run.outputs]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), self.folder / "notebook.ipynb")
        (self.folder / "iopub.json").write_text(json.dumps(self.kernel.log, default=str))
        (self.folder / "replies.json").write_text(json.dumps([r.reply for _, r in self.cells], default=str))


def hits(folder: Path, key: str) -> dict[str, list[str]]:
    """Files under `folder`, the one with the user's own key left out, and the traces of the key in each."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.parent.name != "secrets":
            if seen := traces(key, path.read_bytes().decode("latin-1")):
                found[str(path.relative_to(folder))] = seen[:5]
            if seen := traces(key, str(path)):
                found[f"the name of {path.parent}"] = seen[:5]
    return found


def live(folder: Path, key: str, url: str, *, ways: tuple[str, ...], modes: tuple[str, ...]) -> Scene:
    with Scene(folder, key, url) as scene:
        for way in ways:
            scene.give(way)
        for way in ways:
            scene.use(way, modes)
        scene.break_below("session")
        scene.leave()
        scene.save()
    return scene


EXPECTED = ("notebook.ipynb", "iopub.json", "process.log", "work/debug.log", "nbllm/config.toml", "nbllm/nbllm.db",
            "ipython/profile_default/history.sqlite", "work/rows.toml", "command-doctor---json.txt")  # fmt: skip


def _check(scene: Scene, ways: tuple[str, ...]) -> None:
    folder = scene.folder
    assert hits(folder, scene.key) == {}
    assert hits(folder, PASSPHRASE) == {}
    # The test would see nothing if nothing had happened.
    assert Echo.seen.count(scene.key) >= len(ways) * len(FAILURES)
    missing = [name for name in EXPECTED if not (folder / name).is_file()]
    assert missing == []
    assert (folder / "nbllm" / "backups").is_dir()
    assert (folder / "nbllm" / "cache").is_dir()
    assert "httpx2" in (folder / "work" / "debug.log").read_text()
    enames = {run.ename for _, run in scene.cells}
    assert enames >= {"AuthenticationError", "BadRequestError", "ModelNotFoundError", "RateLimitError", "ServerError",
                      "RedirectError", "StreamBrokenError", "UnreachableError"}  # fmt: skip
    if "vault" in ways:
        assert (folder / "nbllm" / "vault.json").is_file()


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.id)
def test_a_key_leaves_no_trace(tmp_path: Path, server: str, shape: KeyShape, campaign: bool) -> None:
    key = shape.key(seed=11)
    in_full = campaign or shape.id in ("openai", "escaped")
    ways = WAYS if in_full else ("session",)
    modes = ("plain", "debug", "verbose") if in_full else ("verbose",)
    folder = tmp_path / "scene"
    folder.mkdir()
    _check(live(folder, key, server, ways=ways, modes=modes), ways)


LEAKS = """
import base64, logging, os, sqlite3, sys
key = os.environ["VIA_ENVIRONMENT_API_KEY"]
home = os.environ["NBLLM_HOME"]
from IPython.display import display
print(key[:12])
display({"text/plain": "x"}, raw=True, metadata={"nbllm": {"key": key[5:17].encode().hex()}})
os.write(2, key.encode())
nbllm.credentials.uninstall_log_filter()
logging.getLogger("httpx2").info("GET /?key=%s", key)
for name in ("config.toml", "vault.json", "nbllm.db", "backups/config-old.toml", "cache/listing.json"):
    os.makedirs(os.path.dirname(os.path.join(home, name)), exist_ok=True)
    with open(os.path.join(home, name), "ab") as file:
        file.write(base64.b64encode(key[3:].encode()))
with open("rows.toml", "w") as file:
    file.write(f'headers = "{key[-12:]}"')
"""


def test_the_control_finds_a_leak_on_every_surface(tmp_path: Path, server: str) -> None:
    key = SHAPES[0].key(seed=11)
    folder = tmp_path / "scene"
    folder.mkdir()
    with Scene(folder, key, server) as scene:
        scene.give("environment")
        assert scene.run("%chat -m via-environment/ok hello").ok
        assert scene.run(LEAKS).ok
        scene.run(f"typed = {key!r}")
        scene.run(f"nbllm.chat('my key is {key}', model='via-environment/ok')")
        scene.run("%history -g")
        scene.save()
    (folder / "command-doctor---json.txt").write_text(json.dumps({"says": key}))
    found = hits(folder, key)
    surfaces = (*EXPECTED, "nbllm/vault.json", "nbllm/backups/config-old.toml", "nbllm/cache/listing.json")
    assert [s for s in surfaces if s not in found] == []
