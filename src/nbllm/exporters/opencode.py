"""opencode: `opencode.json` or `.jsonc`, one entry `provider.ID` a provider, its models inside.

opencode takes comments and trailing commas in either file, so both are changed in place (`jsonc`).
opencode.ai/docs/providers and anomalyco/opencode, packages/opencode/src/config/provider.ts, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbllm.errors import ExportError
from nbllm.exporters.base import Exported, Merged, Places, Strategy
from nbllm.exporters.jsonc import Editor, JsoncError, Node, dumps
from nbllm.exporters.offered import chat_models, key_header, no_way, with_version
from nbllm.exporters.shared import headers_step
from nbllm.providers.spec import ModelInfo

_PACKAGES = {
    "openai": "@ai-sdk/openai-compatible",
    "ollama": "@ai-sdk/openai-compatible",
    "anthropic": "@ai-sdk/anthropic",
    "gemini": "@ai-sdk/google",
}
"""Kind to the package through which opencode speaks it."""
_OWN_HEADER = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}
"""The header in which a package sends `apiKey`, where it is not `Authorization: Bearer`."""
_MODALITIES = ("text", "audio", "image", "video", "pdf")
_SCHEMA = "https://opencode.ai/config.json"


class Opencode:
    """The exporter of opencode."""

    tool = "opencode"
    extension = ".json"
    legacy = None

    def refuses(self, provider: Exported) -> str | None:
        """Why opencode cannot have it."""
        if reason := no_way(provider):
            return reason
        if provider.config.kind not in _PACKAGES:
            return f"opencode has no package for the format {provider.config.kind}"
        return None

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file."""
        entries = {p.config.id: _entry(p) for p in providers if self.refuses(p) is None}
        return dumps({"$schema": _SCHEMA, "provider": entries})

    def locate(self, places: Places) -> Path:
        """`$OPENCODE_CONFIG`, else the first of `opencode.jsonc` and `.json` that is in the user's folder."""
        if named := places.environ.get("OPENCODE_CONFIG"):
            return Path(named)
        folder = (places.folder("XDG_CONFIG_HOME") or places.home / ".config") / "opencode"
        commented = folder / "opencode.jsonc"
        return commented if commented.exists() else folder / "opencode.json"

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """Entries under `provider`, by id. `update` keeps names, keys and every field that is not ours.

        Raises:
            ExportError: It is not JSON with comments, or `provider` is no object.
        """
        taken = {p.config.id: p for p in providers if self.refuses(p) is None}
        if not text.strip():
            return Merged(self.render(providers) if taken else text, added=tuple(taken))
        there = _providers(_open(text)).keys()
        if strategy == "replace":
            text, shorter = _without_others(text, {k: v for k, v in taken.items() if k in there})
        else:
            shorter = set()
        editor = _open(text)
        entries = _providers(editor)
        updated = set(shorter)
        if strategy != "add":
            updated |= {k for k, p in taken.items() if k in entries and _refresh(editor, entries[k], p)}
        added = {k: _entry(p) for k, p in taken.items() if k not in there}
        if added:
            editor.lay_over(editor.root, {"provider": added})
        return Merged(
            editor.result(),
            added=tuple(added),
            updated=tuple(k for k in there if k in updated),
            kept=tuple(k for k in there if k in taken and k not in updated),
        )

    def next_steps(self, providers: Sequence[Exported]) -> Sequence[str]:
        """How to choose a model."""
        taken = [p for p in providers if self.refuses(p) is None]
        first = ((p, m) for p in taken for m in chat_models(p)[:1])
        return [*(f"opencode -m '{p.config.id}/{m.id}'" for p, m in first), *headers_step(taken)]


def _open(text: str) -> Editor:
    try:
        editor = Editor(text)
    except JsoncError as exc:
        raise ExportError(f"it is not JSON with comments ({exc})", hint="correct that line and try again") from None
    if editor.root.kind != "object":
        raise ExportError("it is not a JSON object", hint="name another file with --file")
    return editor


def _providers(editor: Editor) -> dict[str, Node]:
    found = editor.root.members.get("provider")
    if found is None:
        return {}
    if found.value.kind != "object" or any(m.value.kind != "object" for m in found.value.members.values()):
        raise ExportError("`provider` is not an object of objects", hint="put the file right and try again")
    return {key: member.value for key, member in found.value.members.items()}


# ---------------------------------------------------------------- one provider


def _entry(provider: Exported) -> dict[str, Any]:
    return {
        "npm": _PACKAGES[provider.config.kind],
        "name": provider.config.title,
        "options": {"baseURL": with_version(provider), **_key(provider)},
        "models": {m.id: _model(m) for m in chat_models(provider)},
    }


def _key(provider: Exported) -> dict[str, Any]:
    """The key's variable, as opencode names it: `{env:VAR}`."""
    header = key_header(provider)
    if header is None or provider.key_env is None:
        return {}
    variable = f"{{env:{provider.key_env}}}"
    own = _OWN_HEADER.get(provider.config.kind)
    if header == ("Authorization", "Bearer {key}") if own is None else header == (own, "{key}"):
        return {"apiKey": variable}
    return {"headers": {header[0]: header[1].replace("{key}", variable)}}


def _model(model: ModelInfo) -> dict[str, Any]:
    """What is known; opencode takes a limit or a cost only with both of its halves."""
    known: dict[str, Any] = {"name": model.name or model.id}
    flags = {"reasoning": model.reasoning, "tool_call": model.tools, "attachment": _sees(model)}
    known |= {k: v for k, v in flags.items() if v is not None}
    if model.context is not None and model.max_output is not None:
        limit = {"context": model.context, "input": model.max_input, "output": model.max_output}
        known["limit"] = {k: v for k, v in limit.items() if v is not None}
    if model.input_price is not None and model.output_price is not None:
        cost = {
            "input": model.input_price,
            "output": model.output_price,
            "cache_read": model.cached_input_price,
            "cache_write": model.cache_write_price,
        }
        known["cost"] = {k: v for k, v in cost.items() if v is not None}
    kinds = {"input": model.input_modalities, "output": model.output_modalities}
    named = {k: [m for m in v if m in _MODALITIES] for k, v in kinds.items() if v is not None}
    if any(named.values()):
        known["modalities"] = {k: v for k, v in named.items() if v}
    return known


def _sees(model: ModelInfo) -> bool | None:
    """Whether files can go along."""
    if model.input_modalities is None:
        return None
    return any(m in model.input_modalities for m in ("image", "pdf"))


# ---------------------------------------------------------------- an entry that is there


def _refresh(editor: Editor, entry: Node, provider: Exported) -> bool:
    """Lay ours over it. Names are the user's; beside a key of the user's own so is the address."""
    wanted = _entry(provider)
    options = entry.members.get("options")
    there: Mapping[str, Any] = options.value.plain() if options and options.value.kind == "object" else {}
    keys = {k: there[k] for k in ("apiKey", "headers") if k in there}
    if keys:
        if keys != _key(provider):
            del wanted["options"]["baseURL"]
        wanted["options"] = {k: v for k, v in wanted["options"].items() if k not in ("apiKey", "headers")}
    if options is not None and options.value.kind != "object":
        del wanted["options"]
    models = entry.members.get("models")
    if models is not None and models.value.kind != "object":
        del wanted["models"]
    return editor.lay_over(entry, wanted, keep=("name", "npm"))


def _without_others(text: str, taken: Mapping[str, Exported]) -> tuple[str, set[str]]:
    """The text without the models that the catalogue does not have, and whose lists became shorter."""
    editor, shorter = _open(text), set()
    entries = _providers(editor)
    for id, provider in taken.items():
        models = entries[id].members.get("models")
        if models is None or models.value.kind != "object":
            continue
        known = {m.id for m in chat_models(provider)}
        gone = models.value.members.keys() - known
        if gone and known:  # a catalogue that is not known is not an empty one
            editor.remove(models.value, gone)
            shorter.add(id)
    return editor.result(), shorter
