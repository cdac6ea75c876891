"""Imports that take long, made shorter.

Heavy packages make hundreds of thousands of objects that stay, and the garbage collector looks through all of them
again and again meanwhile: a quarter of the time of the first chat (benchmarks/results/load_ext.json).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_waiting = 0
_was_enabled = False


@contextmanager
def quick_imports() -> Iterator[None]:
    """Hold the garbage collector back while modules are loaded; on any thread, also several at a time."""
    global _waiting, _was_enabled
    with _lock:
        if _waiting == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _waiting += 1
    try:
        yield
    finally:
        with _lock:
            _waiting -= 1
            if _waiting == 0 and _was_enabled:
                gc.enable()
