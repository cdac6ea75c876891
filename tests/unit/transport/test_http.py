"""Clients, offline, mounts, proxies, forks."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import httpx2
import pytest

from asking import KEY, asking, error_of, events_of, fetched, row, streamed
from nbllm.errors import OfflineError, UnreachableError
from nbllm.providers.spec import Timeouts
from nbllm.transport.dial import proxy_for, trust
from nbllm.transport.http import Http, wire_timeout
from wire_server import Close, Plan, Send, Stall, WireServer, answer, head

LISTING = answer(b"[]", kind="application/json")


def test_one_client_an_origin_and_a_loop() -> None:
    async def ask(http: Http) -> list[httpx2.AsyncClient]:
        return [http.client(url) for url in ("http://127.0.0.1:1/v1", "HTTP://127.0.0.1:1/other", "http://127.0.0.1:2")]

    http = Http()
    first, second, other = asyncio.run(ask(http))
    assert first is second
    assert other is not first
    assert asyncio.run(ask(http))[0] is not first


def test_connections_are_kept_and_closed_at_the_end() -> None:
    async def ask(http: Http) -> None:
        for _ in range(5):
            await http.fetch("GET", server.url, provider=row(server.url), key=None)

    with WireServer(LISTING) as server:
        asking(ask)
        assert len(server.requests) == 5
        assert server.connections == 1


def test_an_http_that_was_closed_can_be_used_again() -> None:
    async def ask(http: Http) -> int:
        await http.fetch("GET", server.url, provider=row(server.url), key=None)
        await http.aclose()
        return (await http.fetch("GET", server.url, provider=row(server.url), key=None)).status

    with WireServer(LISTING) as server:
        assert asking(ask) == 200


def test_a_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def ask(http: Http) -> list[int]:
        seen = []
        for _ in range(3):
            seen.append((await http.fetch("GET", server.url, provider=row(server.url), key=None)).status)
            await asyncio.sleep(0.1)
        return seen

    with WireServer((*LISTING, Close())) as server:
        assert asking(ask) == [200, 200, 200]


def test_offline_leaves_only_this_machine_and_mounted_origins() -> None:
    mounts = {"http://demo.invalid:80": lambda: httpx2.MockTransport(lambda request: httpx2.Response(200, json=[1]))}
    with WireServer(LISTING) as server:
        assert fetched(server.url, offline=lambda: True).json() == []
        assert fetched("http://demo.invalid/v1", offline=lambda: True, mounts=mounts).json() == [1]
        for call in (fetched, streamed):
            error = error_of(lambda call=call: call("https://api.example.com/v1", offline=lambda: True))  # type: ignore[misc]
            assert isinstance(error, OfflineError)
            assert "api.example.com" in error.message
            assert "NBLLM_OFFLINE" in str(error)


def test_offline_holds_for_the_client_of_an_sdk_and_is_asked_each_time() -> None:
    state = {"offline": False}

    async def ask(http: Http) -> None:
        client = http.client("https://api.example.com/v1")
        state["offline"] = True
        with pytest.raises(OfflineError):
            await client.get("https://api.example.com/v1")

    asking(ask, offline=lambda: state["offline"], environ={})


def test_a_mounted_transport_streams_as_it_goes() -> None:
    seen: list[str] = []

    class Slow(httpx2.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            for number in range(3):
                seen.append(f"sent {number}")
                yield b"data: %d\n\n" % number

    async def ask(http: Http) -> None:
        provider = row("http://demo.invalid/v1")
        async with http.stream("GET", provider.base_url, provider=provider, key=None) as response:
            async for _ in response.aiter_bytes():
                seen.append("got")

    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, stream=Slow()))
    asking(ask, mounts={"http://demo.invalid:80": lambda: transport})
    assert seen == ["sent 0", "got", "sent 1", "got", "sent 2", "got"]


def test_an_exception_of_a_mounted_transport_becomes_an_error_of_ours() -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError(f"header {request.headers['authorization']}", request=request)

    mounts = {"http://demo.invalid:80": lambda: httpx2.MockTransport(fail)}
    fields = {"auth": "bearer", "confirmed_http": True}
    error = error_of(lambda: fetched("http://demo.invalid/v1", key=KEY, fields=fields, mounts=mounts))
    assert isinstance(error, UnreachableError)
    assert error.phase == "closed"
    assert KEY not in str(error)


def test_timeouts_of_a_row_reach_the_wire() -> None:
    found = wire_timeout(Timeouts(connect_s=1, first_token_s=2, between_tokens_s=3))
    assert (found.connect, found.read) == (1, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_opens_connections_of_its_own() -> None:
    async def ask(http: Http) -> int:
        return (await http.fetch("GET", server.url, provider=row(server.url), key=None)).status

    with WireServer(LISTING) as server:
        http = Http()

        async def main() -> int:
            await ask(http)
            child = os.fork()
            if child == 0:
                os._exit(0 if len(http._clients) == 0 else 7)
            _, state = os.waitpid(child, 0)
            await http.aclose()
            return os.waitstatus_to_exitcode(state)

        assert asyncio.run(main()) == 0


def test_many_streams_over_one_client_do_not_mix() -> None:
    async def ask(http: Http) -> list[int]:
        found = await asyncio.gather(*[events_of(http, row(server.url)) for _ in range(50)])
        return [len(events) for events in found]

    with WireServer(answer(b"data: {}\n\n" * 200, piece=700)) as server:
        assert asking(ask) == [200] * 50


def test_no_cookie_is_kept_between_requests() -> None:
    async def ask(http: Http) -> None:
        for _ in range(2):
            await http.fetch("GET", server.url, provider=row(server.url), key=None)

    with WireServer(answer(b"[]", set_cookie="session=tracked; Path=/")) as server:
        asking(ask)
        assert len(server.requests) == 2
        assert b"tracked" not in server.bytes_seen


@pytest.mark.parametrize("plan", [(Stall(),), (Send(head(200, content_type="text/event-stream")), Stall())])
def test_a_cancelled_request_closes_its_connection(plan: Plan) -> None:
    async def ask(http: Http) -> bool:
        task = asyncio.create_task(events_of(http, row(server.url)))
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        return await asyncio.to_thread(server.hung_up.wait, 10) and task.cancelled()

    with WireServer(plan) as server:
        assert asking(ask)


# ---------------------------------------------------------------- proxies


@dataclass(frozen=True)
class Proxied:
    id: str
    url: str
    environ: dict[str, str]
    proxy: str | None


PROXIES = [
    Proxied("none", "https://a.example/v1", {}, None),
    Proxied("https", "https://a.example/v1", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
    Proxied("lower case wins", "https://a.example", {"HTTPS_PROXY": "http://p", "https_proxy": "http://q"}, "http://q"),
    Proxied("the scheme counts", "http://a.example", {"HTTPS_PROXY": "http://p"}, None),
    Proxied("for all", "https://a.example", {"ALL_PROXY": "socks5://p:1080"}, "socks5://p:1080"),
    Proxied("without a scheme", "https://a.example", {"https_proxy": "p:3128"}, "http://p:3128"),
    Proxied("this machine", "http://localhost:11434", {"HTTP_PROXY": "http://p"}, None),
    Proxied("this machine by number", "https://127.0.0.1", {"ALL_PROXY": "http://p"}, None),
    Proxied("exempt by name", "https://a.example", {"https_proxy": "http://p", "NO_PROXY": "x, a.example"}, None),
    Proxied("exempt below a name", "https://b.a.example", {"https_proxy": "http://p", "no_proxy": ".a.example"}, None),
    Proxied("a longer name", "https://xa.example", {"https_proxy": "http://p", "no_proxy": "a.example"}, "http://p"),
    Proxied("exempt: all", "https://a.example", {"https_proxy": "http://p", "no_proxy": "*"}, None),
    Proxied(
        "exempt by port", "https://a.example:8443", {"https_proxy": "http://p", "no_proxy": "a.example:8443"}, None
    ),
    Proxied("another port", "https://a.example", {"https_proxy": "http://p", "no_proxy": "a.example:8443"}, "http://p"),
    Proxied("exempt by net", "https://10.2.3.4", {"https_proxy": "http://p", "no_proxy": "10.0.0.0/8"}, None),
    Proxied("httpoxy", "http://a.example", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, None),
    Proxied("empty", "https://a.example", {"HTTPS_PROXY": ""}, None),
]


@pytest.mark.parametrize("case", PROXIES, ids=lambda c: c.id)
def test_the_proxy_is_chosen_as_the_environment_says(case: Proxied) -> None:
    assert proxy_for(case.url, case.environ) == case.proxy


def test_a_proxy_for_https_sees_a_connect_and_no_key() -> None:
    plan = (Send(head(407, "Proxy Authentication Required", content_length="0")), Close())
    with WireServer(plan) as proxy:
        environ = {"HTTPS_PROXY": f"http://me:proxy-password@127.0.0.1:{proxy.port}"}
        error = error_of(
            lambda: fetched("https://api.example.com/v1", key=KEY, fields={"auth": "bearer"}, environ=environ)
        )
        assert proxy.bytes_seen.startswith(b"CONNECT api.example.com:443")
        assert b"Proxy-Authorization: Basic" in proxy.bytes_seen
        assert KEY.encode() not in proxy.bytes_seen
    assert isinstance(error, UnreachableError)
    assert "proxy" in error.message
    assert "proxy-password" not in str(error)


def test_plain_http_goes_through_the_proxy_too() -> None:
    with WireServer(LISTING) as proxy:
        environ = {"http_proxy": f"http://127.0.0.1:{proxy.port}"}
        assert fetched("http://lan.example/v1", environ=environ).json() == []
        assert proxy.bytes_seen.startswith(b"GET http://lan.example/v1/models HTTP/1.1")


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:1", "socks5://127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_says_why(proxy: str) -> None:
    error = error_of(lambda: fetched("http://lan.example/v1", environ={"http_proxy": proxy}))
    assert isinstance(error, UnreachableError)
    assert error.phase == "connect"
    assert error.hint


def test_one_tls_context_for_the_whole_process() -> None:
    assert trust({}) is trust({})
