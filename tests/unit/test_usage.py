"""A cost is what a known price makes of known counts, and None in every other case."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal

import pytest

from nbllm.messages import Usage
from nbllm.prices import Prices, price_version
from nbllm.providers.spec import ModelRow, ProviderConfig
from nbllm.usage import cost, cost_usd, estimate_tokens

OPENAI = ProviderConfig(id="openai", base_url="https://api.openai.com/v1")
PROXY = ProviderConfig(id="openai", base_url="https://proxy.example/v1")
LOCAL = ProviderConfig(id="llama-cpp", base_url="http://127.0.0.1:8080/v1", local=True)
DEMO = ProviderConfig(id="demo", kind="demo", base_url="http://demo.invalid/v1", auth="none")
OPENROUTER = ProviderConfig(id="openrouter", base_url="https://openrouter.ai/api/v1")


def priced(provider: ProviderConfig, **prices: float) -> ProviderConfig:
    return provider.model_copy(update={"models": (ModelRow(id="m", **prices),)})


@dataclass(frozen=True)
class Case:
    id: str
    provider: ProviderConfig
    model: str
    usage: Usage
    cost: str | None


SOME = Usage(input_tokens=600, cached_input_tokens=400, output_tokens=100, reasoning_tokens=60)
CASES = [
    # 600 x 0.15 + 400 x 0.075 + 100 x 0.60 USD per million; reasoning is a part of the output
    Case("classes have their own prices", OPENAI, "gpt-4o-mini", SOME, "0.00018"),
    Case("an unknown model has no cost", OPENAI, "no-such-model", SOME, None),
    Case("a provider moved to a proxy has no known price", PROXY, "gpt-4o-mini", SOME, None),
    Case("a local server has no price", LOCAL, "gpt-4o-mini", SOME, None),
    Case("the demo has no price", DEMO, "guide", SOME, None),
    Case("unless the user sets one", priced(LOCAL, input_price=1, output_price=2), "m", SOME, "0.0012"),
    Case("which may be zero", priced(LOCAL, input_price=0, output_price=0), "m", SOME, "0"),
    Case("the user's price comes first", priced(OPENAI, input_price=0.1, output_price=0.1), "m", SOME, "0.00011"),
    Case("half a price of the user's is no price", priced(LOCAL, input_price=1), "m", SOME, None),
    Case("unknown counts have no cost", OPENAI, "gpt-4o-mini", Usage(), None),
    Case("an unknown output has no cost", OPENAI, "gpt-4o-mini", Usage(input_tokens=3), None),
    Case(
        "a model without prices in the data is not free",
        OPENROUTER,
        "meta-llama/llama-3.3-70b-instruct:free",
        SOME,
        None,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_cost(case: Case) -> None:
    expected = None if case.cost is None else Decimal(case.cost)

    assert cost_usd(case.provider, case.model, case.usage) == expected


def test_a_cost_says_where_its_price_comes_from() -> None:
    by_data, by_user = cost(OPENAI, "gpt-4o-mini", SOME), cost(priced(LOCAL, input_price=1, output_price=1), "m", SOME)

    assert by_data is not None
    assert by_data.source == price_version()
    assert price_version().startswith("genai-prices ")
    assert by_user is not None
    assert by_user.source == "config.toml"


LISTED = Prices("listing 2026-11-21", input_price=1, output_price=2)
PLAIN = Usage(input_tokens=1000, output_tokens=1000)
CACHED = Usage(input_tokens=1000, cached_input_tokens=1000, output_tokens=1000)


@dataclass(frozen=True)
class Known:
    id: str
    known: tuple[Prices, ...]
    usage: Usage
    cost: str | None
    source: str | None = None
    provider: ProviderConfig = OPENAI
    model: str = "gpt-4o-mini"


KNOWN = [
    Known("the listing's price pays", (LISTED,), PLAIN, "0.003", "listing 2026-11-21"),
    Known("a zero in the listing is free", (Prices("listing", 0, 0),), PLAIN, "0", "listing"),
    Known("the first that can price the whole", (LISTED, Prices("models.dev 2026-07-02", 1, 2, 0.5)), CACHED,
          "0.0035", "models.dev 2026-07-02"),
    Known("one that contradicts a more trusted one is passed over", (LISTED, Prices("b", 3, 4, 0.5)), CACHED, None),
    Known("and so is the price data", (Prices("listing", 9, 9),), CACHED, None),
    Known("which is asked where it agrees", (Prices("listing", 0.15, 0.6),), CACHED, "0.000825", price_version()),
    Known("an unknown price of the cache is unknown", (LISTED,), CACHED, None, model="nobody-knows"),
    Known("tokens written to the cache too", (Prices("a", 1, 2, 0.5),),
          Usage(input_tokens=1, cache_write_tokens=5, output_tokens=1), None, model="nobody-knows"),
    Known("a long prompt costs what the next source says",
          (Prices("a", 1, 2, holds_to=999), Prices("b", 1, 2)), PLAIN, "0.003", "b"),
    Known("and is unknown where nobody does", (Prices("a", 1, 2, holds_to=999),), PLAIN, None, model="nobody-knows"),
    Known("up to the step it holds", (Prices("a", 1, 2, holds_to=1000),), PLAIN, "0.003", "a"),
    Known("reasoning may have its own price", (Prices("a", 1, 2, reasoning_price=3),),
          Usage(input_tokens=0, output_tokens=1000, reasoning_tokens=400), "0.0024", "a"),
    Known("the user's own price comes first", (LISTED,), PLAIN, "0.011", "config.toml",
          provider=priced(OPENAI, input_price=1, output_price=10), model="m"),
    Known("and covers the cache", (LISTED,), CACHED, "0.012", "config.toml",
          provider=priced(OPENAI, input_price=1, output_price=10), model="m"),
    Known("half of it is filled by who agrees", (LISTED,), PLAIN, "0.003", "listing 2026-11-21",
          provider=priced(OPENAI, input_price=1), model="m"),
    Known("and not by who does not", (LISTED,), PLAIN, None, provider=priced(OPENAI, input_price=7), model="m"),
]  # fmt: skip


@pytest.mark.parametrize("case", KNOWN, ids=lambda c: c.id)
def test_one_source_pays_for_the_whole_of_an_answer(case: Known) -> None:
    found = cost(case.provider, case.model, case.usage, known=case.known)

    assert (None if found is None else (found.usd, found.source)) == (
        None if case.cost is None else (Decimal(case.cost), case.source)
    )


def test_cached_tokens_without_a_price_in_the_data_are_not_paid_as_prompt() -> None:
    assert cost(OPENAI, "gpt-4", PLAIN) is not None
    assert cost(OPENAI, "gpt-4", CACHED) is None


def test_a_price_with_steps_in_the_data_is_the_steps() -> None:
    google = ProviderConfig(id="google", base_url="https://generativelanguage.googleapis.com/v1beta", kind="gemini")
    known = (Prices("models.dev 2026-07-02", 1.25, 10, 0.125, holds_to=200_000),)
    short = cost(google, "gemini-2.5-pro", Usage(input_tokens=200_000, output_tokens=0), known=known)
    long = cost(google, "gemini-2.5-pro", Usage(input_tokens=400_000, output_tokens=0), known=known)

    assert short is not None
    assert (short.usd, short.source) == (Decimal("0.25"), "models.dev 2026-07-02")
    assert long is not None
    assert (long.usd, long.source) == (Decimal(1), price_version())


def test_the_price_data_is_not_read_where_there_can_be_no_price() -> None:
    code = (
        "import sys; from nbllm.usage import cost_usd; from nbllm.messages import Usage\n"
        "from nbllm.providers.spec import ProviderConfig\n"
        "cost_usd(ProviderConfig(id='demo', kind='demo'), 'guide', Usage(input_tokens=1, output_tokens=1))\n"
        "assert 'genai_prices' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("", 0, 0), ("a", 1, 1), ("The quick brown fox jumps over the lazy dog.", 9, 12), ("你好世界" * 10, 20, 40)],
)
def test_an_estimate_is_of_the_right_size(text: str, low: int, high: int) -> None:
    assert low <= estimate_tokens(text) <= high
