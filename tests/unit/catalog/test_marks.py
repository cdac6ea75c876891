"""Marks are kept, seen by every kernel, and outlive a lost disk."""

from __future__ import annotations

import pytest

from nbllm.catalog.marks import Marks
from nbllm.errors import UsageError
from nbllm.settings import Paths
from nbllm.store import Store, schema


def test_nothing_is_marked_at_first(marks: Marks) -> None:
    marked = marks.read()

    assert (marked.favourites, marked.groups, marked.aliases, marked.models) == ((), {}, {}, {})


def test_marks_are_there_for_the_next_kernel(marks: Marks, store: Store, paths: Paths) -> None:
    marks.set_favourites(["groq/llama", "openai/gpt"])
    marks.set_group("cheap", ["groq/llama"])
    marks.set_alias("fast", "groq/llama")
    marks.add_model("lab/own", {"context": 4096, "input_price": 0.1})
    store.close()

    other = Store.open(paths)
    seen = Marks(lambda: other).read()
    other.close()

    assert seen.favourites == ("groq/llama", "openai/gpt")
    assert seen.groups == {"cheap": ("groq/llama",)}
    assert seen.aliases == {"fast": "groq/llama"}
    assert seen.models == {"lab/own": {"context": 4096, "input_price": 0.1}}
    assert seen.added_on["lab/own"] == schema.now()[:10]
    assert seen.refs == ["groq/llama", "openai/gpt", "lab/own"]


def test_what_is_said_again_changes_nothing(marks: Marks) -> None:
    assert marks.set_favourites(["a/b", "a/c", "a/b"]) == 2
    before = marks.read()

    assert marks.set_favourites(["a/b"]) == 0
    assert marks.read() is before


def test_marks_are_taken_away(marks: Marks) -> None:
    marks.set_favourites(["a/b", "a/c"])
    marks.set_group("g", ["a/b", "a/c"])
    marks.set_alias("x", "a/b")
    marks.add_model("a/d", {})

    assert marks.set_favourites(["a/b", "never/marked"], removed=True) == 1
    assert marks.set_group("g", ["a/c"], removed=True) == 1
    assert marks.remove_alias("x") == "a/b"
    assert marks.remove_models(["a/d"]) == 1

    seen = marks.read()
    assert (seen.favourites, seen.groups, seen.aliases, seen.models) == (("a/c",), {"g": ("a/b",)}, {}, {})
    assert marks.set_group("g", None, removed=True) == 1
    assert marks.read().groups == {}


def test_a_mark_that_comes_back_counts_again(marks: Marks) -> None:
    for removed in (False, True, False):
        assert marks.set_favourites(["a/b"], removed=removed) == 1

    assert marks.read().favourites == ("a/b",)


def test_an_alias_stands_for_one_model(marks: Marks) -> None:
    marks.set_alias("x", "a/b")
    marks.set_alias("x", "a/c")

    assert marks.read().aliases == {"x": "a/c"}


def test_more_is_said_of_a_model_bit_by_bit(marks: Marks) -> None:
    marks.add_model("a/b", {"context": 8192})
    marks.add_model("a/b", {"input_price": 0.0})

    assert marks.read().models == {"a/b": {"context": 8192, "input_price": 0.0}}


def test_marks_of_another_kernel_are_seen(marks: Marks, paths: Paths) -> None:
    marks.read()
    other = Store.open(paths)
    Marks(lambda: other).set_favourites(["a/b"])
    other.close()

    assert marks.read().favourites == ("a/b",)


def test_the_last_word_counts_also_when_the_clock_is_set_back(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    marks.set_favourites(["a/b"])
    monkeypatch.setattr(schema, "now", lambda: "1999-01-01T00:00:00.000000Z")
    marks.set_favourites(["a/b"], removed=True)

    assert marks.read().favourites == ()


@pytest.mark.parametrize("name", ["", "a/b", "two words", "-x", "x" * 65, "a\u202eb", "a,b", 'a"b'])
def test_a_name_that_could_not_be_typed_is_refused(marks: Marks, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        marks.set_alias(name, "a/b")
    with pytest.raises(UsageError, match="cannot be the name"):
        marks.set_group(name, ["a/b"])


def test_an_unknown_name_is_answered_with_the_nearest(marks: Marks) -> None:
    marks.set_group("cheap", ["a/b"])
    marks.set_alias("fast", "a/b")

    with pytest.raises(UsageError, match="no group 'cheep'") as caught:
        marks.set_group("cheep", None, removed=True)
    assert caught.value.hint == "did you mean cheap?"
    with pytest.raises(UsageError, match="no alias 'fsat'") as caught:
        marks.remove_alias("fsat")
    assert caught.value.hint == "did you mean fast?"


def test_a_lost_store_keeps_what_was_marked_and_says_so_once(marks: Marks, store: Store, paths: Paths) -> None:
    marks.set_favourites(["a/b"])
    for path in paths.data_dir.glob("nbllm.db*"):
        path.unlink()

    marks.set_alias("x", "a/b")

    assert marks.read().favourites == ("a/b",)
    assert marks.read().aliases == {"x": "a/b"}
    assert "in memory only" in (store.take_warning() or "")
    assert store.take_warning() is None


def test_marks_on_a_network_home_come_together_from_journals(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbllm.store.filesystems.network_type", lambda folder: "nfs")
    stores = [Store.open(paths) for _ in range(2)]
    Marks(lambda: stores[0]).set_favourites(["a/b"])
    Marks(lambda: stores[1]).set_favourites(["a/c"])
    third = Store.open(paths)

    assert set(Marks(lambda: third).read().favourites) == {"a/b", "a/c"}
    for store in (*stores, third):
        store.close()
