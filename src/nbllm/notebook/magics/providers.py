"""`%llm_providers`: who can be asked, with which key, and whether they answer."""

from __future__ import annotations

import argparse
import difflib
import getpass
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from nbllm.errors import CredentialError, ExportError, UsageError
from nbllm.notebook.display import decide_live, is_terminal
from nbllm.notebook.magics.arguments import Arguments, assignment, key_was_typed, pairs, refuse_keys, split
from nbllm.notebook.magics.manual import described_verbs, manual, shown_by_question_mark, wants_manual
from nbllm.notebook.progress import Progress
from nbllm.notebook.session import running, workspace
from nbllm.tables import Sentences

if TYPE_CHECKING:
    from nbllm.credentials import Secret


@magics_class
class ProviderMagics(Magics):
    """The provider magic."""

    @no_var_expand
    @line_magic
    @shown_by_question_mark(lambda: page())
    def llm_providers(self, line: str) -> Any:
        """Providers: `%llm_providers [VERB ...]`; without a verb the panel, or the table where no panel can be.

        Verbs: list, show, add, edit, remove, enable, disable, test, models, use, key, forget, discover, export, import.
        `%llm_providers?` and `--help` show the whole page.
        """
        with running():
            words = split(line)
            if wants_manual(words):
                return print(page())  # noqa: T201
            if not words:
                return _panel_or_table()
            if words[0] not in VERBS:
                raise _unknown_verb(words)
            return VERBS[words[0]].run(parser(words[0]).read(words[1:]))


def _panel_or_table() -> Any:
    """The panel where a front end listens, which a terminal, a headless run and captured output do not."""
    if is_terminal() or not decide_live():
        return workspace().providers()
    from nbllm.notebook.panels.providers import ProviderPanel  # noqa: PLC0415  (the widgets: not before they are used)

    return ProviderPanel(workspace())


def _unknown_verb(words: Sequence[str]) -> UsageError:
    refuse_keys(words)
    close = difflib.get_close_matches(words[0], VERBS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return UsageError("%llm_providers: there is no such verb", hint=f"{hint}verbs: {', '.join(VERBS)}")


def parser(verb: str) -> Arguments:
    """What a verb takes."""
    found = Arguments(f"%llm_providers {verb}")
    VERBS[verb].arguments(found)
    return found


# ---------------------------------------------------------------- looking


def _list(asked: argparse.Namespace) -> Any:
    return workspace().providers(every=asked.all)


def _list_arguments(parser: Arguments) -> None:
    parser.add_argument("--all", action="store_true", help="also those that cannot be used now")


def _show(asked: argparse.Namespace) -> Any:
    return workspace().overview.describe(asked.id)


def _one_id(parser: Arguments) -> None:
    parser.add_argument("id", metavar="ID")


def _ids(parser: Arguments) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID")


def _nothing(parser: Arguments) -> None:
    pass


# ---------------------------------------------------------------- changing


def _row_arguments(parser: Arguments) -> None:
    add = parser.add_argument
    add("id", metavar="ID")
    add("--base-url", metavar="URL", help="address; openai and gemini with the version path")
    add("--kind", metavar="KIND", help="wire format; default: openai")
    add("--name", metavar="NAME", help="name for people")
    add("--env", action="append", metavar="VAR", help="variable that may hold the key; repeatable")
    add("--header", type=assignment, action="append", metavar="K=V", help="header of every request; repeatable")
    add("--param", type=assignment, action="append", metavar="k=v", help="parameter of every chat; repeatable")
    add("--model", action="append", metavar="M", help="a model that the listing lacks; repeatable")
    add("--gguf", metavar="PATH", help="a model file to serve on this machine")
    add("--auth", metavar="SCHEME", help="how the key is sent: a scheme or a header template with {key}")
    add("--confirm-http", action="store_true", help="agree to plain http beyond this machine")


def _fields(asked: argparse.Namespace) -> dict[str, Any]:
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


def _add(asked: argparse.Namespace) -> Any:
    if not asked.base_url and not asked.gguf:
        raise UsageError("%llm_providers add: where is it?", hint="give --base-url URL or --gguf PATH")
    return Sentences(workspace().overview.add(asked.id, _fields(asked)))


def _edit(asked: argparse.Namespace) -> Any:
    fields = _fields(asked)
    if not fields:
        raise UsageError("%llm_providers edit: nothing to change was given", hint="for example --base-url URL")
    return Sentences(workspace().overview.edit(asked.id, fields))


def _remove(asked: argparse.Namespace) -> Any:
    return Sentences(workspace().registry.remove(asked.ids) or ["removed"])


def _enable(asked: argparse.Namespace) -> Any:
    workspace().registry.set_enabled(asked.ids, True)
    return Sentences([f"{i}: enabled" for i in asked.ids])


def _disable(asked: argparse.Namespace) -> Any:
    workspace().registry.set_enabled(asked.ids, False)
    return Sentences([f"{i}: disabled" for i in asked.ids])


def _use(asked: argparse.Namespace) -> Any:
    used = workspace().use(asked.ref)
    return Sentences([f"the default model is {used.ref}"])


def _use_arguments(parser: Arguments) -> None:
    parser.add_argument("ref", metavar="PROVIDER/MODEL")


# ---------------------------------------------------------------- asking them


def _test(asked: argparse.Namespace) -> Any:
    if not asked.ids and not asked.all:
        raise UsageError("%llm_providers test: name a provider, or --all", hint="for example %llm_providers test demo")
    if len(asked.ids) == 1 and not asked.all:
        return workspace().check(asked.ids[0], model=asked.model)
    if asked.model:
        raise UsageError("%llm_providers test: --model goes with one provider", hint="test the others without it")
    ids = workspace().overview.usable_ids() if asked.all else asked.ids
    checks = []
    with Progress("tested", len(set(ids))) as progress:
        for item in workspace().check_many(ids):
            checks.append(item)
            progress.step(f"{item[0]}: {'ok' if item[1].ok else 'failed'}")
    return workspace().overview.check_table(checks)


def _test_arguments(parser: Arguments) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--model", metavar="M", help="with a real chat of one token")
    parser.add_argument("--all", action="store_true", help="all that can be used now")


def _models(asked: argparse.Namespace) -> Any:
    return workspace().overview.model_table(workspace().models(asked.id, refresh=asked.refresh))


def _models_arguments(parser: Arguments) -> None:
    _one_id(parser)
    parser.add_argument("--refresh", action="store_true", help="ask the provider now")


def _discover(asked: argparse.Namespace) -> Any:
    return workspace().overview.found_table(workspace().discover())


# ---------------------------------------------------------------- keys


def _key(asked: argparse.Namespace) -> Any:
    if asked.typed:
        raise key_was_typed()  # whatever stands there was meant as one, of whatever shape
    provider = workspace().key_owner(asked.id)
    if asked.store == "vault":
        _open_vault()
    secret = _ask_key(f"Key for {provider.title}: ")
    if isinstance(secret, CredentialError):
        raise CredentialError(f"{asked.id}: {secret.message}; nothing was saved", hint=secret.hint, provider=asked.id)
    return Sentences([workspace().save_key(asked.id, secret, store=asked.store).sentence])


STORES = ("keyring", "vault", "session")


def _key_arguments(parser: Arguments) -> None:
    _one_id(parser)
    parser.add_argument("typed", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--store", choices=STORES, metavar="|".join(STORES), help="where to keep it")


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


def _forget(asked: argparse.Namespace) -> Any:
    lines = []
    for provider_id in asked.ids:
        stores = workspace().credentials.forget(provider_id)
        lines.append(f"{provider_id}: " + (f"removed from {', '.join(stores)}" if stores else "no key was saved"))
    return Sentences(lines)


# ---------------------------------------------------------------- files


def _export(asked: argparse.Namespace) -> Any:
    path = Path(asked.file).expanduser()
    try:
        path.write_text(workspace().registry.export(), encoding="utf-8")
    except OSError as exc:
        raise ExportError(f"cannot write {path}: {exc.strerror or exc}") from exc
    return Sentences([f"written to {path}, without keys"])


def _export_arguments(parser: Arguments) -> None:
    parser.add_argument("file", metavar="FILE")


def _import(asked: argparse.Namespace) -> Any:
    path = Path(asked.file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ExportError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ExportError(f"cannot read {path}: it is not UTF-8 text") from exc
    return Sentences(workspace().registry.import_(text, dry_run=asked.dry_run) or ["nothing changes"])


def _import_arguments(parser: Arguments) -> None:
    _export_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would change")


@dataclass(frozen=True, slots=True)
class Verb:
    """What a verb does, what it takes, and a line about it."""

    run: Callable[[argparse.Namespace], Any]
    arguments: Callable[[Arguments], None]
    does: str


VERBS: Mapping[str, Verb] = {
    "list": Verb(_list, _list_arguments, "the table of those that can be used now"),
    "show": Verb(_show, _one_id, "everything known of one, and where each value comes from; no key"),
    "add": Verb(_add, _row_arguments, "a provider of your own, kept in config.toml"),
    "edit": Verb(_edit, _row_arguments, "change one"),
    "remove": Verb(_remove, _ids, "remove your own, or your changes to one that came with nbllm"),
    "enable": Verb(_enable, _ids, "offer these again"),
    "disable": Verb(_disable, _ids, "do not offer these"),
    "test": Verb(_test, _test_arguments, "the connection, stage by stage, with what to do where it fails"),
    "models": Verb(_models, _models_arguments, "the provider's own listing"),
    "use": Verb(_use, _use_arguments, "make a model the default"),
    "key": Verb(_key, _key_arguments, "ask for a key out of sight"),
    "forget": Verb(_forget, _ids, "remove the keys of these from session, keyring and vault"),
    "discover": Verb(_discover, _nothing, "look for model servers on this machine"),
    "export": Verb(_export, _export_arguments, "your rows as TOML, never a key"),
    "import": Verb(_import, _import_arguments, "take rows from such a file"),
}


# ---------------------------------------------------------------- the page


def page() -> str:
    """What `%llm_providers?` shows."""
    return manual(
        "Who can be asked, with which key, and whether they answer.",
        synopsis="%llm_providers\n\n%llm_providers VERB ...",
        notes=_NOTES,
        options=described_verbs((name, verb.does, parser(name)) for name, verb in VERBS.items()),
        examples=EXAMPLES,
    )


_NOTES = """
Without a verb it opens the panel: every provider with its key, address, models and connection test. Where no panel
can be, such as in a terminal, the table of those that can be used now stands in its place.

A key is never an argument, since the notebook keeps what is typed: `key ID` asks for it out of sight. A variable
such as GROQ_API_KEY, set before the kernel starts, does as well.
"""
EXAMPLES = (
    ("All that are known, and what they lack", "%llm_providers list --all"),
    ("Give one a key, which is asked for out of sight", "%llm_providers key groq"),
    ("See whether one answers, with a real chat of one token", "%llm_providers test demo --model guide"),
    ("A server of your own that speaks OpenAI's format",
     "%llm_providers add my-server --base-url https://llm.example.org/v1"),
    ("The model that is asked when none is named", "%llm_providers use demo/guide"),
)  # fmt: skip
"""What each does, and the line."""
