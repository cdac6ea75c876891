"""A search finds what was meant, the best match first, and an unknown value satisfies no bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.catalog.index import Index
from nbllm.catalog.marks import Marked
from nbllm.catalog.wanted import SORTS, Wanted, check, read_tokens
from nbllm.errors import UsageError
from nbllm.providers.spec import ModelInfo


def model(ref: str, **facts: Any) -> ModelInfo:
    provider, _, id = ref.partition("/")
    return ModelInfo(provider, id, **facts)


MODELS = (
    model("hub/acme/llama-3.3-70b-tuned", name="Tuned"),
    model("hub/meta-llama/llama-3.3-70b", name="Llama", context=131072, input_price=0.1, output_price=0.3, tools=True),
    model("quick/llama-3.3-70b", context=8192, input_price=0.59, output_price=0.79, tools=True, reasoning=False),
    model("quick/not-a-llama", input_price=0.0, output_price=0.0),
    model("quick/half-free", input_price=0.0),
    model("lab/gpt-4", name="GPT-4", input_modalities=("text", "image"), structured_output=True, max_input=200_000),
    model("lab/gpt-5", name="GPT-5", input_modalities=("text",), reasoning=True, created="2025-08-07"),
    model("lab/embed-1", type="embedding", input_price=0.01, created="2024-01-01"),
)  # fmt: skip
INDEX = Index(MODELS)


def refs(wanted: Wanted, **more: Any) -> list[str]:
    return [m.ref for m in INDEX.search(wanted, **more).models]


@dataclass(frozen=True)
class Case:
    id: str
    wanted: Wanted
    finds: tuple[str, ...]
    more: dict[str, Any] = field(default_factory=dict)


SMALL = "hub/meta-llama/llama-3.3-70b"
QUICK = "quick/llama-3.3-70b"
TUNED = "hub/acme/llama-3.3-70b-tuned"
CASES = (
    Case("the exact name, then names that start so", Wanted("llama-3.3-70b"), (SMALL, QUICK, TUNED)),
    Case("those that can be asked come first among equals", Wanted("llama-3.3-70b"), (QUICK, SMALL, TUNED),
         {"first": ("quick",)}),
    Case("what starts so before what has it somewhere", Wanted("llama"), (TUNED, SMALL, QUICK, "quick/not-a-llama")),
    Case("a usable one does not pass a better match", Wanted("llama"), (TUNED, SMALL, QUICK, "quick/not-a-llama"),
         {"first": ("nobody",)}),
    Case("words in any order and case", Wanted("70B LLAMA"), (TUNED, SMALL, QUICK)),
    Case("the name counts", Wanted("tuned"), (TUNED,)),
    Case("the whole reference", Wanted("lab/gpt-5"), ("lab/gpt-5",)),
    Case("the whole reference, which a filter excludes", Wanted("lab/gpt-5", tools=True), ()),
    Case("without separators", Wanted("gpt4"), ("lab/gpt-4", "lab/gpt-5")),
    Case("a letter wrong", Wanted("embod"), ("lab/embed-1",)),
    Case("nothing like it", Wanted("zzzzzz"), ()),
    Case("a provider", Wanted(providers=("lab",)), ("lab/gpt-4", "lab/gpt-5", "lab/embed-1")),
    Case("vision", Wanted(vision=True), ("lab/gpt-4",)),
    Case("tools", Wanted(tools=True), (SMALL, QUICK)),
    Case("reasoning: no is not yes", Wanted(reasoning=True), ("lab/gpt-5",)),
    Case("json", Wanted(json=True), ("lab/gpt-4",)),
    Case("context; an input that is large enough will do", Wanted(min_context=100_000), (SMALL, "lab/gpt-4")),
    Case("price; unknown is not cheap", Wanted(max_price=0.1), (SMALL, "quick/not-a-llama", "quick/half-free",
                                                                "lab/embed-1")),
    Case("free both ways; unknown is not free", Wanted(free=True), ("quick/not-a-llama",)),
    Case("a price of 0 as bound", Wanted(max_price=0), ("quick/not-a-llama", "quick/half-free")),
    Case("some of them", Wanted("llama"), (QUICK,), {"only": (QUICK, "lab/gpt-5", "not/there")}),
    Case("sorted, unknown last", Wanted("gpt", sort="created"), ("lab/gpt-5", "lab/gpt-4")),
    Case("sorted the other way round, unknown last", Wanted("llama", sort="-input_price"),
         (QUICK, SMALL, "quick/not-a-llama", TUNED)),
    Case("a limit", Wanted("llama", limit=1), (TUNED,)),
    Case("a limit of none", Wanted("llama", limit=0), ()),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_a_search_finds(case: Case) -> None:
    assert tuple(refs(case.wanted, **case.more)) == case.finds


def test_the_total_counts_also_what_the_limit_leaves_out() -> None:
    assert INDEX.search(Wanted("llama", limit=1)).total == 4


def test_models_are_changed_in_a_new_index() -> None:
    changed = INDEX.with_models([model("lab/gpt-5", input_price=1.0), model("own/new")])

    assert INDEX.get("own/new") is None
    assert (len(changed), changed.get("own/new")) == (len(INDEX) + 1, model("own/new"))
    found = changed.get("lab/gpt-5")
    assert found is not None
    assert found.input_price == 1.0


TEXT = st.text(max_size=12)


@given(query=TEXT, names=st.lists(TEXT, max_size=6), sort=st.sampled_from([None, *SORTS, *(f"-{s}" for s in SORTS)]))
def test_any_query_over_any_names_gives_each_model_at_most_once(query: str, names: list[str], sort: str | None) -> None:
    index = Index(model(f"p/{n}{i}", name=n) for i, n in enumerate(names))

    found = index.search(Wanted(query, sort=sort, limit=None))

    listed = [m.ref for m in found.models]
    assert len(listed) == len(set(listed)) == found.total
    for one in (m for i, n in enumerate(names) if (m := index.get(f"p/{n}{i}"))):
        if query.strip() and all(w in f"{one.ref} {one.name}".casefold() for w in query.casefold().split()):
            assert one.ref in listed


@pytest.mark.parametrize(
    "wanted",
    [Wanted(sort="contxt"), Wanted(group="cheep"), Wanted(max_price=-1), Wanted(max_price=float("nan")),
     Wanted(max_price=float("inf")), Wanted(min_context=-1), Wanted(limit=-1)],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_looked_for_is_refused_with_a_hint(wanted: Wanted) -> None:
    with pytest.raises(UsageError) as caught:
        check(wanted, Marked(groups={"cheap": ("a/b",)}))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "count"), [("128000", 128_000), ("128k", 128_000), ("1m", 1_000_000), ("0.5M", 500_000)]
)
def test_tokens_are_read_as_people_write_them(text: str, count: int) -> None:
    assert read_tokens(text) == count


@pytest.mark.parametrize("text", ["", "k", "many", "1e999", "nan"])
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="number of tokens"):
        read_tokens(text)
