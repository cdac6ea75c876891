"""litellm itself, through which aider asks, takes our two files as they were meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.shell import environment
from exporters.catalogue import row
from exporters.test_real_tools import litellm_folder, run_litellm
from nbllm.exporters.aider import Aider, AiderSettings
from nbllm.providers.spec import ModelInfo

__all__ = ["litellm_folder"]  # a fixture

_ASK = """
import http.server, json, os, sys, threading
import litellm, yaml

class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        seen.append([self.path, self.headers["authorization"], asked["model"]])
        reply = {"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}]}
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words): pass

seen = []
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
given = json.loads(open(sys.argv[1]).read())
litellm.register_model(json.loads(given["facts"]))
(entry,) = yaml.safe_load(given["settings"])
params = entry["extra_params"] | {"api_base": f"http://127.0.0.1:{server.server_port}/v1"}
for variable in ("", "the-key-of-acme"):
    os.environ["HOSTED_VLLM_API_KEY"] = variable
    litellm.completion(**{"model": entry["name"], "messages": [{"role": "user", "content": "x"}]} | params)
print(json.dumps({"seen": seen, "known": litellm.get_model_info(entry["name"])["max_input_tokens"]}))
"""


@pytest.mark.timeout(700)
def test_aider_asks_our_address_with_the_variable_we_name_and_never_with_the_key_of_openai(
    litellm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = row("acme", ModelInfo("acme", "vendor/big:1", context=4321), key_env="ACME_API_KEY")
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"facts": Aider().render([provider]), "settings": AiderSettings().render([provider])}))
    monkeypatch.setenv("OPENAI_API_KEY", "the-key-of-openai")
    assert environment()["OPENAI_API_KEY"] == "the-key-of-openai"
    found = run_litellm(_ASK, given, litellm_folder)
    assert found["known"] == 4321
    assert [s[0] for s in found["seen"]] == ["/v1/chat/completions"] * 2
    assert [s[2] for s in found["seen"]] == ["vendor/big:1"] * 2
    assert "the-key-of-openai" not in json.dumps(found)
    assert found["seen"][1][1] == "Bearer the-key-of-acme"
