"""An answer is paid with the prices that the catalogue shows, and says whose they are."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import text

from chatting import says, talking
from nbllm.chat.options import ChatOptions
from nbllm.workspace import Workspace
from wire_server import answer

PRICED = {"listing": {"input_price": "price.in", "output_price": "price.out", "price_unit": "usd_per_mtok"}}
LISTING = answer(
    json.dumps(
        {"data": [{"id": "m", "price": {"in": 2, "out": 4}}, {"id": "free", "price": {"in": 0, "out": 0}}]}
    ).encode(),
    kind="application/json",
)
ASK_M = ChatOptions(model="peer/m")


def sources(workspace: Workspace) -> list[Any]:
    found = workspace.store.read(lambda c: c.execute(text("SELECT price_source FROM calls")).all())
    return [row[0] for row in found]


def test_the_listings_price_pays_and_its_day_is_kept(home: Path) -> None:
    with talking(LISTING, says("yes", usage=(1000, 500)), local=False, **PRICED) as (workspace, server):
        day = workspace.models("peer").models[0].sources["input_price"]
        reply = workspace.chat("hi", ASK_M)
        kept = sources(workspace)

    assert day.startswith("listing 20")
    assert reply.cost_usd == Decimal("0.004")
    assert kept == [day]
    assert len(server.requests) == 2, "nobody was asked for a price"


def test_a_price_of_zero_in_the_listing_is_free_and_no_price_is_unknown(home: Path) -> None:
    with talking(LISTING, says("yes"), says("yes"), local=False, **PRICED) as (workspace, _):
        workspace.models("peer")
        free = workspace.chat("hi", ChatOptions(model="peer/free"))
        unlisted = workspace.chat("hi", ChatOptions(model="peer/other"))

    assert free.cost_usd == 0
    assert unlisted.cost_usd is None


def test_a_price_that_the_user_noted_for_a_model_comes_before_the_listings(home: Path) -> None:
    with talking(LISTING, says("yes", usage=(1000, 500)), local=False, **PRICED) as (workspace, _):
        workspace.models("peer")
        workspace.marks.add_model("peer/m", {"input_price": 1.0, "output_price": 1.0})
        reply = workspace.chat("hi", ASK_M)
        kept = sources(workspace)

    assert reply.cost_usd == Decimal("0.0015")
    assert kept == ["yours"]


def test_a_server_on_this_machine_is_not_paid_with_its_listing(home: Path) -> None:
    with talking(LISTING, says("yes"), **PRICED) as (workspace, _):
        workspace.models("peer")
        assert workspace.chat("hi", ASK_M).cost_usd is None


def test_a_dry_run_estimates_with_the_same_prices(home: Path) -> None:
    with talking(LISTING, local=False, **PRICED) as (workspace, server):
        workspace.models("peer")
        dry = workspace.dry_run("x" * 4000, ChatOptions(model="peer/m", max_tokens=100))

    assert dry.prompt_cost_usd == Decimal("0.002")
    assert dry.max_cost_usd == Decimal("0.0024")
    assert len(server.requests) == 1


def test_a_broken_setting_or_cache_costs_the_price_and_not_the_answer(home: Path) -> None:
    with talking(LISTING, says("yes"), says("yes"), local=False, **PRICED) as (workspace, _):
        workspace.models("peer")
        (home / "cache" / "listings" / "peer.json").write_text("{ half")
        first = workspace.chat("hi", ASK_M)
        home.joinpath("config.toml").write_text("[settings]\nlisting_ttl_s = 'never'\n")
        second = workspace.chat("hi", ASK_M)

    assert (first.text, first.cost_usd) == (second.text, second.cost_usd) == ("yes", None)
