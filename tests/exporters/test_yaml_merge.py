"""YAML files of other tools: ours goes in, not a byte of the user's goes out."""

from __future__ import annotations

import contextlib
import difflib
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from exporters.catalogue import catalogue, row
from exporters.user_files import FILES, USERS_KEY
from nbllm.errors import ExportError
from nbllm.exporters import exporter
from nbllm.exporters.base import STRATEGIES, Exported, Merged, Strategy
from nbllm.providers.spec import ModelInfo

TOOLS = ("aichat", "mods", "llm", "litellm", "continue")
every_tool = pytest.mark.parametrize("tool", TOOLS)
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def groq(*models: str | ModelInfo, id: str = "groq", **fields: Any) -> Exported:
    fields.setdefault("key_env", "GROQ_API_KEY")
    infos = [m if isinstance(m, ModelInfo) else ModelInfo(id, m) for m in models or ("llama",)]
    return row(id, *infos, **fields)


def merge(tool: str, text: str, *providers: Exported, strategy: Strategy = "add") -> Merged:
    """Merge, and again: the second time nothing changes."""
    merged = exporter(tool).merge(text, providers, strategy)
    again = exporter(tool).merge(merged.text, providers, strategy)
    assert (again.text, again.added, again.updated, again.removed) == (merged.text, (), (), ())
    return merged


def load(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def only_inserted(old: str, new: str) -> bool:
    """Whether each character of `old` stands in `new`, in its order, and each line too."""
    rest = iter(new.splitlines())
    return all(line in rest for line in old.splitlines())


def changed_lines(old: str, new: str) -> tuple[list[str], list[str]]:
    """Lines that went and lines that came."""
    marks = [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[:2] in ("- ", "+ ")]
    return [m[2:] for m in marks if m[0] == "-"], [m[2:] for m in marks if m[0] == "+"]


# ---------------------------------------------------------------- files as people have them

AICHAT = f"""\
# ---- llm ----
model: openai:gpt-4o             # Specify the LLM to use
temperature: null                # default
wrap: no                         # (no, auto, <max-width>)
summary_prompt: 'This is a summary: '
mapping_tools:                   # Alias for a tool
  # fs: 'fs_cat,fs_ls'
use_tools: null
agents:
  - name: todo-sh
    model: null
rag_template: |
  Use the context.

  Query: __INPUT__

document_loaders:
  pdf: 'pdftotext $1 -'                         # poppler
left_prompt:
  '{{color.green}}{{?session {{?agent {{agent}}>}}{{session}}{{?role /}}}}{{!session a long line, never wrapped}} '

# ---- clients ----
clients:
  # All clients have the following configuration:
  # - type: xxxx
  - type: openai
    api_key: {USERS_KEY}                                   # ENV: OPENAI_API_KEY
    organization_id: org-xxx

  # For any platform compatible with OpenAI's API
  - type: openai-compatible
    name: groq
    api_base: "https://old.example/v1"
    api_key: {USERS_KEY}
    chat_endpoint: /chat/completions
    models:
      - name: llama             # mine
        max_input_tokens: 8_192
        input_price: 1
      - {{ name: gone, max_input_tokens: 1 }}
      - name: kept
        patch: {{ body: {{ seed: 1 }} }}
      - name: also-kept # a comment of mine
      # - name: switched-off

  # See https://jina.ai
  - type: rag-dedicated
    name: jina
    api_base: https://api.jina.ai/v1
    # - name: not yet

# the end
"""


def llama(**facts: Any) -> ModelInfo:
    return ModelInfo("groq", "llama", context=8192, input_price=1.0, **facts)


def test_a_new_client_goes_behind_the_last_and_its_comments() -> None:
    merged = merge("aichat", AICHAT, groq("m", id="cerebras"))
    assert only_inserted(AICHAT, merged.text)
    assert merged.added == ("cerebras",)
    head, _, tail = merged.text.partition("    # - name: not yet\n")
    assert head + "    # - name: not yet\n" == AICHAT[: AICHAT.index("\n# the end")]
    assert tail == (
        "  - type: openai-compatible\n    name: cerebras\n    api_base: https://api.cerebras.example/v1\n"
        "    models:\n      - name: m\n\n# the end\n"
    )


def test_add_leaves_an_entry_that_is_there_alone() -> None:
    merged = merge("aichat", AICHAT, groq("llama", "new"))
    assert (merged.text, merged.kept) == (AICHAT, ("groq",))


def test_update_refreshes_what_is_ours_and_adds_models() -> None:
    provider = groq(llama(output_price=2.0), ModelInfo("groq", "new", tools=True))
    merged = merge("aichat", AICHAT, provider, strategy="update")
    assert merged.updated == ("groq",)
    assert changed_lines(AICHAT, merged.text) == (
        [],
        [
            "        output_price: 2.0",  # 8_192 and 1 say the same as 8192 and 1.0 and stay
            "      - name: new",
            "        supports_function_calling: true",
        ],
    )


def test_replace_takes_models_away_but_none_that_somebody_wrote_something_to() -> None:
    merged = merge("aichat", AICHAT, groq("llama"), strategy="replace")
    gone, _ = changed_lines(AICHAT, merged.text)
    assert gone == ["      - { name: gone, max_input_tokens: 1 }"]
    assert [m["name"] for m in load(merged.text)["clients"][1]["models"]] == ["llama", "kept", "also-kept"]


@every_tool
@every_strategy
def test_files_of_users_keep_every_line(tool: str, strategy: Strategy) -> None:
    old = FILES[tool].text
    merged = merge(tool, old, *catalogue(), strategy=strategy)
    assert merged.added
    assert only_inserted(old, merged.text)
    assert USERS_KEY in merged.text
    before, after = load(old), load(merged.text)
    if tool == "llm":
        assert after[: len(before)] == before
    else:
        assert {k: v for k, v in after.items() if k not in ("clients", "apis", "model_list", "models")} == {
            k: v for k, v in before.items() if k not in ("clients", "apis", "model_list", "models")
        }


@every_tool
def test_what_is_new_reads_as_a_new_file_does(tool: str) -> None:
    """The same entries, whether they are added to a file or begin one."""
    key = {"aichat": "clients", "mods": "apis", "llm": None, "litellm": "model_list", "continue": "models"}[tool]
    merged, new = load(merge(tool, FILES[tool].text, *catalogue()).text), load(exporter(tool).render(catalogue()))
    ours, alone = (merged, new) if key is None else (merged[key], new[key])
    if isinstance(alone, dict):
        assert {k: v for k, v in ours.items() if k in alone} == alone
    else:
        assert ours[-len(alone) :] == alone


@every_tool
def test_an_empty_file_becomes_a_new_one(tool: str) -> None:
    assert merge(tool, "", groq()).text == exporter(tool).render([groq()])
    assert merge(tool, "", row("nobody")).text in ("", exporter(tool).render([row("nobody")]))


# ---------------------------------------------------------------- how lists can be written

SHAPES = {
    "missing": "other: 1\n",
    "missing, comments behind": "other: 1\n# clients:\n#   - type: x\n",
    "only a comment": "# nothing yet\n",
    "a marker only": "---\n# nothing yet\n",
    "null": "clients:\nother: 1\n",
    "null, comment": "clients: # mine\n  # - type: x\nother: 1\n",
    "null in words": "a: 1\nclients: null # none\nother: 1\n",
    "tilde": "clients: ~\nother: 1\n",
    "empty": "clients: [] # none\nother: 1\n",
    "not indented": "clients:\n- type: mine\n  name: x\n# of the next\nother: 1\n",
    "four columns": "clients:\n    -   type: mine\n        name: x\n        m:\n            -   name: m\nother: 1\n",
    "dash alone": "clients:\n  -\n    type: mine\n    name: x\nother: 1\n",
    "comment at dash": "clients:\n  - # mine\n    type: mine\n    name: x\nother: 1\n",
    "flow items": "clients:\n  - {type: mine, name: x}\nother: 1\n",
    "flow": "clients: [{type: mine, name: x}] # all\nother: 1\n",
    "flow over lines": "clients: [\n  {type: mine, name: x}, # one\n]\nother: 1\n",
    "json": '{"clients": [{"type": "mine", "name": "x"}], "other": 1}\n',
    "json without it": '{"other": 1}\n',
    "an empty object": "{}\n",
    "ends in a block": "clients:\n  - type: mine\n    name: |\n      x\n      y\n\nother: 1\n",
    "ends in a kept block": "clients:\n  - type: mine\n    name: |+\n      x\n\n\nother: 1\n",
    "ends in a folded line": "clients:\n  - type: mine\n    name: >-\n      x\n      y\n",
    "ends in an alias": "n: &n x\nclients:\n  - type: mine\n    name: *n\nother: 1\n",
    "ends in nothing": "clients:\n  - type: mine\n    name:\nother: 1\n",
    "merge keys": "b: &b {type: mine}\nclients:\n  - <<: *b\n    name: x\nother: 1\n",
    "anchored": "clients: &c\n  - &d !!map\n    type: mine\n    name: x\nother: 1\n",
    "document marks": "%YAML 1.2\n---\nclients:\n  - type: mine\n...\n",
    "explicit key": "? clients\n: - type: mine\n    name: x\nother: 1\n",
    "lists in lists": "clients:\n  - - a\n    - b\n  - type: mine\nother: 1\n",
    "strings and nulls": "clients:\n  - mine\n  -\n  - 'x'\nother: 1\n",
    "blank lines": "\n\nclients:\n\n  - type: mine\n\n\n    name: x\n\n\n\nother: 1\n\n\n",
    "no-break spaces and accents": "clients:\n  - type: mine\n    name: 'é\u00a0模'\nother: \U0001f600 # ü\n",
    "multi-line quotes": "clients:\n  - type: mine\n    name: \"a\n      b\\\n      c\"\nother: 'd\n\n  e'\n",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("end", ["", "no final newline"])
def test_a_list_is_added_to_however_it_is_written(shape: str, end: str) -> None:
    old = SHAPES[shape].rstrip("\n") if end else SHAPES[shape]
    merged = merge("aichat", old, groq("a", "b"))
    before, after = load(old) or {}, load(merged.text)
    assert after["clients"][-1]["models"] == [{"name": "a"}, {"name": "b"}]
    assert after["clients"][:-1] == (before.get("clients") or [])
    assert {k: v for k, v in after.items() if k != "clients"} == {k: v for k, v in before.items() if k != "clients"}
    assert merged.text.endswith("\n") is not bool(end)
    if not any(word in shape for word in ("null", "tilde", "empty", "flow", "json")):
        assert only_inserted(old, merged.text)
    gone, _ = changed_lines(old, merged.text)
    assert len(gone) <= 1  # a line of flow style grows, an empty value goes


def test_indentation_is_that_of_the_file() -> None:
    merged = merge("aichat", SHAPES["four columns"], groq("a"))
    assert (
        "    -   type: openai-compatible\n        name: groq\n        api_base: https://api.groq.example/v1\n"
        "        models:\n            -   name: a\n"
    ) in merged.text
    merged = merge("aichat", SHAPES["not indented"], groq("a"))
    assert "- type: openai-compatible\n  name: groq\n  api_base: https://api.groq.example/v1\n  models:\n  - name: a\n# of the next" in merged.text  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[{name: x}, {name: a, mine: 1}, {name: y}, {name: z}]", "[{name: a, mine: 1}, {name: b}]"),
        ("[{name: x}, {name: y}]", "[{name: b}]"),
        ("[{name: b}, {name: y},]", "[{name: b},]"),
        ("[{name: x}, {name: b}] # mine", "[{name: b}] # mine"),
        ('[{"name": "b"}, {"name": "y"}, {"name": "c", "mine": 1}]', '[{"name": "b"}, {"name": "c", "mine": 1}]'),
        ("[\n      {name: x}, # mine\n      {name: y}]", "[\n      {name: x}, # mine\n      {name: y}, {name: b}]"),
    ],
)
def test_models_are_added_and_removed_in_a_flow_list(old: str, new: str) -> None:
    head = (
        "clients:\n  - type: openai-compatible\n    name: groq\n    api_base: https://api.groq.example/v1\n    models: "
    )
    assert merge("aichat", f"{head}{old}\n", groq("b"), strategy="replace").text == f"{head}{new}\n"


@pytest.mark.parametrize("tool", ["litellm", "continue"])
def test_an_entry_with_a_key_is_never_removed(tool: str) -> None:
    written = exporter(tool).render([groq("gone", "away")])
    reference = {"litellm": "os.environ/GROQ_API_KEY", "continue": "'${{ secrets.GROQ_API_KEY }}'"}[tool]
    merged = merge(tool, written.replace(reference, USERS_KEY, 1), groq("new"), strategy="replace")
    assert merged.removed == ("groq/away",)
    assert USERS_KEY in merged.text


def test_models_of_mods_are_keys() -> None:
    old = "apis:\n  groq:\n    api-key: mine # key\n    models:\n      gone:\n        max-input-chars: 1\n      llama:\n        aliases: [l]\n"  # noqa: E501
    merged = merge("mods", old, groq(llama(), "new"), strategy="replace")
    assert load(merged.text)["apis"]["groq"] == {
        "api-key": "mine",
        "models": {
            "llama": {"aliases": ["l"], "max-input-chars": 24576},
            "new": {"aliases": ["groq/new"]},
        },
    }


# ---------------------------------------------------------------- whose entry is it


@pytest.mark.parametrize(
    ("tool", "name", "where"),
    [("llm", "model_id", "model_name"), ("continue", "name", "model")],
)
def test_an_entry_of_our_name_for_something_else_is_the_users(tool: str, name: str, where: str) -> None:
    key = "" if tool == "llm" else "models:\n"
    old = f"{key}- {name}: groq/fast\n  {where}: llama\n- {name}: groq/gone\n  {where}: gone\n- {name}: groq/old\n  {where}: old\n  mine: 1\n"  # noqa: E501
    merged = merge(tool, old, groq("fast", "llama"), strategy="replace")
    assert merged.removed == ("groq/gone",)
    assert (merged.kept, merged.added) == (("groq/fast",), ("groq/llama",))
    assert f"- {name}: groq/fast\n  {where}: llama\n- {name}: groq/old\n" in merged.text


def test_a_key_that_stands_there_stays() -> None:
    old = f"model_list:\n  - model_name: groq/llama\n    litellm_params:\n      model: openai/llama\n      api_base: https://old.example\n      api_key: {USERS_KEY}\n      rpm: 3\n"  # noqa: E501
    merged = merge("litellm", old, groq(llama()), strategy="replace")
    params = load(merged.text)["model_list"][0]["litellm_params"]
    assert params == {
        "model": "openai/llama",
        "api_base": "https://old.example",
        "api_key": USERS_KEY,
        "rpm": 3,
    }
    assert load(merged.text)["model_list"][0]["model_info"]["max_input_tokens"] == 8192


@every_tool
def test_an_address_follows_the_row_but_not_beside_a_key_of_the_users(tool: str) -> None:
    """A key is for the address it was put there for."""
    old = exporter(tool).render([groq("m")])
    moved = groq("m", base_url="https://moved.example/v1")
    merged = merge(tool, old, moved, strategy="update")
    assert changed_lines(old, merged.text)[1] == [
        line.replace("api.groq.example", "moved.example") for line in old.splitlines() if "api.groq.example" in line
    ]
    name = {"aichat": "api_key", "mods": "api-key", "llm": "api_key_name", "litellm": "api_key", "continue": "apiKey"}[
        tool
    ]
    lines = [line for line in old.splitlines() if line.strip().partition(":")[0] not in (name, "api-key-env")]
    at = next(i for i, line in enumerate(lines) if "api.groq.example" in line)
    lines.insert(at + 1, lines[at][: len(lines[at]) - len(lines[at].lstrip())] + f"{name}: {USERS_KEY}")
    with_key = "\n".join(lines) + "\n"
    assert "https://api.groq.example/v1" in merge(tool, with_key, moved, strategy="replace").text
    assert "moved.example" not in merge(tool, with_key, moved, strategy="replace").text


def test_a_value_keeps_its_quotes() -> None:
    old = exporter("aichat").render([groq("m")]).replace("https://api.groq.example/v1", '"https://old.example/v1"  # q')
    merged = merge("aichat", old, groq("m"), strategy="update")
    assert changed_lines(old, merged.text)[1] == ['    api_base: "https://api.groq.example/v1"  # q']


def test_other_providers_are_not_touched() -> None:
    old = exporter("llm").render([groq("a"), groq("x", id="groq-two")])
    merged = merge("llm", old, groq("b"), strategy="replace")
    assert (merged.added, merged.removed) == (("groq/b",), ("groq/a",))
    assert [m["model_id"] for m in load(merged.text)] == ["groq-two/x", "groq/b"]


def test_what_is_unknown_now_is_not_taken_away() -> None:
    old = exporter("litellm").render([groq(llama())])
    assert merge("litellm", old, groq("llama"), strategy="replace").text == old


# ---------------------------------------------------------------- refused, and said why

REFUSED = {
    "no YAML": ("clients: [\n", "not YAML"),
    "a tab": ("clients:\n\t- type: x\n", "not YAML"),
    "a key twice": ("clients: []\nclients: []\n", "twice"),
    "a key twice below": ("clients:\n  - {type: a, name: b, name: c}\n", "twice"),
    "a list": ("- type: x\n", "top is a sequence"),
    "a word": ("just words\n", "top is a scalar"),
    "a mapping": ("clients:\n  groq: 1\n", "clients is a mapping"),
    "a value": ("clients: all\n", "clients is a scalar"),
    "two documents": ("a: 1\n---\nclients: []\n", "several"),
    "an unknown alias": ("clients: *c\n", "stands for nothing"),
    "an alias": ("c: &c []\nclients: *c\n", "an alias"),
    "itself": ("clients: &c\n  - *c\n", "stands for nothing"),
    "deep": ("clients: " + "[" * 200 + "]" * 200 + "\n", "deeper"),
    "very deep": ("clients: " + "[" * 20000 + "\n", "deeper"),
    "a control character": ("clients: \x07\n", "not YAML"),
}


@pytest.mark.parametrize("case", REFUSED)
@every_strategy
def test_what_cannot_be_read_is_refused(case: str, strategy: Strategy) -> None:
    text, said = REFUSED[case]
    with pytest.raises(ExportError, match=said):
        exporter("aichat").merge(text, [groq()], strategy)


def test_a_change_that_would_show_elsewhere_is_refused() -> None:
    old = (
        "m: &m\n  - name: a\nclients:\n  - type: openai-compatible\n    name: groq\n"
        "    api_base: https://api.groq.example/v1\n    models: *m\n"
    )
    assert merge("aichat", old, groq("a", "b")).text == old
    assert merge("aichat", old, groq("a"), strategy="update").text == old
    with pytest.raises(ExportError, match="alias"):
        exporter("aichat").merge(old, [groq("a", "b")], "update")


def test_a_result_that_says_something_else_is_not_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should something ever be written wrongly, the file is refused."""
    monkeypatch.setattr("nbllm.exporters.yaml_edit.item", lambda value, *, column, style: ["- type: wrong"])
    with pytest.raises(ExportError, match="without harm"):
        exporter("aichat").merge(AICHAT, [groq(id="new")], "add")


def test_aliases_that_would_make_a_giant_are_not_followed() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(30))
    assert only_inserted(bomb, merge("aichat", bomb, groq()).text)


# ---------------------------------------------------------------- texts that nobody thought of

_words = st.text("abcXYZ019_-./é模", min_size=1, max_size=12).filter(lambda w: w[0].isalpha())  # 0 and 00 are one key
_scalars = st.one_of(
    _words,
    st.sampled_from(
        ["yes", "~", "null", "1e3", "0x1F", "1_000", "2026-11-21", "''", '""', "'a: b # c'", '"\\u263a\\n"']
    ),
)
_comment = st.sampled_from(["", "", " # c", "   # - type: x"])
_blank = st.sampled_from(["", "", "\n", "# at the margin\n", "  # indented\n", "\n\n"])


@st.composite
def configs(draw: st.DrawFn, *, key: str, item: tuple[str, str]) -> str:
    """A mapping with the list that is added to somewhere in it, in a style of its own."""
    step, dash, inside = draw(st.sampled_from([(2, 2, 2), (2, 0, 2), (4, 4, 4), (3, 1, 2), (4, 2, 3)]))
    names = draw(st.lists(_words, unique=True, max_size=4))
    where = draw(st.integers(0, len(names)))
    parts = [draw(_blank)]
    for i, name in enumerate([*names[:where], key, *names[where:]]):
        if i == where:
            parts.append(draw(_the_list(key, item, dash, inside)))
        else:
            parts.append(draw(_other(name, step, dash)))
        parts.append(draw(_blank))
    return "".join(parts)


@st.composite
def _other(draw: st.DrawFn, name: str, step: int, dash: int) -> str:
    value, comment = draw(_scalars), draw(_comment)
    return draw(
        st.sampled_from(
            [
                f"{name}: {value}{comment}\n",
                f"{name}:{comment}\n",
                f"{name}: [{value}, b]{comment}\n",
                f"{name}:{comment}\n{' ' * step}a: {value}\n{' ' * step}b: &n{abs(hash(name))} 1\n",
                f"{name}:\n{' ' * dash}- {value}{comment}\n{' ' * dash}- x\n",
                f"{name}: |\n{' ' * step}text # no comment\n\n{' ' * step} more\n",
                f'"{name}"  :   {value}{comment}\n',
            ]
        )
    )


@st.composite
def _the_list(draw: st.DrawFn, key: str, item: tuple[str, str], dash: int, inside: int) -> str:
    how = draw(st.sampled_from(["null", "[]", "block", "block", "block", "flow"]))
    comment = draw(_comment)
    if how == "null":
        return f"{key}:{comment}\n"
    if how == "[]":
        return f"{key}: []{comment}\n"
    values = [draw(_scalars) for _ in range(draw(st.integers(1, 3)))]
    if how == "flow":
        return f"{key}: [{', '.join(f'{{{item[0]}: {item[1]}, v{i}: {v}}}' for i, v in enumerate(values))}]{comment}\n"
    lines = [f"{key}:{comment}\n"]
    for v in values:
        lines.append(f"{' ' * dash}-{' ' * (inside - 1)}{item[0]}: {item[1]}{draw(_comment)}\n")
        lines.append(draw(st.sampled_from(["", "\n", f"{' ' * (dash + inside)}# note\n"])))
        lines.append(f"{' ' * (dash + inside)}v: {v}{draw(_comment)}\n")
    return "".join(lines)


ITEMS = {
    "aichat": ("clients", ("type", "mine")),
    "litellm": ("model_list", ("model_name", "mine")),
    "continue": ("models", ("name", "mine")),
}


@pytest.mark.parametrize("tool", ITEMS)
def test_any_file_keeps_what_it_says(tool: str, campaign: bool) -> None:
    key, item = ITEMS[tool]

    @settings(max_examples=3000 if campaign else 60)
    @given(configs(key=key, item=item), st.booleans(), st.sampled_from(STRATEGIES))
    def check(old: str, final: bool, strategy: Strategy) -> None:
        old = old if final else old.rstrip("\n")
        before = load(old) or {}
        merged = merge(tool, old, groq("a", "b:c"), strategy=strategy)
        after = load(merged.text)
        count = len(before.get(key) or [])
        assert after[key][:count] == (before.get(key) or [])
        assert len(after[key]) == count + (1 if tool == "aichat" else 2)
        assert {k: v for k, v in after.items() if k != key} == {k: v for k, v in before.items() if k != key}
        gone, _ = changed_lines(old, merged.text)
        assert [line for line in gone if not line.startswith(f"{key}:")] == []

    check()


@every_tool
def test_whatever_is_read_is_merged_or_refused(tool: str, campaign: bool) -> None:
    """A file cut and stirred: an ExportError, or a result in which the rest says what it said."""
    base = FILES[tool].text

    @settings(max_examples=2000 if campaign else 40)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        text = base
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(text)))
            end = data.draw(st.integers(at, min(len(text), at + 6)))
            piece = data.draw(st.text(" \n\t-:#&*[]{}|>'\",!?%@`a1é\u2028\x85\ufeff", max_size=4))
            text = text[:at] + piece + text[end:]
        strategy = data.draw(st.sampled_from(STRATEGIES))
        with contextlib.suppress(ExportError):
            merge(tool, text, *catalogue()[:2], strategy=strategy)

    check()


@settings(max_examples=200)
@given(st.text(min_size=1, max_size=30).filter(lambda s: not any(0xD800 <= ord(c) < 0xE000 for c in s)))
def test_our_words_are_text_to_readers_of_both_versions(word: str) -> None:
    from nbllm.exporters.yaml_words import flow, scalar

    for version in ("1.1", "1.2"):
        for written in (f"a: {scalar(word)}\n", f"a: {flow([word])}\n", f"{scalar(word)}: 1\n"):
            found = YAML(typ="safe", pure=True).load(io.StringIO(f"%YAML {version}\n---\n{written}"))
            assert found in ({"a": word}, {"a": [word]}, {word: 1})


@pytest.mark.parametrize(
    "word", ["yes", "No", "on", "y", "null", "~", "1e3", "0x1F", "0o7", "1_0", "12:30", "1.5", ".inf", "2026-11-21",
             "=", "<<", "", "a: b", "a #b", "- a", "[a]", "{a}", "*a", "&a", "!a", "%a", "@a", "`a", "|", ">", "?",
             "a:", "'", '"', "\\", "é"],
)  # fmt: skip
def test_words_that_yaml_takes_for_something_else_stay_text(word: str) -> None:
    from nbllm.exporters.yaml_words import scalar

    for version in ("1.1", "1.2"):
        text = f"%YAML {version}\n---\na: {scalar(word)}\n"
        assert YAML(typ="safe", pure=True).load(text) == {"a": word}
