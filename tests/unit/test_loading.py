"""Loading modules holds the garbage collector back, and only then."""

from __future__ import annotations

import gc
import threading

import pytest

from nbllm.loading import quick_imports


def test_the_collector_rests_while_modules_are_loaded_and_works_again() -> None:
    with quick_imports():
        assert not gc.isenabled()
        with quick_imports():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_works_again_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), quick_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_user_who_switched_it_off_keeps_it_off() -> None:
    gc.disable()
    try:
        with quick_imports():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_threads_that_load_at_the_same_time_do_not_leave_it_off() -> None:
    start = threading.Barrier(8)

    def load() -> None:
        start.wait()
        for _ in range(200):
            with quick_imports():
                pass

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gc.isenabled()
