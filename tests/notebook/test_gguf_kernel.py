"""A model file on disk, from the magic to its answer, in a real kernel; and what is left when the kernel ends."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from kernels import Kernel
from tiny_gguf import write


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("model") / "tiny babble.gguf", words_before_stop=1e9)


def children_of(kernel: Kernel) -> list[psutil.Process]:
    """The processes of the kernel, and its own."""
    return psutil.Process(int(kernel.value("__import__('os').getpid()"))).children(recursive=True)


def wait_until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are still there after some seconds."""
    return psutil.wait_procs(processes, timeout=8)[1]


@pytest.mark.parametrize("end", ["shutdown", "killed", "unloaded"])
def test_a_file_becomes_a_provider_answers_and_leaves_no_process(end: str, model: Path) -> None:
    with Kernel(environ={"NBLLM_HOME": os.environ["NBLLM_HOME"]}) as kernel:
        kernel.run("%load_ext nbllm")
        added = kernel.run(f'%llm_providers add local-gguf --gguf "{model}"')
        assert added.ok, added.error
        assert children_of(kernel) == []  # nothing is served before it is asked

        asked = kernel.run("%%chat local-gguf/tiny-babble --max-tokens 40\nTell me of the river.", cell_id="asked")
        assert asked.ok, asked.error
        assert asked.text.strip()
        assert asked.facts["provider"] == "local-gguf"
        assert asked.facts["finish_reason"] == "length"
        assert asked.facts["usage"]["source"] == "provider"
        assert "local-gguf/" in asked.outputs[-1]["data"]["text/html"]
        tested = kernel.run("print(__import__('nbllm').check('local-gguf').ok)")
        assert tested.printed == "True"

        served = children_of(kernel)
        assert served
        if end == "unloaded":
            kernel.run("%unload_ext nbllm")
        elif end == "killed":
            psutil.Process(int(kernel.value("__import__('os').getpid()"))).kill()
        else:
            kernel.client.shutdown()
        assert wait_until_gone(served) == []
