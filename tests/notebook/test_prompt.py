"""From a cell's text to a prompt: expressions in double braces, and nothing else, are touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from nbllm.errors import PromptError
from nbllm.notebook.prompt import attachment, expand, named

NAMES: dict[str, Any] = {"x": 5, "name": "Ada", "rows": [{"a": 1}], "braces": "{{x}}", "f": lambda **k: k}


@dataclass(frozen=True)
class Case:
    id: str
    body: str
    text: str
    names: dict[str, Any] = field(default_factory=lambda: dict(NAMES))


CASES = (
    Case("a name", "hi {{name}}!", "hi Ada!"),
    Case("blanks", "{{ x }}", "5"),
    Case("two in a line", "{{x}}{{x}}", "55"),
    Case("arithmetic", "{{x * 2 + 1}}", "11"),
    Case("an index", "{{rows[0]['a']}}", "1"),
    Case("a dict", '{{ {"a": 1} }}', "{'a': 1}"),
    Case("a dict without blanks", '{{{"a": 1}["a"]}}', "1"),
    Case("nested braces", '{{ {"a": {"b": 3}}["a"]["b"] }}', "3"),
    Case("braces at the end", '{{f(a={"b": {}})}}', "{'a': {'b': {}}}"),
    Case("an f-string", '{{ f"{x}-{name}" }}', "5-Ada"),
    Case("closing braces in a string", """{{ "}}" + name }}""", "}}Ada"),
    Case("a comprehension", "{{ [i for i in range(3)] }}", "[0, 1, 2]"),
    Case("a comprehension over a name", "{{ [i * x for i in range(2)] }}", "[0, 5]"),
    Case("over two lines", "{{ (x +\n 1) }}", "6"),
    Case("a literal", r"\{{name}}", "{{name}}"),
    Case("a literal beside an expression", r"\{{a}} {{x}}", "{{a}} 5"),
    Case("single braces", "{x} {'a': 1} {{x}}", "{x} {'a': 1} 5"),
    Case("dollars and percents", "$x $HOME %s %(x)s ${x}", "$x $HOME %s %(x)s ${x}"),
    Case("f-string syntax", "f'{x!r:>10}'", "f'{x!r:>10}'"),
    Case("not closed", "{{ x", "{{ x"),
    Case("LaTeX", r"\frac{a}{b} x^{2}", r"\frac{a}{b} x^{2}"),
    Case("what an expression gives is not read again", "{{braces}}", "{{x}}"),
    Case("closing braces alone", "}} x }}", "}} x }}"),
    Case("nothing", "", ""),
)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_expressions_are_replaced_and_all_else_stays(case: Case) -> None:
    assert expand(case.body, case.names) == case.text


@pytest.mark.parametrize(
    ("body", "named_in_it"),
    [
        ("{{1/0}}", ("1/0", "ZeroDivisionError")),
        ("{{nosuch.name}}", ("nosuch.name", "NameError")),
        ("{{ two words }}", ("two words", "SyntaxError")),
        ("{{}}", ("{{}}", "SyntaxError")),
        ("{{ user | upper }}", ("user | upper", "NameError")),
    ],
)
def test_an_expression_that_raises_is_named_with_its_error(body: str, named_in_it: tuple[str, ...]) -> None:
    with pytest.raises(PromptError) as e:
        expand(f"a {body} b", dict(NAMES))
    assert all(part in e.value.message for part in named_in_it)
    assert r"\{{" in (e.value.hint or "")
    assert e.value.__cause__ is None
    assert e.value.__context__ is None


def test_a_table_is_written_out_whole() -> None:
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    frame = pd.DataFrame({"n": range(5000), "s": ["word"] * 5000})
    for table in (frame, pl.DataFrame({"n": range(5000)})):
        text = expand("{{table}}", {"table": table})
        assert "4999" in text
        assert "..." not in text
        assert text.count("\n") >= 5000


def test_what_is_attached_is_a_variable_before_it_is_a_path() -> None:
    assert attachment("x", NAMES) == ("x", 5)
    assert attachment("x.png", NAMES) == "x.png"
    assert attachment("nosuch", NAMES) == "nosuch"


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(PromptError, match="--tool nosuch"):
        named("nosuch", NAMES, option="--tool")
