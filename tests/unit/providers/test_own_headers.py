"""The user's own headers may be secrets: they stay with the address they were given for, and nothing shows them."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from chatting import refuses, talking
from nbllm.chat.options import ChatOptions
from nbllm.credentials import redactor
from nbllm.errors import BadRequestError, RegistryError

CANARY = "team-canary-4711-0815"
FIRST, SECOND = "https://a.example/v1", "https://b.example/v1"


def test_they_do_not_move_to_another_origin(registry: Any) -> None:
    registry.add("acme", base_url=FIRST, headers={"X-Team": CANARY})

    assert registry.edit("acme", base_url="https://a.example/v2").headers == {"X-Team": CANARY}
    assert registry.edit("acme", base_url=SECOND).headers == {}
    assert any("X-Team" in remark and "earlier address" in remark for remark in registry.remarks("acme"))
    assert registry.edit("acme", base_url=FIRST, headers={"X-New": "1"}).headers == {"X-New": "1"}


def test_they_do_not_move_within_the_session(registry: Any) -> None:
    registry.set_session("groq", headers={"X-Team": CANARY})

    assert registry.set_session("groq", base_url=SECOND).headers == {}


def test_consent_to_plain_http_does_not_move(registry: Any) -> None:
    registry.add("acme", base_url="http://box.example/v1", confirmed_http=True, key_optional=True)

    with pytest.raises(RegistryError, match="in the clear"):
        registry.edit("acme", base_url="http://other.example/v1", key_optional=False)
    assert not registry.edit("acme", base_url="http://other.example/v1").confirmed_http
    assert registry.edit("acme", base_url="http://box.example/v1", confirmed_http=True).confirmed_http


def test_they_are_not_exported_and_an_import_leaves_them(registry: Any) -> None:
    registry.add("acme", base_url=FIRST, headers={"X-Team": CANARY})
    registry.edit("anthropic", headers={"X-Team": CANARY})

    for text in (registry.export(), registry.export(["acme", "anthropic"])):
        assert CANARY not in text
        assert "X-Team" in text
        assert "headers" not in tomllib.loads(text)["providers"]["acme"]
    assert registry.import_(text) == ["acme: no change", "anthropic: no change"]
    assert registry.get("acme").headers == {"X-Team": CANARY}


def test_an_import_names_them_only(registry: Any) -> None:
    lines = registry.import_(f'[acme]\nbase_url = "{FIRST}"\n', dry_run=False)
    lines += registry.import_(f'[acme]\nbase_url = "{FIRST}"\nheaders = {{X-Team = "{CANARY}"}}\n')

    assert any("X-Team" in line for line in lines)
    assert CANARY not in "\n".join(lines)


def test_no_repr_shows_them(registry: Any) -> None:
    assert CANARY not in repr(registry.add("acme", base_url=FIRST, headers={"X-Team": CANARY}))


def test_a_server_that_echoes_them_is_redacted() -> None:
    with talking(refuses(400, f"bad header X-Team: {CANARY}"), headers={"X-Team": CANARY}) as (workspace, server):
        with pytest.raises(BadRequestError, match="bad header") as caught:
            workspace.chat("x", ChatOptions(model="peer/m"))
        assert CANARY.encode() in server.requests[-1]  # it was sent
        assert CANARY not in f"{caught.value} {vars(caught.value)}"
        assert CANARY not in redactor(f"text with {CANARY} in it")


def test_the_headers_of_a_bundled_row_are_no_secrets() -> None:
    with talking(refuses(400, "anthropic-version 2023-06-01 is old")) as (workspace, _):
        row = workspace.registry.get("anthropic")
        workspace.credentials.find(row, ())
        assert redactor("2023-06-01") == "2023-06-01"
