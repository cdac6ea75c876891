"""A real JupyterLab in a headless Chromium, for tests and for pictures.

Everything is the test's own: port, token, configuration, data and settings folders, browser profile. Whatever was
started is ended, also when a test fails in the middle.

    with Lab(folder) as lab, chromium() as browser:
        page = lab.open(browser, "note.ipynb")
        lab.run_all(page)
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

SRC = Path(__file__).resolve().parent.parent.parent / "src"
REQUIRED = os.environ.get("NBLLM_SHARED_REQUIRED") == "1"
_FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "IPYTHONDIR": "ipython",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "HOME": "home",
    "NBLLM_HOME": "nbllm",
}
_PANEL = "[...window.jupyterapp.shell.widgets('main')].find(w => w.context && w.content && w.sessionContext)"


def find_chromium() -> str | None:
    """Chromium's path, or None."""
    names = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
    found = (shutil.which(n) for n in (os.environ.get("NBLLM_CHROMIUM", ""), *names) if n)
    return next((path for path in found if path), None)


def need_browser() -> None:
    """Skip without a browser; fail instead where the checks must not be left out."""
    missing = None
    if find_chromium() is None:
        missing = "Chromium is not installed"
    for module in ("playwright", "jupyterlab"):
        try:
            __import__(module)
        except ImportError:
            missing = f"{module} is not installed"
    if missing and REQUIRED:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


def write_notebook(path: Path, sources: Sequence[str]) -> Path:
    """A notebook with these code cells."""
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
        for i, source in enumerate(sources)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser with a profile of its own."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), headless=True, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


_FOREIGN = ("_API_KEY", "_API_KEY_FILE", "_BASE_URL", "_MODELS", "_TOKEN")
"""Variables whose names end like this are the developer's, and none of the browser's business."""


class Lab:
    """A JupyterLab server over `folder`, whose kernels see this checkout. Notebook 7 is in it too, where installed.

    With `save_widgets` a notebook is saved with the state of its widgets; with `debug` the server's log says all.
    """

    def __init__(
        self,
        folder: Path,
        *,
        theme: str = "light",
        env: Mapping[str, str] | None = None,
        save_widgets: bool = False,
        debug: bool = False,
    ) -> None:
        self.folder = folder
        self.save_widgets = save_widgets
        self.debug = debug
        self.theme = theme
        self.token = secrets.token_hex(16)
        self.own = Path(tempfile.mkdtemp(prefix="nbllm-lab-"))
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"

    def __enter__(self) -> Lab:
        self._write_settings()
        log = (self.own / "server.log").open("wb")
        with log:
            self._process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _environment(self) -> dict[str, str]:
        env = {k: v for k, v in os.environ.items() if not k.endswith(_FOREIGN) and not k.startswith("NBLLM_")}
        env |= {"PYTHONPATH": str(SRC), "JUPYTER_PREFER_ENV_PATH": "1"}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        env.pop("PYTEST_CURRENT_TEST", None)  # kernels would take themselves for nbval's
        for name, folder in _FOLDERS.items():
            (self.own / folder).mkdir(exist_ok=True)
            env[name] = str(self.own / folder)
        return env | self._env

    def add_kernel(self, name: str, environ: Mapping[str, str]) -> None:
        """A kernel with these variables, for notebooks whose metadata name it. Each has an NBLLM_HOME of its own."""
        folder = self.own / "data/kernels" / name
        folder.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        env = {"NBLLM_HOME": str(self.own / "homes" / name), **environ}
        spec = {"argv": command, "display_name": name, "language": "python", "env": env}
        (folder / "kernel.json").write_text(json.dumps(spec))

    def _command(self) -> list[str]:
        options = {
            "ServerApp.port": self.url.rpartition(":")[2],
            "ServerApp.port_retries": "0",
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.root_dir": str(self.folder),
            "ServerApp.open_browser": "False",
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": "True",
            "JupyterNotebookApp.expose_app_in_browser": "True",
        }
        if self.debug:
            options["ServerApp.log_level"] = "DEBUG"
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *flags]

    def _write_settings(self) -> None:
        dark = "JupyterLab Dark" if self.theme == "dark" else "JupyterLab Light"
        settings = {
            "apputils-extension/notification": {
                "fetchNews": "false",
                "checkForUpdates": False,
                "doNotDisturbMode": True,
            },
            "apputils-extension/themes": {"theme": dark, "adaptive-theme": False},
            # Without windowing every cell is in the page, so that nothing escapes the checks.
            "notebook-extension/tracker": {"windowingMode": "none"},
            "docmanager-extension/plugin": {"autosave": False},
            "../@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": self.save_widgets},
        }
        (self.own / "settings/@jupyterlab").mkdir(parents=True)
        for name, values in settings.items():
            path = self.own / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def _wait_until_up(self, limit_s: float = 60) -> None:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                self.call("GET", "status")
                return
            time.sleep(0.2)
        raise RuntimeError("JupyterLab did not start:\n" + (self.own / "server.log").read_text()[-2000:])

    def call(self, method: str, path: str) -> Any:
        """Ask the server's own API."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        with contextlib.suppress(Exception):
            for kernel in self.call("GET", "kernels"):
                self.call("DELETE", f"kernels/{kernel['id']}")
        for sign, wait_s in ((signal.SIGTERM, 8), (signal.SIGKILL, 3)):
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(wait_s)
        shutil.rmtree(self.own, ignore_errors=True)

    # ------------------------------------------------------------ pages

    def open(
        self, browser: Any, notebook: str, *, size: tuple[int, int] = (1200, 900), watch: Any = None, app: str = "lab"
    ) -> Any:
        """A page with this notebook, its kernel idle. `watch(page)` is called before anything is loaded.

        `app`: "lab", or "notebook" for Notebook 7.
        """
        page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
        if watch is not None:
            watch(page)
        self.load(page, notebook, app=app)
        return page

    def load(self, page: Any, notebook: str, *, app: str = "lab") -> None:
        """Load, or load again, this notebook."""
        place = f"lab/tree/{notebook}?reset&" if app == "lab" else f"notebooks/{notebook}?"
        page.goto(f"{self.url}/{place}token={self.token}", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        page.wait_for_function(f"() => window.jupyterapp && {_PANEL}?.context.isReady", timeout=60_000)
        self.wait_until_idle(page)

    def run_all(self, page: Any, *, limit_s: float = 60) -> None:
        """Run all cells, and wait for the last."""
        # Not awaited in the page: a dialog would hang it.
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells').catch(() => 0); return 1 }")
        page.wait_for_timeout(300)
        self.wait_until_idle(page, limit_s=limit_s)

    def wait_until_idle(self, page: Any, *, limit_s: float = 60) -> None:
        """Until the kernel is idle and no cell waits, for half a second."""
        idle = (
            f"() => {{ const k = {_PANEL}?.sessionContext?.session?.kernel;"
            " return k?.status === 'idle' && k.connectionStatus === 'connected' &&"
            " ![...document.querySelectorAll('.jp-InputPrompt')].some(e => e.textContent.includes('[*]')) }"
        )
        end, quiet = time.monotonic() + limit_s, 0
        while quiet < 5:
            if time.monotonic() > end:
                raise TimeoutError("the kernel did not become idle")
            quiet = quiet + 1 if page.evaluate(idle) else 0
            page.wait_for_timeout(100)

    def save(self, page: Any) -> None:
        """Save the notebook, as the user would."""
        page.evaluate(f"async () => {{ await {_PANEL}.context.save(); return 1 }}")

    def is_trusted(self, page: Any) -> bool:
        """Whether every code cell's outputs are trusted."""
        return bool(page.evaluate(f"() => [...{_PANEL}.content.model.cells].every(c => c.trusted)"))

    def picture(self, page: Any, path: Path) -> None:
        """The whole notebook as a picture, the side bars folded away."""
        page.evaluate("() => { const s = window.jupyterapp.shell; s.collapseLeft(); s.collapseRight(); return 1 }")
        tall = page.evaluate(
            "() => (document.querySelector('.jp-Notebook .jp-WindowedPanel-outer')"
            " || document.querySelector('.jp-Notebook')).scrollHeight"
        )
        size = page.viewport_size
        page.set_viewport_size({"width": size["width"], "height": min(6000, max(size["height"], int(tall) + 160))})
        page.wait_for_timeout(800)
        page.screenshot(path=str(path))
        page.set_viewport_size(size)
