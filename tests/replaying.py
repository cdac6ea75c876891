"""Many providers behind one loopback server: recorded or hand-made listings, and every fault there can be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from model_server import Answers, ModelServer, Said, as_json, page, refusal
from nbllm.providers.registry import Registry
from nbllm.providers.spec import ProviderConfig
from nbllm.settings import ConfigFile, Paths, Settings

KEY_VARIABLE = "REPLAYED_KEY"
KEY = "local-key-0123456789"


@dataclass(frozen=True)
class Fault:
    """What a provider does instead of listing its models, and what is to be said of it."""

    said: Said
    kind: str
    status: int | None
    reason: str
    """Words of the reason."""


def _json(text: str) -> Said:
    return Said(200, text.encode(), {"Content-Type": "application/json"})


HANG_S = 60.0
FAULTS: Mapping[str, Fault] = {
    "401": Fault(refusal(401, "bad key"), "AuthenticationError", 401, "key"),
    "403": Fault(refusal(403, "not for you"), "AuthenticationError", 403, "403"),
    "404": Fault(Said(404, b"no such page"), "ModelNotFoundError", 404, "404"),
    "500": Fault(refusal(500, "broken inside"), "ServerError", 500, "broken inside"),
    "503": Fault(refusal(503, "closed for today"), "ServerError", 503, "closed for today"),
    "redirect": Fault(Said(301, b"", {"Location": "https://elsewhere.example/v1/models"}), "RedirectError", 301,
                      "elsewhere.example"),
    "html": Fault(page("Welcome"), "ProviderError", None, "listing"),
    "empty": Fault(Said(200, b"", {"Content-Type": "application/json"}), "ProviderError", None, "listing"),
    "error-body": Fault(as_json({"error": {"message": "no quota here", "code": 7}}), "ServerError", None, "no quota"),
    "old-error-body": Fault(as_json({"name": "NotFound", "message": "gone", "status_code": 404}),
                            "ModelNotFoundError", 404, "gone"),
    "not-utf-8": Fault(Said(200, b'{"data": [{"id": "\xff\xfe"}]}', {}), "ProviderError", None, "listing"),
    "huge": Fault(Said(200, b'{"data": ["' + b"x" * 100_000_000 + b'"]}', {}), "ProviderError", 200, "50 MB"),
    "hang": Fault(Said(200, b"{}", {}, after_s=HANG_S), "UnreachableError", None, "within"),
    "deep": Fault(_json("[" * 100_000), "ProviderError", None, "listing"),
    "odd-ids": Fault(_json('{"data": [{"id": 3}, {"id": null}, {"id": ["a"]}, {}]}'), "ProviderError", None, "listing"),
}  # fmt: skip


@dataclass(frozen=True)
class Listed:
    """What a provider answers, and how many models that is."""

    body: bytes
    count: int
    second: bytes | None = None
    """The answer of the second listing, where the row names one."""


def recorded(folder: Path) -> dict[str, Listed]:
    """The recorded listings, by provider; the counts are those of the files made from them back then."""
    found = {}
    for path in sorted(folder.glob("models_*.json")):
        lines = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
        found[path.stem.removeprefix("models_")] = Listed(path.read_bytes(), len(lines))
    return found | {"chutes": replace(found["chutes"], second=(folder / "chutes_chutes.json").read_bytes())}


def made_by_hand() -> dict[str, Listed]:
    """One small listing of each outer shape."""
    rows = [{"id": "a", "object": "model", "created": 0}, {"id": "b/c:d", "context_length": None}]
    shapes: dict[str, tuple[Any, int]] = {
        "openai": ({"object": "list", "data": rows}, 2),
        "anthropic": ({"data": [{"id": "c", "display_name": "C"}], "has_more": False}, 1),
        "togetherai": ([*rows, {"id": "e", "pricing": {"input": 0.2, "output": 0.4}}], 3),
        "gemini": ({"object": "list", "data": [{"id": "models/g"}]}, 1),
        "litellm": ({"sample_spec": {"mode": "one of chat"}, "x": {"mode": "chat"}, "y/z": {"mode": "chat"}}, 2),
    }
    return {id: Listed(json.dumps(payload).encode(), count) for id, (payload, count) in shapes.items()}


def rows(home: Path) -> list[ProviderConfig]:
    """The providers as a fresh home has them."""
    config = ConfigFile(Paths.from_environment({"NBLLM_HOME": str(home)}))
    return Registry(config, Settings(config, {})).all()


def _place(row: ProviderConfig, origin: str, name: str) -> tuple[str, str]:
    """A base URL for the row at `origin`, and the path at which its listing will be asked for."""
    tails = {"openai": ("/v1", "/models"), "anthropic": ("", "/v1/models"), "url": ("/list.json", ""),
             "gemini": ("/v1beta", "/models"), "ollama": ("", "/api/tags")}  # fmt: skip
    base, rest = tails[row.kind]
    return f"{origin}/{name}{base}", f"/{name}{base}{rest}"


@contextmanager
def replaying(home: Path, listings: Mapping[str, Listed], faults: Mapping[str, Fault]) -> Iterator[dict[str, str]]:
    """A server with all of it, and `config.toml` moved there; gives the provider that has each fault.

    Every other provider that could be asked is disabled, so that nothing leaves this machine.
    """
    answers: dict[str, Any] = {}
    with ModelServer(_Live(answers)) as server:
        known = rows(home)
        spare = [r for r in known if r.id not in listings and r.kind == "openai" and r.status in ("live", "unverified")
                 and r.models_need_key is not False and not r.local and r.auth != "none"]  # fmt: skip
        given = dict(zip(faults, (r.id for r in spare), strict=False))
        assert len(given) == len(faults), "more faults than providers to have them"
        moved = {i: Said(200, listed.body, {"Content-Type": "application/json"}) for i, listed in listings.items()}
        moved |= {given[name]: fault.said for name, fault in faults.items()}
        config = []
        for row in known:
            if row.id in moved:
                base, path = _place(row, server.origin, row.id)
                answers[path] = moved[row.id]
                if row.id in listings and (second := listings[row.id].second) is not None:
                    answers[urlsplit(row.listing.join_url or "").path] = Said(200, second)
                auth = "" if row.auth == "none" else f'env = ["{KEY_VARIABLE}"]\n'
                config.append(f'[providers.{row.id}]\nbase_url = "{base}"\n{auth}')
            elif row.kind != "demo" and (not row.needs_key or row.models_need_key is False):
                config.append(f"[providers.{row.id}]\nenabled = false\n")
        home.mkdir(parents=True, exist_ok=True)
        (home / "config.toml").write_text("\n".join(config), encoding="utf-8")
        yield given


class _Live(dict[str, Any]):
    """A view of answers that are written down after the server has started."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self._answers = answers

    def get(self, path: str, default: Any = None) -> Any:  # type: ignore[override]
        return self._answers.get(path, default)
