"""What the provider panel shows, as plain data: no key, no header's value, only what JSON can say."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nbllm.catalog.listings import with_added
from nbllm.catalog.marking import with_own
from nbllm.catalog.metadata import enriched
from nbllm.connection.discover import Found
from nbllm.connection.result import STAGES, StageResult
from nbllm.credentials.typed import holds_key
from nbllm.errors import RegistryError
from nbllm.foreign import one_line
from nbllm.providers.readiness import hindrance, lacking
from nbllm.providers.spec import AUTH_SCHEMES, KINDS, ModelInfo, ProviderConfig, RateLimit, checked_auth
from nbllm.providers.urls import check_url

if TYPE_CHECKING:
    from nbllm.workspace import Workspace

_EDITED = ("name", "kind", "base_url", "models_url", "env", "auth", "params", "rate_limit", "confirmed_http")
"""The fields that the panel edits as they are; of `headers` it knows the names only."""
_LONG = 2000


def stamp(workspace: Workspace) -> object:
    """Something that is equal while nothing has changed that the list shows."""
    paths = workspace.paths
    folders = [_modified(paths.cache_dir / name) for name in ("checks", "listings")]
    with workspace.registry.held():
        keys = tuple(_key(workspace, row)["source"] for row in workspace.registry.all())
    return (workspace.config.stamp(), *folders, keys, workspace.settings["model"], workspace.marks.read())


def _modified(folder: Any) -> float | None:
    try:
        return float(folder.stat().st_mtime)
    except OSError:
        return None


def state(workspace: Workspace) -> dict[str, Any]:
    """The list of providers and what stands around it."""
    with workspace.registry.held():
        return _state(workspace)


def _state(workspace: Workspace) -> dict[str, Any]:
    overview, registry = workspace.overview, workspace.registry
    usable = set(overview.usable_ids())
    marked = workspace.marks.read()
    loved = Counter(ref.partition("/")[0] for ref in marked.favourites)
    rows = []
    for row in overview.table(every=True).rows:
        config = registry.get(row["id"])
        more = {"local": config.local, "own": registry.is_own(row["id"]), "usable": row["id"] in usable,
                "favourites": loved[row["id"]]}  # fmt: skip
        rows.append({**row, **more, "note": config.note})
    return {
        "rows": rows,
        "default_model": workspace.settings["model"],
        "news": [one_line(line, 500) for line in (*workspace.news(), *registry.problems())],
        "kinds": [k for k in KINDS if k != "demo"],
        "auth": list(AUTH_SCHEMES),
        "stages": list(STAGES),
        "groups": list(marked.groups),
        "marks": zlib.crc32(repr(marked).encode()),  # the browser asks for the models again when it has changed
        "vault": workspace.credentials.wants_passphrase,
        "public": bool(workspace.settings.environ.get("BINDER_SERVICE_HOST")),
    }


def _key(workspace: Workspace, row: ProviderConfig) -> dict[str, Any]:
    status = workspace.credentials.status(row, workspace.registry.key_variables(row.id))
    # What a hub starts a server with cannot be changed from here, and is often the hub's own key.
    hub = status.source == "environment" and "JUPYTERHUB_SERVICE_PREFIX" in workspace.settings.environ
    return {"source": status.source, "name": status.name, "note": status.note, "hub": hub}


def detail(workspace: Workspace, provider_id: str) -> dict[str, Any]:
    """One provider, all fields that the panel shows or edits."""
    row = workspace.registry.get(provider_id)
    listing = workspace.overview.known(row)
    why, sources = hindrance(row), workspace.registry.sources(provider_id)
    return {
        "fields": row.model_dump(mode="json", include=set(_EDITED)),
        "headers": list(row.headers),
        "lacking": list(lacking(row)),
        "hindrance": None if why is None else {"message": why.message, "hint": why.hint},
        "template": row.base_url_template,
        # What is known of its keys is known of those for its own address.
        "key_prefix": row.quirk("key_prefix", []) if sources.get("base_url") == "bundled" else [],
        "sources": sources,
        "remarks": list(workspace.registry.remarks(provider_id)),
        "key": _key(workspace, row),
        "env": list(row.env),
        "doc": row.doc,
        "note": row.note,
        "status": row.status,
        "gguf": row.gguf,
        "takes_key": row.auth != "none" and not row.gguf,
        "own": workspace.registry.is_own(provider_id),
        "by_hand": [m.id for m in row.models],
        "model_count": len(listing.models) if listing.models or listing.age_s is not None else None,
        "models_age_s": listing.age_s,
    }


def fields_of(workspace: Workspace, provider_id: str) -> dict[str, Any]:
    """What a duplicate of a provider starts with. Not its headers, whose values may be secret."""
    row = workspace.registry.get(provider_id)
    kept = ("kind", "base_url", "models_url", "env", "auth", "params", "extra_body", "rate_limit", "confirmed_http")
    dumped = row.model_dump(mode="json", exclude_defaults=True, include=set(kept))
    return {**dumped, "name": f"{row.title} (copy)"}


def models(workspace: Workspace, provider_id: str, known: Sequence[ModelInfo]) -> list[dict[str, Any]]:
    """A provider's models as the panel lists them."""
    marked = workspace.marks.read()
    row = workspace.registry.get(provider_id)
    added = with_own(row, marked)
    known = with_added(added, tuple(known))
    loved = set(marked.favourites)
    groups: dict[str, list[str]] = {}
    for name, refs in marked.groups.items():
        for ref in refs:
            groups.setdefault(ref, []).append(name)
    by_hand = {m.id for m in (added if workspace.registry.is_own(provider_id) else with_own(_bare(row), marked)).models}
    return [
        {
            "ref": m.ref, "id": m.id, "name": m.name, "type": m.type, "context": m.context or m.max_input,
            "input_price": m.input_price, "output_price": m.output_price, "tools": m.tools,
            "reasoning": m.reasoning, "vision": _takes_images(m), "by_hand": m.id in by_hand,
            "json": m.structured_output, "favourite": m.ref in loved, "groups": groups.get(m.ref, []),
        }
        for m in enriched(added, known, workspace.knowledge)
    ]  # fmt: skip


def _bare(row: ProviderConfig) -> ProviderConfig:
    """A row without the models that came with it."""
    return row.model_copy(update={"models": ()})


def _takes_images(model: ModelInfo) -> bool | None:
    return None if model.input_modalities is None else "image" in model.input_modalities


def stage(result: StageResult) -> dict[str, Any]:
    """One stage of a test."""
    return {"stage": result.stage, "ok": result.ok, "ms": result.ms, "detail": result.detail, "hint": result.hint,
            "fix": result.fix, "retry_after_s": result.retry_after_s}  # fmt: skip


def server(found: Found, *, known: bool) -> dict[str, Any]:
    """A server of this machine, and whether a row stands for it already."""
    return {"id": found.id, "name": found.name, "base_url": found.base_url, "kind": found.kind,
            "models": list(found.models[:5]), "model_count": len(found.models), "wants_key": found.wants_key,
            "known": known}  # fmt: skip


# ---------------------------------------------------------------- while typing


def judge(workspace: Workspace, typed: Mapping[str, Any]) -> dict[str, Any]:
    """What is wrong with the fields typed so far: `problems` by field, and `repairs` that are offered.

    Args:
        workspace: Knows which ids are taken.
        typed: `id`, `new`, and `fields` as they stand in the form.
    """
    fields = dict(typed.get("fields") or {})
    problems: dict[str, str] = {}
    repairs: dict[str, Any] = {}
    if typed.get("new"):
        _judge_id(workspace, str(typed.get("id") or ""), problems)
    if "base_url" in fields:
        _judge_url(fields, problems, repairs)
    if isinstance(fields.get("params"), Mapping) and any(not str(name).strip() for name in fields["params"]):
        problems["params"] = "each parameter needs a name"
    if isinstance(fields.get("rate_limit"), Mapping):
        _judge_limits(fields["rate_limit"], problems)
    if fields.get("auth"):
        _judge_auth(str(fields["auth"]), problems)
    for name, value in fields.items():
        if isinstance(value, str) and holds_key(value):
            problems[name] = "this looks like a key: keys have a field of their own"
    return {"problems": problems, "repairs": repairs}


def _judge_id(workspace: Workspace, id_: str, problems: dict[str, str]) -> None:
    if not id_:
        problems["id"] = "an id is needed, for example my-server"
        return
    if id_ in workspace.registry.ids():
        problems["id"] = "there is a provider of this id"
        return
    try:
        ProviderConfig(id=id_)
    except ValidationError:
        problems["id"] = "an id is made of a-z, 0-9 and -, and starts with a letter or digit"


def _judge_url(fields: Mapping[str, Any], problems: dict[str, str], repairs: dict[str, Any]) -> None:
    text = str(fields["base_url"] or "")[:_LONG]
    if not text:
        problems["base_url"] = "an address is needed, for example https://api.example.com/v1"
        return
    kind = str(fields.get("kind") or "openai")
    try:
        verdict = check_url(text, kind=kind, confirmed_http=bool(fields.get("confirmed_http")))
    except RegistryError as exc:
        problems["base_url"] = exc.message + (f"; {exc.hint}" if exc.hint else "")
        return
    if verdict.repairs and verdict.url != text:
        repairs["base_url"] = {"value": verdict.url, "why": "; ".join(verdict.repairs)}
    if verdict.needs_confirmation:
        problems["confirmed_http"] = verdict.warning or "plain http: anybody on the way can read the key"


def _judge_limits(limits: Mapping[str, Any], problems: dict[str, str]) -> None:
    try:
        RateLimit.model_validate({k: v for k, v in limits.items() if v is not None})
    except ValidationError as exc:
        for error in exc.errors():
            problems[str((*error["loc"], "rate_limit")[0])] = "a whole number above 0, or nothing"


def _judge_auth(scheme: str, problems: dict[str, str]) -> None:
    try:
        checked_auth(scheme)
    except ValueError as exc:
        problems["auth"] = str(exc)
