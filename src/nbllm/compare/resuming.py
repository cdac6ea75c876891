"""What is to be said where a comparison is resumed with other words than it was made with.

A resumed comparison takes prompts and grid from the store. What was given beside its name and is not what stands there
is not asked, and whoever gave it should know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from nbllm.compare.data import read_data
from nbllm.compare.design import Design, Prompts, template_hash
from nbllm.compare.manifest import sha256_of_data
from nbllm.compare.options import CompareOptions
from nbllm.providers.registry import ModelRef


def other_prompt(prompts: Prompts, design: Design) -> list[str]:
    """A sentence where the prompts are not the stored ones; none where they are."""
    return [] if template_hash(prompts) == design.template_sha256 else [_sentence(["prompt"])]


def not_asked(options: CompareOptions, design: Design, resolve: Callable[[str], ModelRef]) -> list[str]:
    """A sentence that names what was given and differs from what is stored; none where all of it fits.

    Raises:
        NbllmError: The data is no table; a model is not known.
    """
    found = list(_differing(options, design, resolve))
    return [_sentence(found)] if found else []


def _sentence(names: list[str]) -> str:
    said = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"resumed as it was stored: what was given as {said} is another, and was not asked"


def _differing(options: CompareOptions, design: Design, resolve: Callable[[str], ModelRef]) -> Iterator[str]:
    if options.prompts is not None and template_hash(options.prompts) != design.template_sha256:
        yield "prompt"
    models = [options.models] if isinstance(options.models, str) else list(options.models)
    if models and {resolve(m).ref for m in models} != {arm.model for arm in design.arms}:
        yield "models"
    if options.data is not None and sha256_of_data(read_data(options.data).rows) != design.data_sha256:
        yield "data"
    if any(_given(value) != _stored(design, name) for name, value in options.params.items()):
        yield "parameters"
    if options.repeats not in (1, design.repeats):
        yield "repeats"
    if options.system is not None and options.system != design.system:
        yield "system text"


def _given(value: Any) -> set[str]:
    return {_word(v) for v in (value if isinstance(value, (list, tuple)) else [value])}


def _stored(design: Design, name: str) -> set[str]:
    return {_word(arm.params.get(name)) for arm in design.arms}


def _word(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
