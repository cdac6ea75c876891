"""codex: `config.toml` in `$CODEX_HOME`, one table `[model_providers.ID]` a provider.

Since February 2026 codex speaks the Responses API and nothing else, so only providers known to serve it are written.
It refuses keys it does not know. Models are not part of the file: one is chosen by `-m`, or in a profile, which is a
file of its own beside it (`NAME.config.toml`, since 0.134); `render` writes that kind.
developers.openai.com/codex/config-advanced and openai/codex, codex-rs/model-provider-info, read 2026-11-21.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbllm.errors import ExportError
from nbllm.exporters.base import Exported, Merged, Places, Strategy
from nbllm.exporters.offered import chat_models, key_header, no_way, with_version
from nbllm.exporters.shared import headers_step

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

RESPONSES: Mapping[str, str] = {
    "openai": "platform.openai.com/docs/api-reference/responses, read 2026-11-21",
    "openrouter": "openrouter.ai/docs/api_reference/responses/basic-usage (beta), read 2026-11-21",
    "groq": "console.groq.com/docs/responses-api (beta, keeps no state), read 2026-11-21",
    "xai": "docs.x.ai/docs/guides/chat, read 2026-11-21",
    "ollama": "docs.ollama.com/api/openai-compatibility (since 0.13.3, keeps no state), read 2026-11-21",
    "ollama-cloud": "docs.ollama.com/api/openai-compatibility, read 2026-11-21",
    "lmstudio": "lmstudio.ai/blog/lmstudio-v0.3.29 (since 0.3.29), read 2026-11-21",
    "vllm": "docs.vllm.ai/en/stable/serving/online_serving, read 2026-11-21",
    "llamacpp": "github.com/ggml-org/llama.cpp/pull/18486 (since 2026-01-22, in part), read 2026-11-21",
}
"""Providers known to serve `/v1/responses`, and from where that is known. The quirk `responses` of a row wins."""

_RESERVED = ("openai", "ollama", "lmstudio", "amazon-bedrock")
"""Ids that codex keeps for itself and refuses in the file."""
_KEYS = (
    "env_key",
    "env_http_headers",
    "http_headers",
    "experimental_bearer_token",
    "auth",
    "aws",
    "requires_openai_auth",
)
"""Ways to a key; codex refuses some of them beside each other."""


class Codex:
    """The exporter of codex."""

    tool = "codex"
    extension = ".toml"
    legacy = None
    lists_models = False

    def refuses(self, provider: Exported) -> str | None:
        """Why codex cannot have it: most often, it is not known to serve the Responses API."""
        row = provider.config
        if reason := no_way(provider):
            return reason
        if row.kind not in ("openai", "ollama"):
            return f"codex speaks OpenAI's Responses API, it speaks {row.kind}'s format"
        if not row.quirk("responses", row.id in RESPONSES):
            return "it is not known to serve /v1/responses, the only format that codex speaks"
        header = key_header(provider)
        if header and header[1] not in ("{key}", "Bearer {key}"):
            return f"its key goes out as `{header[0]}: {header[1]}`, which codex cannot send"
        return None

    def render(self, providers: Sequence[Exported]) -> str:
        """A new file. With one provider it is a profile, and names the models that `-m` may choose."""
        taken = [p for p in providers if self.refuses(p) is None]
        lines: list[str] = []
        if len(taken) == 1:
            lines += _profile(taken[0])
        for provider in taken:
            lines += [*([""] if lines else []), *_table(provider)]
        return "\n".join(lines) + "\n"

    def locate(self, places: Places) -> Path:
        """`config.toml` in `$CODEX_HOME`, else in `~/.codex`."""
        home = places.environ.get("CODEX_HOME")
        return (Path(home) if home else places.home / ".codex") / "config.toml"

    def merge(self, text: str, providers: Sequence[Exported], strategy: Strategy = "add") -> Merged:
        """Add tables at the end; `update` and `replace` refresh address and format of those that are there.

        Raises:
            ExportError: It is not TOML, `model_providers` is no table, or it cannot be changed without harm.
        """
        before = _parse(text)
        there = before.get("model_providers", {})
        if not isinstance(there, dict) or not all(isinstance(v, dict) for v in there.values()):
            raise ExportError("`model_providers` is not a table of tables", hint="put the file right and try again")
        taken = {_id(p): p for p in providers if self.refuses(p) is None}
        added = {k: _fields(p) for k, p in taken.items() if k not in there}
        changed: dict[str, dict[str, Any]] = {}
        if strategy != "add":
            fresh = {k: _refreshed(there[k], _fields(p)) for k, p in taken.items() if k in there}
            changed = {k: v for k, v in fresh.items() if v}
        if changed:
            text = _edited(text, changed)
        if added:
            text = _appended(text, [taken[k] for k in added])
        return Merged(
            text,
            added=tuple(added),
            updated=tuple(changed),
            kept=tuple(k for k in taken if k in there and k not in changed),
        )

    def next_steps(self, providers: Sequence[Exported]) -> Sequence[str]:
        """How to start codex with them."""
        taken = [p for p in providers if self.refuses(p) is None]
        return [*(f"codex -c model_provider={_id(p)} -m MODEL" for p in taken), *headers_step(taken)]


def _id(provider: Exported) -> str:
    """The id in the file. A reserved one is not left out, since its address or key may be another than codex's own."""
    return f"nbllm-{provider.config.id}" if provider.config.id in _RESERVED else provider.config.id


def _fields(provider: Exported) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": provider.config.title,
        "base_url": with_version(provider),
        "wire_api": "responses",
    }
    header = key_header(provider)
    if provider.key_env and header:
        if header[1] == "Bearer {key}":
            fields["env_key"] = provider.key_env
        else:
            fields["env_http_headers"] = {header[0]: provider.key_env}
    return fields


def _refreshed(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that differ; the name and whatever has to do with the key stay the user's.

    Beside a key of the user's own the address stays too: that key must not go to another host than it was put for.
    """
    keys = {k: there[k] for k in _KEYS if k in there}
    fields = {k: wanted[k] for k in ("base_url", "wire_api") if there.get(k) != wanted[k]}
    if not keys:
        fields |= {k: wanted[k] for k in _KEYS if k in wanted}
    elif keys != {k: wanted[k] for k in _KEYS if k in wanted}:
        fields.pop("base_url", None)
    return fields


# ---------------------------------------------------------------- text


def _profile(provider: Exported) -> list[str]:
    lines = [
        f"# Profile of codex: save it as {_id(provider)}.config.toml in $CODEX_HOME (else ~/.codex), then run",
        f"#   codex --profile {_id(provider)} -m MODEL",
        f"model_provider = {_written(_id(provider))}",
    ]
    models = chat_models(provider)
    if models:
        lines += ["", "# One of these may be made the profile's own:"]
    for model in models:
        lines.append(f"# model = {_written(model.id)}")
        if model.context is not None:
            lines.append(f"# model_context_window = {model.context}")
    return lines


def _table(provider: Exported) -> list[str]:
    return [f"[model_providers.{_id(provider)}]", *(f"{k} = {_written(v)}" for k, v in _fields(provider).items())]


def _written(value: Any) -> str:
    from tomlkit import inline_table, item  # noqa: PLC0415  (30 ms, and only writers need it)

    if isinstance(value, dict):
        table = inline_table()
        table.update(value)
        return table.as_string()
    return str(item(value).as_string())


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ExportError(f"it is not valid TOML ({exc})", hint="correct that line and try again") from None


def _appended(text: str, providers: Sequence[Exported]) -> str:
    """New tables behind everything else; where that is not allowed (an inline table), inside."""
    wanted = {_id(p): _fields(p) for p in providers}
    blocks = "\n\n".join("\n".join(_table(p)) for p in providers) + "\n"
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    new = f"{text}{gap}{blocks}"
    return new if _holds(new, text, wanted) else _edited(text, wanted)


def _edited(text: str, wanted: Mapping[str, Mapping[str, Any]]) -> str:
    """The text with fields set in tables that are there, by tomlkit."""

    def change(document: TOMLDocument) -> None:
        providers: Any = document["model_providers"]
        for id, fields in wanted.items():
            if id not in providers:
                providers[id] = dict(fields)
            else:
                for key, value in fields.items():
                    providers[id][key] = value

    new = _with_tomlkit(text, change)
    if new is None or not _holds(new, text, wanted):
        raise ExportError(
            "its tables are written in a way that cannot be changed without harm to the rest",
            hint="write each provider as a table [model_providers.ID] of its own",
        )
    return new


def _with_tomlkit(text: str, change: Callable[[TOMLDocument], None]) -> str | None:
    import tomlkit  # noqa: PLC0415  (30 ms, and only writers need it)
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        document = tomlkit.parse(text)
        if tomlkit.dumps(document) != text:
            return None
        change(document)
        return tomlkit.dumps(document)
    except (TOMLKitError, KeyError, TypeError, ValueError, AttributeError):  # it stumbles over tables out of order
        return None


def _holds(new: str, old: str, wanted: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether `new` says what `old` said and the wanted fields, and nothing else."""
    try:
        expected, found = tomllib.loads(old), tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        return False
    providers = expected.setdefault("model_providers", {})
    for id, fields in wanted.items():
        providers.setdefault(id, {}).update(fields)
    return expected == found
