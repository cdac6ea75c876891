"""The house keeps its promises: imports run downwards, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
HEAVY = ("openai", "httpx2", "pydantic", "sqlalchemy", "keyring", "ipywidgets", "anywidget", "pandas", "alembic",
         "markdown_it", "nh3", "genai_prices", "jsonschema", "cryptography", "typer", "rich")  # fmt: skip


def loaded_after(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys\nprint('loaded:', *(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPO / "src")
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_importing_nbllm_loads_nothing_heavy() -> None:
    assert loaded_after("import nbllm, nbllm.errors, nbllm.messages") == set()


def test_loading_the_extension_loads_nothing_heavy() -> None:
    shell = "from IPython.core.interactiveshell import InteractiveShell; ip = InteractiveShell.instance()"
    before = loaded_after(shell)
    assert loaded_after(f"{shell}\nassert ip.run_cell('%load_ext nbllm').success") == before


def test_the_check_sees_what_is_loaded() -> None:
    assert "pydantic" in loaded_after("import pydantic")


def test_only_the_notebook_layer_imports_ipython() -> None:
    names = ("IPython", "ipywidgets", "anywidget", "traitlets")
    for path in (REPO / "src" / "nbllm").rglob("*.py"):
        if "notebook" in path.parts:
            continue
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        found = [
            line for line in lines if line.startswith(tuple(f"{w} {n}" for w in ("import", "from") for n in names))
        ]
        assert not found, f"{path}: {found}"


def test_imports_run_downwards() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports], capture_output=True, text=True, cwd=REPO, check=False,
                          env={"PYTHONPATH": str(REPO / "src"), "PATH": str(lint_imports.parent)})  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
