"""What `%load_ext nbllm` adds to a bare IPython, and how soon the first `%%chat` of a fresh kernel shows text.

    python benchmarks/load_ext.py [--processes 20] [--kernels 10]

CPU time of fresh processes (warm bytecode), with and without the extension in turn; wall time from sending the first
cell to its first output with text, against a server on loopback that answers at once. Writes
`benchmarks/results/load_ext.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "load_ext.json"
sys.path[:0] = [str(HERE.parent / "src"), str(HERE.parent / "tests")]

from chatting import says  # noqa: E402
from kernels import Kernel  # noqa: E402
from wire_server import WireServer  # noqa: E402

SHELL = """
import json, resource, sys, time
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config(); config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
shell.run_cell("1;")
shell.run_line_magic("load_ext", "{extension}")
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps(used.ru_utime + used.ru_stime))
"""
EMPTY = "def load_ipython_extension(shell): pass"


def cpu_ms(extension: str, environ: dict[str, str]) -> float:
    """CPU of a whole process that loads the extension."""
    command = [sys.executable, "-c", SHELL.replace("{extension}", extension)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return 1000 * float(done.stdout.splitlines()[-1])


def load(processes: int) -> dict[str, Any]:
    """Milliseconds of CPU that our extension costs above one that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "empty_extension.py").write_text(EMPTY)
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(HERE.parent / "src"), folder)),
            "NBLLM_HOME": folder,
        }
        for extension in ("nbllm", "empty_extension"):
            cpu_ms(extension, environ)  # bytecode
        pairs = [(cpu_ms("empty_extension", environ), cpu_ms("nbllm", environ)) for _ in range(processes)]
    return {
        "bare_ms": round(statistics.median(b for b, _ in pairs), 1),
        "with_nbllm_ms": round(statistics.median(w for _, w in pairs), 1),
        "added_ms": round(statistics.median(w - b for b, w in pairs), 1),
        "added_ms_min_max": [round(f(w - b for b, w in pairs), 1) for f in (min, max)],
        "processes": processes,
    }


def first_text_s(folder: str) -> float:
    """Seconds from the first `%%chat` of a fresh kernel to its first text."""
    with WireServer([says("hello ", "there")]) as server:
        Path(folder, "config.toml").write_text(f'[providers.peer]\nbase_url = "{server.url}"\nauth = "none"\n')
        with Kernel({"NBLLM_HOME": folder}) as kernel:
            kernel.run("%load_ext nbllm")
            began = time.monotonic()
            cell = kernel.start("%%chat peer/m\nhi")
            while True:
                message = kernel.client.get_iopub_msg(timeout=30)
                if message["msg_type"] == "display_data" and message["content"]["data"].get("text/plain"):
                    took = time.monotonic() - began
                    break
            while True:
                message = kernel.client.get_iopub_msg(timeout=30)
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    break
            assert cell
            return took


def first_chat(kernels: int) -> dict[str, Any]:
    """The same in several fresh kernels."""
    took = []
    for _ in range(kernels):
        with tempfile.TemporaryDirectory() as folder:
            took.append(first_text_s(folder))
    return {
        "median_s": round(statistics.median(took), 3),
        "min_max_s": [round(min(took), 3), round(max(took), 3)],
        "kernels": kernels,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--kernels", type=int, default=10)
    asked = parser.parse_args()
    result = {
        "conditions": {
            "python": platform.python_version(), "system": platform.system(), "cpus": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1), "date": time.strftime("%Y-%m-%d"),
        },
        "load_ext_cpu": load(asked.processes),
        "first_chat_to_text": first_chat(asked.kernels),
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
