"""What the environment says about providers: addresses, model lists, whole providers without a file.

Which variables count:

- for a known provider `<ID>_BASE_URL`, every name in its `base_url_env`, and those that fill its `base_url_template`;
- `OPENAI_COMPATIBLE_BASE_URL` (with `_API_KEY` and `_MODEL_NAME`) defines the provider `openai-compatible`;
- an unknown `<ID>_BASE_URL` defines a provider of kind openai **only** when `<ID>_API_KEY`, `<ID>_API_KEY_FILE` or
  `<ID>_MODELS` is set beside it, so that a `FOO_BASE_URL` of some other program does not become one.

No value of a key is read here, only whether there is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from nbllm.foreign import one_line
from nbllm.providers import templates
from nbllm.providers.rows import Layer
from nbllm.providers.spec import ProviderConfig, env_id
from nbllm.providers.urls import path_of

COMPATIBLE = "openai-compatible"

_KEY_SUFFIXES = ("_API_KEY", "_API_KEY_FILE")
_WATCHED = ("_BASE_URL", "_MODELS")
_ALSO_WATCHED = frozenset({"MODELS", "OPENAI_COMPATIBLE_MODEL_NAME"})
_NO_OWN_VARIABLE = ("demo", "url")
"""Kinds whose address `<ID>_BASE_URL` does not move: LITELLM_BASE_URL is a proxy's, not the price list's."""


def fingerprint(environ: Mapping[str, str], more: Collection[str]) -> frozenset[tuple[str, str | None]]:
    """Changes when a variable that counts here does. Of keys only whether they are set."""
    seen: list[tuple[str, str | None]] = []
    for name in environ:
        if name.endswith(_WATCHED) or name in _ALSO_WATCHED or name in more:
            seen.append((name, environ.get(name)))
        elif name.endswith(_KEY_SUFFIXES):
            seen.append((name, None if environ.get(name) else ""))
    return frozenset(seen)


def value_of(environ: Mapping[str, str], name: str) -> str:
    """The value without blanks around it; empty when unset."""
    return (environ.get(name) or "").strip()


def address_variables(id: str, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Every variable that may give a provider its address, for fields as they stand in `providers.toml`."""
    named = _named(id, fields.get("kind", "openai"), fields.get("base_url_env", ()))
    return (*named, *templates.variables(fields.get("base_url_template", "")))


def _named(id: str, kind: str, base_url_env: Iterable[str]) -> tuple[str, ...]:
    """The variables that hold an address, the first that counts first."""
    own = () if kind in _NO_OWN_VARIABLE else (f"{env_id(id)}_BASE_URL",)
    return tuple(dict.fromkeys((*own, *base_url_env)))


def base_url_layer(row: ProviderConfig, environ: Mapping[str, str]) -> Layer | None:
    """The address that the environment gives a known provider, or None.

    Raises:
        RegistryError: A variable that fills a gap in the row's `base_url_template` does not fit.
    """
    for name in _named(row.id, row.kind, row.base_url_env):
        if text := value_of(environ, name):
            source = f"environment {name}"
            spelled = _spelled(name, text)
            added = _missing_path(spelled, row)
            remarks = (f"added {added}, which belongs to this provider's address",) if added else ()
            return Layer(source, {"base_url": spelled.rstrip("/") + added if added else spelled}, source, remarks)
    if row.base_url or row.base_url_template is None or row.status == "unsupported":
        return None
    source = f"environment {' '.join(templates.variables(row.base_url_template))}"
    address = templates.filled(row.base_url_template, environ)
    return Layer(source, {"base_url": address}, source) if address else None


def _spelled(name: str, text: str) -> str:
    """`OLLAMA_HOST` may be `0.0.0.0`, `:11434` or `box:11434`: plain http, and Ollama's own port."""
    if name != "OLLAMA_HOST" or "://" in text:
        return text
    host = text if not text.startswith(":") else f"127.0.0.1{text}"
    bare, _, path = host.partition("/")
    if not re.search(r":\d+$", bare) or (bare.count(":") > 1 and not bare.startswith("[")):
        bare = f"{bare}:11434"
    return f"http://{bare}/{path}" if path else f"http://{bare}"


def _missing_path(text: str, row: ProviderConfig) -> str:
    """Vendors' own variables hold the address without /v1 or /openai/v1, since their libraries add it."""
    if "?" in text or "#" in text:
        return ""
    path = (text.partition("://")[2] or text).partition("/")[2].strip("/")
    wanted = path_of(row.base_url) if row.base_url else templates.path(row.base_url_template or "")
    given = f"/{path}" if path else ""
    return wanted[len(given) :] if wanted != given and f"{wanted}/".startswith(f"{given}/") else ""


def defined_providers(environ: Mapping[str, str], claimed: Collection[str]) -> Iterator[tuple[str, Layer]]:
    """Providers that the environment alone defines; see the rule at the top.

    Args:
        claimed: Ids and variables that already belong to a provider.
    """
    if COMPATIBLE not in claimed and (text := value_of(environ, "OPENAI_COMPATIBLE_BASE_URL")):
        yield COMPATIBLE, _compatible(text, environ)
    for name in sorted(environ):
        stem = name.removesuffix("_BASE_URL")
        provider = id_of(stem)
        if stem == name or name in claimed or provider is None or provider in (*claimed, COMPATIBLE):
            continue
        keyed = any(value_of(environ, stem + suffix) for suffix in _KEY_SUFFIXES)
        models = value_of(environ, f"{stem}_MODELS")
        if (text := value_of(environ, name)) and (keyed or models):
            yield provider, _defined(stem, text, models, keyed=keyed)


def _compatible(text: str, environ: Mapping[str, str]) -> Layer:
    keyed = any(value_of(environ, f"OPENAI_COMPATIBLE{suffix}") for suffix in _KEY_SUFFIXES)
    models = value_of(environ, "OPENAI_COMPATIBLE_MODEL_NAME")
    layer = _defined("OPENAI_COMPATIBLE", text, models, keyed=keyed)
    return Layer(layer.source, {**layer.fields, "name": "OpenAI-compatible server"}, layer.where)


def _defined(stem: str, text: str, models: str, *, keyed: bool) -> Layer:
    source = f"environment {stem}_BASE_URL"
    fields: dict[str, Any] = {
        "kind": "openai",
        "base_url": text,
        "env": [f"{stem}_API_KEY"],
        "key_optional": not keyed,
        "models": _plain_ids(models),
    }
    return Layer(source, fields, source)


def _plain_ids(text: str) -> list[str]:
    try:
        return [item for item in parse_list(text) if isinstance(item, str)]
    except ValueError:  # said once, where the unified list is read
        return []


def id_of(stem: str) -> str | None:
    """The id whose variables start with `stem`: `Z_AI` is z-ai, `LLM_302AI` is 302ai. None: not an id."""
    if re.match(r"LLM_[0-9]", stem):
        stem = stem.removeprefix("LLM_")
    elif stem[:1].isdigit():
        return None
    if not re.fullmatch(r"[A-Z0-9][A-Z0-9_]*", stem):
        return None
    provider = stem.lower().replace("_", "-")
    return None if provider.endswith("-") else provider


def parse_list(text: str) -> list[Any]:
    """A JSON array, or items separated by commas.

    Raises:
        ValueError: It starts like JSON and is none.
    """
    text = text.strip()
    if text.startswith("["):
        try:
            return list(json.loads(text))
        except RecursionError as exc:
            raise ValueError("lists in lists without end") from exc
    return [item.strip() for item in text.split(",") if item.strip()]


def ref_of(item: Any) -> tuple[str, str]:
    """Provider and model of one item of the unified list.

    Raises:
        ValueError: It is neither `"provider/model"` nor an object with `provider` and `model`.
    """
    if isinstance(item, Mapping):
        provider, model = item.get("provider"), item.get("model")
    else:
        provider, slash, model = str(item).partition("/")
        model = model if slash else None
    if not (isinstance(provider, str) and isinstance(model, str) and provider.strip() and model.strip()):
        raise ValueError(f"{one_line(item, 60)!r} is not provider/model")
    return provider.strip(), model.strip()
