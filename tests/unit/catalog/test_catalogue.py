"""The catalogue keeps up with listings, rows and marks, and makes its index once for each change."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from nbllm.catalog.wanted import COLUMNS, Wanted
from nbllm.errors import UnknownProviderError
from nbllm.workspace import Workspace
from wire_server import WireServer, answer


def listing(*rows: dict[str, Any]) -> Any:
    return answer(json.dumps({"data": list(rows)}).encode(), kind="application/json")


FIELDS = {"path": "data[]", "context": "ctx", "input_price": "in", "output_price": "out", "price_unit": "usd_per_mtok"}


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer(
        [listing({"id": "big", "ctx": 9000, "in": 1.5, "out": 2}, {"id": "small"}), listing({"id": "big"})]
    ) as s:
        yield s


@pytest.fixture
def workspace(server: WireServer) -> Iterator[Workspace]:
    made = Workspace()
    made.registry.set_session("peer", base_url=server.url, kind="openai", auth="none", listing=FIELDS)
    yield made
    made.close()


def refs(workspace: Workspace, wanted: Wanted) -> list[str]:
    return [row["ref"] for row in workspace.catalogue().search(wanted)]


PEER = Wanted(providers=("peer",))


def test_a_provider_that_was_never_asked_has_nothing_to_show(workspace: Workspace, server: WireServer) -> None:
    table = workspace.catalogue().search(PEER)

    assert len(table) == 0
    assert "known models fits" in str(table)
    assert server.connections == 0


def test_a_listing_that_came_is_seen_and_its_age_is_told(workspace: Workspace) -> None:
    workspace.catalogue().search(PEER)
    workspace.models("peer", refresh=True)

    table = workspace.catalogue().search(PEER)

    assert [row["ref"] for row in table] == ["peer/big", "peer/small"]
    assert (table[0]["context"], table[0]["input_price"], table[0]["usable"]) == (9000, 1.5, "yes")
    assert table[1]["input_price"] is None
    assert table[0]["sources"]["input_price"].startswith("listing ")
    assert "peer just now" in str(table)


def test_a_model_of_which_its_listing_says_only_the_id_is_known_all_the_same(workspace: Workspace) -> None:
    workspace.models("peer", refresh=True)
    marking = workspace.marking

    assert "no listing" not in str(marking.favourite(["peer/small"], None))
    assert "no listing" in str(marking.favourite(["peer/none"], None))
    assert "peer lists small, and nobody says more of it" in str(marking.info("peer/small"))
    assert "nothing is known of peer/none" in str(marking.info("peer/none"))


def test_the_index_is_made_once_for_each_change_and_never_for_a_search(workspace: Workspace) -> None:
    catalogue = workspace.catalogue()
    for query in ("", "big", "bgi", "zzz", "big"):
        catalogue.search(Wanted(query))
    assert catalogue.builds == 1

    workspace.models("peer", refresh=True)
    for sort in ("context", "-context", "context"):
        catalogue.search(Wanted(sort=sort))
    assert catalogue.builds == 2

    workspace.registry.set_session("other", base_url="http://127.0.0.1:9/v1", auth="none", models=["mine"])
    assert "other/mine" in refs(workspace, Wanted("mine"))
    assert catalogue.builds == 3

    workspace.marks.set_favourites(["peer/big"])
    assert refs(workspace, Wanted(favourites=True)) == ["peer/big"]
    assert catalogue.builds == 3, "a mark of a listed model says nothing of the models"

    workspace.marking.add("peer/new", {"context": 1})
    for _ in range(3):
        assert refs(workspace, Wanted("peer/new")) == ["peer/new"]
    assert catalogue.builds == 4


def test_threads_that_ask_at_once_share_one_index(workspace: Workspace) -> None:
    catalogue, found = workspace.catalogue(), []
    threads = [threading.Thread(target=lambda: found.append(catalogue.search(Wanted("gpt")).total)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert catalogue.builds == 1


def test_what_models_dev_knows_stands_in_for_a_listing_and_says_so(workspace: Workspace) -> None:
    table = workspace.catalogue().search(Wanted(providers=("groq",)))

    assert len(table) > 3
    assert all(row["usable"] == "needs a key" for row in table)
    assert all(source.startswith(("models.dev", "genai-prices")) for row in table for source in row["sources"].values())
    assert "not asked yet: groq" in str(table)


def test_a_mark_stays_when_its_model_is_no_longer_listed(workspace: Workspace) -> None:
    workspace.marks.set_favourites(["peer/small", "gone/model"])
    workspace.models("peer", refresh=True)
    assert workspace.catalogue().search(Wanted(favourites=True, providers=("peer",)))[0]["status"] is None

    workspace.listings.forget("peer")  # a list of a moment ago is not asked for again
    workspace.models("peer", refresh=True)

    rows = {row["ref"]: row for row in workspace.catalogue().search(Wanted(favourites=True))}
    assert rows["peer/small"]["status"] == "not listed"
    assert (rows["gone/model"]["status"], rows["gone/model"]["usable"]) == ("no such provider", "no")


def test_what_the_user_says_lies_above_the_listing(workspace: Workspace) -> None:
    workspace.models("peer", refresh=True)
    workspace.marking.add("peer/big", {"input_price": 0.25, "context": None, "output_price": None})
    workspace.marking.add("peer/unlisted", {"context": 100})

    big, unlisted = (workspace.catalogue().get(f"peer/{id}") for id in ("big", "unlisted"))
    assert big is not None
    assert unlisted is not None
    assert (big.input_price, big.output_price, big.context) == (0.25, 2.0, 9000)
    assert big.sources["input_price"].startswith("yours ")
    assert (unlisted.context, unlisted.input_price) == (100, None)

    facts = [
        (f["source"], f["value"], f["counts"])
        for f in workspace.marking.info("peer/big")
        if f["field"] == "input_price"
    ]
    assert facts == [("yours", "0.25 USD per million tokens", True), ("listing", "1.5 USD per million tokens", False)]


def test_the_rows_for_programs_have_exactly_the_fixed_columns(workspace: Workspace) -> None:
    rows = workspace.catalogue().search(Wanted(limit=5)).as_json()

    assert [tuple(row) for row in rows] == [COLUMNS] * 5
    assert json.loads(json.dumps(rows)) == rows


def test_lists_of_other_peoples_models_are_left_out(workspace: Workspace) -> None:
    lists = [row.id for row in workspace.registry.all() if row.kind == "url"]

    assert lists
    assert not [ref for ref in workspace.catalogue().known_refs() if ref.partition("/")[0] in lists]


def test_a_provider_that_nobody_has_is_answered_with_the_nearest(workspace: Workspace) -> None:
    with pytest.raises(UnknownProviderError) as caught:
        workspace.catalogue().search(Wanted(providers=("grok",)))
    assert "groq" in caught.value.suggestions


def test_a_mark_that_names_a_local_server_is_found_by_local(workspace: Workspace) -> None:
    workspace.registry.set_session("here", base_url="http://127.0.0.1:9/v1", auth="none", local=True, models=["own"])

    assert refs(workspace, Wanted(local=True, limit=None)) == ["here/own"]
    assert refs(workspace, Wanted(local=True, providers=("peer",))) == []


def test_aliases_of_both_places_count_and_the_file_wins(workspace: Workspace) -> None:
    workspace.marking.alias("quick", "peer/small")
    assert workspace.resolve("quick").ref == "peer/small"

    workspace.config.update("alias", lambda d: d.setdefault("aliases", {}).update(quick="peer/big"))
    assert workspace.resolve("quick").ref == "peer/big"
    assert workspace.resolve("peer/quick").ref == "peer/quick", "a whole reference is no alias"


def test_a_whole_reference_is_resolved_without_opening_the_store(workspace: Workspace) -> None:
    workspace.registry.resolve("demo/guide")

    assert "store" not in workspace._opened


def test_what_the_user_says_of_a_price_counts_for_the_cost(workspace: Workspace) -> None:
    workspace.marking.add("peer/big", {"input_price": 4.0, "output_price": 8.0})

    prices = workspace.prices(workspace.registry.get("peer"), "big")

    assert (prices[0].input_price, prices[0].output_price, prices[0].source) == (4.0, 8.0, "yours")
