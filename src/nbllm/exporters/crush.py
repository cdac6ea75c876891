"""crush: a file of commands for its `crushrc` to `source`.

crush is configured by a Bash script of the user's, which no program should edit; so ours is a file beside it that
nobody else writes, and one line in `crushrc` brings it in. A file that nbllm did not begin is refused.
charmbracelet/crush, docs/config/README.md, read 2026-11-21.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbllm.errors import ExportError
from nbllm.exporters.base import Exported, Merged, Places, Strategy
from nbllm.exporters.offered import chat_models, key_header, no_way, with_version
from nbllm.exporters.shared import headers_step, sees_images
from nbllm.foreign import one_line
from nbllm.providers.spec import ModelInfo

_FIRST = "# Providers for crush, written by nbllm. To use them, put this line into crushrc:"
_TYPES = {"openai": "openai-compat", "ollama": "openai-compat", "anthropic": "anthropic"}
"""Kind to crush's type. openai-compat for all but OpenAI itself, as its documentation has it."""


class Crush:
    """The exporter of crush."""

    tool = "crush"
    extension = ".sh"
    legacy = None

    def refuses(self, provider: Exported) -> str | None:
        """Why crush cannot have it."""
        if reason := no_way(provider):
            return reason
        if provider.config.kind not in _TYPES:
            return f"crush takes no address of one's own for the format {provider.config.kind}"
        return None

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file."""
        lines = [_FIRST, "#   source ~/.config/crush/nbllm.sh"]
        for provider in providers:
            if self.refuses(provider) is None:
                lines += ["", *_commands(provider).values()]
        return "\n".join(lines) + "\n"

    def locate(self, places: Places) -> Path:
        """`nbllm.sh` beside the user's `crushrc`. On Windows too crush looks in `.config`."""
        return (places.folder("XDG_CONFIG_HOME") or places.home / ".config") / "crush" / "nbllm.sh"

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """Lines are known by what they add; the user's own lines and comments stay where they are.

        Raises:
            ExportError: The file was not begun by nbllm, such as `crushrc` itself.
        """
        taken = {p.config.id: p for p in providers if self.refuses(p) is None}
        if not text.strip():
            return Merged(self.render(providers) if taken else text, added=tuple(taken))
        if not text.startswith(_FIRST):
            raise ExportError(
                "it is a script that nbllm did not write, and scripts of yours are not edited",
                hint="name another file with --file, and `source` it from crushrc",
            )
        lines = text.removesuffix("\n").split("\n")
        there = set(map(_ref, lines))
        updated = []
        if strategy != "add":
            for id in [k for k in taken if k in there]:
                changed = _refreshed(lines, id, _commands(taken[id]), shorten=strategy == "replace")
                if changed != lines:
                    updated.append(id)
                    lines = changed
        added = tuple(k for k in taken if k not in there)
        for id in added:
            lines += ["", *_commands(taken[id]).values()]
        kept = tuple(k for k in taken if k in there and k not in updated)
        return Merged("\n".join(lines) + "\n", added, tuple(updated), kept)

    def next_steps(self, providers: Sequence[Exported]) -> Sequence[str]:
        """How crush comes to read the file."""
        taken = [p for p in providers if self.refuses(p) is None]
        line = "put `source ~/.config/crush/nbllm.sh` (or where the file is) into ~/.config/crush/crushrc"
        return [*([line] if taken else []), *headers_step(taken)]


# ---------------------------------------------------------------- lines that are there

_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""")
_LITERAL = re.compile(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\.""")
_KEYS = ("--api-key", "--extra-header")


@dataclass(frozen=True, slots=True)
class _Line:
    """A command that adds something, word by word as it is written."""

    ref: str
    """`PROVIDER`, or `PROVIDER/MODEL`."""
    words: tuple[str, ...]
    """With their quotes."""
    values: Mapping[str, int]
    """Flag to the place of its value among the words."""
    comment: str
    """What follows behind the words."""

    def value(self, flag: str) -> str | None:
        """As it is written, quotes and all."""
        return self.words[self.values[flag]] if flag in self.values else None

    def keys(self) -> dict[str, str | None]:
        """How the key goes along."""
        return {k: self.value(k) for k in _KEYS if k in self.values}


def _ref(line: str) -> str:
    """What a line adds, whether or not it can be changed; "" for lines that add nothing."""
    if not line.startswith(("provider add ", "model add ")):
        return ""
    word = _WORD.match(line, line.index(" add ") + len(" add "))
    try:
        return shlex.split(word[0])[0] if word else ""
    except ValueError:
        return ""


def _read(line: str) -> _Line | None:
    """A `provider add` or `model add` of plain words; None for everything else, which is left alone."""
    if not line.startswith(("provider add ", "model add ")):
        return None
    live = _LITERAL.sub(lambda m: "" if m[0].startswith("'") else m[0], line)
    if "$(" in live or "`" in live:  # a command in the command: what it says is known to Bash alone
        return None
    words, at = [], 0
    while found := _WORD.match(line, at + len(line[at:]) - len(line[at:].lstrip())):
        if found[0].startswith("#"):
            break
        words.append(found[0])
        at = found.end()
    comment = line[at:]
    if comment.strip() and not comment.lstrip().startswith("#"):
        return None  # an open quote, a continued line
    if len(words) < 3 or any(w in (";", "&&", "||", "|", "\\") for w in words):
        return None
    ref = shlex.split(words[2])[0]
    values, place = {}, 3
    while place < len(words):
        width = 2 if words[place] == "--extra-header" else 1
        if not words[place].startswith("--") or place + width >= len(words):
            return None
        values[words[place]] = place + width
        place += width + 1
    return _Line(ref, tuple(words), values, comment) if ("/" in ref) == (words[0] == "model") else None


def _refreshed(lines: Sequence[str], id: str, commands: Mapping[str, str], *, shorten: bool) -> list[str]:
    """The lines with this provider's brought up to date; its new models follow its last line."""
    done: list[str] = []
    last, seen = 0, set()
    known = len(commands) > 1  # without a catalogue there is nothing to shorten to
    for line in lines:
        ref, found = _ref(line), _read(line)
        if ref.partition("/")[0] != id:
            done.append(line)
            continue
        if found is None:
            seen.add(ref)
            done.append(line)
            last = len(done)
            continue
        command = commands.get(found.ref)
        if command is None and shorten and known and found.ref != id:
            done += [found.comment.strip()] if found.comment.strip() else []
            continue
        seen.add(found.ref)
        done.append((command and _overlaid(found, command)) or line)
        last = len(done)
    new = [command for ref, command in commands.items() if ref not in seen]
    return [*done[:last], *new, *done[last:]]


def _overlaid(there: _Line, command: str) -> str:
    """The line with our flags refreshed. Its name and key stay, and beside another key so does the address."""
    ours = _read(command)
    assert ours is not None
    words = list(there.words)
    leave = {"--name", *_KEYS} & there.values.keys()
    if there.keys():
        leave |= set(_KEYS)
        if there.keys() != ours.keys():
            leave.add("--base-url")
    for flag, place in ours.values.items():
        if flag in leave:
            continue
        if flag not in there.values:
            words += ours.words[place - (2 if flag == "--extra-header" else 1) : place + 1]
        elif shlex.split(words[there.values[flag]]) != shlex.split(ours.words[place]):
            words[there.values[flag]] = ours.words[place]
    return " ".join(words) + there.comment if words != list(there.words) else ""


# ---------------------------------------------------------------- our lines


def _commands(provider: Exported) -> dict[str, str]:
    """What each line adds, and the line."""
    row = provider.config
    type = "openai" if row.id == "openai" else _TYPES[row.kind]
    words = ["--name", _quoted(row.title), "--type", type, "--base-url", _quoted(_address(provider))]
    header = key_header(provider)
    if provider.key_env and header:
        value = header[1].replace("{key}", f"${provider.key_env}")
        if header in (("Authorization", "Bearer {key}"), ("x-api-key", "{key}")):
            words += ["--api-key", f'"${provider.key_env}"']
        else:
            words += ["--extra-header", header[0], f'"{value}"']
    lines = {row.id: " ".join(["provider", "add", row.id, *words])}
    for model in chat_models(provider):
        ref = f"{row.id}/{model.id}"
        lines[ref] = " ".join(["model", "add", _quoted(ref), *_facts(model)])
    return lines


def _address(provider: Exported) -> str:
    """crush adds the version path itself to what speaks Anthropic's format."""
    return provider.config.base_url if provider.config.kind == "anthropic" else with_version(provider)


def _quoted(text: str) -> str:
    return shlex.quote(one_line(text, 1000))


def _facts(model: ModelInfo) -> list[str]:
    known = {
        "--name": model.name or model.id,
        "--context-window": model.context,
        "--default-max-tokens": model.max_output,
        "--can-reason": model.reasoning,
        "--supports-images": sees_images(model),
        "--price-input": model.input_price,
        "--price-output": model.output_price,
        "--price-cache-create": model.cache_write_price,
        "--price-cache-hit": model.cached_input_price,
    }
    return [word for flag, value in known.items() if value is not None for word in (flag, _word(value))]


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.10g}" if isinstance(value, float) else _quoted(str(value))
