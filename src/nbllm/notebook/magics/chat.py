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
from nbllm.notebook.magics.manual import described, manual, shown_by_question_mark
from nbllm.notebook.session import Cells, running, workspace

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbllm.chat.options import ChatOptions

_CODE = re.compile(r"^```[^\n`]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _parser(prog: str, *, with_model: bool) -> Arguments:
    parser = Arguments(prog, "Ask a model.")
    _model_options(parser, with_model=with_model)
    _history_options(parser)
    _attached(parser)
    _tool_options(parser)
    _output_options(parser)
    return parser


def _model_options(parser: Arguments, *, with_model: bool) -> None:
    add = parser.add_argument_group("Who answers, and how").add_argument
    if with_model:
        add("ref", nargs="?", metavar="MODEL", help="model reference, provider/model")
    add("-m", "--model", metavar="REF", help="model reference; default: the default model")
    add("-s", "--system", metavar="TEXT", help="instructions above the conversation")
    add("-t", "--temperature", type=float, metavar="X", help="randomness, a number from 0")
    add("--max-tokens", type=int, metavar="N", help="longest answer, in tokens")
    said = "any other parameter, in the provider's words; VALUE is JSON, else a string; repeatable"
    add("-p", "--param", type=assignment, action="append", metavar="KEY=VALUE", help=said)
    add("--preset", metavar="NAME", help="parameters kept by `%llm_config preset`; what the line says wins")


def _history_options(parser: Arguments) -> None:
    add = parser.add_argument_group("Conversation").add_argument
    said = "whose history goes along; default: main, which is new with each kernel"
    add("-c", "--conversation", default="main", metavar="NAME", help=said)
    add("--new", action="store_true", help="start that conversation afresh")
    add("--no-history", action="store_true", help="send nothing earlier")
    add("--append", action="store_true", help="go on behind the last message, also when the cell ran before")


def _attached(parser: Arguments) -> None:
    add = parser.add_argument_group("What goes along").add_argument
    said = "picture, PDF, text file, figure, DataFrame, dict or list; repeatable"
    add("-a", "--attach", action="append", default=[], metavar="PATH_OR_VARIABLE", help=said)
    add("--cell", type=int, metavar="N", help="put that cell's source and output in front")
    add("--last-error", action="store_true", help="put the last traceback in front")


def _tool_options(parser: Arguments) -> None:
    add = parser.add_argument_group("Tools and structured answers").add_argument
    said = "a function of the notebook that the model may call; repeatable"
    add("--tool", action="append", default=[], metavar="NAME", help=said)
    add("--max-rounds", type=int, metavar="N", help="rounds of tool calls; default: the setting max_rounds, 8")
    add("--schema", metavar="NAME", help="pydantic class or JSON Schema dict that the answer must fit")


def _output_options(parser: Arguments) -> None:
    add = parser.add_argument_group("What comes of it").add_argument
    add("-o", "--out", metavar="NAME", help="bind the reply to a variable, also one that broke off")
    add("--code", action="store_true", help="offer the first code block as the next cell")
    add("--no-stream", action="store_true", help="show the answer once, when it is complete")
    add("--quiet", action="store_true", help="show nothing; the reply is still the cell's value")
    add("--dry-run", action="store_true", help="show what would be sent; send nothing")
    add("--help", action="store_true", help="show this page")


def page() -> str:
    """What `%%chat?` shows."""
    return manual(
        "Ask a model, and see its answer as it is written.",
        synopsis=_SYNOPSIS,
        notes=_NOTES,
        options=described(_parser("%%chat", with_model=True)),
        examples=EXAMPLES,
    )


_SYNOPSIS = """
%%chat [MODEL] [options]
The question, in as many lines as it takes.

%chat [options] The question on one line?
"""
_NOTES = """
MODEL is `provider/model`. Without one the default model answers: the setting `model`, else the first model of your list
that can be used, else `demo/guide`, which needs no key. `%llm_providers` says who can be asked.

`{{expression}}` in the question is replaced by its value, once; other braces, `$` and quotation marks mean nothing.

The value of the cell is a Reply: `_.text`, `_.usage`, `_.finish_reason`. A call that fails fails the cell. Interrupting
keeps what arrived. A cell that runs again asks again from the point where it stood.
"""
EXAMPLES = (
    ("A question to the demo provider, which needs no key", "%%chat demo/guide\nWhat can I do here?"),
    (
        "On one line, with instructions and without randomness",
        '%chat -m demo/echo -s "Be brief." -t 0 What is a kernel?',
    ),
    (
        "Something of the notebook in the question, and the reply in a variable",
        "sizes = [3, 1, 2]\n%chat -m demo/echo -o reply Is {{sizes}} sorted?",
    ),
    (
        "A function that the model may call",
        'def area(width: float, height: float) -> float:\n    "Area of a rectangle, in square metres."\n'
        "    return width * height\n\n%chat -m demo/tools --tool area How large is 3 by 4?",
    ),
    (
        "A conversation of its own, which goes on in other kernels; and what would be sent, before it is",
        "%chat -m demo/echo -c study --dry-run And now in one sentence?",
    ),
)
"""What each does, and the cell; all run with the demo provider."""


@magics_class
class ChatMagics(Magics):
    """The chat magic."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._cells = Cells()

    @no_var_expand
    @line_cell_magic
    @shown_by_question_mark(page)
    def chat(self, line: str, cell: str | None = None) -> Any:
        """Ask a model: `%%chat [MODEL] [options]` with the question below, or `%chat [options] QUESTION`.

        `%%chat?` and `%%chat --help` show the whole page.
        """
        with running():
            asked, body = _read(line, cell)
            if asked.help:
                return print(page())  # noqa: T201
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
        parser = _parser("%chat", with_model=False)
        words, body = split_options(line, parser)
        asked = parser.read(words)
        asked.ref = None
    else:
        parser = _parser("%%chat", with_model=True)
        asked, body = parser.read(split(line)), cell
    if asked.out and not asked.out.isidentifier():
        raise UsageError(f"{parser.prog}: -o takes the name of a variable", hint="for example `-o reply`")
    if asked.ref and asked.model:
        raise UsageError(f"{parser.prog}: the model is named twice", hint="name it once, with or without -m")
    if asked.max_rounds is not None and asked.max_rounds < 1:
        raise UsageError(f"{parser.prog}: --max-rounds takes a whole number from 1")
    return asked, body


def option_names() -> Sequence[str]:
    """The options of the magic, for completion and for the test of the reference page."""
    return _parser("%%chat", with_model=True).option_names()
