"""How the line of a magic is read: prompts, paths and JSON as people type them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from key_shapes import SHAPES, traces
from nbllm.errors import CredentialError, UsageError
from nbllm.notebook.magics.arguments import Arguments, assignment, refuse_keys, split
from nbllm.notebook.magics.chat import _read


@dataclass(frozen=True)
class Line:
    id: str
    line: str
    words: tuple[str, ...]


LINES = (
    Line("words", "a  b\tc ", ("a", "b", "c")),
    Line("quotes", """-s "be brief" -s 'or not' """, ("-s", "be brief", "-s", "or not")),
    Line("an apostrophe inside a word", "what's that?", ("what's", "that?")),
    Line("a quote after =", 'stop="a b" x', ("stop=a b", "x")),
    Line("an escaped quote", r'"say \"hi\""', ('say "hi"',)),
    Line("JSON in quotes", """-p 'x={"a": [1, 2]}'""", ("-p", 'x={"a": [1, 2]}')),
    Line("JSON behind =", """x='{"a": "b c"}'""", ('x={"a": "b c"}',)),
    Line("a Windows path", r"-a C:\Users\me\new.png", ("-a", r"C:\Users\me\new.png")),
    Line("a Windows path with a space", r'-a "C:\My Files\a.png"', ("-a", r"C:\My Files\a.png")),
    Line("shell words", "$HOME {x} ~ *.png", ("$HOME", "{x}", "~", "*.png")),
    Line("empty quotes", "-s ''", ("-s", "")),
    Line("nothing", "   ", ()),
    Line("a comment", "key groq  # asks out of sight", ("key", "groq")),
    Line("no comment", "-p 'x=# y' a#b", ("-p", "x=# y", "a#b")),
)


@pytest.mark.parametrize("case", LINES, ids=lambda c: c.id)
def test_a_line_becomes_the_words_that_were_meant(case: Line) -> None:
    assert split(case.line) == list(case.words)


def test_an_open_quote_is_one_line_with_a_hint() -> None:
    with pytest.raises(UsageError, match="not closed") as e:
        split('-s "be brief')
    assert e.value.hint


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a=1", ("a", 1)), ("a=1.5", ("a", 1.5)), ("a=true", ("a", True)), ("a=null", ("a", None)),
        ("a=[1, 2]", ("a", [1, 2])), ('a={"b": 1}', ("a", {"b": 1})), ("a=text", ("a", "text")),
        ("a=b=c", ("a", "b=c")), ("a=", ("a", "")), ('a="1"', ("a", "1")), ("a=01", ("a", "01")),
    ],
)  # fmt: skip
def test_a_value_is_json_else_a_string(text: str, pair: tuple[str, object]) -> None:
    assert assignment(text) == pair


@dataclass(frozen=True)
class Question:
    id: str
    line: str
    prompt: str
    options: dict[str, object]


QUESTIONS = (
    Question("no options", "what's up?", "what's up?", {}),
    Question("one option", "-m demo/echo it's me", "it's me", {"model": "demo/echo"}),
    Question("quotes of the prompt stay", '-t 0 say "hi"  twice', 'say "hi"  twice', {"temperature": 0.0}),
    Question("a prompt that starts with a dash", "-m a/b -- -5 is what?", "-5 is what?", {"model": "a/b"}),
    Question("a dash and a space", "- a point", "- a point", {}),
    Question("a flag", "--no-history again", "again", {"no_history": True}),
    Question("an option in the prompt", "-t 1 what does -p do?", "what does -p do?", {"temperature": 1.0}),
    Question("a negative value", "-p presence_penalty=-1 hi", "hi", {"param": [("presence_penalty", -1)]}),
    Question("glued with =", "--model=a/b hi", "hi", {"model": "a/b"}),
    Question("a value that starts with a dash", '-s "-x" hi', "hi", {"system": "-x"}),
    Question("several", "-a one.png -a two hi", "hi", {"attach": ["one.png", "two"]}),
    Question("braces and dollars", "-s {x} $HOME {y}", "$HOME {y}", {"system": "{x}"}),
)


@pytest.mark.parametrize("case", QUESTIONS, ids=lambda c: c.id)
def test_a_question_on_one_line_keeps_its_words(case: Question) -> None:
    asked, prompt = _read(case.line, None)
    assert prompt == case.prompt
    assert {k: getattr(asked, k) for k in case.options} == case.options


def test_the_model_of_a_cell_stands_first_or_behind_m() -> None:
    assert _read("groq/a -t 0", "hi")[0].ref == "groq/a"
    assert _read("-t 0 groq/a", "hi")[0].ref == "groq/a"
    assert _read("-m groq/a", "hi")[0].model == "groq/a"
    with pytest.raises(UsageError, match="twice"):
        _read("groq/a -m groq/b", "hi")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--nosuch", "no option --nosuch"), ("--temprature 1", "--temperature"), ("-t", "-t needs a value"),
        ("-t warm", "float"), ("--cell x", "int"), ("-p novalue", "KEY=VALUE"), ("-p =1", "KEY=VALUE"),
        ("a/b more words", "2 words too many"), ("-o 1x", "name of a variable"), ("--max-rounds 0", "max-rounds"),
    ],
)  # fmt: skip
def test_words_that_do_not_fit_are_one_line_and_a_hint(line: str, says: str) -> None:
    with pytest.raises(UsageError) as e:
        _read(line, "hi")
    assert says in f"{e.value.message} {e.value.hint}"
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 300


def test_a_value_that_does_not_fit_is_not_repeated() -> None:
    with pytest.raises(UsageError) as e:
        _read("-t hunter2hunter2", "hi")
    assert "hunter2" not in str(e.value)


# ---------------------------------------------------------------- keys


def _parser() -> Arguments:
    parser = Arguments("%x")
    for option in ("--system", "--conversation", "--header", "--param", "--env", "--model"):
        parser.add_argument(option, action="append")
    parser.add_argument("words", nargs="*")
    return parser


PLACES = ("{}", "--model {}", "--model={}", "--header X-Foo={}", "--header Authorization={}", "--env {}",
          "--header 'Authorization=Bearer {}'", "--param api_key={}", "ID {}", "--nosuch {}",
          "--nosuch={}")  # fmt: skip
ANYWHERE = ("--system 'use {} for it'", "--conversation {}", "--param x={}")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.id)
def test_a_key_is_refused_wherever_it_stands_and_not_repeated(shape, place: str) -> None:
    key = shape.key()
    with pytest.raises(CredentialError, match="a key was typed") as e:
        _parser().read(split(place.format(key)))
    assert traces(key, f"{e.value} {e.value.hint} {e.value.__context__!r}") == []
    assert "new key" in (e.value.hint or "")


@pytest.mark.parametrize("place", ANYWHERE)
@pytest.mark.parametrize("shape", [s for s in SHAPES if s.id not in ("short-hex", "escaped")], ids=lambda s: s.id)
def test_the_known_shapes_are_refused_also_in_free_text(shape, place: str) -> None:
    with pytest.raises(CredentialError):
        _parser().read(split(place.format(shape.key())))


@pytest.mark.parametrize(
    "line",
    [
        "--conversation 5ad88873-2345-4450-9078-5c9478f20de7", "--conversation aef58e22a7ac468ba574bbeb8183bdc0",
        "--conversation sk-learn-experiments", "--conversation key-findings-2026", "--model jina-embeddings-v3",
        "--system 'Never say an API key such as sk-... to anyone'", "--param prompt_cache_key=user-42",
        "--param seed=12345678901234567890", "--param max_tokens=5", "--model pplx-70b-online-chat",
        "--param user=9f86d081884c7d659a2feaa0c55ad015", "--header OpenAI-Organization=org-Ab3dE5gH7jK9mN1pQ3rS5tU7",
        "--model accounts/fireworks/models/llama4-maverick-instruct-basic", "--env GROQ_API_KEY",
        "--model local/TinyLlama-1.1B-Chat-v1.0-GGUF-Q4_K_M", "--param 'stop=[\"a\", \"b\"]'",
        "--header api-version=2024",
    ],
)  # fmt: skip
def test_what_is_no_key_is_not_taken_for_one(line: str) -> None:
    _parser().read(split(line))


def test_single_words_are_judged_as_where_nothing_is_expected() -> None:
    with pytest.raises(CredentialError):
        refuse_keys([SHAPES[5].key()])
