"""Each field is the most trusted source's, everything that was said is kept, and nothing is guessed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nbllm.catalog.knowledge import Book, Knowledge
from nbllm.catalog.metadata import Fact, enriched, facts, offered, prices
from nbllm.catalog.models_dev import FILE, make_copy
from nbllm.prices import Prices, data_prices, price_version
from nbllm.providers.spec import ModelInfo, ModelRow, ProviderConfig

LISTED = "listing 2026-11-21"
DAY = "2026-11-20"
SAID = f"models.dev {DAY}"

OPENAI = ProviderConfig(id="openai", base_url="https://api.openai.com/v1")
MISTRAL = ProviderConfig(id="mistral", base_url="https://api.mistral.ai/v1")
DEEPSEEK = ProviderConfig(id="deepseek", base_url="https://api.deepseek.com")
GROQ = ProviderConfig(id="groq", base_url="https://api.groq.com/openai/v1")
LOCAL = ProviderConfig(id="lmstudio", base_url="http://127.0.0.1:1234/v1", local=True)


@pytest.fixture
def knowledge(tmp_path: Path) -> Knowledge:
    """A copy of models.dev by hand, with the numbers in which the lists differ."""
    payload = {
        "mistral": {"models": {"mistral-large-latest": {"cost": {"input": 0.5, "output": 1.5}}}},
        "deepseek": {"models": {"deepseek-chat": {"cost": {"input": 0.14, "output": 0.28, "cache_read": 0.0028}}}},
        "openai": {
            "models": {
                "gpt-5": {
                    "name": "GPT-5",
                    "tool_call": True,
                    "limit": {"context": 400000, "input": 272000, "output": 128000},
                    "modalities": {"input": ["text", "image"], "output": ["text"]},
                    "cost": {"input": 1.25, "output": 10, "cache_read": 0.125},
                },
                "gpt-4o": {"name": "GPT-4o", "limit": {"context": 128000}, "cost": {"input": 2.5, "output": 10}},
            }
        },
        "groq": {
            "models": {
                "openai/gpt-oss-120b": {"limit": {"context": 131072}, "cost": {"input": 0.15, "output": 0.6}},
                "a/twin": {"limit": {"context": 1}},
                "b/twin": {"limit": {"context": 2}},
            }
        },
        "lmstudio": {"models": {"openai/gpt-oss-20b": {"cost": {"input": 0, "output": 0}}}},
    }
    (tmp_path / FILE).write_bytes(make_copy(payload, date=DAY).to_bytes())
    return Knowledge(tmp_path / FILE)


def listed(provider: ProviderConfig, id: str, **said: Any) -> ModelInfo:
    return ModelInfo(provider.id, id, **said, sources=dict.fromkeys(said, LISTED))


def one(provider: ProviderConfig, model: ModelInfo, knowledge: Knowledge) -> ModelInfo:
    return enriched(provider, [model], knowledge)[0]


# ---------------------------------------------------------------- the order


def test_the_listing_comes_first_and_models_dev_fills_the_rest(knowledge: Knowledge) -> None:
    found = one(OPENAI, listed(OPENAI, "gpt-5", context=390000, name="gpt-5"), knowledge)

    assert (found.context, found.max_input, found.max_output) == (390000, 272000, 128000)
    assert (found.input_price, found.output_price, found.cached_input_price) == (1.25, 10.0, 0.125)
    assert found.cache_write_price is None
    assert (found.name, found.tools, found.reasoning) == ("gpt-5", True, None)
    assert found.input_modalities == ("text", "image")
    assert found.sources["context"] == LISTED
    assert {found.sources[f] for f in ("max_input", "input_price", "tools", "input_modalities")} == {SAID}
    assert "reasoning" not in found.sources


def test_the_users_own_numbers_win_over_all(knowledge: Knowledge) -> None:
    mine = OPENAI.model_copy(update={"models": (ModelRow(id="gpt-5", context=1000, input_price=0.0),)})

    found = one(mine, listed(mine, "gpt-5", context=390000, input_price=3.0, output_price=4.0), knowledge)

    assert (found.context, found.input_price) == (1000, 0.0)
    assert found.sources["context"] == found.sources["input_price"] == "yours"
    # The listing's price of the answer belongs to another price of the prompt.
    assert found.output_price is None


def test_numbers_laid_over_before_are_the_users_too(knowledge: Knowledge) -> None:
    model = ModelInfo("openai", "gpt-5", context=5, max_output=6,
                      sources={"context": "added by hand", "max_output": "yours 2026-11-01"})  # fmt: skip

    found = one(OPENAI, model, knowledge)

    assert (found.context, found.max_output, found.max_input) == (5, 6, 272000)
    assert (found.sources["context"], found.sources["max_output"]) == ("added by hand", "yours 2026-11-01")


def test_genai_prices_is_asked_last_and_by_the_address(tmp_path: Path) -> None:
    nothing = Knowledge(tmp_path / FILE)
    by_data = data_prices(OPENAI.base_url, "gpt-3.5-turbo-instruct")
    assert by_data is not None
    moved = OPENAI.model_copy(update={"base_url": "https://proxy.example/v1"})

    found = one(OPENAI, ModelInfo("openai", "gpt-3.5-turbo-instruct-0914"), nothing)

    assert found.input_price is not None
    assert found.sources["input_price"] == price_version()
    assert one(moved, ModelInfo("openai", "gpt-3.5-turbo-instruct-0914"), nothing).input_price is None


def test_done_twice_is_done_once(knowledge: Knowledge) -> None:
    once = enriched(OPENAI, [listed(OPENAI, "gpt-5", context=1), listed(OPENAI, "nobody", context=2)], knowledge)

    assert enriched(OPENAI, once, knowledge) == once
    assert [m.id for m in once] == ["gpt-5", "nobody"]


def test_what_a_source_knows_only_by_the_id_keeps_its_name(knowledge: Knowledge) -> None:
    model = ModelInfo("openai", "gpt-5", type="chat", context=7, sources={"type": "the id", "context": LISTED})

    found = one(OPENAI, model, knowledge)

    assert (found.type, found.sources["type"], found.sources["context"]) == ("chat", "the id", LISTED)


# ---------------------------------------------------------------- where lists differ


def said(found: list[Fact], name: str) -> list[tuple[Any, str, str | None, bool]]:
    return [(f.value, f.source, f.date, f.chosen) for f in found if f.field == name]


def test_a_price_in_which_the_lists_differ_is_shown_with_all_who_say_so(knowledge: Knowledge) -> None:
    model = listed(MISTRAL, "mistral-large-latest", input_price=0.6, output_price=1.8)
    mine = MISTRAL.model_copy(update={"models": (ModelRow(id=model.id, input_price=0.1, output_price=0.2),)})

    assert said(facts(mine, model, knowledge), "input_price") == [
        (0.1, "yours", None, True),
        (0.6, "listing", "2026-11-21", False),
        (0.5, "models.dev", DAY, False),
        (2.0, price_version(), None, False),
    ]
    without = facts(MISTRAL, ModelInfo("mistral", model.id), knowledge)
    assert said(without, "output_price") == [
        (1.5, "models.dev", DAY, True),
        (6.0, price_version(), None, False),
    ]


def test_prices_that_contradict_each_other_are_not_mixed(knowledge: Knowledge) -> None:
    old = listed(DEEPSEEK, "deepseek-chat", input_price=0.27, output_price=1.1)
    same = listed(DEEPSEEK, "deepseek-chat", input_price=0.14, output_price=0.28)

    assert one(DEEPSEEK, old, knowledge).cached_input_price is None
    assert one(DEEPSEEK, same, knowledge).cached_input_price == 0.0028
    assert said(facts(DEEPSEEK, old, knowledge), "cached_input_price")[0] == (0.0028, "models.dev", DAY, False)


def test_a_window_and_its_part_for_the_prompt_are_two_numbers(knowledge: Knowledge) -> None:
    """litellm calls 272000 what models.dev calls the input of a window of 400000."""
    found = facts(OPENAI, listed(OPENAI, "gpt-5", max_input=272000), knowledge)

    assert said(found, "context") == [(400000, "models.dev", DAY, True)]
    assert said(found, "max_input") == [
        (272000, "listing", "2026-11-21", True),
        (272000, "models.dev", DAY, False),
    ]


def test_of_each_field_that_is_known_one_fact_counts_and_it_is_what_the_table_shows(knowledge: Knowledge) -> None:
    model = listed(OPENAI, "gpt-5", context=390000, max_output=1)
    final = one(OPENAI, model, knowledge)
    chosen = {f.field: f.value for f in facts(OPENAI, model, knowledge) if f.chosen}

    assert chosen == {name: getattr(final, name) for name in final.sources}
    assert facts(OPENAI, ModelInfo("openai", "nobody-knows"), knowledge) == []


# ---------------------------------------------------------------- ids


BOOK = Book(
    {
        "gpt-4o": {"name": "GPT-4o", "context": 1, "input_price": 2.5},
        "claude-x-20250101": {"context": 2},
        "openai/gpt-oss": {"context": 3},
        "a/twin": {"context": 4},
        "b/twin": {"context": 5},
        "Big": {"context": 6},
    },
    DAY,
)


@pytest.mark.parametrize(
    ("id", "theirs", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("models/gpt-4o", "gpt-4o", True),
        ("openai/gpt-4o", "gpt-4o", True),
        ("gpt-oss", "openai/gpt-oss", True),
        ("models/gpt-oss", "openai/gpt-oss", True),
        ("other/gpt-oss", None, True),
        ("twin", None, True),
        ("a/twin", "a/twin", True),
        ("c/twin", None, True),
        ("gpt-4o-2024-05-13", "gpt-4o", False),
        ("gpt-4o-20240513", "gpt-4o", False),
        ("openai/gpt-4o-2024-05-13", "gpt-4o", False),
        ("claude-x-20250101", "claude-x-20250101", True),
        ("claude-x", None, True),
        ("gpt-4o-0513", None, True),
        ("gpt-4", None, True),
        ("gpt-4o-mini", None, True),
        ("GPT-4o", None, True),
        ("big", None, True),
        ("gpt-4o:free", None, True),
        ("", None, True),
        ("/", None, True),
    ],
)
def test_an_id_is_matched_as_it_is_or_as_the_page_says(id: str, theirs: str | None, same: bool) -> None:
    found = BOOK.find(id)

    assert (None if found is None else found.id) == theirs
    assert found is None or found.same is same


def test_a_dated_version_takes_limits_and_never_a_price(knowledge: Knowledge) -> None:
    found = one(OPENAI, ModelInfo("openai", "gpt-4o-2031-01-01"), knowledge)

    assert (found.context, found.sources["context"]) == (128000, SAID)
    assert (found.name, found.created) == (None, None)
    assert SAID not in (found.sources.get("input_price"), found.sources.get("output_price"))
    assert prices(OPENAI, ModelInfo("openai", "gpt-4o-2031-01-01"), knowledge) == ()


def test_a_vendor_in_front_is_the_same_model_unless_two_are_called_so(knowledge: Knowledge) -> None:
    assert one(GROQ, ModelInfo("groq", "gpt-oss-120b"), knowledge).input_price == 0.15
    assert one(GROQ, ModelInfo("groq", "twin"), knowledge).context is None


# ---------------------------------------------------------------- who has no list price


def test_a_server_on_this_machine_costs_what_the_user_declares(knowledge: Knowledge) -> None:
    model = ModelInfo("lmstudio", "openai/gpt-oss-20b")
    free = LOCAL.model_copy(update={"models": (ModelRow(id=model.id, input_price=0, output_price=0),)})

    assert one(LOCAL, model, knowledge).input_price is None
    assert prices(LOCAL, model, knowledge) == ()
    assert one(free, model, knowledge).input_price == 0
    assert [p.source for p in prices(free, model, knowledge)] == ["yours"]


def test_a_row_moved_to_another_origin_has_no_facts_of_the_original(knowledge: Knowledge) -> None:
    proxy = OPENAI.model_copy(update={"base_url": "https://proxy.example/v1"})

    assert one(proxy, ModelInfo("openai", "gpt-5"), knowledge) == ModelInfo("openai", "gpt-5")
    assert prices(proxy, ModelInfo("openai", "gpt-5"), knowledge) == ()
    assert offered(proxy, knowledge) == ()


def test_what_a_provider_offers_as_far_as_models_dev_knows(tmp_path: Path) -> None:
    before = make_copy({"openai": {"models": {"old": {"name": "Old"}, "new": {"name": "New"}}}}, date="2026-10-01")
    now = make_copy({"openai": {"models": {"new": {"name": "New"}}}}, date=DAY, keep=before)
    (tmp_path / FILE).write_bytes(now.to_bytes())
    knowledge = Knowledge(tmp_path / FILE)

    assert [(m.ref, m.name) for m in offered(OPENAI, knowledge)] == [("openai/new", "New")]
    # It is gone from their list, and still known of whom used it.
    assert one(OPENAI, ModelInfo("openai", "old"), knowledge).sources["name"] == "models.dev 2026-10-01"


def test_prices_for_a_cost_come_in_the_order_of_trust(knowledge: Knowledge) -> None:
    model = listed(DEEPSEEK, "deepseek-chat", input_price=0.27, output_price=1.1)

    assert prices(DEEPSEEK, model, knowledge) == (
        Prices(LISTED, 0.27, 1.1),
        Prices(SAID, 0.14, 0.28, 0.0028),
    )


# ---------------------------------------------------------------- how it is done


def test_a_large_listing_is_looked_up_and_not_searched(knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spellings are listed once, not for each model."""
    made = 0

    def counted(ids: Any) -> dict[str, str | None]:
        nonlocal made
        made += 1
        return {}

    monkeypatch.setattr("nbllm.catalog.knowledge._bare_names", counted)
    models = [ModelInfo("groq", f"maker/model-{n}") for n in range(10_000)]

    assert enriched(GROQ, models, knowledge) == tuple(models)
    assert made == 1


def test_genai_prices_is_not_imported_where_models_dev_knows_the_price() -> None:
    code = (
        "import sys, pathlib; from nbllm.catalog.metadata import *; from nbllm.providers.spec import *\n"
        "row = ProviderConfig(id='openai', base_url='https://api.openai.com/v1')\n"
        "found = enriched(row, [ModelInfo('openai', 'gpt-5')], Knowledge(pathlib.Path('none')))\n"
        "assert found[0].input_price == 1.25\n"
        "assert 'genai_prices' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_genai_prices_is_read_by_names_as_it_reads_itself() -> None:
    """The short way to its models finds what its own matching finds."""
    from genai_prices.data_snapshot import get_snapshot

    from nbllm.prices import _shelf

    snapshot = get_snapshot()
    ids = [m.id.lower() for p in snapshot.providers for m in p.models]
    ids += [f"{i}-20260101" for i in ids[::20]] + ["ft:gpt-4o-mini-2024-07-18:me::1", "nobody/nothing", ""]
    for url in ("https://api.openai.com/v1", "https://openrouter.ai/api/v1", "https://api.anthropic.com",
                "https://generativelanguage.googleapis.com/v1beta", "https://api.together.xyz/v1"):  # fmt: skip
        provider, shelf = snapshot.find_provider(None, None, url), _shelf(url)
        assert shelf is not None
        wrong = [i for i in ids if shelf.find(i) is not provider.find_model(i, all_providers=snapshot.providers)]
        assert wrong == []
