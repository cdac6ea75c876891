"""Model lists, kept with their age."""

from __future__ import annotations

import asyncio
import errno
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from model_server import Asked, ModelServer, Said, as_json, listing, page, refusal
from nbllm import aio
from nbllm.adapters.base import Endpoint
from nbllm.catalog.listings import Answer, CachedListing, Listings
from nbllm.credentials.secret import Secret
from nbllm.errors import OfflineError, ProviderError
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.transport.http import Http


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def listings(tmp_path: Path, clock: Clock) -> Listings:
    return Listings(tmp_path / "cache" / "listings", ttl_s=lambda: 3600.0, clock=clock)


def row(url: str, **fields: Any) -> ProviderConfig:
    return ProviderConfig.model_validate({"id": "there", "base_url": url, "auth": "none", **fields})


def get(listings: Listings, provider: ProviderConfig, **options: Any) -> CachedListing:
    async def main() -> CachedListing:
        http = Http(environ={}, offline=options.pop("offline", lambda: False))
        try:
            return await listings.get(Endpoint(provider, options.pop("key", None), http), **options)
        finally:
            await http.aclose()

    return aio.run(main())


def ids(found: CachedListing) -> list[str]:
    return [m.id for m in found.models]


def test_a_young_list_is_not_asked_for_again(listings: Listings, clock: Clock) -> None:
    with ModelServer({"/v1/models": listing("b", "a")}) as server:
        first = get(listings, row(server.url))
        clock.now += 60
        second = get(listings, row(server.url))

    assert ids(first) == ids(second) == ["b", "a"]
    assert (first.age_s, second.age_s) == (0.0, 60.0)
    assert second.fetched_at == 1_000_000.0
    assert not second.stale
    assert len(server.asked) == 1


def test_an_old_list_and_refresh_ask_again(listings: Listings, clock: Clock) -> None:
    with ModelServer({"/v1/models": listing("a")}) as server:
        get(listings, row(server.url))
        clock.now += 2
        get(listings, row(server.url), refresh=True)
        clock.now += 3601
        assert listings.cached(row(server.url)).stale
        again = get(listings, row(server.url))

    assert len(server.asked) == 3
    assert not again.stale


@pytest.mark.parametrize(
    "bad",
    [refusal(500, "down"), page("Welcome"), as_json({"error": {"message": "no"}}), as_json([1, 2]), as_json("text")],
    ids=["500", "page", "error-in-200", "numbers", "text"],
)
def test_what_is_no_list_never_becomes_one(listings: Listings, clock: Clock, bad: Said) -> None:
    said = [listing("good")]

    def answer(asked: Asked) -> Said:
        return said[0]

    with ModelServer({"/v1/models": answer}) as server:
        get(listings, row(server.url))
        said[0] = bad
        clock.now += 7200
        found = get(listings, row(server.url))
        kept = listings.cached(row(server.url))

    assert ids(found) == ids(kept) == ["good"]
    assert found.stale
    assert found.error
    assert found.age_s == 7200


def test_offline_gives_what_is_known_and_its_age(listings: Listings, clock: Clock) -> None:
    provider = row("https://api.example.com/v1")

    class Answering:
        async def list_models(self, endpoint: Endpoint) -> list[ModelInfo]:
            return [ModelInfo("there", "m")]

    get(listings, provider, adapter=Answering())
    clock.now += 86400
    found = get(listings, provider, offline=lambda: True, refresh=True)

    assert ids(found) == ["m"]
    assert found.age_s == 86400
    assert "offline" in (found.error or "")


def test_with_nothing_known_the_failure_is_raised(listings: Listings) -> None:
    with pytest.raises(OfflineError):
        get(listings, row("https://api.example.com/v1"), offline=lambda: True)
    with ModelServer({"/v1/models": refusal(500)}) as server, pytest.raises(ProviderError):
        get(listings, row(server.url))


def test_models_added_by_hand_are_there_without_a_listing(listings: Listings) -> None:
    with ModelServer({"/v1/models": refusal(404)}) as server:
        found = get(listings, row(server.url, models=["mine", {"id": "other", "context": 8192}]))

    assert ids(found) == ["mine", "other"]
    assert found.models[1].context == 8192
    assert found.fetched_at is None
    assert found.error


def test_what_is_said_by_hand_lies_over_the_listing(listings: Listings) -> None:
    with ModelServer({"/v1/models": listing("a", "b", context_length=100)}) as server:
        found = get(listings, row(server.url, models=[{"id": "b", "context": 8192}, "c"]))

    assert ids(found) == ["a", "b", "c"]
    assert [m.context for m in found.models] == [100, 8192, None]
    assert found.models[1].sources["context"] == "added by hand"


def test_another_address_has_no_list_yet(listings: Listings) -> None:
    with ModelServer({"/v1/models": listing("a")}) as first, ModelServer({"/v1/models": listing("b")}) as second:
        get(listings, row(first.url))

        assert listings.cached(row(second.url)).fetched_at is None
        assert ids(get(listings, row(second.url))) == ["b"]


def test_all_that_is_known_of_a_model_survives_the_file(tmp_path: Path, clock: Clock) -> None:
    model = ModelInfo(
        "there", "m", name="M", type="chat", context=10, max_input=9, max_output=8, input_price=0.0, output_price=1.5,
        cached_input_price=0.1, cache_write_price=0.2, input_modalities=("text", "image"), output_modalities=("text",),
        tools=False, reasoning=True, structured_output=None, created="2026-01-01", status="live", sources={"id": "x"},
    )  # fmt: skip

    class Answering:
        async def list_models(self, endpoint: Endpoint) -> list[ModelInfo]:
            return [model]

    provider = row("http://127.0.0.1:1/v1")
    get(Listings(tmp_path, clock=clock), provider, adapter=Answering())

    assert Listings(tmp_path, clock=clock).cached(provider).models == (model,)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"version": 99}', '{"version": 1, "models": 3}', "\0"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "there.json").write_text(content)

    assert Listings(tmp_path).cached(row("http://127.0.0.1:1/v1")).fetched_at is None


def test_calls_at_once_ask_once_and_who_gives_up_stops_nobody(listings: Listings) -> None:
    slow = Said(200, listing("m").body, {"Content-Type": "application/json"}, after_s=0.2)

    async def three(provider: ProviderConfig) -> list[str]:
        http = Http(environ={})
        tasks = [asyncio.create_task(listings.get(Endpoint(provider, None, http))) for _ in range(3)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await http.aclose()
        return [ids(f)[0] if isinstance(f, CachedListing) else type(f).__name__ for f in found]

    with ModelServer({"/v1/models": slow}) as server:
        assert aio.run(three(row(server.url))) == ["CancelledError", "m", "m"]

    assert len(server.asked) == 1


def test_a_cache_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "listings").write_text("a file where the folder should be")
    with ModelServer({"/v1/models": listing("m")}) as server:
        assert ids(get(Listings(tmp_path / "listings"), row(server.url))) == ["m"]


def test_the_file_holds_neither_key_nor_address(listings: Listings, tmp_path: Path) -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        get(listings, row(server.url, auth="bearer"), key=Secret("sk-test-0123456789abcdef"))

    [path] = (tmp_path / "cache" / "listings").glob("*.json")
    text = path.read_text()
    assert "sk-test" not in text
    assert json.loads(text)["provider"] == "there"
    assert path.stat().st_mode & 0o777 == 0o600


def test_forgetting_removes_the_list(listings: Listings) -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        get(listings, row(server.url))
        listings.forget("there")
        listings.forget("there")

        assert listings.cached(row(server.url)).models == ()


class Conditional:
    """A listing with an ETag or a date, and 304 for who knows it."""

    def __init__(self, *ids: str, **marks: str) -> None:
        self.ids, self.marks = ids, marks

    def __call__(self, asked: Asked) -> Said:
        known = asked.headers.get("if-none-match"), asked.headers.get("if-modified-since")
        if (self.marks.get("ETag"), self.marks.get("Last_Modified")) == known:
            return Said(304)
        said = listing(*self.ids)
        return Said(200, said.body, {**said.headers, **{k.replace("_", "-"): v for k, v in self.marks.items()}})


@pytest.mark.parametrize("marks", [{"ETag": '"one"'}, {"Last_Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}], ids=str)
def test_nothing_new_keeps_the_list_and_renews_its_date(
    listings: Listings, clock: Clock, marks: dict[str, str]
) -> None:
    server_says = Conditional("a", "b", **marks)
    with ModelServer({"/v1/models": server_says}) as server:
        get(listings, row(server.url))
        clock.now += 4000
        again = get(listings, row(server.url))
        kept = listings.kept(row(server.url))
        server_says.ids, server_says.marks = ("c",), {"ETag": '"two"'}
        clock.now += 4000
        changed = get(listings, row(server.url))

    assert ids(again) == ["a", "b"]
    assert again.age_s == 0
    assert kept is not None
    assert kept.fetched_at == clock.now - 4000
    assert (kept.etag, kept.last_modified) == (marks.get("ETag"), marks.get("Last_Modified"))
    assert ids(changed) == ["c"]
    assert len(server.asked) == 3


def test_the_whole_answer_is_asked_for_without_a_condition(listings: Listings) -> None:
    async def whole(provider: ProviderConfig) -> int:
        http = Http(environ={})
        answer = await listings.ask(Endpoint(provider, None, http), whole=True)
        await http.aclose()
        assert answer.listed is not None
        return len(answer.listed.pages)

    with ModelServer({"/v1/models": Conditional("a", ETag='"one"')}) as server:
        get(listings, row(server.url))
        assert aio.run(whole(row(server.url))) == 1
    assert "if-none-match" not in server.asked[1].headers


def test_who_asks_again_at_once_is_given_the_same_answer(listings: Listings, clock: Clock) -> None:
    with ModelServer({"/v1/models": listing("a")}) as server:
        get(listings, row(server.url))
        clock.now += 1.9
        again = get(listings, row(server.url), refresh=True)
        clock.now += 0.1
        get(listings, row(server.url), refresh=True)

    assert ids(again) == ["a"]
    assert again.fetched_at == 1_000_000.0
    assert len(server.asked) == 2


def test_a_failure_is_asked_again_at_once(listings: Listings) -> None:
    said = [refusal(404)]
    with ModelServer({"/v1/models": lambda asked: said[0]}) as server:
        with pytest.raises(ProviderError):
            get(listings, row(server.url))
        said[0] = listing("a")
        assert ids(get(listings, row(server.url))) == ["a"]


def test_a_list_from_the_future_is_of_unknown_age_and_asked_for_again(listings: Listings, clock: Clock) -> None:
    with ModelServer({"/v1/models": listing("a")}) as server:
        get(listings, row(server.url))
        clock.now -= 60  # clocks of two machines differ so much
        near = listings.cached(row(server.url))
        clock.now -= 86_400
        far = listings.cached(row(server.url))
        get(listings, row(server.url))

    assert (near.age_s, near.stale) == (0.0, False)
    assert (far.age_s, far.stale) == (None, True)
    assert ids(far) == ["a"]
    assert len(server.asked) == 2


def test_two_threads_at_once_make_one_request(listings: Listings) -> None:
    slow = Said(200, listing("m").body, {"Content-Type": "application/json"}, after_s=0.3)
    http = Http(environ={})
    with ModelServer({"/v1/models": slow}) as server, ThreadPoolExecutor(2) as cells:
        endpoint = Endpoint(row(server.url), None, http)
        asked = [cells.submit(lambda: aio.run(listings.get(endpoint, refresh=True))) for _ in range(2)]
        assert [ids(a.result()) for a in asked] == [["m"], ["m"]]
        aio.run(http.aclose())

    assert len(server.asked) == 1


def test_a_question_that_nobody_waits_for_is_dropped_and_the_next_one_asks_anew(listings: Listings) -> None:
    slow = Said(200, listing("m").body, {"Content-Type": "application/json"}, after_s=0.3)

    async def given_up(provider: ProviderConfig) -> list[str]:
        http = Http(environ={})
        endpoint = Endpoint(provider, None, http)
        first = asyncio.create_task(listings.get(endpoint))
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        found = await listings.get(endpoint)
        await http.aclose()
        return ids(found)

    with ModelServer({"/v1/models": slow}) as server:
        assert aio.run(given_up(row(server.url))) == ["m"]
    assert len(server.asked) == 2


def test_a_full_disk_keeps_the_old_file_and_says_so(
    listings: Listings, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(provider: ProviderConfig) -> Answer:
        http = Http(environ={})
        answer = await listings.ask(Endpoint(provider, None, http))
        await http.aclose()
        return answer

    said = [listing("old")]
    with ModelServer({"/v1/models": lambda asked: said[0]}) as server:
        get(listings, row(server.url))
        [path] = (tmp_path / "cache" / "listings").glob("*.json")
        before = path.read_bytes()
        said[0] = listing("new")
        clock.now += 10
        monkeypatch.setattr("os.replace", _no_room)
        answer = aio.run(ask(row(server.url)))

    assert [m.id for m in answer.models] == ["new"]
    assert isinstance(answer.unsaved, OSError)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def _no_room(source: str, target: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_ids_that_no_encoding_takes_survive_the_file(tmp_path: Path) -> None:
    odd = ["half-\ud800-pair", "\u00e9\u4e2d"]

    class Answering:
        async def list_models(self, endpoint: Endpoint) -> list[ModelInfo]:
            return [ModelInfo("there", id) for id in odd]

    provider = row("http://127.0.0.1:1/v1")
    get(Listings(tmp_path), provider, adapter=Answering())

    assert ids(Listings(tmp_path).cached(provider)) == odd


@pytest.mark.parametrize("fetched_at", ["NaN", "Infinity", "-Infinity", '"soon"', "null"])
def test_a_date_that_is_none_makes_the_file_none(tmp_path: Path, listings: Listings, fetched_at: str) -> None:
    with ModelServer({"/v1/models": listing("m")}) as server:
        get(listings, row(server.url))
        [path] = (tmp_path / "cache" / "listings").glob("*.json")
        path.write_text(path.read_text().replace('"fetched_at": 1000000.0', f'"fetched_at": {fetched_at}'))

        assert listings.cached(row(server.url)).fetched_at is None
