"""llm and litellm themselves read what we write, list our models, and ask one: the demo server, on loopback.

llm is in the extra `test`. litellm pins an older openai than ours, so it is put into a folder of its own from the
package index. That takes a while, so it is done where peers are required (CI), with `--campaign`, or not at all when
NBLLM_LITELLM names a folder made by `pip install --target FOLDER litellm`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.shell import environment, nbllm, start
from peers import REQUIRED

KEY = "demo-" + "k" * 20
ODD = "vendor/Model:free@v1 é#"
_FOLDER = os.environ.get("NBLLM_LITELLM")  # read now: the fixture `home` takes NBLLM_ variables away
_ENVIRON = dict(os.environ)


@pytest.fixture
def demo_url() -> Iterator[str]:
    """Base URL of a demo server, which takes any key."""
    process = start("demo-server", "--port", "0")
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/v1", process.stdout.readline().decode())
    assert found
    yield found[0]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


@pytest.fixture
def provider(demo_url: str) -> None:
    """The provider `mine` at the demo server, with models whose names are hard to write down."""
    models = [word for m in ("echo", ODD, "yes", "1e3") for word in ("--model", m)]
    done = nbllm("providers", "add", "mine", "--base-url", demo_url, "--env", "MINE_API_KEY", *models)
    assert done.returncode == 0, done.stderr


def generated(tool: str, folder: Path) -> Path:
    done = nbllm("generate-configs", "--tool", tool, "--provider", "mine", cwd=folder, env={"MINE_API_KEY": KEY})
    assert done.returncode == 0, done.stderr
    return folder / tool / "models_mine.yaml"


# ---------------------------------------------------------------- llm


def run_llm(*words: str, folder: Path) -> str:
    """One run of llm, which sees nothing but its own folder."""
    env = {k: v for k, v in environment(LLM_USER_PATH=str(folder), LLM_LOAD_PLUGINS="").items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "llm", *words], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("provider")
def test_llm_lists_our_models_and_asks_one(tmp_path: Path) -> None:
    folder = tmp_path / "llm-home"
    folder.mkdir()
    generated("llm", tmp_path).rename(folder / "extra-openai-models.yaml")
    listed = run_llm("models", folder=folder)
    for model in ("echo", ODD, "yes", "1e3"):
        assert f"mine/{model}" in listed
    run_llm("keys", "set", "mine", "--value", KEY, folder=folder)
    assert "a question of ours" in run_llm("-m", "mine/echo", "--no-stream", "a question of ours", folder=folder)


# ---------------------------------------------------------------- litellm

_ROUTER = """
import json, sys
import yaml
from litellm import Router
with open(sys.argv[1]) as file:  # as litellm/proxy/proxy_server.py reads it
    router = Router(model_list=yaml.safe_load(file)["model_list"], num_retries=0)
reply = router.completion("mine/echo", messages=[{"role": "user", "content": "a question of ours"}], timeout=30)
print(json.dumps({
    "names": sorted(router.get_model_names()),
    "key": router.model_list[0]["litellm_params"]["api_key"],
    "answer": reply.choices[0].message.content,
}))
"""


@pytest.fixture(scope="session")
def litellm_folder(tmp_path_factory: pytest.TempPathFactory, campaign: bool) -> Path:
    """Where litellm can be imported from."""
    if _FOLDER:
        return Path(_FOLDER)
    if not (REQUIRED or campaign):
        pytest.skip("litellm is fetched in CI, with --campaign, or found through NBLLM_LITELLM")
    folder = tmp_path_factory.mktemp("litellm")
    words = ["install", "-q", "--target", str(folder), "--no-compile", "--only-binary", ":all:", "litellm"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words],
        env=_ENVIRON, capture_output=True, text=True, timeout=480, check=False,
    )  # fmt: skip
    if done.returncode:
        said = f"litellm cannot be had from the package index: {done.stderr[-500:]}"
        pytest.fail(said) if REQUIRED else pytest.skip(said)
    return folder


def run_litellm(script: str, path: Path, folder: Path) -> Any:
    env = environment(PYTHONPATH=str(folder), MINE_API_KEY=KEY, LITELLM_LOCAL_MODEL_COST_MAP="True")
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], env=env, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.timeout(700)
@pytest.mark.usefixtures("provider")
def test_litellm_lists_our_models_and_asks_one(litellm_folder: Path, tmp_path: Path) -> None:
    seen = run_litellm(_ROUTER, generated("litellm", tmp_path), litellm_folder)
    assert seen["names"] == sorted(f"mine/{m}" for m in ("echo", ODD, "yes", "1e3"))
    assert seen["key"] == KEY  # from the variable that our file names
    assert "a question of ours" in seen["answer"]
