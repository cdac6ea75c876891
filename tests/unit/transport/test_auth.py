"""Where keys go, and where they do not."""

from __future__ import annotations

import base64
import traceback
from typing import Any

import httpx2
import pytest

from asking import KEY, asking, error_of, events_of, fetched, row, streamed
from nbllm.credentials.secret import Secret
from nbllm.errors import NbllmError, RedirectError, RegistryError
from nbllm.transport.http import Http
from wire_server import Reset, Send, Stall, WireServer, answer, head

SCHEMES = {
    "bearer": f"Authorization: Bearer {KEY}",
    "x-api-key": f"x-api-key: {KEY}",
    "x-goog-api-key": f"x-goog-api-key: {KEY}",
    "api-key": f"api-key: {KEY}",
    "Authorization: Api-Key {key}": f"Authorization: Api-Key {KEY}",
}
CUSTOM = "custom-header-secret-91c4"
LISTING = answer(b"[]", kind="application/json")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_sets_its_header(scheme: str) -> None:
    with WireServer(LISTING) as server:
        fetched(server.url, key=KEY, fields={"auth": scheme, "headers": {"X-Team": CUSTOM}})
        lines = server.requests[0].decode().split("\r\n")
    assert SCHEMES[scheme].lower() in [line.lower() for line in lines]
    assert f"X-Team: {CUSTOM}" in lines
    assert server.bytes_seen.count(KEY.encode()) == 1


def test_no_key_no_header() -> None:
    with WireServer(LISTING) as server:
        fetched(server.url, fields={"auth": "bearer"})
        fetched(server.url, key=KEY, fields={"auth": "none"})
    assert b"uthorization" not in server.bytes_seen
    assert KEY.encode() not in server.bytes_seen


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("move", ["another port", "another name", "another path", "another scheme"])
def test_a_redirect_is_told_and_never_followed(status: int, scheme: str, move: str) -> None:
    with WireServer(LISTING) as elsewhere, WireServer() as server:
        to = {
            "another port": f"{elsewhere.origin}/v1/models?token=abc",
            "another name": f"http://localhost:{elsewhere.port}/v1/models#frag",
            "another path": "/v2/models",
            "another scheme": f"https://user:pass@127.0.0.1:{elsewhere.port}/v1/models",
        }[move]
        server._plans = [answer(status=status, location=to)]
        fields = {"auth": scheme, "headers": {"X-Team": CUSTOM}}
        for call in (fetched, streamed):
            error = error_of(lambda call=call: call(server.url, key=KEY, fields=fields))  # type: ignore[misc]
            assert isinstance(error, RedirectError)
            assert (error.status, error.provider, error.retryable) == (status, "there", False)
            assert error.location is not None
            assert error.location.partition("://")[2].partition("/")[2] in ("v1/models", "v2/models")
            assert "abc" not in str(error)
            assert "pass@" not in str(error)
            assert "%llm_providers edit there" in str(error)
        assert elsewhere.bytes_seen == b""
        assert len(server.requests) == 2  # one each: no loop


def test_a_redirect_without_a_location_is_told_too() -> None:
    for plan in (answer(status=304), answer(status=302, location="http://[bad")):
        with WireServer(plan) as server:
            error = error_of(lambda server=server: fetched(server.url))  # type: ignore[misc]
        assert isinstance(error, RedirectError)
        assert error.location is None


def test_a_request_to_another_origin_gets_neither_key_nor_headers() -> None:
    with WireServer(LISTING) as own, WireServer(LISTING) as other:
        provider = row(own.url, auth="bearer", headers={"X-Team": CUSTOM})

        async def ask(http: Http) -> None:
            for url in (f"{other.url}/models", f"http://localhost:{own.port}/v1/models"):
                await http.fetch("GET", url, provider=provider, key=Secret(KEY))

        asking(ask)
    for secret in (KEY, CUSTOM):
        assert secret.encode() not in own.bytes_seen + other.bytes_seen
        assert base64.b64encode(secret.encode()) not in own.bytes_seen + other.bytes_seen


def test_the_client_handed_to_an_sdk_follows_no_redirect_either() -> None:
    with WireServer(LISTING) as elsewhere, WireServer(answer(status=307, location=elsewhere.url)) as server:
        provider = row(server.url, auth="bearer")

        async def ask(http: Http) -> httpx2.Response:
            return await http.client(server.url).get(server.url, auth=http.auth(provider, Secret(KEY)))

        assert asking(ask).status_code == 307
    assert elsewhere.bytes_seen == b""


def test_the_key_leaves_the_request_when_the_answer_is_there() -> None:
    kept: list[httpx2.Request] = []

    async def ask(http: Http) -> None:
        provider = row(server.url, auth="x-api-key", headers={"X-Team": CUSTOM})
        async with http.stream("GET", server.url, provider=provider, key=Secret(KEY)) as response:
            kept.append(response.request)
        with pytest.raises(NbllmError):
            await http.fetch("GET", server.url, provider=provider, key=Secret(KEY))

    with WireServer([LISTING, (Reset(),)]) as server:
        asking(ask)
        assert server.bytes_seen.count(KEY.encode()) == 2
    assert KEY not in repr(kept[0].headers.raw)
    assert CUSTOM not in repr(kept[0].headers.raw)


@pytest.mark.parametrize("secret", [{"key": KEY}, {"fields": {"headers": {"X-Team": CUSTOM}}}], ids=["key", "header"])
def test_nothing_secret_travels_in_clear_text_without_consent(secret: dict[str, Any]) -> None:
    url = "http://192.168.1.20:8000/v1"
    fields = {"auth": "bearer", **secret.pop("fields", {})}
    error = error_of(lambda: fetched(url, fields=fields, environ={}, **secret))
    assert isinstance(error, RegistryError)
    assert "192.168.1.20" in error.message
    assert "https" in str(error)
    assert KEY not in str(error)


def test_with_consent_or_without_a_secret_plain_http_is_asked() -> None:
    def server(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"key": request.headers.get("authorization")})

    mounts = {"http://192.168.1.20:8000": lambda: httpx2.MockTransport(server)}
    url = "http://192.168.1.20:8000/v1"
    fields = {"auth": "bearer", "confirmed_http": True}
    assert fetched(url, key=KEY, fields=fields, mounts=mounts).json() == {"key": f"Bearer {KEY}"}
    assert fetched(url, mounts=mounts).json() == {"key": None}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_traceback_with_all_local_values_shows_no_key(scheme: str) -> None:
    """What `%xmode Verbose` shows: every frame, every value in it, every error behind it."""
    broken = (Send(head(200, content_type="text/event-stream", content_length="99") + b"data: x\n\n"), Reset())
    plans = [(Reset(),), (Stall(),), broken, answer(status=302, location="/x")]
    short = {"timeout": {"connect_s": 0.2, "first_token_s": 0.2, "between_tokens_s": 0.2}}
    with WireServer(plans) as server:
        provider = row(server.url, auth=scheme, headers={"X-Team": CUSTOM}, **short)

        async def ask(http: Http) -> list[str]:
            shown = []
            for _ in plans:
                try:
                    await events_of_secret(http, provider)
                except NbllmError as exc:
                    found = traceback.TracebackException.from_exception(exc, capture_locals=True)
                    shown.append("".join(found.format(chain=True)))
            return shown

        secret = Secret(KEY)

        async def events_of_secret(http: Http, provider: Any) -> None:
            async with http.stream("GET", provider.base_url, provider=provider, key=secret) as response:
                async for _ in response.aiter_bytes():
                    pass

        shown = asking(ask)
    assert len(shown) == len(plans)
    assert server.bytes_seen.count(KEY.encode()) == len(plans)
    for text in shown:
        assert "Secret(****)" in text  # the control: local values are shown
        assert KEY not in text


def test_the_key_is_in_no_object_that_stays() -> None:
    with WireServer(answer(b"data: {}\n\n")) as server:

        async def ask(http: Http) -> str:
            provider = row(server.url, auth="bearer")
            await events_of(http, provider, KEY)
            http.client(server.url).headers["x-control"] = CUSTOM
            return repr(_walk(http, set(), 0))

        reached = asking(ask)
        assert CUSTOM in reached  # the control: the walk comes that deep
        assert KEY not in reached
        assert KEY.encode() in server.bytes_seen


def _walk(found: Any, seen: set[int], depth: int) -> list[str]:
    if id(found) in seen or depth > 12:
        return []
    seen.add(id(found))
    if isinstance(found, str | bytes):
        return [repr(found)]
    inside: list[Any] = []
    if isinstance(found, dict):
        inside = [*found.keys(), *found.values()]
    elif isinstance(found, list | tuple | set | frozenset):
        inside = list(found)
    elif not callable(found):
        inside = [getattr(found, name, None) for name in (*getattr(found, "__dict__", {}), *_slots(found))]
        inside += list(found.values()) if hasattr(found, "values") and not isinstance(found, type) else []
    return [text for each in inside for text in _walk(each, seen, depth + 1)]


def _slots(found: Any) -> list[str]:
    return [name for cls in type(found).__mro__ for name in getattr(cls, "__slots__", ()) if name != "__weakref__"]
