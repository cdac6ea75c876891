"""`%llm_replay` in real kernels: recorded in one, the same outputs in another without key and server."""

from __future__ import annotations

from pathlib import Path

from chatting import calls, says
from kernels import Kernel, peer
from wire_server import WireServer, closed_port

KEY = "canary-7hQ2vX9pL4mT8wZ1kR6n"
CELLS = [
    "%%chat peer/m -t 0\nfirst",
    "%%chat peer/m\nand then?",
    "def double(n: int) -> int:\n    'Twice n.'\n    return 2 * n",
    "%%chat peer/m --tool double\ndouble 4",
    "%%chat peer/m --no-stream --no-history\nfirst",
]


def outputs(kernel: Kernel) -> list[dict[str, str]]:
    runs = [kernel.run(cell, cell_id=f"c{n}") for n, cell in enumerate(CELLS)]
    assert all(run.ok for run in runs), [run.evalue for run in runs if not run.ok]
    return [output["data"] for run in runs for output in run.outputs]


def test_a_notebook_has_the_same_outputs_in_a_kernel_without_key_and_server(tmp_path: Path) -> None:
    book = tmp_path / "book.ipynb"
    book.write_text("{}")
    named = {"JPY_SESSION_NAME": str(book)}
    plans = [says("**one**"), says("two"), calls(("double", '{"n": 4}')), says("it is 8"), says("whole")]
    with WireServer(plans) as server, Kernel({**named, "PEER_API_KEY": KEY}, folder=tmp_path) as kernel:
        kernel.run(peer(server.url, auth="bearer"))
        kernel.run("import os\nfrom nbllm.credentials import Secret\nkey = Secret(os.environ['PEER_API_KEY'])")
        kernel.run("nbllm.workspace().save_key('peer', key, store='session');")
        assert "record" in kernel.run("%llm_replay record").text
        live = outputs(kernel)
        assert KEY in server.bytes_seen.decode("latin-1")
    file = tmp_path / "book.replay.jsonl"
    assert len(file.read_text().splitlines()) == 5
    assert KEY not in file.read_text()
    assert sorted(p.name for p in tmp_path.iterdir() if "replay" in p.name) == [file.name]
    environ = {**named, "NBLLM_REPLAY": "replay", "NBLLM_HOME": str(tmp_path / "other-home")}
    with Kernel(environ, folder=tmp_path) as kernel:
        kernel.run(peer(f"http://127.0.0.1:{closed_port()}/v1", auth="bearer"))
        assert outputs(kernel) == live
        assert outputs(kernel) == live  # run twice from top to bottom
        run = kernel.run(CELLS[-1], cell_id="c4")
        day = run.facts["replayed"]
        assert f'<span class="nbllm-tag">recorded {day}</span>' in run.outputs[0]["data"]["text/html"]
        missed = kernel.run("%%chat peer/m\nsomething new")
        assert missed.ename == "ReplayMissError"
        assert "\n" not in missed.evalue
        assert "off" in kernel.run("%llm_replay off").text
        assert kernel.run("%%chat peer/m\nsomething new").ename == "UnreachableError"


def test_verbs_are_completed_and_others_refused(tmp_path: Path) -> None:
    with Kernel(folder=tmp_path) as kernel:
        kernel.run("%load_ext nbllm")
        assert kernel.complete("%llm_replay re") == ["%llm_replay record", "%llm_replay replay"]
        assert kernel.run("%llm_replay rewind").ename == "UsageError"
        assert kernel.run("%llm_replay replay").ename == "SettingsError"
        assert kernel.run("%llm_replay replay nowhere.jsonl").ename == "SettingsError"
        assert kernel.run("%llm_replay").text == "recordings: off"
