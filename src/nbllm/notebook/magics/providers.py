"""`%llm_providers`: who can be asked, with which key, and whether they answer."""

from __future__ import annotations

import difflib
import getpass
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from nbllm.errors import CredentialError, ExportError, UsageError
from nbllm.notebook.magics.arguments import Arguments, assignment, key_was_typed, pairs, refuse_keys, split
from nbllm.notebook.progress import Progress
from nbllm.notebook.session import running, workspace
from nbllm.tables import Sentences

if TYPE_CHECKING:
    from nbllm.credentials import Secret


def _parser(verb: str) -> Arguments:
    return Arguments(f"%llm_providers {verb}".strip())


@magics_class
class ProviderMagics(Magics):
    """The provider magic."""

    @no_var_expand
    @line_magic
    def llm_providers(self, line: str) -> Any:
        """Providers: `%llm_providers [VERB ...]`; without a verb the table of those that can be used now.

        Verbs: list, show, add, edit, remove, enable, disable, test, models, use, key, forget, discover, export, import.
        """
        words = split(line)
        with running():
            if not words:
                return workspace().providers()
            if words[0] not in VERBS:
                raise _unknown_verb(words)
            return VERBS[words[0]](words[1:])


def _unknown_verb(words: Sequence[str]) -> UsageError:
    refuse_keys(words)
    close = difflib.get_close_matches(words[0], VERBS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return UsageError("%llm_providers: there is no such verb", hint=f"{hint}verbs: {', '.join(VERBS)}")


def _list(words: Sequence[str]) -> Any:
    parser = _parser("list")
    parser.add_argument("--all", action="store_true", help="also those that cannot be used now")
    return workspace().providers(every=parser.read(words).all)


def _show(words: Sequence[str]) -> Any:
    return workspace().overview.describe(_one_id("show", words))


def _add_options(parser: Arguments) -> None:
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--base-url", metavar="URL")
    parser.add_argument("--kind", metavar="KIND")
    parser.add_argument("--name", metavar="NAME")
    parser.add_argument("--env", action="append", metavar="VAR")
    parser.add_argument("--header", type=assignment, action="append", metavar="K=V")
    parser.add_argument("--param", type=assignment, action="append", metavar="k=v")
    parser.add_argument("--model", action="append", metavar="M")
    parser.add_argument("--gguf", metavar="PATH")
    parser.add_argument("--auth", metavar="SCHEME", help="how the key is sent")
    parser.add_argument("--confirm-http", action="store_true", help="agree to plain http beyond this machine")


def _fields(asked: Any) -> dict[str, Any]:
    fields = {
        "base_url": asked.base_url,
        "kind": asked.kind,
        "name": asked.name,
        "env": asked.env,
        "headers": {k: str(v) for k, v in pairs(asked.header).items()} or None,
        "params": pairs(asked.param) or None,
        "models": asked.model,
        "auth": asked.auth,
        "gguf": str(Path(asked.gguf).expanduser().resolve()) if asked.gguf else None,
        "confirmed_http": asked.confirm_http or None,
    }
    return {k: v for k, v in fields.items() if v is not None}


def _add(words: Sequence[str]) -> Any:
    parser = _parser("add")
    _add_options(parser)
    asked = parser.read(words)
    if not asked.base_url and not asked.gguf:
        raise UsageError("%llm_providers add: where is it?", hint="give --base-url URL or --gguf PATH")
    return Sentences(workspace().overview.add(asked.id, _fields(asked)))


def _edit(words: Sequence[str]) -> Any:
    parser = _parser("edit")
    _add_options(parser)
    asked = parser.read(words)
    fields = _fields(asked)
    if not fields:
        raise UsageError("%llm_providers edit: nothing to change was given", hint=f"usage: {parser.usage_line()}")
    return Sentences(workspace().overview.edit(asked.id, fields))


def _remove(words: Sequence[str]) -> Any:
    return Sentences(workspace().registry.remove(_ids("remove", words)) or ["removed"])


def _enable(words: Sequence[str]) -> Any:
    ids = _ids("enable", words)
    workspace().registry.set_enabled(ids, True)
    return Sentences([f"{i}: enabled" for i in ids])


def _disable(words: Sequence[str]) -> Any:
    ids = _ids("disable", words)
    workspace().registry.set_enabled(ids, False)
    return Sentences([f"{i}: disabled" for i in ids])


def _test(words: Sequence[str]) -> Any:
    parser = _parser("test")
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--model", metavar="M")
    parser.add_argument("--all", action="store_true", help="all that can be used now")
    asked = parser.read(words)
    if not asked.ids and not asked.all:
        raise UsageError("%llm_providers test: name a provider, or --all", hint=f"usage: {parser.usage_line()}")
    if len(asked.ids) == 1 and not asked.all:
        return workspace().check(asked.ids[0], model=asked.model)
    if asked.model:
        raise UsageError("%llm_providers test: --model goes with one provider")
    ids = workspace().overview.usable_ids() if asked.all else asked.ids
    checks = []
    with Progress("tested", len(set(ids))) as progress:
        for item in workspace().check_many(ids):
            checks.append(item)
            progress.step(f"{item[0]}: {'ok' if item[1].ok else 'failed'}")
    return workspace().overview.check_table(checks)


def _models(words: Sequence[str]) -> Any:
    parser = _parser("models")
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--refresh", action="store_true")
    asked = parser.read(words)
    return workspace().overview.model_table(workspace().models(asked.id, refresh=asked.refresh))


def _use(words: Sequence[str]) -> Any:
    parser = _parser("use")
    parser.add_argument("ref", metavar="PROVIDER/MODEL")
    used = workspace().use(parser.read(words).ref)
    return Sentences([f"the default model is {used.ref}"])


def _key(words: Sequence[str]) -> Any:
    if len(words) > 1 and not words[1].startswith("-"):
        raise key_was_typed()  # whatever stands there was meant as one, of whatever shape
    parser = _parser("key")
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--store", choices=("keyring", "vault", "session"), metavar="keyring|vault|session")
    asked = parser.read(words)
    provider = workspace().registry.get(asked.id)
    if asked.store == "vault":
        _open_vault()
    secret = _ask_key(f"Key for {provider.title}: ")
    if isinstance(secret, CredentialError):
        raise CredentialError(f"{asked.id}: {secret.message}; nothing was saved", hint=secret.hint, provider=asked.id)
    return Sentences([workspace().save_key(asked.id, secret, store=asked.store).sentence])


def _ask_key(question: str) -> Secret | CredentialError:
    """What was typed, or what is wrong with it. No frame keeps the text: a traceback may show local values."""
    from nbllm.credentials import Secret  # noqa: PLC0415  (with the workspace, not before)

    try:
        return Secret(_ask_hidden(question))
    except CredentialError as exc:
        return exc.with_traceback(None)


def _open_vault() -> None:
    """Ask for the vault's passphrase, twice when this chooses it; nothing when it is open already."""
    credentials = workspace().credentials
    wanted = credentials.wants_passphrase
    if wanted == "new":
        chosen = [_ask_hidden("Choose a passphrase for the vault: "), _ask_hidden("The same passphrase again: ")]
        if chosen[0] != chosen[1]:
            chosen.clear()
            raise CredentialError("the two passphrases differ; nothing was saved", hint="run the cell again")
        credentials.unlock_vault(chosen.pop())
    elif wanted == "old":
        credentials.unlock_vault(_ask_hidden("Passphrase of the vault: "))


def _ask_hidden(question: str) -> str:
    """Ask through the front end's hidden input; the answer is in no cell, output or history."""
    try:
        return getpass.getpass(question)
    except Exception as exc:  # noqa: BLE001  (each kernel and terminal has its own error for "no input here")
        problem = type(exc).__name__
    raise CredentialError(
        f"this place cannot ask for a key ({problem})", hint="set the provider's environment variable instead"
    )


def _forget(words: Sequence[str]) -> Any:
    lines = []
    for provider_id in _ids("forget", words):
        stores = workspace().credentials.forget(provider_id)
        lines.append(f"{provider_id}: " + (f"removed from {', '.join(stores)}" if stores else "no key was saved"))
    return Sentences(lines)


def _discover(words: Sequence[str]) -> Any:
    _parser("discover").read(words)
    return workspace().overview.found_table(workspace().discover())


def _export(words: Sequence[str]) -> Any:
    parser = _parser("export")
    parser.add_argument("file", metavar="FILE")
    path = Path(parser.read(words).file).expanduser()
    try:
        path.write_text(workspace().registry.export(), encoding="utf-8")
    except OSError as exc:
        raise ExportError(f"cannot write {path}: {exc.strerror or exc}") from exc
    return Sentences([f"written to {path}, without keys"])


def _import(words: Sequence[str]) -> Any:
    parser = _parser("import")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--dry-run", action="store_true")
    asked = parser.read(words)
    path = Path(asked.file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ExportError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ExportError(f"cannot read {path}: it is not UTF-8 text") from exc
    return Sentences(workspace().registry.import_(text, dry_run=asked.dry_run) or ["nothing changes"])


def _one_id(verb: str, words: Sequence[str]) -> str:
    parser = _parser(verb)
    parser.add_argument("id", metavar="ID")
    found: str = parser.read(words).id
    return found


def _ids(verb: str, words: Sequence[str]) -> list[str]:
    parser = _parser(verb)
    parser.add_argument("ids", nargs="+", metavar="ID")
    found: list[str] = parser.read(words).ids
    return found


VERBS: Mapping[str, Callable[[Sequence[str]], Any]] = {
    "list": _list,
    "show": _show,
    "add": _add,
    "edit": _edit,
    "remove": _remove,
    "enable": _enable,
    "disable": _disable,
    "test": _test,
    "models": _models,
    "use": _use,
    "key": _key,
    "forget": _forget,
    "discover": _discover,
    "export": _export,
    "import": _import,
}
