"""Scorers say what is right of an answer; what is wrong with their names is said before anything is asked."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from nbllm.compare import scorers as module
from nbllm.compare.cells import Case
from nbllm.compare.scorer_kinds import Exact, Matches, Score
from nbllm.compare.scorers import Scorer, check_cases, installed_scorers, scorer_of, scorers_of
from nbllm.errors import PromptError, UsageError
from nbllm.messages import Reply
from unit.compare.answers import case, reply


class City(BaseModel):
    """A schema."""

    name: str
    population: int


def polite(answer: Reply, asked: Case) -> bool:
    """A user's function."""
    return "please" in answer.text


async def slow(answer: Reply, asked: Case) -> float:
    """An async one."""
    return float(len(answer.text))


def score(word: Any, text: str, value: Any = None, **namespace: Any) -> Any:
    """What a scorer says of a text beside a case whose column `answer` holds `value`."""
    scorer = scorer_of(word, namespace=namespace)
    try:
        found = scorer.function(reply(text), case(answer=value))
    finally:
        scorer.close()
    return found.value if isinstance(found, Score) else found


# ---------------------------------------------------------------- what they say


@dataclass(frozen=True)
class Said:
    """A scorer, an answer, what was expected, what it says."""

    word: str
    text: str
    value: Any
    says: bool | None

    @property
    def id(self) -> str:
        """For people."""
        return f"{self.word} {self.text!r} {self.value!r}"


NAN = float("nan")
SAID = (
    Said("exact:answer", " Paris\r\n", "Paris", True),
    Said("exact:answer", "Paris.", "Paris", False),
    Said("exact:answer", "paris", "Paris", False),
    Said("exact:answer:casefold", "STRASSE", "straße", True),
    Said("exact:answer", "e\u0301", "é", True),
    Said("exact:answer:casefold", "E\u0301", "é", True),
    Said("exact:answer", "4", 4, True),
    Said("exact:answer", "4", 4.0, True),
    Said("exact:answer", "", "", True),
    Said("exact:answer", "New York", ["NYC", "New York"], True),
    Said("exact:answer", "x", None, None),
    Said("exact:answer", "nan", NAN, None),
    Said("exact:answer", "x", [], None),
    Said("contains:answer", "It is Paris, I think", "Paris", True),
    Said("contains:answer", "It is paris", "Paris", False),
    Said("contains:answer:casefold", "It is paris", "Paris", True),
    Said("contains:answer", "I know", "no", True),
    Said("contains:answer:word", "I know", "no", False),
    Said("contains:answer:word", "I know: no!", "no", True),
    Said("contains:answer:casefold:word", "NO", "no", True),
    Said("contains:answer:word", "C++ is", "C++", True),
    Said("contains:answer", "anything", "", None),
    Said("contains:answer", "anything", "  ", None),
    Said("regex:answer", "in 1789", r"\b1\d{3}\b", True),
    Said("regex:answer", "in 2789", r"\b1\d{3}\b", False),
    Said("regex:answer", "x", None, None),
    Said("numeric:answer", "It is 1,234.", 1234, True),
    Said("numeric:answer", "It is 1,234.5", 1234, False),
    Said("numeric:answer", "0.1", 0.1, True),
    Said("numeric:answer:0.01", "3.14", 3.15, True),
    Said("numeric:answer:0.01", "3.14", 3.1501, False),
    Said("numeric:answer:1%", "101", 100, True),
    Said("numeric:answer:1%", "-99", -100, True),
    Said("numeric:answer:1%", "102", 100, False),
    Said("numeric:answer:1%", "0.001", 0, False),
    Said("numeric:answer:1%", "0", 0, True),
    Said("numeric:answer", "no idea", 3, False),
    Said("numeric:answer", "3/4", 0.75, True),
    Said("numeric:answer", "1/3", "1/3", True),
    Said("numeric:answer", "3", "three", None),
    Said("numeric:answer", "3", None, None),
    Said("numeric:answer", "7", [6, 7], True),
    Said("numeric:answer:1%", "1e999999999", 3, False),
)


@pytest.mark.parametrize("said", SAID, ids=lambda s: s.id)
def test_built_in_scorers_say_what_is_right(said: Said) -> None:
    assert score(said.word, said.text, said.value) is said.says


def test_columns_of_numpy_and_pandas_are_read_with_their_gaps() -> None:
    import numpy as np
    import pandas as pd

    assert score("exact:answer", "4", np.int64(4)) is True
    assert score("exact:answer", "4", np.float64(4.0)) is True
    assert score("exact:answer", "b", np.array(["a", "b"])) is True
    assert score("exact:answer", "x", pd.NA) is None
    assert score("exact:answer", "x", pd.NaT) is None
    assert score("numeric:answer", "x", np.float64("nan")) is None


@pytest.mark.parametrize("word", ["json:City", "json:shape"])
def test_an_answer_of_json_is_held_against_the_schema_and_the_reason_says_what_does_not_fit(word: str) -> None:
    names = {"City": City, "shape": City.model_json_schema()}
    scorer = scorer_of(word, namespace=names)
    fits = scorer.function(reply('```json\n{"name": "Rome", "population": 3}\n```'), case())
    fails = scorer.function(reply('{"name": "Rome"}'), case())
    assert fits == Score(True, None)
    assert fails.value is False
    assert "population" in fails.reason


def test_a_schema_may_stand_in_a_file_beside_the_comparison(tmp_path: Path) -> None:
    (tmp_path / "city.json").write_text(json.dumps(City.model_json_schema()))
    scorer = scorer_of("json:city.json", folder=tmp_path)
    assert scorer.function(reply('{"name": "Rome", "population": 3}'), case()).value is True
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        scorer_of("json:bad.json", folder=tmp_path)


def test_in_python_a_schema_is_a_scorer_by_itself() -> None:
    for given in (City, [City], City.model_json_schema(), [City.model_json_schema()]):
        assert [s.name for s in scorers_of(given)] == ["json"]


# ---------------------------------------------------------------- names and versions


def names(given: Any, **more: Any) -> list[str]:
    """Of the scorers that come of what is given."""
    return [s.name for s in scorers_of(given, **more)]


def test_a_scorer_is_called_by_its_kind_and_by_the_whole_word_where_the_kind_comes_twice() -> None:
    assert names("exact:city") == ["exact"]
    assert names(["exact:city", "exact:country", "contains:city"]) == ["exact:city", "exact:country", "contains"]
    assert names(["numeric:n:1%", "numeric:n:0.1"]) == ["numeric:n:1%", "numeric:n:0.1"]
    assert names([City, polite, "exact:a"]) == ["json", "polite", "exact"]
    assert names(None) == names([]) == []


def test_functions_have_their_own_name_and_lambdas_and_pairs_the_one_that_is_given() -> None:
    assert names(polite) == names(["polite"], namespace={"polite": polite}) == ["polite"]
    assert names(lambda r, c: 1) == ["scorer"]
    assert names([("short", lambda r, c: 1), ("long", lambda r, c: 0)]) == ["short", "long"]
    assert names({"kind": polite, "right": "exact:city"}) == ["kind", "right"]
    assert names(functools.partial(polite)) == ["polite"]


def test_the_version_of_a_function_is_its_source() -> None:
    source = hashlib.sha256(inspect.cleandoc(inspect.getsource(polite)).encode()).hexdigest()
    assert scorer_of(polite).version == source
    assert scorer_of("exact:a").version == scorer_of("exact:b").version == "1"
    assert scorer_of(functools.partial(polite)).version is None
    space: dict[str, Any] = {}
    exec("def typed(reply, case): return 1", space)
    assert scorer_of("typed", namespace=space).version is None


def test_another_schema_is_another_version() -> None:
    other = {**City.model_json_schema(), "additionalProperties": False}
    assert scorer_of(City).version == scorer_of(City.model_json_schema()).version != scorer_of(other).version


def test_async_functions_are_known_as_such_also_behind_a_partial_and_in_an_object() -> None:
    class Judge:
        async def __call__(self, reply: Reply, case: Case) -> float:
            return 1.0

    assert scorer_of(slow).is_async
    assert scorer_of(functools.partial(slow)).is_async
    assert scorer_of(Judge()).is_async
    assert not scorer_of(polite).is_async
    assert not scorer_of("exact:a").is_async


# ---------------------------------------------------------------- what is refused


@dataclass(frozen=True)
class Refused:
    """What is given, and a part of what is said."""

    given: Any
    says: str


REFUSED = (
    Refused("exact:anser", "no column anser; did you mean answer"),
    Refused("exact", "exact:answer"),
    Refused("exact:", "says no column"),
    Refused("json:", "says no schema"),
    Refused("exat:answer", "did you mean exact"),
    Refused("exact:answer:loud", "no option loud; its options: casefold"),
    Refused("regex:answer:casefold", "no option casefold"),
    Refused("numeric:answer:many", "many is not a tolerance"),
    Refused("numeric:answer:-1", "-1 is not a tolerance"),
    Refused("numeric:answer:nan", "nan is not a tolerance"),
    Refused("numeric:answer:1%:2", "is not a tolerance"),
    Refused("polit", "did you mean polite"),
    Refused("nothing-like-it", "for example exact:answer"),
    Refused("word", "word is a text in the notebook"),
    Refused("number", "is not a scorer"),
    Refused("json:Cty", "did you mean City"),
    Refused(["exact:answer", "exact:answer"], "2 scorers are called exact:answer"),
    Refused([polite, "polite"], "2 scorers are called polite"),
    Refused([lambda r, c: 1, lambda r, c: 2], "2 scorers are called scorer"),
    Refused({"latency_ms": polite}, "a column of cells"),
    Refused({"judge": polite}, "a column of cells"),
    Refused({"": polite}, "name is a text"),
    Refused([("", polite)], "name is a text"),
    Refused([3], "3 of type int is not a scorer"),
    Refused(3, "scorers are a list"),
    Refused(lambda answer: 1, "a reply and a case"),
    Refused("", "there is no scorer"),
)


@pytest.mark.parametrize("refused", REFUSED, ids=lambda r: r.says)
def test_words_that_do_not_fit_are_refused_with_what_would(refused: Refused) -> None:
    namespace = {"polite": polite, "City": City, "word": "hello", "number": 7}
    with pytest.raises(UsageError) as caught:
        scorers_of(refused.given, namespace=namespace, columns=["answer", "city"])
    assert refused.says in str(caught.value)


def test_without_data_no_column_is_there() -> None:
    with pytest.raises(UsageError, match="there is no data"):
        scorers_of("exact:answer", columns=[])


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(PromptError, match="not a schema"):
        scorer_of("json:x", namespace={"x": 3})


def test_a_column_may_have_colons_in_its_name() -> None:
    assert scorers_of("exact:a:casefold", columns=["a:casefold"])[0].wants_column == "a:casefold"
    assert scorers_of("exact:a:b:casefold", columns=["a:b"])[0].function == Exact("a:b", casefold=True)
    assert scorer_of("exact:a:b:casefold").wants_column == "a:b"


def test_cases_that_can_never_be_scored_are_found_before_anything_is_asked() -> None:
    scorers = scorers_of(["regex:answer", "numeric:n"])
    check_cases(scorers, [case(answer=r"\d+", n=3), case(answer=None, n=None), case()])
    with pytest.raises(UsageError, match=r"prompt p2 cannot be scored \(and 1 more\).*not a regular expression"):
        check_cases(scorers, [case("p1", answer="x"), case("p2", answer="("), case("p3", answer="[")])
    with pytest.raises(UsageError, match="'three' is not a number; correct the column n"):
        check_cases(scorers, [case(n="three")])
    with pytest.raises(UsageError, match="not a text with a pattern"):
        check_cases(scorers, [case(answer=3)])


# ---------------------------------------------------------------- packages


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        metadata.EntryPoint("kind", "unit.compare.test_scorers:polite", module.ENTRY_POINTS),
        metadata.EntryPoint("broken", "no_such_package:score", module.ENTRY_POINTS),
        metadata.EntryPoint("wrong", "unit.compare.answers:ARMS", module.ENTRY_POINTS),
    ]
    monkeypatch.setattr(
        module.metadata, "entry_points", lambda *, group: points if group == module.ENTRY_POINTS else []
    )


@pytest.mark.usefixtures("installed")
def test_an_installed_scorer_is_found_by_its_name_and_a_function_of_the_notebook_goes_before_it() -> None:
    assert installed_scorers() == ("broken", "kind", "wrong")
    assert scorer_of("kind").function(reply("please"), case()) is True
    assert scorer_of("kind", namespace={"kind": lambda r, c: 2}).function(reply(""), case()) == 2
    with pytest.raises(UsageError, match="did you mean kind"):
        scorer_of("kid")


@pytest.mark.parametrize("name", ["broken", "wrong"])
@pytest.mark.usefixtures("installed")
def test_an_installed_scorer_that_cannot_be_loaded_is_a_note_and_no_error(name: str) -> None:
    scorer = scorer_of(name)
    assert isinstance(scorer, Scorer)
    assert scorer.name == name
    assert "cannot be loaded" in str(scorer.note)


def test_a_scorer_that_is_ready_goes_through_as_it_is() -> None:
    ready = scorer_of("regex:answer")
    assert scorers_of([ready]) == (ready,)
    assert isinstance(ready.function, Matches)
