"""The connection test: each stage, and each way to fail, against servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import certificates
import wire_server
from model_server import Answers, Asked, ModelServer, Said, as_json, listing, page, refusal, streamed, with_key
from nbllm import aio
from nbllm.adapters.base import Endpoint
from nbllm.connection.check import Target, check, check_many
from nbllm.connection.result import STAGES, ConnectionCheck
from nbllm.credentials.secret import Secret
from nbllm.errors import MissingKeyError, UnreachableError
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.demo import DEMO_ORIGIN, DemoTransport
from nbllm.transport.http import Http

KEY = "sk-test-0123456789abcdef"


def target(url: str, *, key: str | None = KEY, http: Http | None = None, **fields: Any) -> Target:
    row = ProviderConfig.model_validate({"id": "there", "base_url": url, **fields})
    return Target(row, http or Http(environ={}), key=lambda: Secret(key) if key else None)


def result_of(target: Target, model: str | None = None, *, timeout_s: float = 10.0) -> ConnectionCheck:
    async def tested() -> ConnectionCheck:
        try:
            return await check(target, model=model, timeout_s=timeout_s)
        finally:
            await target.http.aclose()

    return aio.run(tested())


def names(found: ConnectionCheck) -> list[str]:
    return [s.stage for s in found.stages]


# ---------------------------------------------------------------- what passes


def test_a_good_server_passes_every_stage_that_applies() -> None:
    with ModelServer({"/v1/models": with_key(KEY, listing("a", "b"))}) as server:
        found = result_of(target(server.url))

    assert found.ok
    assert bool(found)
    assert found.stage == "done"
    assert (found.model_count, found.error, found.hint) == (2, None, None)
    assert names(found) == ["url", "connect", "auth", "models", "done"]  # an address has no name, http no TLS
    assert all(s.ms is not None and s.ms >= 0 for s in found.stages if s.stage != "models")
    assert "the key is accepted" in str(found)


def test_stages_come_in_their_order(tmp_path: Path) -> None:
    authority = certificates.Authority(tmp_path)
    answers: Answers = {"/v1/models": listing("m"), "/v1/chat/completions": streamed()}
    with ModelServer(answers, tls=authority.server(host="localhost")) as server:
        http = Http(environ={"SSL_CERT_FILE": str(authority.bundle)})
        found = result_of(target(f"https://localhost:{server.port}/v1", http=http), "m")

    assert tuple(names(found)) == STAGES


def test_a_model_is_asked_for_one_token_and_length_is_a_good_end() -> None:
    with ModelServer({"/v1/models": listing("m"), "/v1/chat/completions": streamed(finish="length")}) as server:
        found = result_of(target(server.url), "m")

    assert found.ok
    assert found.model == "m"
    assert server.asked[-1].body["max_tokens"] == 1


def test_a_server_that_refuses_one_token_is_asked_for_more() -> None:
    def picky(asked: Asked) -> Said:
        return streamed() if asked.body["max_tokens"] >= 16 else refusal(400, "max_tokens must be at least 16")

    with ModelServer({"/v1/models": listing("m"), "/v1/chat/completions": picky}) as server:
        found = result_of(target(server.url), "m")

    assert found.ok


def test_a_server_that_takes_any_name_is_no_proof_of_a_model() -> None:
    with ModelServer({"/v1/models": listing("real"), "/v1/chat/completions": streamed(model="real")}) as server:
        found = result_of(target(server.url), "imagined")

    [model] = [s for s in found.stages if s.stage == "model"]
    assert found.ok
    assert "the listing does not name it" in model.detail
    assert "reported as real" in model.detail


def test_a_model_added_by_hand_counts_as_listed() -> None:
    with ModelServer({"/v1/models": listing("real"), "/v1/chat/completions": streamed(model="mine")}) as server:
        found = result_of(target(server.url, models=["mine"]), "mine")

    assert "does not name it" not in str(found)


def test_a_listing_that_is_open_to_all_proves_no_key() -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        found = result_of(target(server.url, headers={"X-Secret": "also-secret"}))

    assert found.ok
    assert "open to all" in found.stages[2].detail
    assert "authorization" not in server.asked[-1].headers
    assert "x-secret" not in server.asked[-1].headers


def test_a_server_without_keys_says_so() -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        found = result_of(target(server.url, key=None, auth="none"))

    assert found.stages[2].detail == "answers without a key"
    assert len(server.asked) == 1


def test_a_server_without_a_listing_passes_when_its_model_answers() -> None:
    with ModelServer({"/v1/chat/completions": with_key(KEY, streamed())}) as server:
        found = result_of(target(server.url), "m")

    assert found.ok
    assert found.model_count is None
    assert names(found) == ["url", "connect", "models", "model", "done"]
    assert "no listing here (404)" in str(found)


def test_a_key_that_may_chat_but_not_list_passes() -> None:
    answers: Answers = {"/v1/models": refusal(403, "missing scope"), "/v1/chat/completions": with_key(KEY, streamed())}
    with ModelServer(answers) as server:
        assert result_of(target(server.url), "m").ok
        assert result_of(target(server.url)).stage == "auth"


def test_an_empty_listing_is_a_listing() -> None:
    with ModelServer({"/v1/models": as_json({"object": "list", "data": []})}) as server:
        found = result_of(target(server.url))

    assert found.ok
    assert found.model_count == 0


def test_a_row_that_says_so_needs_no_second_question() -> None:
    for need, words in ((False, "open to all"), (True, "the key is accepted")):
        with ModelServer({"/v1/models": listing("m")}) as server:
            found = result_of(target(server.url, models_need_key=need))

        assert words in str(found)
        assert len(server.asked) == 1


def test_a_model_file_is_served_for_its_test() -> None:
    async def serve(endpoint: Endpoint) -> Endpoint:
        row = endpoint.provider.model_copy(update={"base_url": server.url, "auth": "bearer"})
        return replace(endpoint, provider=row, key=Secret(KEY))

    with ModelServer({"/v1/models": with_key(KEY, listing("tiny"))}) as server:
        row = ProviderConfig(id="mine", gguf="/m/tiny.gguf")
        found = result_of(Target(row, Http(environ={}), serve=serve))

    assert found.ok, str(found)


def test_a_model_file_that_cannot_be_served_is_a_result() -> None:
    async def serve(endpoint: Endpoint) -> Endpoint:
        raise UnreachableError("cut.gguf cannot be served: too short", hint="fetch it again", phase="connect")

    found = result_of(Target(ProviderConfig(id="mine", gguf="/m/cut.gguf"), Http(environ={}), serve=serve))

    assert (found.stage, found.hint) == ("url", "fetch it again")
    assert "too short" in (found.error or "")


def test_the_demo_has_no_way_to_test() -> None:
    http = Http(environ={}, mounts={DEMO_ORIGIN: DemoTransport}, offline=lambda: True)
    found = result_of(target("http://demo.invalid/v1", http=http, key=None, auth="none", kind="demo"), "echo")

    assert found.ok
    assert names(found) == ["models", "model", "done"]


# ---------------------------------------------------------------- what fails


@dataclass(frozen=True)
class Failing:
    """A server, and what the test must say about it."""

    id: str
    answers: Answers
    stage: str
    error: str
    hint: str
    key: str | None = KEY
    model: str | None = None


FAILING = [
    Failing("wrong-key", {"/v1/models": with_key("another", listing("m"))}, "auth", "refused the key", "key there"),
    Failing("no-key", {"/v1/models": refusal(401)}, "auth", "wants a key, and none was sent", "key there", key=None),
    Failing("bad-key-behind-400", {"/v1/models": refusal(400, "API key not valid")}, "auth", "refused the key", "key"),
    Failing("no-credit", {"/v1/models": refusal(402, "pay first")}, "auth", "no credit", "add credit"),
    Failing("limit", {"/v1/models": refusal(429, "slow down")}, "auth", "slow down", "not the key"),
    Failing("down", {"/v1/models": refusal(503, "maintenance")}, "auth", "maintenance", "try again"),
    Failing("no-listing", {}, "models", "has no model listing at", "--model"),
    Failing("page", {"/v1/models": page("Welcome")}, "models", "no model listing", "base URL"),
    Failing("other-json", {"/v1/models": as_json({"hello": 1})}, "models", "no model listing", "base URL"),
    Failing("deeper", {"/v1/v1/models": listing("m")}, "models", "there is no model server at", "/v1/v1`"),
    Failing("unknown-model",
            {"/v1/models": listing("llama-3.3-70b", "whisper"),
             "/v1/chat/completions": refusal(404, "no", code="model_not_found")},
            "model", "does not offer this", "did you mean llama-3.3-70b?", model="llama-3.3-7b"),
    Failing("no-chat",
            {"/v1/models": listing("m"), "/v1/chat/completions": refusal(400, "m does not support chat")},
            "model", "does not support chat", "option", model="m"),
    Failing("model-limit", {"/v1/models": listing("m"), "/v1/chat/completions": refusal(429)},
            "model", "slow down", "not the key", model="m"),
    Failing("key-refused-by-chat", {"/v1/models": listing("m"), "/v1/chat/completions": refusal(401)},
            "auth", "refused the key", "key there", model="m"),
    Failing("cut-stream", {"/v1/models": listing("m"), "/v1/chat/completions": streamed(finish=None)},
            "model", "", "", model="m"),
    Failing("redirect", {"/v1/models": Said(308, b"", {"Location": "https://elsewhere.example/v1/models?k=1"})},
            "auth", "https://elsewhere.example/v1/models", "base-url"),
]  # fmt: skip


@pytest.mark.parametrize("case", FAILING, ids=lambda c: c.id)
def test_a_failure_says_where_what_and_what_to_do(case: Failing) -> None:
    with ModelServer(case.answers) as server:
        found = result_of(target(server.url, key=case.key), case.model)

    assert not found.ok
    assert found.stage == case.stage
    assert found.error is not None
    assert case.error in found.error
    assert found.hint is not None
    assert case.hint in found.hint
    assert "\n" not in found.error + found.hint
    assert KEY not in repr(found)
    assert "k=1" not in repr(found)


def test_a_forgotten_version_path_is_found() -> None:
    with ModelServer({"/v1/models": with_key(KEY, listing("m"))}) as server:
        found = result_of(target(server.origin))

    assert found.stage == "models"
    assert found.hint == f"run `%llm_providers edit there --base-url {server.url}`"


def test_the_better_path_is_also_found_when_a_model_was_asked() -> None:
    with ModelServer({"/v1/models": with_key(KEY, listing("m"))}) as server:
        found = result_of(target(server.origin), "m")

    assert found.stage == "model"
    assert server.url in (found.hint or "")


def test_no_other_origin_is_tried() -> None:
    with ModelServer({}) as other, ModelServer({}) as server:
        result_of(target(server.url))

    assert other.asked == []


def test_a_missing_key_fails_at_auth_with_the_sources_own_words() -> None:
    def missing() -> Secret | None:
        raise MissingKeyError("no key for there", hint="set THERE_API_KEY", provider="there")

    with ModelServer({"/v1/models": listing("m")}) as server:
        found = result_of(Target(ProviderConfig(id="there", base_url=server.url), Http(environ={}), key=missing))

    assert (found.stage, found.error, found.hint) == ("auth", "no key for there", "set THERE_API_KEY")
    assert names(found) == ["url", "connect", "auth"]  # that the server is there is worth knowing
    assert server.asked == []


def test_a_refused_connection_names_the_command_that_starts_the_server() -> None:
    url = f"http://127.0.0.1:{wire_server.closed_port()}"
    ollama = ProviderConfig(id="ollama", kind="ollama", base_url=url, auth="none", local=True)

    found = result_of(Target(ollama, Http(environ={})))

    assert found.stage == "connect"
    assert "refused the connection" in (found.error or "")
    assert "`ollama serve`" in (found.hint or "")


def test_an_unknown_host_fails_at_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_host(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_host)
    found = result_of(target("https://api.nowhere.invalid/v1"))

    assert found.stage == "dns"
    assert found.error == "there: there is no host api.nowhere.invalid"
    assert found.hint == "check the base URL for a typing error"


def test_a_name_that_leads_to_a_forbidden_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def metadata(*args: object, **kwargs: object) -> object:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", metadata)
    found = result_of(target("https://api.example.com/v1"))

    assert found.stage == "dns"
    assert "link-local" in (found.error or "")


def test_a_bad_url_fails_before_anything_is_asked() -> None:
    found = result_of(target("ftp://example.com"))

    assert names(found) == ["url"]
    assert found.hint


def test_offline_keeps_the_test_at_home() -> None:
    found = result_of(target("https://api.example.com/v1", http=Http(environ={}, offline=lambda: True)))

    assert names(found) == ["url"]
    assert "offline" in (found.error or "")
    assert found.hint


CERTIFICATES: list[tuple[str, dict[str, Any], str, str]] = [
    ("expired", {"days": (-3, -1)}, "has expired", "clock"),
    ("another-host", {"host": "elsewhere.example"}, "is for another", "host"),
    ("self-signed", {"self_signed": True}, "self-signed", "SSL_CERT_FILE"),
]


@pytest.mark.parametrize(("options", "error", "hint"), [c[1:] for c in CERTIFICATES], ids=[c[0] for c in CERTIFICATES])
def test_a_bad_certificate_fails_at_tls(tmp_path: Path, options: dict[str, Any], error: str, hint: str) -> None:
    authority = certificates.Authority(tmp_path)
    with ModelServer({"/v1/models": listing("m")}, tls=authority.server(**options)) as server:
        found = result_of(target(server.url, http=Http(environ={"SSL_CERT_FILE": str(authority.bundle)})))

    assert found.stage == "tls"
    assert error in (found.error or "")
    assert hint in (found.hint or "")
    assert server.asked == []


def test_an_unknown_authority_is_told_from_a_self_signed_certificate(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    authority, other = certificates.Authority(tmp_path), certificates.Authority(tmp_path / "ours")
    with ModelServer({"/v1/models": listing("m")}, tls=authority.server()) as server:
        found = result_of(target(server.url, http=Http(environ={"SSL_CERT_FILE": str(other.bundle)})))

    assert found.stage == "tls"
    assert "authority that this machine does not know" in (found.error or "")
    assert "SSL_CERT_FILE" in (found.hint or "")


def test_https_to_a_plain_server_says_to_use_http() -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        found = result_of(target(server.url.replace("http://", "https://")))

    assert found.stage == "tls"
    assert "does not speak TLS" in (found.error or "")
    assert "http://" in (found.hint or "")


def test_a_missing_bundle_is_named() -> None:
    with ModelServer({}) as server:
        url = server.url.replace("http://", "https://")
        found = result_of(target(url, http=Http(environ={"SSL_CERT_FILE": "/nowhere/bundle.pem"})))

    assert found.stage == "tls"
    assert "/nowhere/bundle.pem" in (found.error or "")


SILENT: list[tuple[str, Callable[[], wire_server.WireServer], str]] = [
    ("silence", lambda: wire_server.WireServer((wire_server.Stall(),)), "in time|within"),
    ("reset", lambda: wire_server.WireServer((wire_server.Reset(),)), "closed the connection"),
    (
        "not-http",
        lambda: wire_server.WireServer((wire_server.Send(b"220 smtp\r\n\r\n"), wire_server.Close())),
        "not HTTP",
    ),
]


@pytest.mark.parametrize(("make", "error"), [s[1:] for s in SILENT], ids=[s[0] for s in SILENT])
def test_a_server_that_gives_no_answer_fails_at_auth(make: Callable[[], wire_server.WireServer], error: str) -> None:
    with make() as server:
        found = result_of(target(server.url), timeout_s=0.5)

    assert found.stage == "auth"
    assert any(word in (found.error or "") for word in error.split("|"))
    assert found.hint


def test_behind_a_proxy_the_connection_is_the_proxys(monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer({"http://models.example/v1/models": with_key(KEY, listing("m"))}) as proxy:
        http = Http(environ={"http_proxy": f"http://localhost:{proxy.port}"})
        found = result_of(target("http://models.example/v1", http=http, confirmed_http=True))

    assert found.ok
    assert names(found) == ["url", "dns", "connect", "auth", "models", "done"]
    assert all(s.detail.startswith("the proxy ") for s in found.stages[1:3])


def test_a_proxy_that_is_not_there_is_named_as_the_proxy() -> None:
    port = wire_server.closed_port()
    http = Http(environ={"HTTPS_PROXY": f"http://user:secret@127.0.0.1:{port}"})

    found = result_of(target("https://api.example.com/v1", http=http))

    assert found.stage == "connect"
    assert f"the proxy 127.0.0.1:{port} cannot be used" in (found.error or "")
    assert "HTTPS_PROXY" in (found.hint or "")
    assert "secret" not in repr(found)


# ---------------------------------------------------------------- many


async def all_of(targets: list[Target], **options: Any) -> list[ConnectionCheck]:
    try:
        return [found async for found in check_many(targets, **options)]
    finally:
        for target in targets:
            await target.http.aclose()


def named(id: str, url: str) -> Target:
    return Target(ProviderConfig(id=id, base_url=url, auth="none"), Http(environ={}))


def test_one_that_fails_or_hangs_does_not_keep_the_others() -> None:
    class Bug:
        async def list_models(self, endpoint: object) -> list[Any]:
            raise KeyError(f"a bug near {KEY}")

    hanging = wire_server.WireServer((wire_server.Stall(),))
    with ModelServer({"/v1/models": listing("m")}) as good, hanging:
        broken = Target(named("broken", good.url).provider, Http(environ={}), adapter=Bug())  # type: ignore[arg-type]
        closed = named("closed", f"http://127.0.0.1:{wire_server.closed_port()}/v1")
        targets = [named("hanging", hanging.url), named("good", good.url), broken, closed]
        results = {c.provider: c for c in aio.run(all_of(targets, timeout_s=3.0))}

    assert results["good"].ok
    assert (results["hanging"].stage, results["closed"].stage) == ("auth", "connect")
    assert "no result within 3 s" in (results["hanging"].error or "")
    assert "KeyError" in (results["broken"].error or "")
    assert KEY not in repr(results["broken"])


def test_results_come_as_they_are_ready() -> None:
    slow = Said(200, listing("m").body, {"Content-Type": "application/json"}, after_s=0.5)
    with ModelServer({"/v1/models": slow}) as late, ModelServer({"/v1/models": listing("m")}) as early:
        order = [c.provider for c in aio.run(all_of([named("late", late.url), named("early", early.url)]))]

    assert order == ["early", "late"]


def test_at_most_so_many_are_tested_at_once() -> None:
    running = peak = 0

    class Counting:
        async def list_models(self, endpoint: object) -> list[Any]:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0.01)
            running -= 1
            return []

    with ModelServer({}) as server:
        row = ProviderConfig(id="x", base_url=server.url, auth="none")
        targets = [Target(row, Http(environ={}), adapter=Counting()) for _ in range(12)]  # type: ignore[arg-type]
        results = aio.run(all_of(targets, concurrency=3))

    assert len(results) == 12
    assert peak == 3


def test_who_stops_listening_stops_the_tests() -> None:
    async def first() -> str:
        http = Http(environ={})
        targets = [replace(t, http=http) for t in (named("good", good.url), named("hanging", hanging.url))]
        async with contextlib.aclosing(check_many(targets)) as results:
            found = await anext(results)
            assert await asyncio.to_thread(hanging.asked.wait, 10)  # stopped before, it would ask nobody
        assert await asyncio.to_thread(hanging.hung_up.wait, 10)
        await http.aclose()
        return found.provider

    hanging = wire_server.WireServer((wire_server.Stall(),))
    with ModelServer({"/v1/models": listing("m")}) as good, hanging:
        assert aio.run(first()) == "good"
