"""The connection test against servers that other people wrote."""

from __future__ import annotations

from typing import Any

import pytest

from nbllm import aio
from nbllm.connection.check import Target, check
from nbllm.connection.discover import discover
from nbllm.connection.result import ConnectionCheck
from nbllm.credentials.secret import Secret
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Http
from peers import Peers

pytestmark = pytest.mark.peers

KEY = "sk-local"


@pytest.fixture
def llamacpp(peers: Peers) -> str:
    """The origin of a llama.cpp server; its key is `KEY`."""
    return str(peers["llamacpp"]["anthropic"])


@pytest.fixture
def mock(peers: Peers) -> str:
    """The base URL of a server that wants no key."""
    return str(peers["llmock"]["openai"])


def result_of(base_url: str, *, key: str | None, model: str | None = None, **fields: Any) -> ConnectionCheck:
    row = ProviderConfig.model_validate({"id": "peer", "base_url": base_url, "local": True, **fields})

    async def tested() -> ConnectionCheck:
        http = Http(environ={})
        try:
            return await check(Target(row, http, key=lambda: Secret(key) if key else None), model=model)
        finally:
            await http.aclose()

    return aio.run(tested())


def test_the_right_key_and_a_model_pass(llamacpp: str) -> None:
    found = result_of(f"{llamacpp}/v1", key=KEY, model="tiny-random")

    assert found.ok, str(found)
    assert found.model_count == 1
    assert [s.stage for s in found.stages] == ["url", "connect", "auth", "models", "model", "done"]


def test_llama_cpp_speaks_anthropics_format_too(llamacpp: str) -> None:
    found = result_of(llamacpp, key=KEY, model="tiny-random", kind="anthropic", auth="x-api-key")

    assert found.ok, str(found)


def test_a_wrong_key_and_no_key_fail_at_auth_with_different_words(llamacpp: str) -> None:
    wrong, none = result_of(f"{llamacpp}/v1", key="sk-wrong"), result_of(f"{llamacpp}/v1", key=None)

    assert (wrong.stage, none.stage) == ("auth", "auth")
    assert wrong.error == "peer refused the key (401)"
    assert none.error == "peer wants a key, and none was sent"


def test_a_wrong_path_is_found_out_and_the_right_one_named(llamacpp: str) -> None:
    found = result_of(f"{llamacpp}/api", key=KEY)

    assert found.stage == "models"
    assert f"{llamacpp}/v1" in (found.hint or "")


def test_llama_cpp_answers_to_any_name_and_the_test_says_what_that_is_worth(llamacpp: str) -> None:
    found = result_of(f"{llamacpp}/v1", key=KEY, model="no-such-model")

    assert found.ok
    assert "the listing does not name it" in str(found)


def test_llmock_lets_everybody_list(mock: str) -> None:
    found = result_of(mock, key="anything", model="gpt-4o-mini")

    assert found.ok, str(found)
    assert "open to all" in str(found)


def test_a_llama_cpp_server_with_a_key_is_discovered(llamacpp: str) -> None:
    row = ProviderConfig(id="peer", base_url=f"{llamacpp}/v1", local=True)

    [one] = aio.run(discover([row], timeout_s=10.0, usual=False))

    assert (one.id, one.wants_key, one.base_url) == ("llamacpp", True, f"{llamacpp}/v1")
