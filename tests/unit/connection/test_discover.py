"""Servers on this machine are known by their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

import wire_server
from model_server import Answers, ModelServer, Said, as_json, listing, page, refusal
from nbllm import aio
from nbllm.connection.discover import Found, discover
from nbllm.providers.spec import ProviderConfig

OLLAMA = {"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 1}]}


def found(server: ModelServer, *rows: dict[str, Any]) -> list[Found]:
    local = {"local": True, "base_url": server.url}
    return aio.run(discover([ProviderConfig.model_validate(local | row) for row in rows], timeout_s=10.0, usual=False))


@dataclass(frozen=True)
class Here:
    """A server, and as what it is found; `there` None: as nothing."""

    id: str
    answers: Answers
    there: str | None
    models: tuple[str, ...] = ()
    wants_key: bool = False
    rows: tuple[dict[str, Any], ...] = field(default=({"id": "llamacpp"},))


V1 = "/v1/models"
CASES = [
    Here("llama.cpp", {V1: as_json({"object": "list", "data": [{"id": "q"}]}, Server="llama.cpp")}, "llamacpp", ("q",)),
    Here("llama.cpp-by-owner", {V1: listing("q", owned_by="llamacpp")}, "llamacpp", ("q",)),
    Here("vllm-at-another-port", {V1: listing("q", owned_by="vllm")}, "vllm", ("q",)),
    Here("lm-studio", {V1: listing("q")}, "lmstudio", ("q",), rows=({"id": "lmstudio", "name": "LM Studio"},)),
    Here("nobody-known", {V1: listing("q")}, "local-PORT", ("q",)),
    Here("two-rows-one-port", {V1: listing("q")}, "jan", ("q",), rows=({"id": "jan"}, {"id": "atomic-chat"})),
    Here("llama.cpp-with-key", {V1: refusal(401, "Invalid API Key")}, "llamacpp", wants_key=True),
    Here(
        "vllm-with-key", {V1: as_json({"error": "Unauthorized"}, 401)}, "vllm", wants_key=True, rows=({"id": "vllm"},)
    ),
    Here("no-models-yet", {V1: as_json({"object": "list", "data": []})}, "lmstudio", rows=({"id": "lmstudio"},)),
    Here("web-page", {V1: page("Jenkins")}, None),
    Here("login-page", {V1: page("Log in", 401)}, None),
    Here("other-401", {V1: as_json({"message": "who are you"}, 401)}, None),
    Here("other-json", {V1: as_json({"data": [{"user": "root"}]})}, None),
    Here("other-rows", {V1: as_json({"data": [{"id": "42"}]})}, None),
    Here("other-list", {V1: as_json({"data": []})}, None),
    Here("404", {}, None),
    Here("cut-json", {V1: Said(200, b'{"object": "list", "data": [')}, None),
    Here("redirect", {V1: Said(302, b"", {"Location": "/elsewhere"}), "/elsewhere": listing("q")}, None),
    Here("too-long", {V1: Said(200, listing("q").body + b" " * 2_100_000)}, None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_a_server_is_known_by_its_answer(case: Here) -> None:
    with ModelServer(case.answers) as server:
        servers = found(server, *case.rows)

    if case.there is None:
        assert servers == []
        return
    [one] = servers
    assert one.id == case.there.replace("PORT", str(server.port))
    assert (one.models, one.wants_key) == (case.models, case.wants_key)
    assert (one.kind, one.base_url) == ("openai", server.url)
    assert len(server.asked) == 1
    assert "authorization" not in server.asked[0].headers


def test_ollama_is_asked_in_its_own_dialect() -> None:
    with ModelServer({"/api/tags": as_json(OLLAMA)}) as server:
        [one] = found(server, {"id": "ollama", "kind": "ollama", "base_url": server.origin})

    assert one == Found("ollama", "ollama", server.origin, "Ollama", ("llama3.2:latest",), wants_key=False)


@pytest.mark.parametrize("content", [{"models": [1]}, {"models": [{}]}, {"models": {}}, [], {"tags": []}])
def test_what_is_not_ollama_is_not_taken_for_it(content: Any) -> None:
    with ModelServer({"/api/tags": as_json(content)}) as server:
        assert found(server, {"id": "ollama", "kind": "ollama", "base_url": server.origin}) == []


def test_only_this_machine_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ProviderConfig(id="lan", base_url="http://192.168.1.5:8000/v1", local=True),
        ProviderConfig(id="tls", base_url="https://127.0.0.1:8443/v1", local=True),
        ProviderConfig(id="file", gguf="/m.gguf", base_url="http://127.0.0.1:1/v1", local=True),
    ]

    assert aio.run(discover(rows, usual=False)) == []


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer({}) as proxy, ModelServer({V1: listing("q")}) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        monkeypatch.setenv("ALL_PROXY", proxy.origin)

        assert len(found(server, {"id": "lmstudio"})) == 1

    assert proxy.asked == []


def test_a_silent_server_does_not_hide_the_others() -> None:
    with wire_server.WireServer((wire_server.Stall(),)) as silent, ModelServer({V1: listing("q")}) as server:
        rows = [
            ProviderConfig(id="silent", base_url=silent.url, local=True),
            ProviderConfig(id="jan", base_url=server.url, local=True),
            ProviderConfig(id="closed", base_url=f"http://127.0.0.1:{wire_server.closed_port()}/v1", local=True),
        ]
        servers = aio.run(discover(rows, timeout_s=3.0, usual=False))

    assert [s.id for s in servers] == ["jan"]
    assert silent.hung_up.wait(10)


def test_the_usual_ports_are_asked_without_any_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from nbllm.connection import discover as module

    asked: list[str] = []

    async def ask(client: object, probe: Any, names: object, timeout_s: float) -> None:
        asked.append(probe.url)

    monkeypatch.setattr(module, "_ask", ask)
    assert aio.run(module.discover()) == []

    assert asked == [
        "http://127.0.0.1:11434/api/tags",
        "http://127.0.0.1:1234/v1/models",
        "http://127.0.0.1:8080/v1/models",
        "http://127.0.0.1:8000/v1/models",
        "http://127.0.0.1:1337/v1/models",
    ]
