"""The ES modules of the panels, as the one text that anywidget takes.

The files under `static/` are plain modules that import each other. A browser cannot follow these imports, since
anywidget hands it the text and not an address; so the modules that a panel imports are put in front of it, and the
words `import` and `export` fall away. There is no other step between the files and the page.
"""

from __future__ import annotations

import re
from importlib.resources import files

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) )", re.MULTILINE)


def module(name: str) -> str:
    """A panel's module with all that it imports."""
    return "\n".join(_gathered(name, set()))


def style(name: str) -> str:
    """A style sheet."""
    return _read(name)


def _gathered(name: str, seen: set[str]) -> list[str]:
    if name in seen:
        return []
    seen.add(name)
    text = _read(name)
    before = [part for needed in _IMPORT.findall(text) for part in _gathered(needed, seen)]
    return [*before, _EXPORT.sub("", _IMPORT.sub("", text))]


def _read(name: str) -> str:
    return (files("nbllm.notebook.panels") / "static" / name).read_text(encoding="utf-8")
