"""Asking for a listing: pages to the end, what is known already, the second listing, and how often."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from nbllm.adapters import listing, load_adapter
from nbllm.adapters.base import Endpoint
from nbllm.adapters.listing import Listed, ask_listing
from nbllm.adapters.listing_join import joined_rows, second_row
from nbllm.adapters.listing_pages import PAGES_CAP, with_query
from nbllm.credentials.secret import Secret
from nbllm.errors import AuthenticationError, ProviderError, RedirectError, ServerError, UnreachableError
from nbllm.providers.rows import BUNDLED, CONFIG, Layer, bundled_rows, merge
from nbllm.providers.spec import ProviderConfig
from nbllm.transport.http import Http
from nbllm.transport.retry import RetryPolicy
from wire_server import Close, Reset, Stall, WireServer, answer

KEY = "sk-test-1a2b3c4d5e6f7a8b"
PATH = {"openai": "/v1", "gemini": "/v1beta"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "RETRIES", RetryPolicy(attempts=3, base_s=0.0, cap_s=0.0))


def sends(*bodies: Any, **headers: str) -> list[Any]:
    """One plan for each request: this JSON."""
    return [answer(json.dumps(b).encode(), kind="application/json", **headers) for b in bodies]


def ask(
    server: WireServer, kind: str = "openai", *, listing: dict[str, Any] | None = None, row: Any = None, **known: Any
) -> Listed:
    """Ask the server for its listing."""
    provider = row or ProviderConfig(
        id="there", kind=kind, base_url=server.origin + PATH.get(kind, ""), listing=listing or {}
    )

    async def go() -> Listed:
        http = Http()
        try:
            return await asyncio.wait_for(ask_listing(Endpoint(provider, Secret(KEY), http), **known), 20)
        finally:
            await http.aclose()

    return asyncio.run(go())


def targets(server: WireServer) -> list[str]:
    """What was asked for, in order."""
    return [r.split(b" ", 2)[1].decode() for r in server.requests]


def queries(server: WireServer) -> list[dict[str, str]]:
    """The queries, in order."""
    return [{k: v[0] for k, v in parse_qs(urlsplit(t).query).items()} for t in targets(server)]


def header(request: bytes, name: str) -> str | None:
    """A header of a request as it came."""
    for line in request.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name:
            return value
    return None


# ---------------------------------------------------------------- one page


def test_a_key_that_comes_back_in_a_listing_is_taken_out_before_it_is_kept() -> None:
    rows = [{"id": f"m-{KEY}"}, {"id": "plain", "description": f"Bearer {KEY}", "owner": KEY.encode().hex()}]

    with WireServer(*sends({"data": rows})) as server:
        listed = ask(server)

    assert [m.id for m in listed.models] == ["m-****", "plain"]
    assert KEY not in json.dumps(listed.pages)
    assert KEY.encode().hex() not in json.dumps(listed.pages)


def test_a_number_that_nobody_can_read_costs_its_row_no_more_than_that_number() -> None:
    written = {"long": b"9" * 5000, "odd": b"NaN", "well": b"9"}
    rows = [b'{"id":"%s","context_length":%s}' % (id.encode(), number) for id, number in written.items()]

    with WireServer(answer(b'{"data":[%s]}' % b",".join(rows), kind="application/json")) as server:
        listed = ask(server)

    assert [(m.id, m.context) for m in listed.models] == [("long", None), ("odd", None), ("well", 9)]


def test_a_listing_says_when_it_came_and_by_what_it_is_known_again() -> None:
    plan = sends({"data": [{"id": "a", "context_length": 7}, {"id": "a"}, {"id": 3}]}, etag='"v1"',
                 date="Sat, 08 Nov 2025 23:30:00 GMT", last_modified="Fri, 07 Nov 2025 00:00:00 GMT")  # fmt: skip
    with WireServer(plan) as server:
        got = ask(server)

    assert [m.id for m in got.models] == ["a"]
    assert (got.ids, got.row_count) == (("a", "a"), 3)
    assert got.pages == ({"data": [{"id": "a", "context_length": 7}, {"id": "a"}, {"id": 3}]},)
    assert (got.etag, got.last_modified) == ('"v1"', "Fri, 07 Nov 2025 00:00:00 GMT")
    assert got.date == "Sat, 08 Nov 2025 23:30:00 GMT"
    assert got.models[0].sources == {"context": "listing 2025-11-08"}
    assert got.warnings == ("1 row was refused: it has an id that is no text",)
    assert targets(server) == ["/v1/models"]
    assert header(server.requests[0], "authorization") == f"Bearer {KEY}"
    assert header(server.requests[0], "if-none-match") is None


def test_what_has_not_changed_is_not_sent_again() -> None:
    with WireServer(answer(status=304, etag='"v1"')) as server:
        got = ask(server, etag='"v1"', last_modified="Fri, 07 Nov 2025 00:00:00 GMT")

    assert got == Listed(
        (), not_modified=True, etag='"v1"', last_modified="Fri, 07 Nov 2025 00:00:00 GMT", date=got.date
    )
    assert header(server.requests[0], "if-none-match") == '"v1"'
    assert header(server.requests[0], "if-modified-since") == "Fri, 07 Nov 2025 00:00:00 GMT"


def test_nothing_new_without_being_asked_is_an_error() -> None:
    with WireServer(answer(status=304)) as server, pytest.raises(RedirectError):
        ask(server)


def test_a_row_of_kind_url_is_asked_at_its_own_address() -> None:
    with WireServer(sends({"m": {"max_input_tokens": 5}, "sample_spec": {"max_input_tokens": "text"}})) as server:
        shape = bundled_rows()["litellm"]["listing"]
        row = ProviderConfig(id="list", kind="url", base_url=f"{server.origin}/main/prices.json", listing=shape)
        got = ask(server, row=row)

    assert targets(server) == ["/main/prices.json"]
    assert [(m.id, m.max_input) for m in got.models] == [("m", 5)]


# ---------------------------------------------------------------- again


@pytest.mark.parametrize("failure", [answer(b"busy", status=503), answer(b"wait", status=429), (Reset(),), (Close(),)])
def test_what_may_pass_is_tried_again_by_the_one_owner(failure: Sequence[Any]) -> None:
    with WireServer([failure, failure, *sends({"data": [{"id": "a"}]})]) as server:
        got = ask(server)

    assert got.ids == ("a",)
    assert len(server.requests) == 3


def test_it_is_given_up_after_three_requests() -> None:
    with WireServer(answer(b"busy", status=503)) as server, pytest.raises(ServerError) as caught:
        ask(server)
    assert len(server.requests) == 3
    assert caught.value.attempts == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 412, 301])
def test_what_will_not_pass_is_asked_once(status: int) -> None:
    with WireServer(answer(b"no", status=status)) as server, pytest.raises(ProviderError) as caught:
        ask(server)
    assert len(server.requests) == 1
    assert caught.value.status == status


def test_a_web_page_is_asked_for_once() -> None:
    with WireServer(answer(b"<html>", kind="text/html")) as server, pytest.raises(ProviderError, match="web page"):
        ask(server)
    assert len(server.requests) == 1


def test_the_users_own_test_asks_once_also_when_the_server_is_busy() -> None:
    async def go(server: WireServer) -> None:
        http = Http()
        row = ProviderConfig(id="there", base_url=server.url)
        try:
            await load_adapter("openai").list_models(Endpoint(row, None, http))
        finally:
            await http.aclose()

    with WireServer(answer(b"busy", status=503)) as server, pytest.raises(ServerError):
        asyncio.run(go(server))
    assert len(server.requests) == 1


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with WireServer((Stall(),)) as server, pytest.raises(UnreachableError):
        ask(server, timeout_s=0.2)


def test_a_listing_beyond_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go(server: WireServer) -> None:
        http = Http()
        fetch = http.fetch
        monkeypatch.setattr(http, "fetch", lambda *a, **k: fetch(*a, **{**k, "cap_bytes": 1000}))
        row = ProviderConfig(id="there", base_url=server.url)
        try:
            await ask_listing(Endpoint(row, None, http))
        finally:
            await http.aclose()

    with WireServer(sends({"data": ["m" * 2000]})) as server, pytest.raises(ProviderError, match="more than"):
        asyncio.run(go(server))
    assert len(server.requests) == 1


# ---------------------------------------------------------------- pages


def test_anthropics_pages_are_followed_to_the_end() -> None:
    pages = [
        {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b", "first_id": "a"},
        {"data": [{"id": "c"}, {"id": "b"}], "has_more": True, "last_id": "x&y /z"},
        {"data": [{"id": "d"}], "has_more": False, "last_id": "d"},
    ]
    with WireServer(sends(*pages, etag='"v1"')) as server:
        got = ask(server, "anthropic")

    assert got.ids == ("a", "b", "c", "b", "d")
    assert [m.id for m in got.models] == ["a", "b", "c", "d"]
    assert got.pages == tuple(pages)
    assert got.etag is None  # it would be that of one page
    assert queries(server) == [
        {"limit": "1000"}, {"limit": "1000", "after_id": "b"}, {"limit": "1000", "after_id": "x&y /z"},
    ]  # fmt: skip


def test_geminis_pages_are_followed_to_the_end() -> None:
    pages = [
        {"models": [{"name": "models/a", "inputTokenLimit": 5}], "nextPageToken": "t&2"},
        {"models": [{"name": "models/b", "supportedGenerationMethods": ["embedContent"]}]},
    ]
    with WireServer(sends(*pages)) as server:
        got = ask(server, "gemini")

    assert [(m.id, m.max_input, m.type) for m in got.models] == [("a", 5, None), ("b", None, "embedding")]
    assert queries(server) == [{"pageSize": "1000"}, {"pageSize": "1000", "pageToken": "t&2"}]


def test_any_row_may_say_that_its_listing_has_pages() -> None:
    pages = [{"page": n, "limit": 2, "total": 5, "items": [{"id": f"m{2 * n}"}, {"id": f"m{2 * n + 1}"}][: 5 - 2 * n]}
             for n in range(3)]  # fmt: skip
    with WireServer(sends(*pages)) as server:
        got = ask(server, listing={"path": "items[]", "paging": "page"})

    assert got.ids == ("m0", "m1", "m2", "m3", "m4")
    assert queries(server) == [{}, {"page": "1"}, {"page": "2"}]


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("anthropic", {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}),
        ("gemini", {"models": [{"name": "models/a"}], "nextPageToken": "same"}),
    ],
)
def test_pages_that_go_in_a_circle_end_with_a_word(kind: str, page: Any) -> None:
    with WireServer(sends(page)) as server:
        got = ask(server, kind)

    assert [m.id for m in got.models] == ["a"]
    assert len(server.requests) == 2
    assert got.warnings == ("the listing says that there is more, but page 2 brought nothing new",)


def test_endless_pages_are_read_to_a_cap() -> None:
    pages = [{"data": [{"id": f"m{n}"}], "has_more": True, "last_id": f"m{n}"} for n in range(PAGES_CAP + 5)]
    with WireServer(sends(*pages)) as server:
        got = ask(server, "anthropic")

    assert len(got.models) == len(server.requests) == PAGES_CAP
    assert got.warnings == (f"only the first {PAGES_CAP} pages were read",)


def test_half_a_listing_is_none() -> None:
    first = sends({"data": [{"id": "a"}], "has_more": True, "last_id": "a"})
    with WireServer([*first, answer(b"no", status=401)]) as server, pytest.raises(AuthenticationError):
        ask(server, "anthropic")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "page",
    [
        {"data": [{"id": "a"}], "has_more": True},
        {"data": [{"id": "a"}], "has_more": True, "last_id": 7},
        {"data": [{"id": "a"}], "has_more": "yes", "last_id": "a"},
    ],
)
def test_a_page_that_does_not_say_what_follows_is_the_last(page: Any) -> None:
    with WireServer(sends(page)) as server:
        assert ask(server, "anthropic").ids == ("a",)
    assert len(server.requests) == 1


def test_a_query_of_the_address_stays() -> None:
    assert with_query("https://h/a?x=1&b=%20&x=2", {"page": "3"}) == "https://h/a?x=2&b=+&page=3"
    assert with_query("https://h/a", {}) == "https://h/a"


# ---------------------------------------------------------------- the second listing

ROWS = {"data": [{"id": "maker/a", "context_length": 5}, {"id": "maker/b"}, {"id": "c"}]}
JOIN = {"join_path": "items[]", "join_on": "id = name", "join_paging": "page", "join_auth": "Authorization: {key}",
        "input_price": "price.usd", "price_unit": "usd_per_mtok", "status": "state"}  # fmt: skip


def chutes_page(page: int, *items: dict[str, Any], total: int = 3) -> dict[str, Any]:
    """A page of a second listing."""
    return {"total": total, "page": page, "limit": 2, "items": list(items), "cord_refs": {}}


def test_a_second_listing_adds_facts_on_all_its_pages() -> None:
    pages = [
        chutes_page(0, {"name": "maker/a", "price": {"usd": 0.5}, "context_length": 99}, {"name": "other"}),
        chutes_page(1, {"name": "maker/b", "price": {"usd": 2}, "state": "Beta"}),
    ]
    with WireServer(sends(ROWS, *pages)) as server:
        got = ask(server, listing={**JOIN, "join_url": f"{server.origin}/chutes/?include_public=true"})

    facts = [(m.id, m.context, m.input_price, m.status) for m in got.models]
    assert facts == [("maker/a", 5, 0.5, None), ("maker/b", None, 2.0, "beta"), ("c", None, None, None)]
    assert (got.pages, got.joined) == ((ROWS,), tuple(pages))
    assert targets(server) == [
        "/v1/models", "/chutes/?include_public=true", "/chutes/?include_public=true&page=1",
    ]  # fmt: skip
    # Same origin: the key goes along, there without a scheme.
    assert [header(r, "authorization") for r in server.requests] == [f"Bearer {KEY}", KEY, KEY]
    assert got.etag is None


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (answer(b'{"detail": "no"}', status=403), "does not allow"),
        (answer(b"<html>", kind="text/html"), "web page"),
        (sends({"hello": 1})[0], "no items"),
        (sends({"error": "no"})[0], "failed"),
    ],
)
def test_a_second_listing_that_fails_leaves_the_first_as_it_is(failure: Any, says: str) -> None:
    with WireServer([*sends(ROWS), failure]) as server:
        got = ask(server, listing={**JOIN, "join_url": f"{server.origin}/chutes/"})

    assert got.ids == ("maker/a", "maker/b", "c")
    assert got.joined == ()
    (warning,) = got.warnings
    assert warning.startswith("the second listing failed, so some facts are missing: ")
    assert says in warning
    assert KEY not in warning


def test_what_came_of_a_second_listing_that_breaks_off_is_kept() -> None:
    first = chutes_page(0, {"name": "maker/a", "price": {"usd": 0.5}}, {"name": "other"})
    with WireServer([*sends(ROWS, first), answer(b"no", status=403)]) as server:
        got = ask(server, listing={**JOIN, "join_url": f"{server.origin}/chutes/"})

    assert (got.models[0].input_price, got.joined) == (0.5, (first,))
    assert len(got.warnings) == 1


class Web:
    """Several origins at once, with what each was sent."""

    def __init__(self, **bodies: Any) -> None:
        self.bodies = bodies
        self.seen: list[tuple[str, str | None]] = []

    def http(self) -> Http:
        return Http(mounts={f"https://{h.replace('_', '.')}:443": self._transport(h) for h in self.bodies})

    def _transport(self, host: str) -> Callable[[], httpx2.AsyncBaseTransport]:
        def handle(request: httpx2.Request) -> httpx2.Response:
            self.seen.append((request.url.host + request.url.path, request.headers.get("authorization")))
            return httpx2.Response(200, json=self.bodies[host])

        return lambda: httpx2.MockTransport(handle)

    def ask(self, row: ProviderConfig) -> Listed:
        async def go() -> Listed:
            http = self.http()
            try:
                return await ask_listing(Endpoint(row, Secret(KEY), http))
            finally:
                await http.aclose()

        return asyncio.run(go())


def chutes(**config: Any) -> ProviderConfig:
    """Chutes' row, with a layer of the user's."""
    layers = [Layer(BUNDLED, bundled_rows()["chutes"]), Layer(CONFIG, config)]
    return merge("chutes", layers[: 2 if config else 1]).config


SECOND = chutes_page(0, {"name": "maker/a", "current_estimated_price": {}}, total=1)


def test_the_key_goes_to_the_second_address_that_the_bundled_row_names() -> None:
    web = Web(llm_chutes_ai=ROWS, api_chutes_ai=SECOND)
    got = web.ask(chutes())

    assert got.warnings == ()
    assert web.seen == [("llm.chutes.ai/v1/models", f"Bearer {KEY}"), ("api.chutes.ai/chutes/", KEY)]


def test_a_moved_row_takes_the_second_listing_along() -> None:
    web = Web(proxy_example=ROWS)
    web.ask(chutes(base_url="https://proxy.example/v1"))

    assert web.seen == [("proxy.example/v1/models", f"Bearer {KEY}"), ("proxy.example/chutes/", KEY)]


def test_a_second_address_of_the_users_own_gets_no_key() -> None:
    web = Web(llm_chutes_ai=ROWS, elsewhere_example=SECOND)
    row = chutes(listing={"join_url": "https://elsewhere.example/chutes/"}, headers={"X-Org": "mine"})
    got = web.ask(row)

    assert web.seen == [("llm.chutes.ai/v1/models", f"Bearer {KEY}"), ("elsewhere.example/chutes/", None)]
    assert second_row(row)[0].headers == {}
    assert got.warnings == ()


def test_a_row_of_another_name_gets_no_key_to_chutes_second_address() -> None:
    row = chutes().model_copy(update={"id": "mine"})

    assert not second_row(row)[1]


def test_a_row_whose_first_address_alone_was_moved_sends_no_key_to_the_second() -> None:
    row = chutes().model_copy(update={"base_url": "https://proxy.example/v1"})

    assert second_row(row)[1] is False
    assert second_row(row)[0].auth == "none"


def test_every_bundled_row_sends_its_key_within_one_domain() -> None:
    for id_, fields in bundled_rows().items():
        if (shape := fields.get("listing", {})).get("join_url"):
            hosts = [urlsplit(u).hostname or "" for u in (shape["join_url"], fields["base_url"])]
            assert len({".".join(h.split(".")[-2:]) for h in hosts}) == 1, id_
            assert hosts[0] == hosts[1] or shape.get("join_auth"), id_


def test_facts_are_joined_on_the_named_fields() -> None:
    rows = [{"id": "a", "x": None, "y": 1}, {"id": "b"}, {"id": 7}]
    others = [{"n": {"i": "a"}, "x": 2, "y": 3}, {"n": {"i": "a"}, "x": 9}, {"n": {"i": 7}}, {"n": None}]

    assert joined_rows(rows, others, "id = n.i") == [
        {"id": "a", "x": 2, "y": 1, "n": {"i": "a"}}, {"id": "b"}, {"id": 7},
    ]  # fmt: skip


def test_an_installed_adapter_that_only_lists_models_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign:
        async def list_models(self, endpoint: Endpoint) -> list[Any]:
            return list((await load_adapter("openai").ask_listing(endpoint, listing.Asking())).models)  # type: ignore[attr-defined]

    monkeypatch.setattr(listing, "load_adapter", lambda kind: Foreign())
    with WireServer(sends({"data": [{"id": "a"}]})) as server:
        got = ask(server)

    assert (got.ids, got.row_count, got.pages) == (("a",), 1, ())
