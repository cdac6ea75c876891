"""The connection test against servers that other people wrote."""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from nbllm import aio
from nbllm.connection.check import Target, check
from nbllm.connection.discover import discover
from nbllm.connection.result import ConnectionCheck
from nbllm.credentials.secret import Secret
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Http

pytestmark = pytest.mark.peers

LLAMACPP = os.environ.get("NBLLM_LLAMACPP", "http://127.0.0.1:18080")
LLMOCK = os.environ.get("NBLLM_LLMOCK", "http://127.0.0.1:18420")
KEY = "sk-local"


@pytest.fixture(autouse=True)
def servers_are_up() -> None:
    for origin in (LLAMACPP, LLMOCK):
        parts = urlsplit(origin)
        try:
            socket.create_connection((parts.hostname or "", parts.port or 80), 2).close()
        except OSError:
            if os.environ.get("NBLLM_SHARED_REQUIRED") == "1":
                pytest.fail(f"no server at {origin}, and in CI it must be there")
            pytest.skip(f"no server at {origin}; the hand-made ones of tests/unit/connection ran")


def result_of(base_url: str, *, key: str | None, model: str | None = None, **fields: Any) -> ConnectionCheck:
    row = ProviderConfig.model_validate({"id": "peer", "base_url": base_url, "local": True, **fields})

    async def tested() -> ConnectionCheck:
        http = Http(environ={})
        try:
            return await check(Target(row, http, key=lambda: Secret(key) if key else None), model=model)
        finally:
            await http.aclose()

    return aio.run(tested())


def test_the_right_key_and_a_model_pass() -> None:
    found = result_of(f"{LLAMACPP}/v1", key=KEY, model="tiny-random")

    assert found.ok, str(found)
    assert found.model_count == 1
    assert [s.stage for s in found.stages] == ["url", "connect", "auth", "models", "model", "done"]


def test_llama_cpp_speaks_anthropics_format_too() -> None:
    found = result_of(LLAMACPP, key=KEY, model="tiny-random", kind="anthropic", auth="x-api-key")

    assert found.ok, str(found)


def test_a_wrong_key_and_no_key_fail_at_auth_with_different_words() -> None:
    wrong, none = result_of(f"{LLAMACPP}/v1", key="sk-wrong"), result_of(f"{LLAMACPP}/v1", key=None)

    assert (wrong.stage, none.stage) == ("auth", "auth")
    assert wrong.error == "peer refused the key (401)"
    assert none.error == "peer wants a key, and none was sent"


def test_a_wrong_path_is_found_out_and_the_right_one_named() -> None:
    found = result_of(f"{LLAMACPP}/api", key=KEY)

    assert found.stage == "models"
    assert f"{LLAMACPP}/v1" in (found.hint or "")


def test_llama_cpp_answers_to_any_name_and_the_test_says_what_that_is_worth() -> None:
    found = result_of(f"{LLAMACPP}/v1", key=KEY, model="no-such-model")

    assert found.ok
    assert "the listing does not name it" in str(found)


def test_llmock_lets_everybody_list() -> None:
    found = result_of(f"{LLMOCK}/v1", key="anything", model="gpt-4o-mini")

    assert found.ok, str(found)
    assert "open to all" in str(found)


def test_a_llama_cpp_server_with_a_key_is_discovered() -> None:
    row = ProviderConfig(id="peer", base_url=f"{LLAMACPP}/v1", local=True)

    [one] = aio.run(discover([row], timeout_s=2.0, usual=False))

    assert (one.id, one.wants_key, one.base_url) == ("llamacpp", True, f"{LLAMACPP}/v1")
