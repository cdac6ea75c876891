"""`%%chat` and `%chat`: ask a model."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand

from nbllm.errors import PromptError, UsageError
from nbllm.notebook import prompt as prompts
from nbllm.notebook.magics.arguments import Arguments, assignment, pairs, split, split_options
from nbllm.notebook.session import Cells, running, workspace

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbllm.chat.options import ChatOptions

_CODE = re.compile(r"^```[^\n`]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _parser(prog: str, *, with_model: bool) -> Arguments:
    parser = Arguments(prog, "Ask a model.")
    add = parser.add_argument
    if with_model:
        add("ref", nargs="?", metavar="MODEL", help="model reference, provider/model")
    add("-m", "--model", metavar="REF", help="model reference; default: the default model")
    add("-s", "--system", metavar="TEXT", help="instructions above the conversation")
    add("-t", "--temperature", type=float, metavar="X", help="randomness")
    add("--max-tokens", type=int, metavar="N", help="longest answer, in tokens")
    add(
        "-p",
        "--param",
        type=assignment,
        action="append",
        metavar="KEY=VALUE",
        help="a parameter; VALUE is JSON, else a string",
    )
    add("--preset", metavar="NAME", help="parameters kept under a name")
    add("-c", "--conversation", default="main", metavar="NAME", help="whose history goes along; default: main")
    add("--new", action="store_true", help="start that conversation afresh")
    add("--no-history", action="store_true", help="send nothing earlier")
    add("--append", action="store_true", help="go on behind the last message, also when the cell ran before")
    add(
        "-a",
        "--attach",
        action="append",
        default=[],
        metavar="PATH_OR_VARIABLE",
        help="picture, PDF, text, figure, DataFrame",
    )
    add("--cell", type=int, metavar="N", help="put that cell's source and output in front")
    add("--last-error", action="store_true", help="put the last traceback in front")
    add("--tool", action="append", default=[], metavar="NAME", help="a function that the model may call")
    add("--max-rounds", type=int, metavar="N", help="rounds of tool calls; default: 8")
    add("--schema", metavar="NAME", help="pydantic class or JSON Schema dict that the answer must fit")
    add("--code", action="store_true", help="offer the first code block as the next cell")
    add("-o", "--out", metavar="NAME", help="bind the reply to a variable")
    add("--no-stream", action="store_true", help="show the answer once, when it is complete")
    add("--dry-run", action="store_true", help="show what would be sent; send nothing")
    add("--quiet", action="store_true", help="show nothing")
    return parser


@magics_class
class ChatMagics(Magics):
    """The chat magic."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._cells = Cells()

    @no_var_expand
    @line_cell_magic
    def chat(self, line: str, cell: str | None = None) -> Any:
        """Ask a model: `%%chat [MODEL] [options]` with the question below, or `%chat [options] QUESTION`.

        Every option is on the reference page of the magic, and `%%chat --help` lists them.
        """
        with running():
            asked, body = _read(line, cell)
            if asked.help:
                return print(_parser("%%chat", with_model=True).format_help())  # noqa: T201
            text = self._question(asked, body)
            options = self._options(asked)
            return workspace().dry_run(text, options) if asked.dry_run else self._ask(text, options, asked)

    def _ask(self, text: str, options: ChatOptions, asked: argparse.Namespace) -> Any:
        from nbllm.notebook.asking import ask  # noqa: PLC0415  (display's libraries: at the first answer)

        question = ask(workspace(), text, options, live=False if asked.no_stream else None, quiet=asked.quiet)
        try:
            reply = question.complete()
        finally:
            # Also what arrived before an interrupt or a break is bound.
            if asked.out and question.run.reply is not None:
                self.shell.user_ns[asked.out] = question.run.reply
        if asked.code:
            self._offer_code(reply.text)
        return reply

    def _question(self, asked: argparse.Namespace, body: str) -> str:
        before = [prompts.last_error()] if asked.last_error else []
        if asked.cell is not None:
            before.append(prompts.cell_context(self.shell, asked.cell))
        text = prompts.expand(body.removesuffix("\n"), self.shell.user_ns)  # IPython ends a cell's body with one
        if not text.strip() and not before and not asked.attach:
            raise PromptError(
                "the prompt is empty", hint="write the question below the line of %%chat, or behind %chat"
            )
        return "\n\n".join(filter(None, (*before, text)))

    def _options(self, asked: argparse.Namespace) -> ChatOptions:
        from nbllm.chat.options import ChatOptions  # noqa: PLC0415  (not before the first question)

        names = self.shell.user_ns
        return ChatOptions(
            model=asked.model or asked.ref,
            system=asked.system,
            temperature=asked.temperature,
            max_tokens=asked.max_tokens,
            params=pairs(asked.param),
            preset=asked.preset,
            attachments=[prompts.attachment(word, names) for word in asked.attach],
            tools={name: prompts.named(name, names, option="--tool") for name in asked.tool},
            max_rounds=asked.max_rounds,
            schema=prompts.named(asked.schema, names, option="--schema") if asked.schema else None,
            schema_name=asked.schema,
            conversation=asked.conversation,
            new=asked.new,
            history=not asked.no_history,
            append=asked.append,
            cell=self._cells.current(self.shell),
        )

    def _offer_code(self, text: str) -> None:
        """The front end shows it as the next cell where it can; the answer itself shows it everywhere."""
        found = _CODE.search(text)
        if found:
            self.shell.set_next_input(found[1].rstrip("\n"), replace=False)


def _read(line: str, cell: str | None) -> tuple[argparse.Namespace, str]:
    """The options, and the question."""
    if cell is None:
        parser = _with_help(_parser("%chat", with_model=False))
        words, body = split_options(line, parser)
        asked = parser.read(words)
        asked.ref = None
    else:
        parser = _with_help(_parser("%%chat", with_model=True))
        asked, body = parser.read(split(line)), cell
    if asked.out and not asked.out.isidentifier():
        raise UsageError(f"{parser.prog}: -o takes the name of a variable", hint="for example `-o reply`")
    if asked.ref and asked.model:
        raise UsageError(f"{parser.prog}: the model is named twice", hint="name it once, with or without -m")
    if asked.max_rounds is not None and asked.max_rounds < 1:
        raise UsageError(f"{parser.prog}: --max-rounds takes a whole number from 1")
    return asked, body


def _with_help(parser: Arguments) -> Arguments:
    parser.add_argument("--help", action="store_true", help="list the options")
    return parser


def option_names() -> Sequence[str]:
    """The options of the magic, for completion and for the test of the reference page."""
    return _with_help(_parser("%%chat", with_model=True)).option_names()
