"""`%%compare`: one prompt or a table of them, asked of several models."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.inputtransformer2 import cell_magic as read_cell_magic
from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand

from nbllm.errors import NbllmError, PromptError, UsageError
from nbllm.foreign import one_line
from nbllm.notebook import prompt as prompts
from nbllm.notebook.magics.arguments import Arguments, split
from nbllm.notebook.magics.manual import described, manual, shown_by_question_mark
from nbllm.notebook.panels import comparison_viewer
from nbllm.notebook.progress import RunProgress
from nbllm.notebook.session import running, workspace

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbllm.compare.comparison import Comparison
    from nbllm.compare.comparisons import Comparisons, Making
    from nbllm.compare.options import CompareOptions

ENGINES = ("local", "dask", "batch")

_ALONE = re.compile(r"%%compare(\s|$)")


def _parser() -> Arguments:
    parser = Arguments("%%compare", "Ask several models, and say which is better.")
    add = parser.add_argument
    add("refs", nargs="*", metavar="MODEL", help="model references, also with -m")
    add("-m", "--models", action="append", default=[], metavar="REF,REF,...", help="the models to compare")
    add("-n", "--repeats", type=int, default=1, metavar="N", help="how often each question is asked; default 1")
    add("--data", metavar="NAME", help="a DataFrame or list of dicts; {{column}} in the body is a value of its row")
    add("-p", "--param", action="append", default=[], metavar="KEY=V1,V2", help="a parameter; several values: a grid")
    add("-s", "--system", metavar="TEXT", help="instructions above each question")
    add("--seed", type=int, default=0, metavar="N", help="of the order, the bootstraps, blind votes; default 0")
    add("--score", action="append", default=[], metavar="NAME",
        help="a function, or exact:COLUMN, contains:COLUMN, regex:COLUMN, numeric:COLUMN, json:SCHEMA")  # fmt: skip
    add("--judge", metavar="REF", help="a model that says which answer is better, asked in both orders")
    add("--rubric", metavar="TEXT", help="what the judge is to look at")
    add("--budget", type=float, metavar="USD", help="stop before more than this is spent")
    add("--allow-unknown-price", action="store_true", help="go on although a price is unknown, with a budget")
    add("--name", metavar="NAME", help="keep it under a name; what is there is not asked again")
    add("--resume", action="store_true", help="prompts and grid as they were stored under the name")
    add("--retry-errors", action="store_true", help="ask those again that failed")
    add("--dry-run", action="store_true", help="cells, tokens, cost and time; send nothing")
    add("--yes", action="store_true", help="ask also more than 10,000 cells without a budget")
    add("--engine", default="local", metavar="|".join(ENGINES), help="who asks; default local")
    add("--cluster", metavar="NAME_OR_ADDRESS", help="for dask: a variable with a client, or a scheduler's address")
    add("-o", "--out", metavar="NAME", help="bind the comparison to a variable")
    add("--quiet", action="store_true", help="show no progress and no table")
    add("--help", action="store_true", help="list the options")
    return parser


def page() -> str:
    """What `%%compare?` shows."""
    return manual(
        "Ask several models the same, and say which is better and how sure that is.",
        synopsis="%%compare -m REF,REF [options]\nOne prompt; or, with --data, a template with {{column}}.",
        notes=_NOTES,
        options=described(_parser()),
        examples=EXAMPLES,
    )


_NOTES = """
The cell's value is a Comparison: `_`, or a variable with `-o`. It has `summary()`, `stats()`, `ranking()`, `plot()`,
`diff()`, `view()`, `cells`, `manifest` and `to_csv()` with its kin.

With `--data NAME` (a DataFrame or list of dicts) the prompt is a template: `{{column}}` is a value of the row. Without
it `{{expression}}` is evaluated in the notebook.

Every answer is kept as it comes. Under a `--name` what is there is not asked again, so a cell that was stopped goes
on where it was. `--dry-run` says what a run would cost and sends nothing.
"""
EXAMPLES = (
    ("Two models, one prompt", "%%compare -m demo/guide,demo/echo\nWhat is a provider?"),
    ("A table of prompts, three answers to each, scored",
     "%%compare -m demo/guide,demo/echo --data questions --score contains:expected -n 3\n{{question}}"),
    ("Two temperatures, kept under a name",
     "%%compare -m demo/guide,demo/echo -p temperature=0,0.7 --name study\nWhat is a provider?"),
    ("A judge, asked in both orders", "%%compare -m demo/guide,demo/echo --judge demo/guide\nWhat is a provider?"),
    ("Go on with what is kept", "%%compare --name study --resume"),
)  # fmt: skip
"""What each does, and the cell."""


@magics_class
class CompareMagics(Magics):
    """The comparison magic."""

    @shown_by_question_mark(page)
    @no_var_expand
    @cell_magic
    def compare(self, line: str, cell: str) -> Any:
        """Ask several models the same, and say which is better: `%%compare -m REF,REF [options]`, the prompt below.

        `%%compare?` shows every option, with examples.
        """
        with running():
            asked = _parser().read(split(line))
            if asked.help:
                return print(page())  # noqa: T201
            options = self._options(asked, cell)
            if asked.dry_run:
                return _comparisons().dry_run(options)
            making = _comparisons().open(options)
            if asked.resume and cell.strip():
                making.session.news += self._told_of(cell, making)
            found = self._run(making, asked)
            return None if asked.quiet else found

    def _run(self, making: Making, asked: argparse.Namespace) -> Comparison:
        try:
            with RunProgress(quiet=asked.quiet) as progress:
                making.complete(progress.show)
        except BaseException as exc:
            # What was answered before an interrupt, a budget or a failure is kept.
            if isinstance(exc, KeyboardInterrupt):
                exc._render_traceback_ = lambda: [_stopped(making)]  # type: ignore[attr-defined]
            if asked.out and making.begun:
                self._bound(making, asked.out)
            raise
        return self._bound(making, asked.out)

    def _bound(self, making: Making, out: str | None) -> Comparison:
        """The comparison. The variable has it before it is scored, so that stopping a scorer loses nothing."""
        scorers, making.scorers = making.scorers, ()
        found = making.comparison()
        if out:
            self.shell.user_ns[out] = found
        return found.score(*scorers) if scorers else found

    def _told_of(self, body: str, making: Making) -> list[str]:
        """What is to be said of a prompt that is typed, while the stored one is asked."""
        from nbllm.compare.resuming import other_prompt  # noqa: PLC0415  (not before the first comparison)

        design = making.plan.design
        try:
            text = _prompt(body, self.shell.user_ns, has_data=design.data_sha256 is not None)
        except NbllmError:  # an expression that fails now; it is not asked either way
            text = body
        return other_prompt(text, design)

    def _options(self, asked: argparse.Namespace, body: str) -> CompareOptions:
        from nbllm.compare.options import CompareOptions  # noqa: PLC0415  (not before the first comparison)

        names = self.shell.user_ns
        if asked.out and not asked.out.isidentifier():
            raise UsageError("%%compare: -o takes the name of a variable", hint="for example `-o result`")
        if asked.engine not in ENGINES:
            raise UsageError("%%compare: there is no such engine", hint=f"there are {', '.join(ENGINES)}")
        if asked.resume and not asked.name:
            raise UsageError("%%compare: --resume goes on with a comparison by its name", hint="add --name NAME")
        data = prompts.named(asked.data, names, option="--data") if asked.data else None
        return CompareOptions(
            prompts=None if asked.resume else _prompt(body, names, has_data=data is not None),
            models=[ref for word in (*asked.models, *asked.refs) for ref in word.split(",") if ref],
            repeats=asked.repeats,
            data=data,
            scorers=tuple(_scorer(word, names) for word in asked.score),
            judge=asked.judge,
            rubric=asked.rubric,
            params=grid(asked.param),
            system=asked.system,
            budget_usd=asked.budget,
            allow_unknown_price=asked.allow_unknown_price,
            name=asked.name,
            resume=asked.resume,
            retry_errors=asked.retry_errors,
            seed=asked.seed,
            engine=asked.engine,
            cluster=names.get(asked.cluster, asked.cluster) if asked.cluster else None,
            yes=asked.yes,
            namespace=names,
        )


def _comparisons() -> Comparisons:
    found = workspace()
    found.compare_viewer = comparison_viewer
    return found.comparisons


def _prompt(body: str, names: dict[str, Any], *, has_data: bool) -> str:
    text = body.removesuffix("\n")  # IPython ends a cell's body with one
    if not text.strip():
        raise PromptError("the prompt is empty", hint="write it below the line of %%compare")
    return text if has_data else prompts.expand(text, names)


def _stopped(making: Making) -> str:
    """One line for an interrupt: what is there, and how to go on."""
    plan = making.plan
    kept = sum(cell.spec.key in making.session.answers for cell in plan.cells)
    name = one_line(plan.name, 60)
    way = f"nbllm.comparison({plan.name!r}).resume() goes on" if making.unnamed else f"--name {name} goes on from there"
    return f"KeyboardInterrupt: stopped; {kept:,} of {len(plan.cells):,} cells are kept: {way}"


def _scorer(word: str, names: Mapping[str, Any]) -> Any:
    """A function of the notebook by its name; everything else is a word that the core knows."""
    return names[word] if ":" not in word and callable(names.get(word)) else word


def grid(words: Sequence[str]) -> dict[str, Any]:
    """`KEY=V1,V2` as an axis of the grid, `KEY=V` as a constant.

    What is JSON as a whole is one value; a JSON list is an axis. Several JSON values behind each other are an axis, and
    so is what commas separate, of which each part is JSON where it can be read as such, else a string.

    Raises:
        UsageError: A word has no `=`, a value is missing, or a parameter is there twice. The value is not repeated.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError("a parameter takes KEY=VALUE", hint="for example -p temperature=0,0.7")
        if name in found:
            raise UsageError(
                f"the parameter {one_line(name, 40)} is there twice", hint=f"all values in one: -p {name}=V1,V2"
            )
        found[name] = _values(value, name)
    return found


def _values(text: str, name: str) -> Any:
    for shape in (text, f"[{text}]"):  # the second: `{"a": 1, "b": 2},{"a": 3}`, and numbers
        try:
            return json.loads(shape) if text.strip() else _missing(name)
        except ValueError:
            continue
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        _missing(name)
    return [_value(part) for part in parts] if len(parts) > 1 else text


def _missing(name: str) -> NoReturn:
    raise UsageError(f"a value of the parameter {one_line(name, 40)} is missing", hint=f"for example -p {name}=V1,V2")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def give_body(lines: list[str]) -> list[str]:
    """`%%compare --resume` and `--help` want no body, and IPython refuses a cell magic without one."""
    return [*lines, "\n"] if len(lines) == 1 and _ALONE.match(lines[0]) else lines


def install(shell: InteractiveShell) -> None:
    """Let the magic stand alone in its cell."""
    before = shell.input_transformers_cleanup
    if give_body not in before:
        before.insert(before.index(read_cell_magic) if read_cell_magic in before else len(before), give_body)


def uninstall(shell: InteractiveShell) -> None:
    """Undo `install`."""
    if give_body in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(give_body)


def option_names() -> Sequence[str]:
    """The options of the magic, for completion and for the test of the reference page."""
    return _parser().option_names()
