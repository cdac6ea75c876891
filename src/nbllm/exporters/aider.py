"""aider: what is known of models in `.aider.model.metadata.json`, how to reach them in `.aider.model.settings.yml`.

aider asks through litellm. Providers that litellm knows by a prefix need facts only; others are reached by litellm's
`hosted_vllm`, which speaks OpenAI's format to any address. Not by `openai`: that would send the key of OpenAI's
variable to whatever address stands there.
aider.chat/docs/config/adv-model-settings.html and aider.chat/docs/llms.html, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbllm.errors import ExportError
from nbllm.exporters.base import Exported, Merged, Places, Strategy
from nbllm.exporters.entries import Container, Entry
from nbllm.exporters.jsonc import Editor, JsoncError, dumps
from nbllm.exporters.offered import chat_models, key_header, no_way
from nbllm.exporters.shared import headers_step, merge_models, per_token, sees_images, sequence_text
from nbllm.providers.spec import ModelInfo

_NATIVE = {
    "openai": ("openai", "OPENAI_API_KEY", "https://api.openai.com/v1"),
    "anthropic": ("anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com"),
    "google": ("gemini", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta"),
    "groq": ("groq", "GROQ_API_KEY", "https://api.groq.com/openai/v1"),
    "xai": ("xai", "XAI_API_KEY", "https://api.x.ai/v1"),
    "deepseek": ("deepseek", "DEEPSEEK_API_KEY", "https://api.deepseek.com"),
    "openrouter": ("openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1"),
    "ollama": ("ollama_chat", None, "http://127.0.0.1:11434"),
}
"""Id to litellm's prefix, the variable it reads the key from, and the address it goes to by itself."""
_SETTINGS = Container(None, "sequence", ("name",), ("extra_params", "model"))
_HEAD = ("# Written by nbllm. No key stands here: aider --model NAME needs it in HOSTED_VLLM_API_KEY.",)
_ELSEWHERE = "hosted_vllm"
_VARIABLE = "HOSTED_VLLM_API_KEY"


class Aider:
    """The exporter of aider: the facts. Its companion writes the settings."""

    tool = "aider"
    extension = ".json"
    legacy = None

    @property
    def companions(self) -> tuple[AiderSettings, ...]:
        """Who writes the second file."""
        return (AiderSettings(),)

    def refuses(self, provider: Exported) -> str | None:
        """Why aider cannot have it."""
        return _refusal(provider)

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file."""
        return dumps(_facts_of(providers))

    def locate(self, places: Places) -> Path:
        """In the home folder; aider also looks at the root of the repository and in the folder where it is started."""
        return places.home / ".aider.model.metadata.json"

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """Entries by `PREFIX/MODEL`.

        Raises:
            ExportError: It is not JSON, or an entry of it is no object.
        """
        wanted = _facts_of(providers)
        if not text.strip():
            return Merged(dumps(wanted) if wanted else text, added=tuple(wanted))
        editor = _open(text)
        removed: list[str] = []
        if strategy == "replace":
            known = {name for facts in wanted.values() for name in facts} | set(_FIELDS)
            removed = [
                k for k in _unwanted(editor.root.members, wanted, providers)
                if editor.root.members[k].value.members.keys() <= known
            ]  # fmt: skip
            editor.remove(editor.root, removed)
            editor = _open(editor.result())
        there = editor.root.members
        updated = []
        if strategy != "add":
            updated = [k for k, v in wanted.items() if k in there and editor.lay_over(there[k].value, v)]
        added = {k: v for k, v in wanted.items() if k not in there}
        editor.insert(editor.root, added)
        kept = tuple(k for k in wanted if k in there and k not in updated)
        return Merged(editor.result(), tuple(added), tuple(updated), kept, tuple(removed))

    def next_steps(self, providers: Sequence[Exported]) -> Sequence[str]:
        """How to start aider, a provider each."""
        taken = [p for p in providers if _refusal(p) is None]
        return [*(step for p in taken if (step := _start(p))), *headers_step(taken)]


class AiderSettings:
    """The second file of aider: where to reach models that litellm does not know by a prefix."""

    tool = "aider"
    extension = ".yml"
    legacy = None
    file_name = ".aider.model.settings.yml"

    def refuses(self, provider: Exported) -> str | None:
        """As the first file."""
        return _refusal(provider)

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file; "" when every provider is known to litellm."""
        entries = _settings_of(providers)
        return sequence_text(_HEAD, None, entries) if entries else ""

    def locate(self, places: Places) -> Path:
        """Beside the first file."""
        return places.home / self.file_name

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """Items by `name`.

        Raises:
            ExportError: It is not YAML, or no list.
        """
        entries = _settings_of(providers)
        if not text.strip():
            return Merged(self.render(providers) if entries else text, added=tuple(e.label for e in entries))
        return merge_models(text, entries, _known(providers), strategy, _SETTINGS)

    def next_steps(self, providers: Sequence[Exported]) -> Sequence[str]:
        """Said by the first file."""
        return []


# ---------------------------------------------------------------- how litellm reaches a provider


def _refusal(provider: Exported) -> str | None:
    if reason := no_way(provider):
        return reason
    if _prefix(provider) is not None:
        return None
    row, header = provider.config, key_header(provider)
    if row.kind != "openai":
        return f"aider knows no way to another address in the format {row.kind}"
    if header and header != ("Authorization", "Bearer {key}"):
        return f"its key goes out as `{header[0]}: {header[1]}`, which aider cannot send"
    return None


def _prefix(provider: Exported) -> str | None:
    """litellm's own prefix, where key and address are those that it takes by itself."""
    prefix, variable, base_url = _NATIVE.get(provider.config.id, (None, None, None))
    same = provider.config.base_url == base_url and provider.key_env == variable
    return prefix if same else None


def _name(provider: Exported, model: ModelInfo) -> str:
    return f"{_prefix(provider) or provider.config.id}/{model.id}"


def _start(provider: Exported) -> str | None:
    models = chat_models(provider)
    if not models:
        return None
    command = f"aider --model '{_name(provider, models[0])}'"
    if _prefix(provider) is None and provider.key_env:
        return f'{_VARIABLE}="${provider.key_env}" {command}'
    return command


def _settings_of(providers: Sequence[Exported]) -> list[Entry]:
    found: dict[str, Entry] = {}
    for provider in providers:
        if _refusal(provider) or _prefix(provider):
            continue
        for model in chat_models(provider):
            name = _name(provider, model)
            there = {"model": f"{_ELSEWHERE}/{model.id}", "api_base": provider.config.base_url}
            found.setdefault(name, Entry(name, {"name": name, "extra_params": there}))
    return list(found.values())


# ---------------------------------------------------------------- facts, in litellm's words

_FIELDS = (
    "max_tokens", "max_input_tokens", "max_output_tokens", "input_cost_per_token", "output_cost_per_token",
    "cache_read_input_token_cost", "cache_creation_input_token_cost", "supports_function_calling", "supports_vision",
    "supports_reasoning", "litellm_provider", "mode",
)  # fmt: skip


def _facts_of(providers: Sequence[Exported]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for provider in providers:
        if _refusal(provider) is None:
            for model in chat_models(provider):
                found.setdefault(_name(provider, model), _facts(provider, model))
    return found


def _facts(provider: Exported, model: ModelInfo) -> dict[str, Any]:
    values = (
        model.max_output, model.max_input or model.context, model.max_output, _price(model.input_price),
        _price(model.output_price), _price(model.cached_input_price), _price(model.cache_write_price),
        model.tools, sees_images(model), model.reasoning, _prefix(provider) or _ELSEWHERE, "chat",
    )  # fmt: skip
    return {k: v for k, v in zip(_FIELDS, values, strict=True) if v is not None}


def _price(usd_per_mtok: float | None) -> float | None:
    exact = per_token(usd_per_mtok)
    return None if exact is None else float(exact)


def _known(providers: Sequence[Exported]) -> list[Exported]:
    """Those whose models are known: a catalogue that is not known is not an empty one."""
    return [p for p in providers if _refusal(p) is None and chat_models(p)]


def _unwanted(there: Mapping[str, Any], wanted: Mapping[str, Any], providers: Sequence[Exported]) -> list[str]:
    """Names under our prefixes that the catalogue does not have."""
    prefixes = tuple(f"{_prefix(p) or p.config.id}/" for p in _known(providers))
    return [name for name in there if name.startswith(prefixes) and name not in wanted]


def _open(text: str) -> Editor:
    try:
        editor = Editor(text)
    except JsoncError as exc:
        raise ExportError(f"it is not JSON ({exc})", hint="correct that line and try again") from None
    if editor.root.kind != "object" or any(m.value.kind != "object" for m in editor.root.members.values()):
        raise ExportError("it is not an object of objects", hint="name another file with --file")
    return editor
