"""`%%chat` in a real kernel: outputs, metadata, cells run again, the next cell, runners without a front end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from chatting import calls, chunk, refuses, says, sent
from kernels import SRC, TESTS, Kernel, peer
from wire_server import WireServer, chunked

KNOWN = {"provider", "model", "base_url_host", "params", "usage", "cost_usd", "latency_ms", "ttft_ms", "finish_reason",
         "conversation", "message_id", "replayed"}  # fmt: skip


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    with Kernel(folder=tmp_path) as started:
        yield started


def contents(server: WireServer, number: int = -1) -> list[Any]:
    return [m["content"] for m in sent(server, number)["messages"]]


def test_an_answer_is_one_output_with_its_facts_in_the_metadata(kernel: Kernel) -> None:
    with WireServer([says("**hel", "lo**")]) as server:
        kernel.run(peer(server.url))
        run = kernel.run("%%chat peer/m -t 0.5\nhi", cell_id="a")
        assert run.ok
        assert [set(o["data"]) for o in run.outputs] == [{"text/html", "text/plain"}]
        assert run.text == "**hello**"
        assert "peer/m" in run.outputs[0]["data"]["text/html"]
        assert set(run.facts) >= KNOWN
        assert (run.facts["finish_reason"], run.facts["params"]) == ("stop", {"temperature": 0.5})
        assert (run.facts["base_url_host"], run.facts["usage"]["output_tokens"]) == ("127.0.0.1", 5)
        assert kernel.value("str(_)") == "**hello**"
        assert kernel.run("Out[2]").text == "**hello**"
        kernel.run("r = _")
        assert len(kernel.run("r").outputs) == 1


def test_a_cell_run_again_asks_from_where_it_stood(kernel: Kernel) -> None:
    with WireServer([says(f"answer {n}") for n in range(9)]) as server:
        kernel.run(peer(server.url))
        for text, cell in (("one", "a"), ("two", "b"), ("three", "c")):
            kernel.run(f"%%chat peer/m\n{text}", cell_id=cell)
        assert contents(server) == ["one", "answer 0", "two", "answer 1", "three"]
        kernel.run("%%chat peer/m\ntwo", cell_id="b")
        assert contents(server) == ["one", "answer 0", "two"]
        kernel.run("%%chat peer/m\nthree", cell_id="c")
        assert contents(server) == ["one", "answer 0", "two", "answer 3", "three"]
        kernel.run("%%chat peer/m --append\nbehind", cell_id="a")
        assert contents(server)[-3:] == ["three", "answer 4", "behind"]


def test_several_questions_of_a_cell_keep_their_places(kernel: Kernel) -> None:
    with WireServer([says("x")]) as server:
        kernel.run(peer(server.url))
        for _ in range(2):
            kernel.run("for i in range(3):\n    %chat -m peer/m again", cell_id="loop")
        assert [contents(server, n) for n in range(3)] == [contents(server, n) for n in range(3, 6)]
        assert contents(server) == ["again", "x", "again", "x", "again"]


def test_code_is_offered_as_the_next_cell(kernel: Kernel) -> None:
    with WireServer([says("Like this:\n```python\nx = 1\nprint(x)\n```\nand ```y```"), says("no code")]) as server:
        kernel.run(peer(server.url))
        run = kernel.run("%%chat peer/m --code\nhow?")
        assert run.payload == [{"source": "set_next_input", "text": "x = 1\nprint(x)", "replace": False}]
        assert "print(x)" in run.text
        assert kernel.run("%%chat peer/m --code\nhow?").payload == []


def test_tool_calls_are_shown_folded(kernel: Kernel) -> None:
    with WireServer([calls(("area", '{"width": 3}')), says("six")]) as server:
        kernel.run(peer(server.url))
        kernel.run("def area(width: float) -> float:\n    'Area.'\n    return 2 * width")
        run = kernel.run("%%chat peer/m --tool area\nhow large?")
        html = run.outputs[-1]["data"]["text/html"]
        assert run.text == "six"
        assert "<details" in html
        assert "area" in html
        assert "6.0" in html


def test_a_broken_answer_fails_the_cell_and_stays(kernel: Kernel) -> None:
    broken = chunked([chunk({"content": "half an "}), chunk({"content": "ans"})], end=False)
    with WireServer([broken]) as server:
        kernel.run(peer(server.url))
        run = kernel.run("%%chat peer/m -o r\nhi", cell_id="a")
        assert (run.ename, run.text) == ("StreamBrokenError", "half an ans")
        assert "\n" not in run.evalue
        assert run.facts["finish_reason"] == "broken"
        assert kernel.value("(str(r), r.finish_reason.value)") == ("half an ans", "broken")


def test_a_refusal_fails_the_cell_and_shows_nothing(kernel: Kernel) -> None:
    with WireServer([refuses(400, "the model takes no temperature")]) as server:
        kernel.run(peer(server.url))
        run = kernel.run("%%chat peer/m -t 0\nhi")
        assert run.ename == "BadRequestError"
        assert "the model takes no temperature" in run.evalue
        assert run.outputs == []


def test_a_wait_counts_down_on_the_screen_and_goes(kernel: Kernel) -> None:
    with WireServer([refuses(429, "slow down", retry_after="1.5"), says("ok")]) as server:
        kernel.run(peer(server.url))
        run = kernel.run("%%chat peer/m\nhi")
        pages = [m["content"]["data"]["text/html"] for m in run.messages if "data" in m["content"]]
        assert any("trying again in" in page for page in pages)
        assert "trying again in" not in pages[-1]
        assert run.text == "ok"


def test_quiet_and_assigned_and_later_shown(kernel: Kernel) -> None:
    with WireServer([says("hush")]) as server:
        kernel.run(peer(server.url))
        assert kernel.run("r = %chat -m peer/m --quiet hi").messages == []
        assert [o["data"]["text/plain"] for o in kernel.run("r").outputs] == ["hush"]


def test_capture_and_time_work_around_it(kernel: Kernel) -> None:
    with WireServer([says("hello")]) as server:
        kernel.run(peer(server.url))
        assert kernel.run("%%capture caught\n%chat -m peer/m hi").outputs == []
        assert "Wall time" in kernel.run("%%time\nr = %chat -m peer/m hi").printed


def test_a_notebook_run_twice_without_a_front_end_sends_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    """A named conversation goes on across kernels, and yet each cell asks from where it stood."""
    monkeypatch.setenv("PYTHONPATH", f"{SRC}:{TESTS}")
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    with WireServer([says("x")]) as server:
        sources = (
            peer(server.url),
            "%%chat peer/m -c study\none",
            "for i in range(2):\n    %chat -m peer/m -c study more",
            "%%chat peer/m -c study\nlast",
        )
        for _ in range(2):
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
            NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
            assert [len(c.outputs) for c in notebook.cells] == [0, 1, 2, 1]
        assert len(server.requests) == 8
        assert [contents(server, n) for n in range(4)] == [contents(server, n) for n in range(4, 8)]
        assert contents(server, 3) == ["one", "x", "more", "x", "more", "x", "last"]
