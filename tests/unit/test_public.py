"""The face of the package: what can be imported, what importing costs, and what the types say."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import nbllm

REPO = Path(__file__).resolve().parents[2]
HEAVY = ("openai", "httpx2", "pydantic", "sqlalchemy", "keyring", "ipywidgets", "anywidget", "pandas", "rich")


def _modules_after(code: str) -> set[str]:
    script = f"import sys\nsys.path.insert(0, {str(REPO / 'src')!r})\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", nbllm.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(nbllm, name) is not None
    assert name in dir(nbllm)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nbllm' has no attribute 'chatt'"):
        nbllm.chatt  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not _modules_after("import nbllm, nbllm.errors, nbllm.messages").intersection(HEAVY)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["chat", "--help"], ["providers", "--help"], ["frob"]])
def test_a_command_that_asks_nothing_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        f"import contextlib, io\nfrom nbllm.cli import main\nwith contextlib.redirect_stdout(io.StringIO()), "
        f"contextlib.suppress(SystemExit):\n    main({words!r})"
    )
    # Typer reads its parameters with pydantic from 0.29 on; that is not ours to forbid.
    assert not _modules_after(code).intersection(HEAVY) - {"pydantic"}


@pytest.mark.parametrize("name", ["chat", "providers", "compare"])
def test_a_function_named_like_a_package_is_both(name: str) -> None:
    import nbllm.chat.run
    import nbllm.compare.run
    import nbllm.providers.registry

    found = getattr(nbllm, name)
    assert callable(found)
    assert inspect.signature(found) == inspect.signature(getattr(__import__("nbllm.api").api, name))
    assert inspect.ismodule(sys.modules[f"nbllm.{name}"])
    assert nbllm.providers.registry.Registry is sys.modules["nbllm.providers.registry"].Registry


def test_they_can_be_called_in_any_order_of_imports() -> None:
    for first in ("", "import nbllm.providers.registry, nbllm.chat.run", "nbllm.providers"):
        code = f"import nbllm\n{first}\nassert len(nbllm.providers()) and nbllm.chat('hi').provider == 'demo'"
        _modules_after(code)
