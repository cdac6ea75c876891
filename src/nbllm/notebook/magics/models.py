"""`%llm_models`: which models there are, what they cost and can do, and which ones are the user's."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from nbllm.notebook.magics.arguments import Arguments, split
from nbllm.notebook.magics.manual import described, described_verbs, manual, shown_by_question_mark, wants_manual
from nbllm.notebook.panels import view_models
from nbllm.notebook.progress import Progress
from nbllm.notebook.session import running, workspace

if TYPE_CHECKING:
    from nbllm.catalog.wanted import Wanted

AIMS = ("score", "price", "latency")


@magics_class
class ModelMagics(Magics):
    """The models magic."""

    @no_var_expand
    @line_magic
    @shown_by_question_mark(lambda: page())
    def llm_models(self, line: str) -> Any:
        """Models: `%llm_models [QUERY] [options]`, for example `%llm_models llama --tools --max-price 1`.

        Verbs: alias, favourite, group, info, add, recommend. `%llm_models?` and `--help` show the whole page.
        """
        with running():
            words = split(line)
            if wants_manual(words):
                return print(page())  # noqa: T201
            if words and words[0] in VERBS:
                return VERBS[words[0]].run(parser(words[0]).read(words[1:]))
            return _search(words[1:] if words[:1] == ["--"] else words)


def parser(verb: str = "") -> Arguments:
    """What a verb takes, or the search without one."""
    found = Arguments(f"%llm_models {verb}".strip())
    if verb:
        VERBS[verb].arguments(found)
    else:
        found.add_argument("query", nargs="*", metavar="QUERY", help="words to look for")
        _filters(found)
        found.add_argument("--refresh", action="store_true", help="ask the providers first")
        found.add_argument("--sort", metavar="COL", help="order by a column; -COL the other way round")
        found.add_argument("--limit", type=int, default=50, metavar="N", help="rows shown; default 50")
        found.add_argument("--help", action="store_true", help="show this page")
    return found


# ---------------------------------------------------------------- looking


def _search(words: Sequence[str]) -> Any:
    asked = parser().read(words)
    wanted = _wanted(asked, " ".join(asked.query))
    told = _refresh(wanted.providers) if asked.refresh else []
    table = workspace().catalogue().search(wanted)
    if not table and (close := difflib.get_close_matches(words[0] if words else "", VERBS, n=1)):
        told.append(f"did you mean `%llm_models {close[0]}`?")
    return with_view(table.noted(told))


def with_view(table: Any) -> Any:
    """The table, with a widget to view it where widgets are."""
    table.viewer = view_models
    return table


def _filters(parser: Arguments) -> None:
    add = parser.add_argument
    add("--provider", action="append", metavar="P", help="only of this provider; repeatable")
    for name, what in FLAGS.items():
        add(f"--{name}", *(["--structured-output"] if name == "json" else []), action="store_true", help=what)
    add("--min-context", type=tokens, metavar="N", help="tokens, for example 128000 or 128k")
    add("--max-price", type=float, metavar="USD_PER_MTOK", help="of a million input tokens")
    add("--group", metavar="G", help="only of this group")


FLAGS = {
    "vision": "takes pictures",
    "tools": "calls tools",
    "reasoning": "thinks before it answers",
    "json": "answers that fit a JSON Schema",
    "free": "both prices are said to be 0",
    "local": "served on this machine",
    "favourites": "only favourites",
}


def tokens(text: str) -> int:
    """A number of tokens: `128000`, `128k`, `1m`."""
    from nbllm.catalog.wanted import read_tokens  # noqa: PLC0415  (with the workspace, not before)

    return read_tokens(text)


def _wanted(asked: argparse.Namespace, query: str) -> Wanted:
    from nbllm.catalog.wanted import Wanted  # noqa: PLC0415  (with the workspace, not before)

    given = {name: getattr(asked, name) for name in (*FLAGS, "min_context", "max_price", "group")}
    shown = {name: getattr(asked, name) for name in ("sort", "limit") if hasattr(asked, name)}
    providers = tuple(p for item in asked.provider or () for p in item.split(",") if p)
    return Wanted(query=query, providers=providers, **given, **shown)


def _refresh(providers: Sequence[str]) -> list[str]:
    """Ask providers for their lists; what did not work, a sentence each."""
    from nbllm.catalog.fetch import FetchOptions  # noqa: PLC0415  (with the workspace, not before)
    from nbllm.catalog.fetch_table import problems  # noqa: PLC0415

    fetching = workspace().fetch(providers, every=not providers, options=FetchOptions(force=True))
    with Progress("asked", fetching.total) as progress:
        for result in fetching:
            if result.outcome != "skipped":
                progress.step(f"{result.provider}: {result.outcome}")
    failed = [f"{r.provider} could not be asked: {r.reason}" for r in fetching.results if _is_told(r, providers)]
    return [*failed, *problems(fetching)]


def _is_told(result: Any, providers: Sequence[str]) -> bool:
    return result.outcome == "failed" or (result.outcome == "skipped" and result.provider in providers)


# ---------------------------------------------------------------- marks


def _chosen(asked: argparse.Namespace) -> Wanted | None:
    """The search whose models a verb is to mark; None: only those that are named."""
    wanted = _wanted(asked, asked.query or "")
    return wanted if asked.query or wanted.is_bounded else None


def _choice_arguments(parser: Arguments) -> None:
    parser.add_argument("refs", nargs="*", metavar="REF")
    parser.add_argument("--query", metavar="QUERY", help="all models that this finds")
    _filters(parser)
    _remove(parser)


def _remove(parser: Arguments) -> None:
    parser.add_argument("--remove", action="store_true", help="take it away again")


def _favourite(asked: argparse.Namespace) -> Any:
    return _shown(workspace().marking.favourite(asked.refs, _chosen(asked), remove=asked.remove))


def _group(asked: argparse.Namespace) -> Any:
    # `--group` narrows the search; the group to fill comes first and has no dash.
    return _shown(workspace().marking.group(asked.name, asked.refs, _chosen(asked), remove=asked.remove))


def _group_arguments(parser: Arguments) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME")
    _choice_arguments(parser)


def _alias(asked: argparse.Namespace) -> Any:
    return workspace().marking.alias(asked.name, asked.ref, remove=asked.remove)


def _alias_arguments(parser: Arguments) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("ref", nargs="?", metavar="REF")
    _remove(parser)


def _add(asked: argparse.Namespace) -> Any:
    facts = {"context": asked.context, "input_price": asked.input_price, "output_price": asked.output_price}
    return workspace().marking.add(asked.ref, facts, remove=asked.remove)


def _add_arguments(parser: Arguments) -> None:
    parser.add_argument("ref", metavar="REF")
    parser.add_argument("--context", type=tokens, metavar="N", help="tokens of prompt and answer together")
    parser.add_argument("--input-price", type=float, metavar="X", help="USD per million tokens")
    parser.add_argument("--output-price", type=float, metavar="Y", help="USD per million tokens")
    _remove(parser)


def _shown(result: Any) -> Any:
    return with_view(result) if hasattr(result, "viewer") else result


# ---------------------------------------------------------------- knowing


def _info(asked: argparse.Namespace) -> Any:
    return workspace().marking.info(asked.ref)


def _info_arguments(parser: Arguments) -> None:
    parser.add_argument("ref", metavar="REF")


def _recommend(asked: argparse.Namespace) -> Any:
    return workspace().marking.recommend(asked.aim)


def _recommend_arguments(parser: Arguments) -> None:
    parser.add_argument(
        "--for",
        dest="aim",
        metavar="|".join(AIMS),
        help="what the model is to be good at; without it the best for each",
    )


@dataclass(frozen=True, slots=True)
class Verb:
    """What a verb does, what it takes, and a line about it."""

    run: Callable[[argparse.Namespace], Any]
    arguments: Callable[[Arguments], None]
    does: str


VERBS: Mapping[str, Verb] = {
    "alias": Verb(_alias, _alias_arguments, "let a name stand for a model; without any, show them"),
    "favourite": Verb(_favourite, _choice_arguments, "make models favourites; without any, show them"),
    "group": Verb(_group, _group_arguments, "put models into a group; without models, show it"),
    "info": Verb(_info, _info_arguments, "everything known of one, who says so, and which value counts"),
    "add": Verb(_add, _add_arguments, "a model that no listing has, or more about one"),
    "recommend": Verb(_recommend, _recommend_arguments, "which model to take, from your own calls"),
}


# ---------------------------------------------------------------- the page


def page() -> str:
    """What `%llm_models?` shows."""
    verbs = described_verbs([(name, verb.does, parser(name)) for name, verb in VERBS.items()], above=parser())
    return manual(
        "Which models there are, what they cost and can do, and which ones are yours.",
        synopsis="%llm_models [QUERY] [options]\n\n%llm_models VERB ...",
        notes=_NOTES,
        options=f"{described(parser(), 'Search')}\n\n{verbs}",
        examples=EXAMPLES,
    )


_NOTES = """
A search asks nobody: it looks at the lists that were fetched and at what is known without them. `--refresh` asks
first.

QUERY is words that all stand in the reference or the name; a mistake or two are forgiven. An unknown value
satisfies no bound: a model without a known price is neither under `--max-price` nor `--free`. `%llm_models -- info`
looks for the word info, which is else a verb.

What comes back is a ModelTable: `len()`, `[0]`, `for row in table`, `to_pandas()`, `view()`.
"""
EXAMPLES = (
    ("Models that call tools, at most 1 USD per million tokens of prompt", "%llm_models llama --tools --max-price 1"),
    ("The models of one provider with a long context, the cheapest first",
     "%llm_models --provider openrouter --min-context 200k --sort input_price"),
    ("A group for later, of all that a search finds", "%llm_models group coders --query coder --max-price 1"),
    ("A short name for a model, wherever a reference is wanted", "%llm_models alias demo demo/guide"),
    ("Who says what about a model", "%llm_models info demo/guide"),
)  # fmt: skip
"""What each does, and the line."""
