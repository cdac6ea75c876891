"""The files that the older script `dump_models.py` wrote, byte for byte, from what a provider answered.

Pure: `outputs.Writer` brings the bytes to the disk. The format is kept for programs that read these files; it is
never the default. What is known of it, and how: docs/reference/outputs.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from nbllm.errors import ExportError, NbllmError, ProviderError, RedirectError, UnreachableError
from nbllm.foreign import one_line
from nbllm.providers.spec import AUTH_SCHEMES, ModelInfo, ProviderConfig

if TYPE_CHECKING:
    from nbllm.adapters.listing import Listed

FAILED_FILE = "failed_models.json"
CHUTES_FILE = "chutes_chutes.json"
FORMATS = ("json", "txt", "toml")

# Rows name the most common variable first; the script knew one each.
_KEY_VARIABLES = {
    "featherless": "FEATHERLESS_API_KEY",
    "gemini": "GOOGLE_API_KEY",
    "huggingface": "HUGGINGFACEHUB_API_TOKEN",
    "inference": "INFERENCENET_API_KEY",
    "morphllm": "MORPHLLM_API_KEY",
    "togetherai": "TOGETHERAI_API_KEY",
}
_CONTEXT = ("context_length", "context_window", "max_context_length", "max_tokens", "max_model_len")
_OUTPUT = ("max_completion_tokens", "max_output_tokens", "max_tokens_output")
_DOCUMENTATION = "sample_spec"
_NO_JSON = re.compile(r"it is (empty|a web page|not JSON)$")
"""The end of what `adapters.listing` says of an answer that is not JSON."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Dump:
    """The files of one provider."""

    files: Mapping[str, bytes]
    """Name to content: `models_NAME.json`, `.txt`, `.toml`, and `chutes_chutes.json` where there is one."""
    model_count: int
    """Ids in the txt file."""
    refused: tuple[str, ...] = ()
    """Why rows were left out, a sentence each."""


def dump(provider: ProviderConfig, listed: Listed) -> Dump:
    """What a provider answered, as the script wrote it.

    Of several pages the rows stand in the first one's envelope. Rows without a usable id are left out and said.

    Raises:
        ExportError: The answer is not kept, no listing, or cannot be written as text.
    """
    if not listed.pages:
        raise ExportError(
            f"{provider.id}: its own answer is not at hand, and this layout is made from it",
            hint="fetch it again with --force; `--layout plain` writes what is known",
        )
    answer, refused = _sound(_merged(provider, listed))
    ordered = _sorted(answer)
    details = _details(ordered, listed.models)
    ids = [id for id in _ids(ordered, details) if id]
    name = f"models_{provider.id}"
    try:
        files = {
            f"{name}.json": json.dumps(ordered, indent=2).encode(),
            f"{name}.txt": "\n".join(ids).encode(),
            f"{name}.toml": _toml(provider, ids, details),
        }
        if provider.id == "chutes" and listed.joined:
            files[CHUTES_FILE] = json.dumps(listed.joined[0], indent=2).encode()
    except RecursionError:
        raise ExportError(f"{provider.id}: its answer is nested too deeply to be written") from None
    return Dump(files, len(ids), refused)


# ---------------------------------------------------------------- the answer


def _merged(provider: ProviderConfig, listed: Listed) -> Any:
    """One payload. The script knew one page; rows of later ones follow, with what the last page says of the end."""
    first, last = listed.pages[0], listed.pages[-1]
    payload = first
    if len(listed.pages) > 1 and all(_rows_of(page) is not None for page in listed.pages):
        rows = [row for page in listed.pages for row in _rows_of(page) or ()]
        if isinstance(first, Mapping):
            ends = {k: last[k] for k in ("has_more", "last_id") if k in first and k in last}
            payload = {**first, **ends, "data": rows}
        else:
            payload = rows
    if provider.id == "chutes" and listed.joined:
        payload = with_chutes(payload, listed.joined[0])
    return payload


def _rows_of(payload: Any) -> list[Any] | None:
    rows = payload.get("data") if isinstance(payload, Mapping) else payload
    return rows if isinstance(rows, list) else None


def with_chutes(payload: Any, second: Any) -> Any:
    """Rows of Chutes' listing with what its other listing says of them, in the order the script added it.

    Joined on our `id` and its `name`; a row that the second listing lacks stays as it is.
    """
    items = second.get("items") if isinstance(second, Mapping) else None
    rows = _rows_of(payload)
    if not isinstance(items, list) or rows is None or not isinstance(payload, Mapping):
        return payload
    chutes = {c["name"]: c for c in items if isinstance(c, Mapping) and isinstance(c.get("name"), str) and c["name"]}
    joined = []
    for row in rows:
        id = row.get("id") if isinstance(row, Mapping) else None
        chute = chutes.get(id) if isinstance(id, str) else None
        joined.append({**row, **_chute_facts(chute)} if chute else row)
    return {**payload, "data": joined}


def _chute_facts(chute: Mapping[str, Any]) -> dict[str, Any]:
    facts = {
        "chute_id": chute.get("chute_id"),
        "tagline": chute.get("tagline", ""),
        "public": chute.get("public", True),
        "invocation_count": chute.get("invocation_count", 0),
        "hot": chute.get("hot", False),
    }
    price = chute.get("current_estimated_price")
    if isinstance(price, Mapping) and "per_million_tokens" in price:
        facts["chutes_pricing"] = price["per_million_tokens"]
    if "supported_gpus" in chute:
        facts["supported_gpus"] = chute["supported_gpus"]
    selector = chute.get("node_selector")
    if isinstance(selector, Mapping):
        facts |= {k: selector[k] for k in ("gpu_count", "min_vram_gb_per_gpu") if k in selector}
    instances = chute.get("instances")
    if isinstance(instances, list):
        facts["active_instances"] = sum(1 for i in instances if isinstance(i, Mapping) and i.get("active"))
        facts["total_instances"] = len(instances)
    return facts


def _sound(payload: Any) -> tuple[Any, tuple[str, ...]]:
    """The payload without rows that cannot be sorted or named, and why they are left out.

    Raises:
        ExportError: It is no listing.
    """
    rows = _rows_of(payload)
    if rows is None:
        if not isinstance(payload, Mapping) or not any(isinstance(v, Mapping | list) for v in payload.values()):
            raise ExportError("what came is no listing, so nothing was written")
        return payload, ()
    kept, refused = [], []
    for number, row in enumerate(rows, 1):
        if problem := _problem(row):
            refused.append(f"row {number} {problem}; it is left out")
        else:
            kept.append(row)
    return ({**payload, "data": kept} if isinstance(payload, Mapping) else kept), tuple(refused)


def _problem(row: Any) -> str | None:
    if not isinstance(row, Mapping):
        return "is no object"
    if "id" not in row:
        return None
    id = row["id"]
    if id is None:
        return "has a null id"
    if not isinstance(id, str):
        return f"has an id that is no text ({one_line(id, 40)})"
    if any("\ud800" <= c <= "\udfff" for c in id):
        return "has an id that UTF-8 cannot write"
    return None


def _sorted(payload: Any) -> Any:
    """Rows by id in the order of code points, stable; an object keyed by id by its keys."""
    rows = _rows_of(payload)
    if rows is None:
        return dict(sorted(payload.items()))
    ordered = sorted(rows, key=lambda row: row.get("id", ""))
    return {**payload, "data": ordered} if isinstance(payload, Mapping) else ordered


def _details(payload: Any, models: Iterable[ModelInfo]) -> dict[str, Any]:
    """Each id's own object; of rows with the same id the first counts."""
    found: dict[str, Any] = {}
    rows = _rows_of(payload)
    if rows is not None:
        for row in rows:
            found.setdefault(row.get("id", ""), row)
    elif all(isinstance(v, Mapping) for v in payload.values()):
        found = {id: row for id, row in payload.items() if id != _DOCUMENTATION}
    else:  # a shape that the script did not know, such as Gemini's own: the ids that were read from it
        for model in sorted(models, key=lambda m: m.id):
            found[model.id] = {"context_length": model.context, "max_completion_tokens": model.max_output}
    return found


def _ids(payload: Any, details: Mapping[str, Any]) -> list[str]:
    """In the order of the JSON file; the same id as often as it is listed."""
    rows = _rows_of(payload)
    return list(details) if rows is None else [row.get("id", "") for row in rows]


# ---------------------------------------------------------------- TOML


def _toml(provider: ProviderConfig, ids: Iterable[str], details: Mapping[str, Any]) -> bytes:
    import tomli_w  # noqa: PLC0415  (only this layout and `--format toml` need it)

    row = {"base_url": base_url(provider), "name": provider.id, "wire_api": "chat"}
    if variable := key_variable(provider):
        row["env_key"] = variable
    profiles: dict[str, Any] = {}
    for id in ids:
        # An id whose profile is called like an earlier one's takes its place: first position, last value.
        profiles[profile_name(provider.id, id)] = _profile(provider.id, id, details[id])
    return tomli_w.dumps({"model_providers": {provider.id: row}, "profiles": profiles}).encode()


def base_url(provider: ProviderConfig) -> str:
    """The address as the script wrote it. It took letters of `/models` off the end, one by one: `/code` became `/c`."""
    address = f"{provider.base_url}/v1" if provider.kind == "anthropic" else provider.base_url
    return address.rstrip("/models").rstrip("/")


def key_variable(provider: ProviderConfig) -> str | None:
    """The variable that the script read, where the row knows it; else the row's first."""
    older = _KEY_VARIABLES.get(provider.id)
    return older if older in provider.env else next(iter(provider.env), None)


def profile_name(provider_id: str, model_id: str) -> str:
    """Three letters of the provider, and at most twenty of the model."""
    plain = re.sub(r"[^A-Za-z0-9_]", "", re.sub(r"[/.-]", "_", model_id)).lower()
    return f"{provider_id[:3]}_{plain[:20]}"


def _profile(provider_id: str, model_id: str, row: Any) -> dict[str, Any]:
    profile: dict[str, Any] = {
        "approval_policy": "never",
        "model": model_id,
        "model_provider": provider_id,
        "model_reasoning_effort": "high",
    }
    facts = row if isinstance(row, Mapping) else {}
    context = next((facts[k] for k in _CONTEXT if facts.get(k)), None)
    output = next((facts[k] for k in _OUTPUT if facts.get(k)), None)
    if "top_provider" in facts:  # replaces both, also by nothing
        top = facts["top_provider"]
        top = top if isinstance(top, Mapping) else {}
        context, output = top.get("context_length"), top.get("max_completion_tokens")
    for name, value in (("model_context_window", context), ("model_max_output_tokens", output)):
        if (number := _int(value)) is not None:
            profile[name] = number
    return profile


def _int(value: Any) -> int | None:
    if not value or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


# ---------------------------------------------------------------- for people


def curl_line(provider: ProviderConfig, url: str) -> str:
    """How to ask by hand. The key stands in it as its variable; the user's own headers are left out.

    Args:
        url: Where the listing is.
    """
    address = re.sub(r'["$`\\\s]', lambda m: f"%{ord(m[0]):02X}", url)
    if provider.kind == "url":
        return f'curl "{address}" > models_{provider.id}.json'
    headers = []
    variable = key_variable(provider)
    template = AUTH_SCHEMES.get(provider.auth, provider.auth)
    if template and variable and _VARIABLE.fullmatch(variable):
        headers.append(re.sub(r'["$`\\]', "", template).replace("{key}", f"${variable}"))
    if provider.kind == "anthropic":
        headers.append("anthropic-version: 2023-06-01")
    return " ".join(["curl -s", *(f'-H "{h}"' for h in headers), f'"{address}" | jq'])


# ---------------------------------------------------------------- failed_models.json


@dataclass(frozen=True, slots=True)
class Event:
    """What `failed_models.json` has to learn of one provider."""

    provider: str
    error: str | None
    """The script's words; None: it answered."""
    date: str = ""
    """HTTP date of the answer."""
    at: datetime | None = None
    """Local time of the failure."""


def remembered(before: Mapping[str, Any], events: Iterable[Event]) -> dict[str, Any]:
    """The memory of failures after these events: a failure replaces an entry, a success touches one that is there."""
    after = dict(before)
    for event in events:
        entry = after.get(event.provider)
        if event.error is not None:
            moment = event.at or datetime.now()
            after[event.provider] = {"failed": True, "error": event.error, "last_attempt": moment.isoformat()}
        elif isinstance(entry, Mapping):
            after[event.provider] = {**entry, "failed": False, "last_success": event.date}
    return after


def error_text(error: NbllmError, url: str) -> str:
    """An error in the words of the script and of the HTTP library that it used.

    Args:
        url: What was asked; nothing secret may stand in it.
    """
    if isinstance(error, UnreachableError):
        return "" if error.phase == "timeout" else error.message
    if not isinstance(error, ProviderError) or error.status is None or 200 <= error.status < 300:
        return f"{'JSON decode' if _NO_JSON.search(error.message) else 'Unexpected'} error: {error.message}"
    kind = {1: "Informational response", 3: "Redirect response", 5: "Server error"}.get(error.status // 100)
    location = f"\nRedirect location: '{error.location}'" if isinstance(error, RedirectError) and error.location else ""
    return (
        f"Unexpected error: {kind or 'Client error'} '{error.status} {_phrase(error.status)}' for url '{url}'{location}"
        f"\nFor more information check: https://developer.mozilla.org/en-US/docs/Web/HTTP/Status/{error.status}"
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
