"""A small comparison that reads like a real one, for pictures and for tests in a browser: three arms, forty prompts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nbllm.compare.cells import Arm, Case
from unit.compare.comparing import failed, row

ARMS = (
    Arm("openai/gpt-4o-mini", {"temperature": 0}),
    Arm("anthropic/claude-3-5-haiku", {"temperature": 0}),
    Arm("groq/llama-3.1-8b-instant", {"temperature": 0}),
)
_ASKED = (
    ("capital", "What is the capital of Australia? Answer with one word.", "Canberra", "Canberra", "Sydney"),
    ("colour", "Why is the sky blue? One sentence.",
     "The sky is blue because air molecules scatter short wavelengths of sunlight more strongly than long ones.",
     "The sky appears blue because air molecules scatter short wavelengths of sunlight far more than long ones.",
     "Because the ocean's colour is reflected by the atmosphere."),
    ("code", "Write a Python function that reverses the words of a sentence.",
     "```python\ndef reverse_words(sentence):\n    return \" \".join(sentence.split()[::-1])\n```",
     "```python\ndef reverse_words(sentence: str) -> str:\n    return \" \".join(reversed(sentence.split()))\n```",
     "```python\ndef reverse_words(s):\n    words = s.split(' ')\n    return ' '.join(words[::-1])\n```\n"
     "It keeps punctuation where it is."),
    ("sorting", "解释一下什么是快速排序。",
     "快速排序是一种分治算法：选一个基准元素，把比它小的放在左边，比它大的放在右边，再分别排序。",
     "快速排序是一种分治算法：选取一个基准，把较小的元素放在左边，较大的放在右边，然后递归排序两边。",
     "快速排序很快。"),
    ("json", "Give the three primary colours as a JSON list.", '["red", "yellow", "blue"]', '["red", "yellow", "blue"]',
     '["red", "green", "blue"]'),
)  # fmt: skip
_ESSAY = (
    "The industrial revolution changed how people lived and worked. Machines took over what hands had done, and towns "
    "grew around the mills. Wages rose slowly, and unevenly; children worked beside their parents. Historians still "
    "argue over how much of the gain reached those who did the work.\n\n"
)


def sample(prompts: int = 40, texts: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], list[Case]]:
    """Rows and cases: two repeats each, some long, some failed, some not asked; `texts` are answers of the last arm."""
    rows: list[dict[str, Any]] = []
    cases: list[Case] = []
    for n in range(prompts):
        name, prompt, *said = _ASKED[n % len(_ASKED)]
        if n % 8 == 7:
            name, prompt, said = "essay", "Write about the industrial revolution.", [_ESSAY * k for k in (6, 7, 8)]
        case = Case(f"{name}-{n + 1}", prompt)
        cases.append(case)
        for at, arm in enumerate(ARMS):
            for repeat in range(2):
                cell = {"repeat": repeat, "exact": float(said[at] == said[0]), "latency_ms": 400.0 + 211 * at + 37 * n}
                cell |= {"output_tokens": len(said[at]) // 4 + 1, "cost_usd": Decimal(len(said[at])) / 3_000_000}
                if (n + at) % 11 == 4 and repeat:
                    rows.append(failed(arm, case.prompt_id, prompt=prompt, repeat=repeat, exact=None))
                elif texts or (n, at) != (2, 2):
                    text = texts[n % len(texts)] if texts and at == 2 else said[at]
                    text += " (of course)" if at == 1 and repeat and n % 3 == 0 else ""
                    rows.append(row(arm, case.prompt_id, prompt, text, **cell))
    return rows, cases


SUMMARY = [
    {
        "model": arm.model, "params": dict(arm.params), "scorer": "exact", "n_prompts": 40, "n_cells": 80,
        "n_errors": errors, "mean": mean, "ci_low": low, "ci_high": high, "cost_usd": Decimal(cost),
        "cost_per_correct_usd": Decimal(cost) / 40, "latency_p50_ms": p50, "latency_p95_ms": 2.1 * p50,
    }
    for arm, errors, mean, low, high, cost, p50 in zip(
        ARMS, (3, 4, 4), (1.0, 0.625, 0.1), (0.912, 0.47, 0.04), (1.0, 0.758, 0.23), ("0.0131", "0.0152", "0.0119"),
        (1121.0, 1332.0, 1543.0), strict=True,
    )
]  # fmt: skip
NOTES = (
    "openai/gpt-4o-mini − anthropic/claude-3-5-haiku = +0.38 [+0.22, +0.53], n = 40 paired prompts, MDE 0.21 at 80 % "
    "power.",
    "11 cells are errors; means are over complete pairs.",
)
