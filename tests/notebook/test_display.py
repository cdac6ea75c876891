"""What a front end, a runner without one, and a terminal get to see of an answer. Real kernels throughout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient

from nbllm.messages import FinishReason, Reply, ToolCall, ToolResult, Usage
from nbllm.notebook.display import bundle, decide_live
from nbllm.notebook.frame import Frame, cost_line, footer_of, tokens_line

SRC = str(Path(__file__).resolve().parents[2] / "src")
TEXT = "Some **bold** text.\n\n```python\nx = 1\n```\n"
SETUP = f"""
import time
from nbllm.messages import Delta, FinishReason, Reply, Usage
from nbllm.notebook import display as shown
shown.install(get_ipython())
TEXT = {TEXT!r}
def ask(text=TEXT, live=None, quiet=False, wait_s=0.12):
    answer = shown.LiveAnswer("demo/guide", live=live, quiet=quiet)
    for at in range(0, len(text), 8):
        answer.add(Delta(text=text[at:at + 8]))
        time.sleep(wait_s)
        answer.tick()
    reply = Reply(text, "demo", "guide", FinishReason.STOP, usage=Usage(3, None, None, 5), latency_ms=12.3)
    answer.finish(reply)
    return reply
"""
Message = dict[str, Any]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that find this checkout, and do not take themselves for nbval's."""
    monkeypatch.setenv("PYTHONPATH", SRC)
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)


class FrontEnd:
    """A client that listens to its kernel, as JupyterLab does."""

    def __init__(self, manager: KernelManager, client: Any) -> None:
        self.manager = manager
        self.client = client
        self.run(SETUP)

    def run(self, code: str) -> list[Message]:
        """Run a cell; what it published, in order."""
        published: list[Message] = []
        reply = self.client.execute_interactive(code, output_hook=published.append, timeout=60, allow_stdin=True)
        assert reply["content"]["status"] == "ok", reply["content"]
        return [m for m in published if m["msg_type"] != "status" and m["msg_type"] != "execute_input"]


@pytest.fixture
def front_end(environment: None) -> Iterator[FrontEnd]:
    manager, client = start_new_kernel()
    try:
        yield FrontEnd(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run_headless(*sources: str) -> list[list[Message]]:
    """Each cell's outputs after nbclient has run them."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in (SETUP, *sources)])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells[1:]]


def kinds(messages: list[Message]) -> list[str]:
    return [m["msg_type"] for m in messages]


# ---------------------------------------------------------------- with a front end


def test_an_answer_is_one_output_that_grows_and_ends_exact(front_end: FrontEnd) -> None:
    messages = front_end.run("r = ask()")

    first, *updates = messages
    assert first["msg_type"] == "display_data"
    assert len(updates) >= 2
    assert set(kinds(updates)) == {"update_display_data"}
    assert len({m["content"]["transient"]["display_id"] for m in messages}) == 1
    sizes = [len(m["content"]["data"]["text/plain"]) for m in messages]
    assert sizes == sorted(sizes)
    assert 'aria-busy="true"' in first["content"]["data"]["text/html"]
    _is_exact(updates[-1]["content"])


def _is_exact(content: Message) -> None:
    assert content["data"]["text/plain"] == TEXT
    data, metadata = bundle(_the_reply())
    assert content["data"]["text/html"] == data["text/html"]
    assert 'aria-busy="true"' not in content["data"]["text/html"]
    assert content["metadata"]["nbllm"] == metadata["nbllm"]


def _the_reply() -> Reply:
    usage = Usage(3, None, None, 5)
    return Reply(TEXT, "demo", "guide", FinishReason.STOP, usage=usage, latency_ms=12.3)


def test_updates_are_throttled_however_many_deltas_come(front_end: FrontEnd) -> None:
    front_end.run("""
answer = shown.LiveAnswer("demo/guide")
clock = [0.0]
shown.time.monotonic, real = lambda: clock[0], shown.time.monotonic
""")
    messages = front_end.run("""
for n in range(1000):            # one second of a fast model, on a clock of our own
    clock[0] = n / 1000
    answer.add(Delta(text="word "))
shown.time.monotonic = real
""")
    assert 5 <= len(messages) <= 11


def test_a_large_answer_is_updated_less_often(front_end: FrontEnd) -> None:
    """By the bytes of the bundle: 300 kB at 200 kB a second is less than once a second."""
    messages = front_end.run("""
answer = shown.LiveAnswer("demo/guide")
clock = [0.0]
shown.time.monotonic, real = lambda: clock[0], shown.time.monotonic
answer.add(Delta(text="x " * 75_000))
for n in range(20):
    clock[0] += 0.1
    answer.add(Delta(text="word "))
shown.time.monotonic = real
""")
    assert len(messages) <= 3


def test_reasoning_is_open_while_alone_and_folded_after(front_end: FrontEnd) -> None:
    messages = front_end.run("""
answer = shown.LiveAnswer("demo/guide")
answer.add(Delta(reasoning="thinking *hard*"))
time.sleep(0.3); answer.tick()
answer.add(Delta(text="done"))
time.sleep(0.3); answer.tick()
answer.finish(Reply("done", "demo", "guide", FinishReason.STOP, reasoning="thinking *hard*"))
""")
    pages = [m["content"]["data"]["text/html"] for m in messages]
    assert '<details class="nbllm-fold" open>' in pages[0]
    assert all("<em>hard</em>" in page for page in pages)
    assert "<details" in pages[-1]
    assert " open>" not in pages[-1]


def test_a_notice_counts_down_and_goes_when_the_model_speaks(front_end: FrontEnd) -> None:
    messages = front_end.run("""
answer = shown.LiveAnswer("groq/x")
clock = [0.0]
shown.time.monotonic, real = lambda: clock[0], shown.time.monotonic
answer.add(Delta(notice="busy, again in 3 s"))
for n in range(35):
    clock[0] += 0.1
    answer.tick()
answer.add(Delta(notice=""))
clock[0] += 1
answer.tick()
answer.add(Delta(notice="again"))
clock[0] += 1
answer.add(Delta(text="hello"))
shown.time.monotonic = real
""")
    pages = [m["content"]["data"]["text/html"] for m in messages]
    assert [re.findall(r"again in \d+ s", p) for p in pages] == [[f"again in {n} s"] for n in (3, 2, 1, 0)] + [[]] * 3
    assert ["nbllm-notice" in p[p.index("</style>") :] for p in pages[-3:]] == [False, True, False]
    assert "hello" in pages[-1]


def test_what_arrived_stays_when_the_call_fails(front_end: FrontEnd) -> None:
    messages = front_end.run("""
answer = shown.LiveAnswer("demo/cut")
answer.add(Delta(text="half an "))
answer.add(Delta(text="answ"))
answer.fail(answer.text)
""")
    last = messages[-1]["content"]
    assert last["data"]["text/plain"] == "half an answ"
    assert "Broken off" in last["data"]["text/html"]
    assert 'aria-busy="true"' not in last["data"]["text/html"]
    assert last["metadata"]["nbllm"]["partial"] is True


def test_a_failure_before_the_first_word_shows_nothing(front_end: FrontEnd) -> None:
    assert front_end.run("shown.LiveAnswer('demo/cut').fail('')") == []


def test_a_reply_is_not_shown_twice_but_again_when_asked_for(front_end: FrontEnd) -> None:
    assert "execute_result" not in kinds(front_end.run("ask(wait_s=0)"))
    assert kinds(front_end.run("_")) == ["display_data"]
    front_end.run("r = ask(wait_s=0)")
    again = front_end.run("r")
    assert kinds(again) == ["display_data"]
    _is_exact(again[0]["content"])
    assert kinds(front_end.run("r; 5")) == ["execute_result"]
    printed = front_end.run("print(_.bit_length(), Out[5] is r)")
    assert printed[0]["content"]["text"] == "3 True\n"


def test_quiet_shows_nothing_now_and_the_reply_later(front_end: FrontEnd) -> None:
    assert front_end.run("ask(quiet=True)") == []
    assert kinds(front_end.run("_")) == ["display_data"]


def test_after_uninstall_a_reply_is_an_ordinary_value(front_end: FrontEnd) -> None:
    front_end.run("r = ask(wait_s=0); shown.uninstall(get_ipython())")
    assert front_end.run("r")[0]["content"]["data"]["text/plain"].startswith("Reply('Some **bold**")


def test_capturing_an_answer_gives_one_output(front_end: FrontEnd) -> None:
    front_end.run("%%capture caught\nask()")
    # IPython appends an empty one for a value that shows itself.
    printed = front_end.run("print([o.data['text/plain'] == TEXT for o in caught.outputs if o.data])")
    assert printed[0]["content"]["text"] == "[True]\n"


# ---------------------------------------------------------------- without one


def test_a_runner_without_a_front_end_gets_one_output(environment: None) -> None:
    value, named, later, shown_live = run_headless("ask()", "r = ask()", "r", "ask(live=True)")

    for outputs in (value, named, later, shown_live):
        assert [o["output_type"] for o in outputs] == ["display_data"]
        assert outputs[0]["data"]["text/plain"] == TEXT
        assert outputs[0]["metadata"]["nbllm"]["usage"]["output_tokens"] == 5


def test_nbval_sees_the_same_as_is_saved(environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """nbval compares the first bundle and ignores updates: a strict run passes on what nbclient saved."""
    path = tmp_path / "answer.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in (SETUP, "ask()")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    nbformat.write(notebook, path)
    options = ["--nbval", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-c", os.devnull, str(path)]
    done = subprocess.run([sys.executable, "-m", "pytest", *options], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize(
    ("variable", "wanted", "expected"),
    [("1", False, True), ("0", True, False), ("", True, True), ("", False, False), ("", None, False)],
)
def test_the_variable_decides_first_then_the_flag_then_the_runner(monkeypatch, variable, wanted, expected):
    """The last row: pytest is running this."""
    monkeypatch.setenv("NBLLM_LIVE", variable)
    assert decide_live(wanted) is expected


# ---------------------------------------------------------------- a terminal


def test_a_terminal_gets_text_as_it_comes_and_nothing_twice(environment: None, tmp_path: Path) -> None:
    script = tmp_path / "session.ipy"
    script.write_text(SETUP + "\nr = ask(wait_s=0)\nask(text='second \\x1b]0;title\\x07 answer', wait_s=0)\n")
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "--simple-prompt"]
    session = "\n".join([f"%run -i {script}", "r = ask(wait_s=0)", "ask('one', wait_s=0)", "r", "exit", ""])
    done = subprocess.run(command, input=session, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout.count("Some **bold** text.") == 3  # the script's, the session's, and `r`
    assert done.stdout.count("one") == 1
    assert "\x1b]0;" not in done.stdout
    assert "second <U+001B>]0;title<U+0007> answer" in done.stdout
    assert "demo/guide · 3 in · 5 out · cost unknown" in done.stderr


# ---------------------------------------------------------------- the bundle


def reply(**changes: Any) -> Reply:
    fields: dict[str, Any] = {"text": "hi", "provider": "groq", "model": "m", "finish_reason": FinishReason.STOP}
    return Reply(**(fields | changes))


def page(**changes: Any) -> str:
    html = bundle(reply(**changes))[0]["text/html"]
    return html[html.index("</style>") :]


def test_the_same_answer_gives_the_same_html_whatever_the_clock_says() -> None:
    slow = reply(latency_ms=9000, ttft_ms=400, message_id="a", request_id="b", replayed="2026-11-20", conversation="x")
    assert bundle(slow)[0] == bundle(reply())[0]
    assert bundle(slow)[1]["nbllm"]["latency_ms"] == 9000


def test_text_plain_is_the_raw_answer() -> None:
    raw = "  # *x*\r\n<b>\u202e $y$\n\n"
    assert bundle(reply(text=raw))[0]["text/plain"] == raw


def test_metadata_is_json_and_says_where_it_came_from() -> None:
    facts = bundle(reply(params={"x": object()}, cost_usd=Decimal("0.5")))[1]["nbllm"]
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cost_usd"] == 0.5


def test_half_a_surrogate_pair_can_be_saved() -> None:
    data, _ = bundle(reply(text="a\ud800b"))
    assert data["text/plain"] == "a\ufffdb"
    json.dumps(data, ensure_ascii=False).encode()


def test_foreign_words_are_escaped() -> None:
    call = ToolCall("1", "<i>f", '{"a": "<script>"}')
    html = page(
        model="<img src=x>",
        tool_rounds=((call, ToolResult("1", "<i>f", "</pre><script>", is_error=True)),),
        tool_calls=(ToolCall("2", "g<b>", "{"),),
        warnings=("<script>",),
    )
    assert "<script" not in html
    assert "<img" not in html
    assert "<i>" not in html
    assert "&lt;i&gt;f</code> failed" in html
    assert "g&lt;b&gt;</code> not run" in html


def test_the_demo_says_that_it_is_one() -> None:
    assert ">demo</span>" in page(provider="demo", model="guide")
    assert ">demo</span>" not in page()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finish_reason": FinishReason.LENGTH}, "Cut"),
        ({"finish_reason": FinishReason.INTERRUPTED}, "Interrupted"),
        ({"finish_reason": FinishReason.BROKEN}, "Broken off"),
        ({"finish_reason": FinishReason.CONTENT_FILTER}, "content filter"),
        ({"text": " "}, "The answer is empty"),
        ({"warnings": ("said elsewhere",)}, "said elsewhere"),
        ({"warnings": ("said elsewhere",), "finish_reason": FinishReason.INTERRUPTED}, "Interrupted"),
        ({"warnings": ("said elsewhere",), "finish_reason": FinishReason.BROKEN}, "said elsewhere"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said_outside_its_text(changes, words):
    html = page(**changes)
    assert words in html[html.index("nbllm-warning") :]
    assert "nbllm-warning" not in page()


@pytest.mark.parametrize(
    ("usage", "line"),
    [
        (Usage(), "tokens unknown"),
        (Usage(12, None, None, 34), "12 in · 34 out"),
        (Usage(1000, 200, 34, 34, 20), "1,234 in (200 cached) · 34 out (20 reasoning)"),
        (Usage(12, None, None, 34, source="estimate"), "~12 in · ~34 out"),
        (Usage(output_tokens=0), "0 out"),
    ],
)
def test_tokens_are_never_made_up(usage, line):
    assert tokens_line(usage) == line


@pytest.mark.parametrize(
    ("cost", "line"),
    [(None, "cost unknown"), ("0", "$0"), ("0.0000012", "$0.0000012"), ("0.00123", "$0.0012"), ("1.5", "$1.50")],
)
def test_an_unknown_cost_is_not_free(cost, line):
    assert cost_line(None if cost is None else Decimal(cost)) == line
    assert footer_of(reply(cost_usd=None if cost is None else Decimal(cost))).endswith(line)


def test_the_style_is_bound_to_our_root_and_loads_nothing() -> None:
    css = re.search(r"<style>(.*)</style>", Frame("a/b").html())[1]
    assert not re.search(r"url\(|@import|expression|animation|transition", css)
    for rule in css.split("}"):
        for selector in filter(None, (s.strip() for s in re.sub(r"\([^)]*\)", "", rule.partition("{")[0]).split(","))):
            assert selector.startswith(".nbllm"), selector


def test_loading_the_module_loads_nothing_heavy() -> None:
    heavy = ["markdown_it", "nh3", "pygments.formatters", "openai", "httpx2", "pydantic", "sqlalchemy", "ipywidgets"]
    code = f"import nbllm.notebook.display, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": SRC}
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
