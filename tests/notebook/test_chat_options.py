"""Each option of `%%chat` and `%chat`: what it sends, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import nbllm
from chatting import calls, chunk, event, refuses, says, sent
from nbllm.messages import FinishReason, Reply
from shell import loaded
from wire_server import Close, chunked

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + b"\0" * 40


def roles(server: Any, number: int = -1) -> list[tuple[str, Any]]:
    return [(m["role"], m["content"]) for m in sent(server, number)["messages"]]


def test_the_value_of_the_cell_is_the_reply() -> None:
    with loaded(says("hel", "lo")) as (shell, server):
        done = shell.good("%%chat peer/m\nhi")
        assert isinstance(done.value, Reply)
        assert str(done.value) == "hello"
        assert shell.good("_").value is done.value
        assert shell.good("str(Out[2])").value == "hello"
        assert roles(server) == [("user", "hi")]
        assert sent(server)["model"] == "m"


def test_model_system_temperature_and_length() -> None:
    with loaded(says("ok")) as (shell, server):
        shell.good('%%chat -m peer/a/b:free -s "be brief" -t 0 --max-tokens 7\nhi')
        body = sent(server)
        assert (body["model"], body["temperature"]) == ("a/b:free", 0)
        assert 7 in (body.get("max_tokens"), body.get("max_completion_tokens"))
        assert roles(server) == [("system", "be brief"), ("user", "hi")]


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    with loaded(says("ok")) as (shell, server):
        shell.good("%chat -m peer/m hi")
        assert set(sent(server)) == {"model", "messages", "stream", "stream_options"}


def test_params_are_json_and_the_last_of_a_name_counts() -> None:
    with loaded(says("ok")) as (shell, server):
        shell.good(
            """%%chat peer/m -p top_p=0.5 -p top_p=0.9 -p 'stop=["a b", "c"]' -p x='{"y": null}' -p s=text\nhi"""
        )
        body = sent(server)
        assert (body["top_p"], body["stop"], body["x"], body["s"]) == (0.9, ["a b", "c"], {"y": None}, "text")


def test_a_preset_lies_below_what_the_line_says() -> None:
    with loaded(says("ok")) as (shell, server):
        shell.good("%llm_config preset calm -p temperature=0 -p top_p=0.5 -p system='Be calm.'")
        shell.good("%%chat peer/m --preset calm -p top_p=0.7\nhi")
        assert (sent(server)["temperature"], sent(server)["top_p"]) == (0, 0.7)
        assert roles(server)[0] == ("system", "Be calm.")


def test_the_conversation_goes_along_and_new_starts_afresh() -> None:
    with loaded(says("a")) as (shell, server):
        shell.good("%chat -m peer/m one")
        shell.good("%chat -m peer/m two")
        assert [c for _, c in roles(server)] == ["one", "a", "two"]
        shell.good("%chat -m peer/m --new three")
        assert [c for _, c in roles(server)] == ["three"]
        shell.good("%chat -m peer/m four")
        assert [c for _, c in roles(server)] == ["three", "a", "four"]
        shell.good("%chat -m peer/m -c other five")
        assert [c for _, c in roles(server)] == ["five"]
        assert nbllm.conversation("other").exchanges


def test_no_history_sends_nothing_earlier_and_is_not_followed() -> None:
    with loaded(says("a")) as (shell, server):
        shell.good("%chat -m peer/m one")
        shell.good("%chat -m peer/m --no-history two")
        assert [c for _, c in roles(server)] == ["two"]
        shell.good("%chat -m peer/m three")
        assert [c for _, c in roles(server)] == ["one", "a", "three"]


def test_a_file_a_variable_a_figure_and_a_table_are_attached(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    plt = pytest.importorskip("matplotlib.figure")
    path = tmp_path / "a picture.png"
    path.write_bytes(PNG)
    with loaded(says("ok")) as (shell, server):
        shell.names["table"] = pd.DataFrame({"n": [1, 2]})
        shell.names["figure"] = plt.Figure(figsize=(1, 1))
        shell.names["facts"] = {"a": 1}
        shell.good(f'%%chat peer/m -a "{path}" -a table -a figure -a facts\nlook')
        parts = roles(server)[0][1]
        kinds = [p["type"] for p in parts]
        assert kinds.count("image_url") == 2
        text = json.dumps(parts)
        assert all(name in text for name in ("table.csv", "facts.json"))
        shell.good("%%chat peer/m --new -a facts\n ")  # an attachment alone is a question
        assert server.requests


def test_the_source_and_output_of_a_cell_go_in_front() -> None:
    with loaded(says("ok")) as (shell, server):
        shell.good("6 * 7")
        number = max(shell.names["Out"])
        shell.good(f"%%chat peer/m --cell {number}\nexplain")
        prompt = roles(server)[0][1]
        assert prompt.index("6 * 7") < prompt.index("42") < prompt.index("explain")


def test_the_last_traceback_goes_in_front() -> None:
    with loaded(says("ok")) as (shell, server):
        assert shell.run("def f():\n    raise KeyError('lost')\nf()").error
        shell.good("%chat -m peer/m --last-error")
        assert "KeyError: 'lost'" in roles(server)[0][1]
        assert "in f" in roles(server)[0][1]


def test_a_tool_is_called_with_what_the_model_wants_and_only_those_named() -> None:
    with loaded(calls(("area", '{"width": 3}'), ("secret_tool", "{}")), says("six")) as (shell, server):
        shell.good(
            "def area(width: float, height: float = 2.0) -> float:\n    '''Area in square metres.'''\n"
            "    return width * height\ndef secret_tool(): raise AssertionError"
        )
        reply = shell.good("%%chat peer/m --tool area\nhow large?").value
        assert sent(server, 0)["tools"][0]["function"]["description"] == "Area in square metres."
        assert len(sent(server, 0)["tools"]) == 1
        assert [(c.name, r.is_error) for c, r in reply.tool_rounds] == [("area", False), ("secret_tool", True)]
        assert next(c for r, c in roles(server) if r == "tool") == "6.0"
        assert str(reply) == "six"


def test_rounds_of_tools_end_where_the_line_says() -> None:
    with loaded(calls(("f", "{}"))) as (shell, server):
        shell.good("def f(): return 1")
        reply = shell.good("%%chat peer/m --tool f --max-rounds 2\ngo").value
        assert len(server.requests) == 3
        assert any("2 rounds" in w for w in reply.warnings)


def test_an_answer_by_schema_is_parsed() -> None:
    with loaded(says('{"name": "Rome", "people": 3}')) as (shell, server):
        shell.good("from pydantic import BaseModel\nclass City(BaseModel):\n    name: str\n    people: int")
        reply = shell.good("%%chat peer/m --schema City\nwhich?").value
        assert reply.parsed == shell.names["City"](name="Rome", people=3)
        assert sent(server)["response_format"]["json_schema"]["name"] == "City"
        shell.good('shape = {"type": "object", "properties": {"name": {"type": "string"}}}')
        assert shell.good("%%chat peer/m --schema shape\nwhich?").value.parsed["name"] == "Rome"


def test_an_answer_that_never_fits_fails_the_cell_and_is_bound() -> None:
    with loaded(says("I would rather not")) as (shell, _):
        shell.good('shape = {"type": "object"}')
        error = shell.fails("%%chat peer/m --schema shape -o r\nwhich?")
        assert isinstance(error, nbllm.errors.SchemaMismatchError)
        assert str(shell.names["r"]) == "I would rather not"


def test_out_binds_the_reply_also_of_a_broken_answer() -> None:
    broken = chunked([chunk({"content": "half an "}), chunk({"content": "ans"})], end=False)
    with loaded(says("whole"), broken, refuses(400, "bad")) as (shell, _):
        shell.good("%chat -m peer/m -o r hi")
        assert str(shell.names["r"]) == "whole"
        error = shell.fails("%chat -m peer/m -o r hi")
        assert isinstance(error, nbllm.errors.StreamBrokenError)
        assert error.partial == "half an ans"
        assert (str(shell.names["r"]), shell.names["r"].finish_reason) == ("half an ans", FinishReason.BROKEN)
        shell.fails("%chat -m peer/m -o other hi")
        assert "other" not in shell.names


def test_quiet_shows_nothing_and_gives_the_reply() -> None:
    with loaded(says("hush")) as (shell, _):
        done = shell.run("r = %chat -m peer/m --quiet hi")
        assert (done.out, done.err) == ("", "")
        assert str(shell.names["r"]) == "hush"


def test_a_dry_run_shows_the_request_and_sends_nothing() -> None:
    with loaded(says("never"), auth="bearer") as (shell, server):
        done = shell.good('%%chat peer/m -t 0.5 -s "be brief" --dry-run\nhi')
        assert '"temperature": 0.5' in done.out
        assert "nothing was sent" in done.out
        assert "tokens" in done.out
        assert server.requests == []
        assert nbllm.workspace().conversations.names() == []


def test_no_stream_and_stream_give_the_same_answer() -> None:
    with loaded(says("a", "b")) as (shell, _):
        assert str(shell.good("%chat -m peer/m --no-stream hi").value) == "ab"


def test_several_questions_in_one_cell_each_ask() -> None:
    with loaded(says("x")) as (shell, server):
        shell.good("for i in range(3):\n    %chat -m peer/m hi {i}")
        assert [c for _, c in roles(server)] == ["hi {i}", "x", "hi {i}", "x", "hi {i}"]


def test_the_default_model_answers_where_none_is_named() -> None:
    with loaded(says("ok")) as (shell, server):
        shell.good("%llm_providers use peer/mine")
        shell.good("%chat hi")
        assert sent(server)["model"] == "mine"


def test_expressions_of_a_cell_and_of_a_line_are_replaced() -> None:
    with loaded(says("ok")) as (shell, server):
        shell.good("x = 5")
        shell.good(r"%chat -m peer/m --new {{x}} \{{x}} {x} $x")
        assert roles(server) == [("user", "5 {{x}} {x} $x")]
        shell.good("%%chat peer/m --new\n{{ {'a': x}['a'] }}\nand {x}\n")
        assert roles(server) == [("user", "5\nand {x}")]


def test_an_error_in_the_stream_keeps_what_came() -> None:
    plan = (*chunked([chunk({"content": "part"}), event({"error": {"message": "the engine fell over"}})]), Close())
    with loaded(plan) as (shell, _):
        error = shell.fails("%chat -m peer/m -o r hi")
        assert "fell over" in error.message
        assert str(shell.names["r"]) == "part"


def test_help_lists_every_option() -> None:
    with loaded(says("no")) as (shell, server):
        said = shell.good("%chat --help").out
        assert all(option in said for option in ("--model", "--attach", "--last-error", "--dry-run", "--quiet"))
        assert server.requests == []
