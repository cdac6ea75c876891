"""Which model servers run on this machine.

Usual ports, and those of the registry's local rows, are asked at the same time, on loopback only, without a key,
through no proxy, following no redirect. A server is known by its answer, since 8000 and 8080 are often something else;
the port decides only between servers whose answers look alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nbllm.providers.spec import ProviderConfig
from nbllm.providers.urls import is_loopback

if TYPE_CHECKING:
    import httpx2

TIMEOUT_S = 0.3
"""Seconds for each server; a closed port on this machine answers at once."""
_CAP = 2_000_000
_SHOWN = 1000

_NAMES = {
    "ollama": "Ollama",
    "lmstudio": "LM Studio",
    "llamacpp": "llama.cpp server",
    "llamafile": "llamafile",
    "vllm": "vLLM server",
    "jan": "Jan",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A model server on this machine."""

    id: str
    """The provider id to use or add: a row's where one fits, else `local-PORT`."""
    kind: str
    base_url: str
    name: str
    models: tuple[str, ...]
    wants_key: bool


@dataclass(frozen=True, slots=True)
class _Probe:
    base_url: str
    kind: str
    ids: tuple[str, ...]
    """Rows that expect their server here, most likely first."""

    @property
    def url(self) -> str:
        return f"{self.base_url}/api/tags" if self.kind == "ollama" else f"{self.base_url}/models"


_USUAL = (
    _Probe("http://127.0.0.1:11434", "ollama", ("ollama",)),
    _Probe("http://127.0.0.1:1234/v1", "openai", ("lmstudio",)),
    _Probe("http://127.0.0.1:8080/v1", "openai", ("llamacpp",)),
    _Probe("http://127.0.0.1:8000/v1", "openai", ("vllm",)),
    _Probe("http://127.0.0.1:1337/v1", "openai", ("jan",)),
)


async def discover(
    rows: Iterable[ProviderConfig] = (), *, timeout_s: float = TIMEOUT_S, usual: bool = True
) -> list[Found]:
    """Look for model servers on this machine.

    Args:
        rows: The registry's rows; those that are local and have a loopback address are asked too.
        timeout_s: Seconds for each.
        usual: Whether the usual ports are asked.
    """
    import httpx2  # noqa: PLC0415  (only for the one who looks)

    rows = list(rows)
    names = _NAMES | {row.id: row.title for row in rows if row.name}
    probes = _merge([*(_USUAL if usual else ()), *_from_rows(rows)])
    # verify: every address is plain http, and a TLS context costs 20 ms.
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False, verify=False) as client:
        found = await asyncio.gather(*(_ask(client, p, names, timeout_s) for p in probes))
    return [f for f in found if f is not None]


def _from_rows(rows: Iterable[ProviderConfig]) -> list[_Probe]:
    return [
        _Probe(row.base_url.rstrip("/"), "ollama" if row.kind == "ollama" else "openai", (row.id,))
        for row in rows
        if row.local and row.gguf is None and row.kind in ("openai", "url", "ollama") and _is_here(row.base_url)
    ]


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and is_loopback(parts.hostname or "")


def _merge(probes: list[_Probe]) -> list[_Probe]:
    """One question a server, however many rows expect it there."""
    ids: dict[tuple[str, str], dict[str, None]] = {}
    for probe in probes:
        ids.setdefault((probe.base_url, probe.kind), {}).update(dict.fromkeys(probe.ids))
    return [_Probe(base_url, kind, tuple(known)) for (base_url, kind), known in ids.items()]


async def _ask(client: httpx2.AsyncClient, probe: _Probe, names: Mapping[str, str], timeout_s: float) -> Found | None:
    import httpx2  # noqa: PLC0415  (as above)

    with contextlib.suppress(TimeoutError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL):
        async with asyncio.timeout(timeout_s), client.stream("GET", probe.url) as response:
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _CAP:
                    return None
            return judge(probe, response.status_code, response.headers, bytes(body), names)
    return None


def judge(
    probe: _Probe, status: int, headers: Mapping[str, str], body: bytes, names: Mapping[str, str]
) -> Found | None:
    """Whether this is the answer of a model server, and of which."""
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        return None
    server = headers.get("server", "").lower()
    if status in (401, 403):
        if not _wants_key(payload, server):
            return None
        models: tuple[str, ...] | None = ()
    elif status == 200:
        models = _ollama_models(payload) if probe.kind == "ollama" else _openai_models(payload)
    else:
        return None
    if models is None:
        return None
    id = _which(probe, payload, server)
    name = names.get(id, "a server for OpenAI's format")
    return Found(id, probe.kind, probe.base_url, name, models[:_SHOWN], wants_key=status != 200)


def _wants_key(payload: Any, server: str) -> bool:
    """A refusal as model servers write it; a login page or another program's 401 looks different."""
    if "llama.cpp" in server or "llamafile" in server:
        return True
    return isinstance(payload, dict) and isinstance(payload.get("error"), (dict, str))


def _openai_models(payload: Any) -> tuple[str, ...] | None:
    """The ids, or None when this is no listing. Empty ones have to say that they are a list."""
    if not isinstance(payload, dict) or not isinstance(payload.get("data"), list):
        return None
    rows = payload["data"]
    if not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
        return None
    is_list = payload.get("object") == "list" or (rows and all(row.get("object") == "model" for row in rows))
    return tuple(row["id"] for row in rows) if is_list else None


def _ollama_models(payload: Any) -> tuple[str, ...] | None:
    if not isinstance(payload, dict) or not isinstance(payload.get("models"), list):
        return None
    names = [row.get("name") or row.get("model") for row in payload["models"] if isinstance(row, dict)]
    known = tuple(name for name in names if isinstance(name, str))
    return known if len(known) == len(payload["models"]) else None


def _which(probe: _Probe, payload: Any, server: str) -> str:
    """The id that fits: by what the answer says of itself, else by who is expected at this port."""
    if probe.kind == "ollama":
        return probe.ids[0]
    said = _says(payload, server)
    if said is not None:
        return said
    # vLLM and llama.cpp say who they are; someone silent at their ports is someone else.
    silent = [id for id in probe.ids if id not in ("vllm", "llamacpp", "llamafile")]
    if silent:
        return silent[0]
    return probe.ids[0] if _is_refusal(payload) else f"local-{urlsplit(probe.base_url).port or 80}"


def _says(payload: Any, server: str) -> str | None:
    rows = payload.get("data") if isinstance(payload, dict) else None
    owners = {str(row.get("owned_by", "")).lower() for row in rows or () if isinstance(row, dict)}
    if "llamafile" in server:
        return "llamafile"
    if "llama.cpp" in server or "llamacpp" in owners:
        return "llamacpp"
    return "vllm" if "vllm" in owners else None


def _is_refusal(payload: Any) -> bool:
    return isinstance(payload, dict) and "error" in payload
