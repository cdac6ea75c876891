"""The JSON file of LLM Comparator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from nbllm.compare.cells import Arm, Case, Duel
from nbllm.compare.llm_comparator import llm_comparator, to_llm_comparator
from nbllm.errors import ExportError
from unit.compare.comparing import ARMS, failed, many, row

TWO = (ARMS[0], Arm("demo/echo"))
A, B = TWO[0].label, TWO[1].label
TYPES = ["number", "string", "category", "text", "per_model_number"]
SCHEMA = {
    "type": "object",
    "required": ["metadata", "models", "examples"],
    "properties": {
        "metadata": {
            "required": ["source_path", "custom_fields_schema"],
            "properties": {
                "source_path": {"type": "string"},
                "custom_fields_schema": {
                    "items": {"required": ["name", "type"], "properties": {"type": {"enum": TYPES}}},
                },
            },
        },
        "models": {"minItems": 2, "maxItems": 2, "items": {"required": ["name"]}},
        "examples": {
            "items": {
                "required": ["input_text", "tags", "output_text_a", "output_text_b", "score", "individual_rater_scores",
                             "custom_fields"],
                "properties": {
                    "input_text": {"type": "string"},
                    "tags": {"items": {"type": "string"}},
                    "output_text_a": {"type": "string"},
                    "output_text_b": {"type": "string"},
                    "score": {"type": ["number", "null"], "minimum": -1.5, "maximum": 1.5},
                    "individual_rater_scores": {"items": {"required": ["is_flipped", "score", "rationale"]}},
                    "custom_fields": {"type": "object"},
                },
            }
        },
    },
}  # fmt: skip
"""What the tool's README and `types.ts` ask of a file, in our words."""


def export(rows: list[dict[str, Any]], **parts: Any) -> dict[str, Any]:
    content = llm_comparator(rows, TWO, **parts)
    jsonschema.validate(content, SCHEMA)
    assert json.loads(json.dumps(content)) == content
    names = [field["name"] for field in content["metadata"]["custom_fields_schema"]]
    assert len(names) == len(set(names))
    assert all(list(example["custom_fields"]) == names for example in content["examples"])
    return content


def test_a_whole_comparison_fits_the_format() -> None:
    rows, cases = many(50, TWO, repeats=2)
    content = export(rows, cases=cases, scorers=["exact"], score="exact", duels=[Duel("p0", 0, A, B, "a")], tags=["n"])
    assert [m["name"] for m in content["models"]] == [A, B]
    assert 80 < len(content["examples"]) <= 100


@pytest.mark.parametrize(
    ("duels", "score"),
    [
        ([Duel("p1", 0, A, B, "a")], 1.0),
        ([Duel("p1", 0, A, B, "b")], -1.0),
        ([Duel("p1", 0, B, A, "a")], -1.0),
        ([Duel("p1", 0, A, B, "tie")], 0.0),
        ([Duel("p1", 0, A, B, "a"), Duel("p1", 0, A, B, "tie")], 0.5),
        ([Duel("p1", 0, A, "other", "a"), Duel("p2", 0, A, B, "a")], None),
        ([], None),
    ],
    ids=["a", "b", "other-side", "tie", "mean", "not-theirs", "nobody"],
)
def test_the_score_is_what_the_duels_came_to_as_the_first_sees_it(duels: list[Duel], score: float | None) -> None:
    (example,) = export([row(), row(TWO[1])], duels=duels)["examples"]
    assert example["score"] == score


def test_without_duels_the_score_is_the_difference_of_a_scorer_within_the_tools_range() -> None:
    rows = [row(points=5), row(TWO[1], points=1), row(repeat=1, points=0.25), row(TWO[1], repeat=1, points=True)]
    rows += [row(repeat=2, points=None), row(TWO[1], repeat=2, points=1)]
    assert [e["score"] for e in export(rows, score="points", scorers=["points"])["examples"]] == [1.5, -0.75, None]


def test_each_order_of_a_judge_is_a_rating_and_disagreement_is_not_made_up() -> None:
    agreed = Duel("p1", 0, A, B, "a", consistent=True, reasons=("shorter", "clearer"))
    split = Duel("p1", 0, A, B, "tie", consistent=False, reasons=("first", "second"))
    (example,) = export([row(), row(TWO[1])], duels=[agreed, split])["examples"]
    seen = [(r["is_flipped"], r["score"], r["rationale"]) for r in example["individual_rater_scores"]]
    assert seen == [(False, 1.0, "shorter"), (True, 1.0, "clearer"), (False, None, "first"), (True, None, "second")]


def test_data_goes_along_with_the_type_that_fits() -> None:
    data = [{"n": k, "topic": "ab"[k % 2], "key": f"k{k}", "essay": "x" * 100, "made": {"a": k}} for k in range(8)]
    cases = [Case(f"p{k}", "?", vars) for k, vars in enumerate(data)]
    rows = [row(arm, case.prompt_id, vars=case.vars) for case in cases for arm in TWO]
    content = export(rows, cases=cases, tags=["topic"])
    kinds = {f["name"]: f["type"] for f in content["metadata"]["custom_fields_schema"]}
    assert (kinds["n"], kinds["key"], kinds["essay"], kinds["latency_ms"]) == (
        "number", "string", "text", "per_model_number",
    )  # fmt: skip
    assert "topic" not in kinds
    assert content["examples"][3]["tags"] == ["b"]
    assert content["examples"][3]["custom_fields"]["made"] == '{"a": 3}'


def test_an_answer_without_its_counterpart_is_left_out() -> None:
    rows = [row(), failed(TWO[1]), row(repeat=1), row(TWO[1], repeat=1)]
    assert [e["custom_fields"]["repeat"] for e in export(rows)["examples"]] == [1]


def test_other_than_two_arms_or_no_pair_is_an_error_that_says_so() -> None:
    with pytest.raises(ExportError, match="shows two models, and these are 3"):
        llm_comparator([], ARMS)
    with pytest.raises(ExportError, match="no prompt was answered by both"):
        llm_comparator([row(), failed(TWO[1])], TWO)


def test_the_file_is_json_in_utf_8(tmp_path: Path) -> None:
    path = to_llm_comparator(tmp_path / "c.json", [row(text="é \ud83d"), row(TWO[1])], TWO)
    assert json.loads(path.read_text(encoding="utf-8"))["examples"][0]["output_text_a"] == "é <U+D83D>"
