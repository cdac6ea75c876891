"""Which family a model is of, as far as its id says so: judges prefer answers of their own kind.

A family is what was trained from the same weights or the same data by the same people. A distillation belongs to its
teacher and to what it was made from: `deepseek-r1-distill-llama-70b` to both. What a provider calls by a name of its
own is unknown, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_FAMILIES: tuple[tuple[str, str], ...] = (
    # GPTQ is a way to make weights small, GPT-J and GPT-NeoX are of others.
    ("openai", r"(?:chat)?gpt(?!-?(?:j|neox?)(?![a-z]))(?![a-z])|codex|davinci|(?<![^/.])o[1-9](?![a-z0-9.])"
               r"|(?<=openai-)o[1-9]|(?<=azure-)o[1-9]"),
    ("claude", r"claude(?![a-z])|(?:opus|sonnet|haiku)(?![a-z])"),
    ("google", r"gemini|(?:code|data|embedding|med|pali|shield|t5|translate|vault)?gemma|learnlm|palm(?![a-z])"),
    ("llama", r"(?:code|open|tiny)?llama|vicuna|alpaca|l3(?:[.]?[0-9])?-(?=[a-z0-9])"),
    ("mistral", r"mistral|mixtral|ministral|magistral|(?:code|dev|math|pix|vox|lean)stral|pixtral|voxtral|zephyr"),
    ("qwen", r"(?:code)?qwen|qwq|qvq|tongyi"),
    ("deepseek", r"deepseek|r1-1776"),
    ("glm", r"(?:auto|chat)?glm|codegeex"),
    ("kimi", r"kimi|moonshot|k2p[0-9]"),
    ("grok", r"grok"),
    ("command", r"command-?(?:a|r|r7b|r-plus|light|nightly)(?![a-z])|command(?=$)|c4ai|aya-|cohere"),
    ("phi", r"phi(?![a-z])|phi(?=[0-9])"),
    ("nova", r"nova-(?:[0-9]-)?(?:micro|lite|pro|premier|sonic|canvas|omni)(?![a-z])|amazon[./]nova"),
    ("titan", r"titan-(?:text|embed|tg1)"),
    ("granite", r"granite"),
    ("nemotron", r"nemotron"),
    ("minimax", r"minimax|abab[0-9]"),
    ("mimo", r"mimo(?![a-z])"),
    ("ernie", r"ernie"),
    ("hunyuan", r"hunyuan|hy3(?![a-z0-9])"),
    ("seed", r"doubao|seed-(?:oss|[0-9])|bytedance-seed"),
    ("step", r"stepfun|step-[0-9]"),
    ("jamba", r"jamba"),
    ("sonar", r"sonar(?![a-z])"),
    ("reka", r"reka(?![a-z])|rekaai"),
    ("yi", r"yi-(?:[0-9.]+b?-|[0-9]+b|large|medium|lightning|coder|vision)"),
    ("olmo", r"olmo|tulu|molmo"),
    ("falcon", r"falcon"),
    ("internlm", r"intern(?:lm|vl|s1)"),
    ("baichuan", r"baichuan"),
    ("solar", r"solar-(?:[0-9]|pro|mini|open)"),
    ("exaone", r"exaone"),
    ("smollm", r"smol(?:lm|vlm)"),
    ("liquid", r"lfm-?[0-9]"),
    ("ling", r"(?:ling|ring)-(?:[0-9]|flash|mini|lite|plus)|inclusionai"),
    ("longcat", r"longcat"),
    ("arcee", r"arcee|trinity-(?:mini|large|nano)"),
    ("palmyra", r"palmyra"),
    ("mercury", r"mercury-?(?:[0-9]|coder|edit|$)"),
    ("hermes", r"hermes"),
    ("dbrx", r"dbrx"),
    ("jais", r"jais"),
    ("sarvam", r"sarvam"),
    ("starcoder", r"starcoder"),
    ("cogito", r"(?:deep)?cogito"),
    ("kat", r"kat-(?:coder|dev)"),
    ("apertus", r"apertus"),
)  # fmt: skip
_COMPILED = tuple((family, re.compile(rf"(?<![a-z])(?:{pattern})")) for family, pattern in _FAMILIES)


def families_of(reference: str) -> tuple[str, ...]:
    """All families in a model's name, in the order in which the name has them; empty when none is known.

    Args:
        reference: `provider/model`, as in `Arm.model`. The provider counts for nothing: it may offer models of others.
    """
    model = reference.partition("/")[2].lower() or reference.lower()
    places = [(match.start(), family) for family, pattern in _COMPILED if (match := pattern.search(model))]
    return tuple(family for _, family in sorted(places))


def family_of(reference: str) -> str | None:
    """The first family in a model's name; None when none is known."""
    return next(iter(families_of(reference)), None)


def shares_family(judge: str, contestants: Iterable[str]) -> list[str]:
    """Those of `contestants` that are of a family of the judge's, or the judge itself, each once.

    Args:
        judge: The judge's reference.
        contestants: References of what it judges.
    """
    own = set(families_of(judge))
    return [c for c in dict.fromkeys(contestants) if c == judge or own & set(families_of(c))]
