"""The child process that holds one model: llama.cpp's own server on a loopback port.

Run by file, without nbllm: `python -P serve.py`. Its settings come as one JSON line on standard input, the key among
them, so that neither the argument list nor the environment shows it. Standard input then stays open for as long as
the parent wants the server: its end is the order to stop, and comes also when the parent is killed.
One JSON line on standard output says where it listens, or why it does not. llama.cpp's own words go to stderr.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

MARK = "nbllm-local "
"""Stands before the one line on standard output that is meant for the parent."""
_EXIT_S = 3.0


def main() -> NoReturn:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt in the notebook is for the kernel
    settings = json.loads(sys.stdin.readline())
    _die_with_parent(settings["parent"])
    try:
        server = start(settings)
    except Exception as exc:  # noqa: BLE001  (whatever it is, the parent has to be told)
        _say({"error": f"{type(exc).__name__}: {exc}"})
        # llama.cpp's log has a thread of its own, which writes what is left only on the regular way out: there the
        # reason stands. Should that way hang, this is how long.
        faulthandler.dump_traceback_later(_EXIT_S, exit=True)
        sys.exit(3)
    _say({"url": server.listening_address})
    sys.stdin.read()
    os._exit(0)  # the C++ threads are not waited for: a stream may be running


def start(settings: dict[str, Any]) -> Any:
    """Start llama.cpp's server with `settings`; returns when it listens."""
    if settings["package_folder"] not in sys.path:
        sys.path.append(settings["package_folder"])
    import xllamacpp  # noqa: PLC0415  (found only now, and only in the child)

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["alias"]}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [settings["key"]]
    # llama.cpp divides its context among the slots; ours is counted for each request.
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["context"] * settings["parallel"]
    if settings["threads"]:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    if settings["gpu_layers"] is not None:
        params.n_gpu_layers = settings["gpu_layers"]
    params.n_threads_http = max(4, 2 * settings["parallel"] + 2)  # also waiting requests hold a thread
    params.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts
    params.warmup = False
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_DEEPSEEK
    params.sse_ping_interval = 5  # so that a long prompt does not look like silence
    params.verbosity = 1
    return xllamacpp.Server(params)


def _say(line: dict[str, str]) -> None:
    print("\n" + MARK + json.dumps(line), flush=True)  # noqa: T201  (the parent reads it)


def _die_with_parent(parent: int) -> None:
    """End when the process `parent` ends, also when a fork of it holds our standard input open."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  (there is nothing to load elsewhere)

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.name == "posix":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()
