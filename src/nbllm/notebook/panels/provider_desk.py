"""What the provider panel can do: actions of the browser in, messages to the browser out. No widget, no IPython.

An action is a dict with `do`, the name of a method below, and `seq`, a number that grows; every message that answers
it carries the same number, so that the browser drops what comes late. Nothing here blocks the caller: an action is
started on the background loop, and what waits for a disk or a keyring does so in a thread. A key arrives in an action
of its own, is taken out of it before anything else happens, and is in no message; so does a header's value.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from nbllm import aio
from nbllm.connection.result import ConnectionCheck
from nbllm.credentials import Secret
from nbllm.credentials.redaction import redact
from nbllm.errors import NbllmError, UsageError
from nbllm.foreign import one_line
from nbllm.notebook.panels import provider_facts as facts
from nbllm.providers.edit import cleaned

if TYPE_CHECKING:
    from nbllm.workspace import Workspace

T = TypeVar("T")
Message = dict[str, Any]
_Hidden = Callable[[], str] | None
"""A text that must not be shown: a function gives it, and no repr does."""

_log = logging.getLogger("nbllm.panel")
_STORES = ("keyring", "vault", "session")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""A header's name, as RFC 9110 has it (field-name is a token)."""
_MODELS_SENT = 20_000
"""More models of one provider are not sent to a browser; the message says how many there are."""


class ProviderDesk:
    """The actions of one open panel.

    Args:
        workspace: What the panel stands for.
        post: Sends a message to the browser; called on the background loop's thread only.
    """

    def __init__(self, workspace: Workspace, post: Callable[[Message], None]) -> None:
        self._workspace = workspace
        self._post = post
        self._tests: dict[str, asyncio.Task[None]] = {}
        self._stamp: object = None
        self._actions: Mapping[str, Callable[[Message], Coroutine[Any, Any, Message | None]]] = {
            name.removeprefix("_do_"): getattr(self, name) for name in dir(self) if name.startswith("_do_")
        }

    def receive(self, action: object) -> None:
        """Start an action and return at once. Never raises: what goes wrong is a message to the browser."""
        if not isinstance(action, dict):
            return
        secret = _taken_key(action)
        hidden = _taken(action, "passphrase"), _taken(action, "value")
        aio.submit(self._perform(action, secret, *hidden))

    def close(self) -> None:
        """Stop what is under way."""
        aio.submit(self._stop_all())

    async def _stop_all(self) -> None:
        for task in self._tests.values():
            task.cancel()

    async def _perform(
        self, action: Message, secret: Secret | NbllmError | None, passphrase: _Hidden, value: _Hidden
    ) -> None:
        name, answer = str(action.get("do")), {"seq": action.get("seq")}
        try:
            if name == "key":
                found: Message | None = await self._save_key(action, secret, passphrase)
            elif name == "keep":
                found = await _aside(self._keep_key, str(action.get("id")), passphrase)
            elif name == "header":
                found = await _aside(self._set_header, str(action.get("id")), str(action.get("name") or ""), value)
            elif name in self._actions:
                found = await self._actions[name](action)
            else:
                raise UsageError(f"the panel asked for {one_line(name, 40)}, which nobody knows")
        except Exception as exc:  # noqa: BLE001  (an exception in a callback is seen by nobody: the panel shows it)
            found = _problem(exc, name)
        if found is not None:
            self._post({"for": name, "id": action.get("id"), **found, **answer})

    # ------------------------------------------------------------ what is there

    async def _do_hello(self, action: Message) -> Message:
        """The whole list."""
        return await _aside(self._state)

    async def _do_sync(self, action: Message) -> Message | None:
        """The list when something changed since the last one: here, in a cell, in another panel, in a terminal."""
        stamp = await _aside(facts.stamp, self._workspace)
        return {"type": "same"} if stamp == self._stamp else await _aside(self._state)

    def _state(self) -> Message:
        self._stamp = facts.stamp(self._workspace)
        return {"type": "state", **facts.state(self._workspace)}

    async def _do_open(self, action: Message) -> Message:
        """One provider, all its fields; no key and no header's value."""
        return await _aside(lambda: {"type": "detail", **facts.detail(self._workspace, str(action["id"]))})

    async def _do_models(self, action: Message) -> Message:
        """A provider's models: what is known, or with `refresh` what it says now."""
        id_ = str(action["id"])
        listing = await self._workspace.overview.models(id_, refresh=bool(action.get("refresh")))
        rows = await _aside(facts.models, self._workspace, id_, listing.models[:_MODELS_SENT])
        unsent = max(0, len(listing.models) - _MODELS_SENT)
        return {"type": "models", "models": rows, "count": len(rows) + unsent, "age_s": listing.age_s,
                "error": listing.error}  # fmt: skip

    async def _do_discover(self, action: Message) -> Message:
        """Servers on this machine."""
        found = await self._workspace.overview.discover()
        known = await _aside(self._workspace.registry.ids)
        servers = [facts.server(f, known=f.id in known) for f in found]
        return {"type": "servers", "servers": servers}

    # ------------------------------------------------------------ changes

    async def _do_judge(self, action: Message) -> Message:
        """What is wrong with the fields typed so far, and which repairs are offered. Changes nothing."""
        return {"type": "verdict", **await _aside(facts.judge, self._workspace, action)}

    async def _do_save(self, action: Message) -> Message:
        """Write a provider, new or changed, into `config.toml`."""
        return await _aside(self._save, action)

    def _save(self, action: Message) -> Message:
        id_, fields = str(action.get("id") or ""), dict(action.get("fields") or {})
        overview = self._workspace.overview
        if action.get("new"):
            like = action.get("like")
            said = overview.add(id_, {**(facts.fields_of(self._workspace, str(like)) if like else {}), **fields})
        else:
            cleaned(fields, new=False)
            said = overview.edit(id_, fields)
        return {"type": "saved", "said": said, **facts.state(self._workspace)}

    async def _do_remove(self, action: Message) -> Message:
        """Take providers, or the user's changes to bundled ones, away."""
        return await _aside(self._changed, lambda: self._workspace.registry.remove(_ids(action)))

    async def _do_enable(self, action: Message) -> Message:
        """Put providers into use."""
        return await _aside(self._changed, lambda: self._set_enabled(_ids(action), True))

    async def _do_disable(self, action: Message) -> Message:
        """Put providers out of use."""
        return await _aside(self._changed, lambda: self._set_enabled(_ids(action), False))

    def _set_enabled(self, ids: list[str], enabled: bool) -> list[str]:
        self._workspace.registry.set_enabled(ids, enabled)
        return [f"{i}: {'enabled' if enabled else 'disabled'}" for i in ids]

    def _changed(self, change: Callable[[], list[str]]) -> Message:
        said = change()
        return {"type": "saved", "said": said, **facts.state(self._workspace)}

    async def _do_use(self, action: Message) -> Message:
        """Make a model the default."""
        used = await _aside(self._workspace.use, str(action.get("ref")))
        return await _aside(self._changed, lambda: [f"the default model is {used.ref}"])

    async def _do_add_model(self, action: Message) -> Message:
        """Add a model that the listing lacks."""
        return await _aside(self._add_model, str(action.get("id")), str(action.get("model") or "").strip())

    def _add_model(self, id_: str, model: str) -> Message:
        if not model:
            raise UsageError("which model?", hint="type the model's id")
        row = self._workspace.registry.get(id_)
        models = [m.model_dump(exclude_none=True) for m in row.models if m.id != model]
        return self._changed(lambda: self._workspace.overview.edit(id_, {"models": [*models, {"id": model}]}))

    async def _do_drop_model(self, action: Message) -> Message:
        """Take a model away that was added by hand."""
        return await _aside(self._drop_model, str(action.get("id")), str(action.get("model")))

    def _drop_model(self, id_: str, model: str) -> Message:
        row = self._workspace.registry.get(id_)
        left = [m.model_dump(exclude_none=True) for m in row.models if m.id != model]
        if len(left) < len(row.models):
            self._workspace.registry.edit(id_, models=left or None)
        self._workspace.marks.remove_models([f"{id_}/{model}"])
        return self._changed(lambda: [f"{id_}/{one_line(model)}: no longer among those added by hand"])

    async def _do_group(self, action: Message) -> Message:
        """Put a model into a group, or take it out."""
        ref, name, wanted = str(action.get("ref")), str(action.get("name") or "").strip(), bool(action.get("on"))
        await _aside(lambda: self._workspace.marks.set_group(name, [ref], removed=not wanted))
        return await _aside(self._changed, lambda: [f"{ref}: {'now' if wanted else 'no longer'} in {name}"])

    async def _do_favourite(self, action: Message) -> Message:
        """Mark a model as a favourite, or no longer."""
        ref, wanted = str(action.get("ref")), bool(action.get("on"))
        await _aside(lambda: self._workspace.marks.set_favourites([ref], removed=not wanted))
        return await _aside(self._changed, lambda: [f"{ref}: {'a favourite' if wanted else 'no favourite any more'}"])

    async def _do_export(self, action: Message) -> Message:
        """Providers as a file's text, for the browser to offer. Never a key."""
        ids = _ids(action) or None
        return {"type": "file", "name": "nbllm-providers.toml", "text": await _aside(
            self._workspace.registry.export, ids)}  # fmt: skip

    async def _do_preview(self, action: Message) -> Message:
        """What importing a file would change."""
        text = str(action.get("text") or "")
        said = await _aside(lambda: self._workspace.registry.import_(text, dry_run=True))
        return {"type": "preview", "said": said}

    async def _do_import(self, action: Message) -> Message:
        """Take providers over from a file's text."""
        text = str(action.get("text") or "")
        return await _aside(self._changed, lambda: self._workspace.registry.import_(text))

    # ------------------------------------------------------------ headers and keys

    def _set_header(self, id_: str, name: str, value: _Hidden) -> Message:
        """Give a header a value, or without one take it away."""
        if not _HEADER.fullmatch(name):
            raise UsageError("that is not the name of a header", hint="letters, digits and -, as in X-Team")
        if value is not None and not value().isprintable():
            raise UsageError(f"the value of {name} has a line break or a hidden character in it")
        self._workspace.registry.edit(id_, headers={name: None if value is None else value()})
        if value is None and name in self._workspace.registry.get(id_).headers:
            return self._changed(lambda: [f"{id_}: the header {name} is as it came with nbllm"])
        return self._changed(lambda: [f"{id_}: the header {name} is {'removed' if value is None else 'set'}"])

    def _keep_key(self, id_: str, passphrase: _Hidden) -> Message:
        """Move the key of this session into the vault; it does not pass through the browser again."""
        workspace = self._workspace
        row = workspace.key_owner(id_)
        variables = workspace.registry.key_variables(id_)
        if workspace.credentials.status(row, variables).source != "session":
            raise UsageError(f"no key of {id_} is in this session", hint="paste it, and choose the vault")
        if passphrase is not None:
            workspace.credentials.unlock_vault(passphrase())
        secret = workspace.credentials.find(row, variables)
        assert secret is not None  # the status said so
        saved = workspace.save_key(id_, secret, store="vault")
        return self._changed(lambda: [saved.sentence])

    async def _save_key(self, action: Message, secret: Secret | NbllmError | None, passphrase: _Hidden) -> Message:
        store = action.get("store")
        if store not in (None, *_STORES):
            raise UsageError("there is no such place for a key", hint=", ".join(_STORES))
        if isinstance(secret, NbllmError):
            raise secret
        if secret is None:
            raise UsageError("no key was given", hint="paste it and press Save key")
        if passphrase is not None:
            await _aside(lambda: self._workspace.credentials.unlock_vault(passphrase()))
        id_, kept = str(action.get("id")), secret
        saved = await _aside(lambda: self._workspace.save_key(id_, kept, store=store))
        return await _aside(self._changed, lambda: [saved.sentence])

    async def _do_forget(self, action: Message) -> Message:
        """Forget a provider's key wherever it was saved."""
        return await _aside(self._changed, lambda: self._forget(str(action.get("id"))))

    def _forget(self, id_: str) -> list[str]:
        gone = self._workspace.credentials.forget(id_)
        return [f"{id_}: the key is forgotten ({', '.join(gone)})" if gone else f"{id_}: there was no key to forget"]

    # ------------------------------------------------------------ tests

    async def _do_test(self, action: Message) -> None:
        """Test one provider; each stage is a message. A newer test of the same provider ends an older one."""
        id_ = str(action.get("id"))
        await self._start(id_, action, self._test(id_, action))

    async def _test(self, id_: str, action: Message) -> None:
        marks = {"seq": action.get("seq"), "id": id_}
        async for result in self._workspace.overview.stages(id_, model=str(action.get("model") or "") or None):
            if isinstance(result, ConnectionCheck):
                self._post({"type": "tested", "ok": result.ok, "ms": result.latency_ms, **marks})
            else:
                self._post({"type": "stage", **facts.stage(result), **marks})

    async def _do_test_many(self, action: Message) -> None:
        """Test several providers at once; each result is a message as it comes."""
        await self._start("", action, self._test_many(_ids(action), action))

    async def _test_many(self, ids: list[str], action: Message) -> None:
        seq, done = action.get("seq"), 0
        wanted = ids or await _aside(self._workspace.overview.usable_ids)
        self._post({"type": "progress", "seq": seq, "done": 0, "total": len(wanted)})
        async for id_, check in self._workspace.overview.check_many(wanted):
            done += 1
            self._post({"type": "progress", "seq": seq, "done": done, "total": len(wanted), "id": id_, "ok": check.ok,
                        "stage": check.stage, "error": check.error, "hint": check.hint})  # fmt: skip

    async def _start(self, name: str, action: Message, work: Coroutine[Any, Any, None]) -> None:
        if (older := self._tests.pop(name, None)) is not None:
            older.cancel()
        task = self._tests[name] = asyncio.create_task(self._finish(action, work))
        task.add_done_callback(lambda done: self._tests.pop(name, None) if self._tests.get(name) is done else None)

    async def _finish(self, action: Message, work: Coroutine[Any, Any, None]) -> None:
        name, marks = str(action.get("do")), {"id": action.get("id"), "seq": action.get("seq")}
        try:
            await work
        except asyncio.CancelledError:
            self._post({"type": "cancelled", **marks})
            raise
        except Exception as exc:  # noqa: BLE001  (as in `_perform`)
            self._post({"for": name, **_problem(exc, name), **marks})
        await self._perform({"do": "hello"}, None, None, None)

    async def _do_cancel(self, action: Message) -> None:
        """Stop a test: that of one provider, or without an id the one of many."""
        if (task := self._tests.pop(str(action.get("id") or ""), None)) is not None:
            task.cancel()


def _taken_key(action: Message) -> Secret | NbllmError | None:
    """The key out of an action, which does not have it any more. No frame keeps the text."""
    if "key" not in action:
        return None
    try:
        return Secret(str(action.pop("key")))
    except NbllmError as exc:
        return exc.with_traceback(None)


def _taken(action: Message, name: str) -> _Hidden:
    """The same for another text that must not be shown, such as the vault's passphrase."""
    if not action.get(name):
        return None
    kept = [str(action.pop(name))]
    return lambda: kept[0]


def _problem(exc: Exception, name: str) -> Message:
    if isinstance(exc, NbllmError):
        return {"type": "problem", "message": redact(exc.message), "hint": redact(exc.hint) if exc.hint else None}
    # Its text may hold anything, a key too.
    _log.error("the panel's action %s failed: %s", one_line(name, 40), type(exc).__name__)
    return {"type": "problem", "message": f"{one_line(name, 40)} failed: {type(exc).__name__}",
            "hint": "please report this"}  # fmt: skip


def _ids(action: Message) -> list[str]:
    ids = action.get("ids") or []
    return [str(i) for i in ids] if isinstance(ids, list) else []


async def _aside(call: Callable[..., T], *arguments: Any) -> T:
    """In a thread: disk, locks and a keyring must not hold up the loop."""
    return await asyncio.to_thread(call, *arguments)
