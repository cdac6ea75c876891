"""What may come out of model text, whatever goes in."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbllm.notebook import rendering
from nbllm.notebook.rendering import FORMAT_CAP, GrowingText, render_markdown, show_hidden
from payloads import PAYLOADS, with_canary

CANARY = "http://canary.invalid"
ATTACKS = with_canary(PAYLOADS, CANARY)
TAGS = set(rendering._TAGS.split())


class Page(HTMLParser):
    """What a browser would find in it."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.maths: list[str] = []
        self._depth = 0
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if "mathjax_process" in (dict(attrs).get("class") or ""):
            self.maths.append("")
            self._depth = 1

    def handle_endtag(self, tag: str) -> None:
        self._depth = 0

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._depth:
            self.maths[-1] += data

    @property
    def text(self) -> str:
        return "".join(self.words)

    def harm(self) -> list[str]:
        """Everything that has no business here."""
        found = [tag for tag in self.tags if tag not in TAGS]
        for tag, name, value in self.attributes:
            allowed = name in ("class", "rel", "start", "title") or (tag, name) == ("a", "href")
            if not allowed or (name == "href" and not re.match(r"(https?://|mailto:)", value)):
                found.append(f"{tag} {name}={value}")
        found += [m for m in self.maths if re.search(r"\\(href|style|class|cssId|require|csname|data|mmlToken)\b", m)]
        return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_runs_fetches_or_restyles_comes_out(attack):
    """Tags, attributes and link schemes are those of plain prose, with and without colours."""
    for highlight in (False, True):
        assert Page(render_markdown(attack, highlight=highlight)).harm() == []


def test_there_are_more_than_a_hundred_attacks():
    assert len(set(ATTACKS)) >= 100


def test_the_check_would_see_harm():
    """The parser of this test finds what it looks for."""
    for bad in ("<img src=x>", "<p style=a:b>", "<a href=javascript:x>", "<a href=/api>", "<p onclick=x>", "<script>"):
        assert Page(bad).harm()


@pytest.mark.parametrize("attack", ATTACKS[::4])
def test_no_attack_gets_through_half_arrived(attack):
    """Cut at every position, as tokens may cut it, each intermediate picture is as clean as the last."""
    growing = GrowingText()
    for end in range(1, len(attack) + 1):
        assert Page(growing.render(attack[:end])).harm() == [], attack[:end]


@settings(max_examples=150)
@given(st.text(alphabet=st.sampled_from("<>&\"'`*_[]()!$\\#|-\n /:=ajscriptonerrohtp\u202e\u200d"), max_size=80))
def test_random_markup_is_clean(text):
    assert Page(render_markdown(text, highlight=True)).harm() == []


def test_what_the_model_wrote_can_be_read():
    """Attacks are shown, not removed: a reader sees the words of the source."""
    for attack in ATTACKS:
        shown = re.sub(r"\s", "", Page(render_markdown(attack)).text)
        source = html.unescape(re.sub(r"(?m)^(```|~~~).*$|^\s*\[\w+\]: .*$", "", attack))  # fences name a language only
        for word in re.findall(r"[A-Za-z]{4,}", re.sub(r"\]\(.*?\)(?=\W|$)|<\w+:.*?>|&\w+;|['\"].*", " ", source)):
            assert word in shown, (attack, word)


ANSWER = """# Title

Some *text* with `code`, a [link](https://example.org/a) and ~~old~~ words.

- one
- two
  1. nested

| a | b |
|---|--:|
| cell one | cell two |

> quoted

```python
def function(): return "string"
```

Last words.
"""


def test_every_word_of_an_ordinary_answer_is_visible():
    for highlight in (False, True):
        text = Page(render_markdown(ANSWER, highlight=highlight)).text
        for word in re.findall(r"[A-Za-z]+", re.sub(r"```python|https://\S+", "", ANSWER)):
            assert word in text


def test_growing_text_ends_like_the_whole():
    """The kept HTML of finished blocks is what the whole text would have given."""
    growing = GrowingText()
    for end in range(0, len(ANSWER), 3):
        growing.render(ANSWER[:end])
    assert growing.render(ANSWER) == render_markdown(ANSWER)


def test_code_is_coloured_by_class_only_when_asked():
    assert '<span class="k">def</span>' in render_markdown(ANSWER, highlight=True)
    assert "<span" not in render_markdown("```python\ndef f(): pass\n```")
    assert "<span" not in render_markdown("```no-such-language\ndef f(): pass\n```", highlight=True)


def test_a_half_open_fence_is_code_and_not_prose():
    page = Page(render_markdown("look:\n\n```python\nx = '**bold**'", partial=True))
    assert "pre" in page.tags
    assert "strong" not in page.tags


# ---------------------------------------------------------------- formulas

FORMULAS = [
    r"$a_1 * b * c_2$",
    r"$x$",
    r"\(x_i^2\)",
    r"\(a \* b\)",
    r"$$e = mc^2$$",
    r"\[\sum_{i=1}^n i\]",
    "$$\na\n= b\n- c\n+ d\n> e\n$$",
    "\\[\nx_1 * y * z\n\\]",
    "\\begin{align}\na &= b \\\\\nc &< d\n\\end{align}",
    r"$\operatorname{def}(x) \in \mathbb{R}$",
    r"$\frac{a}{b} \text{ if } x < 3 & y$",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_reaches_mathjax_as_written(formula):
    around = f"Before.\n\n{formula}\n\nAfter." if "\n" in formula else f"Before {formula} after."
    assert Page(render_markdown(around)).maths == [formula]


@pytest.mark.parametrize(
    "text",
    [
        "between $5 and $10",
        "costs $5, or $10/month, or US$20",
        "`$HOME/$USER` and $HOME/$USER",
        r"escaped \$x\$ and \\(x\\)",
        "$ x $ and $$ alone",
        "`\\(x\\)` stays code",
        "```\n$$\nx\n$$\n```",
        "an open $formula",
        "$$\nnever closed\n\nnext paragraph",
    ],
)
def test_a_dollar_is_not_always_a_formula(text):
    assert Page(render_markdown(text)).maths == []


@pytest.mark.parametrize("name", ["href", "require", "style", "class", "cssId", "csname", "def", "newcommand", "data"])
def test_a_formula_that_could_act_on_the_page_is_shown_as_code(name):
    page = Page(render_markdown(rf"see $\{name}{{javascript:alert(1)}}{{x}}$ here"))
    assert page.maths == []
    assert "code" in page.tags
    assert rf"\{name}" in page.text


def test_an_open_block_formula_waits_as_plain_text():
    page = Page(render_markdown("so\n\n$$\nx\n= 5", partial=True))
    assert page.maths == []
    assert "pre" in page.tags
    assert "h1" not in page.tags


def test_formulas_work_in_lists_and_quotes():
    assert Page(render_markdown("1. so\n\n   $$\n   x\n   $$\n2. $y$\n\n> \\(z\\)")).maths == [
        "$$\nx\n$$",
        "$y$",
        "\\(z\\)",
    ]


# ---------------------------------------------------------------- links and pictures


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[your bank](https://evil.example/x)", "your bank (evil.example)"),
        ("[https://good.example](https://evil.example)", "https://good.example (evil.example)"),
        ("[x](https://good.example@evil.example:8443/)", "x (evil.example:8443)"),
        ("[x](https://bücher.example/)", "x (xn--bcher-kva.example)"),
        ("[https://a.example/b](https://a.example/b)", "https://a.example/b"),
        ("<https://a.example/b>", "https://a.example/b"),
        ("[write](mailto:a@b.example)", "write (a@b.example)"),
        ("[docs](docs/page.md)", "docs (docs/page.md)"),
        ("https://plain.example", "https://plain.example"),
    ],
)
def test_a_link_says_where_it_goes(text, shown):
    assert Page(render_markdown(text)).text.strip() == shown


def test_plain_addresses_do_not_become_links():
    assert "a" not in Page(render_markdown("see https://plain.example and www.example.org")).tags


def test_a_picture_is_words():
    page = Page(render_markdown("![a <b>](https://x.example/p.png?q=1)"))
    assert page.text.strip() == "[image blocked: a <b> https://x.example/p.png?q=1]"
    assert not page.harm()


# ---------------------------------------------------------------- hidden characters


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a<U+202E>b"),
        ("a\u200bb\ufeff", "a<U+200B>b<U+FEFF>"),
        ("\x1b[31m", "<U+001B>[31m"),
        ("a\u200db", "a<U+200D>b"),
        ("\U000e0041", "<U+E0041>"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("👩\u200d👩\u200d👧 👍🏽 ❤\ufe0f\u200d🔥", "👩\u200d👩\u200d👧 👍🏽 ❤\ufe0f\u200d🔥"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",) * 2,
        ("e\u0301 naïve – “quotes” 日本語", "e\u0301 naïve – “quotes” 日本語"),
    ],
)
def test_hidden_characters_are_shown_and_writing_is_left_alone(text, shown):
    assert show_hidden(text) == shown


def test_hidden_characters_are_shown_inside_code_and_formulas():
    text = Page(render_markdown("`a\u202eb` and\n\n```\nc\u2066d\n```\n\n$x\u200by$")).text
    assert "a<U+202E>b" in text
    assert "c<U+2066>d" in text
    assert "x<U+200B>y" in text


# ---------------------------------------------------------------- size and faults


@pytest.mark.parametrize(
    "text",
    ["$a " * 20_000, "[" * 20_000, "*a " * 20_000, "`" * 20_000 + "a", "> " * 2_000, "\\(" * 20_000, "$$\n" * 7_000,
     "- " * 5_000, "|" * 20_000, "![" * 10_000, "<" * 20_000, "](" * 10_000, "**a_" * 9_000, "\\[a\n" * 20_000,
     "\\begin{align}\n" * 14_000],
    ids=lambda t: f"{t[:6]!r} x {len(t)}",
)  # fmt: skip
@pytest.mark.timeout(20)
def test_a_hostile_length_ends(text):
    """None of these takes quadratic time: a minute each, if it did."""
    assert render_markdown(text)


def test_a_long_answer_is_formatted_and_a_huge_one_is_shown_plain():
    long = ANSWER * (200 * 1024 // len(ANSWER))
    assert render_markdown(long).count("<h1>") == long.count("# Title")
    huge = "# x\n" + "word " * (FORMAT_CAP // 5)
    page = Page(render_markdown(huge))
    assert set(page.tags) == {"pre"}
    assert page.text == huge


def test_an_answer_is_not_lost_to_a_fault_in_formatting(monkeypatch, caplog):
    monkeypatch.setattr(rendering, "_clean", lambda raw: 1 / 0)
    assert render_markdown("a <b>") == '<pre class="nbllm-plain">a &lt;b&gt;</pre>'
    assert "could not be formatted" in caplog.text
