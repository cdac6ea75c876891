"""What can be asked for with a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nbllm.compare.design import Prompts

EngineName = Literal["local", "dask", "batch"]
ENGINES: tuple[EngineName, ...] = ("local", "dask", "batch")

Scorer = str | Callable[..., Any]
"""A word such as `exact:COLUMN`, or a function `(reply, case) -> float | bool | dict`."""


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """Everything that `%%compare`, `nbllm.compare` and `nbllm compare` have in common. None: not said."""

    prompts: Prompts | None = None
    """None only with `resume`: then they come from the store."""
    models: str | Sequence[str] = ()
    repeats: int = 1
    data: Any = None
    scorers: Sequence[Scorer] = ()
    judge: str | None = None
    rubric: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    """A list is an axis of the grid, anything else a constant."""
    system: str | None = None
    budget_usd: Any = None
    allow_unknown_price: bool = False
    name: str | None = None
    resume: bool = False
    retry_errors: bool = False
    seed: int = 0
    engine: EngineName = "local"
    cluster: Any = None
    """For `dask`: a `distributed.Client`, or the address of a scheduler; None: a cluster on this machine."""
    yes: bool = False
    """Ask also more than 10,000 cells without a budget."""
    namespace: Mapping[str, Any] = field(default_factory=dict)
    """Where names in scorers (`json:SCHEMA`, functions) are looked up."""
    folder: Path | None = None
    """Where files that scorers name are looked for."""
