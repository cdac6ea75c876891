"""What is compared: models, parameters, prompts, repeats. From what the user gave to the cells, and their order.

A design is plain data. It is kept in the store, so that a run can be resumed from another process, and it decides
everything about the cells but the address of a provider.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbllm.chat import given
from nbllm.chat.plan import read_params
from nbllm.compare.cells import Arm, Case, CellSpec, cell_key
from nbllm.compare.data import Data, read_data
from nbllm.compare.manifest import sha256_of_data, sha256_of_text
from nbllm.compare.templates import check_columns, columns_in, fill
from nbllm.errors import PromptError, UsageError
from nbllm.foreign import one_line
from nbllm.messages import ChatRequest, Message
from nbllm.providers.registry import ModelRef

LARGE = 10_000
"""More cells than these are not asked without a word."""

Prompts = str | Sequence[str] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Design:
    """All that decides which cells there are."""

    arms: tuple[Arm, ...]
    cases: tuple[Case, ...]
    repeats: int = 1
    system: str | None = None
    seed: int = 0
    """Of the order of cells, of bootstraps and of blind votes. It is not sent to a model."""
    judge: str | None = None
    """The reference of the model that judges."""
    rubric: str | None = None
    data_sha256: str | None = None
    template_sha256: str = ""
    scorers: tuple[str, ...] = ()
    """Their names, for the record."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "arms": [{"model": a.model, "params": dict(a.params), "label": a.label} for a in self.arms],
            "cases": [[c.prompt_id, c.prompt, dict(c.vars)] for c in self.cases],
            **{name: getattr(self, name) for name in _PLAIN},
            "scorers": list(self.scorers),
        }

    @classmethod
    def from_json(cls, shape: Mapping[str, Any]) -> Design:
        """The reverse of `to_json`."""
        return cls(
            arms=tuple(Arm(**a) for a in shape["arms"]),
            cases=tuple(Case(*c) for c in shape["cases"]),
            scorers=tuple(shape["scorers"]),
            **{name: shape[name] for name in _PLAIN},
        )

    def __len__(self) -> int:
        """How many cells."""
        return len(self.arms) * len(self.cases) * self.repeats


_PLAIN = ("repeats", "system", "seed", "judge", "rubric", "data_sha256", "template_sha256")


@dataclass(frozen=True, slots=True)
class Cell:
    """One question of a design."""

    spec: CellSpec
    arm: Arm
    case: Case
    repeat: int


# ---------------------------------------------------------------- from what was given


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user gave, as `nbllm.compare` takes it."""

    prompts: Prompts
    models: str | Sequence[str]
    repeats: int = 1
    data: Any = None
    params: Mapping[str, Any] | None = None
    system: str | None = None
    seed: int = 0
    judge: str | None = None
    rubric: str | None = None
    scorers: Sequence[str] = field(default=())


def make_design(asked: Asked, resolve: Callable[[str], ModelRef]) -> Design:
    """Check what was given, and lay out what is compared. Asks nobody.

    Raises:
        NbllmError: Something cannot be used: an unknown model or column, an empty prompt, a name that is there twice.
    """
    templates = _templates(asked.prompts)
    data = None if asked.data is None else read_data(asked.data)
    return Design(
        arms=tuple(_arms(asked, resolve)),
        cases=tuple(_cases(templates, data)),
        repeats=_repeats(asked.repeats),
        system=None if asked.system is None else given.text(asked.system, "the system text"),
        seed=_whole(asked.seed, "the seed"),
        judge=None if asked.judge is None else resolve(asked.judge).ref,
        rubric=asked.rubric,
        data_sha256=None if data is None else sha256_of_data(data.rows),
        template_sha256=_hash(templates),
        scorers=tuple(asked.scorers),
    )


def template_hash(prompts: Prompts) -> str:
    """SHA-256 of prompts or templates, as `Design.template_sha256` has it.

    Raises:
        PromptError: There is none, or one is empty.
    """
    return _hash(_templates(prompts))


def _hash(templates: Mapping[str, str]) -> str:
    return sha256_of_text(json.dumps(list(templates.items()), ensure_ascii=False)) or ""


def _templates(prompts: Prompts) -> dict[str, str]:
    """Id to prompt; numbers from 1 where the user gave no names."""
    if isinstance(prompts, str):
        named: Mapping[Any, Any] = {"1": prompts}
    elif isinstance(prompts, Mapping):
        named = prompts
    elif isinstance(prompts, Sequence):
        named = {str(n): p for n, p in enumerate(prompts, 1)}
    else:
        raise PromptError(
            f"the prompts are of type {type(prompts).__name__}", hint="give a str, a list of str, or a dict of them"
        )
    found = {str(name): given.text(text, f"the prompt {one_line(name, 40)}") for name, text in named.items()}
    if not found:
        raise PromptError("there is no prompt", hint="give at least one")
    for name, text in found.items():
        if not text.strip():
            raise PromptError(f"the prompt {one_line(name, 40)} is empty", hint="write a question, or leave it out")
    return found


def _cases(templates: Mapping[str, str], data: Data | None) -> Iterator[Case]:
    if data is None:
        yield from (Case(name, text) for name, text in templates.items())
        return
    for name, template in templates.items():
        check_columns(template, data.columns)
        if not columns_in(template):
            raise PromptError(
                f"the prompt {one_line(name, 40)} names no column of the data, so every row would ask the same",
                hint=f"write {{{{{data.columns[0]}}}}} where the value belongs",
            )
    for row_id, row in zip(data.ids, data.rows, strict=True):
        for name, template in templates.items():
            prompt = fill(template, row, where=f"row {one_line(row_id, 40)} of the data")
            yield Case(row_id if len(templates) == 1 else f"{row_id}.{name}", given.text(prompt, "the prompt"), row)


def _arms(asked: Asked, resolve: Callable[[str], ModelRef]) -> Iterator[Arm]:
    given_models = [asked.models] if isinstance(asked.models, str) else list(asked.models)
    refs = [resolve(given.text(m, "a model")).ref for m in given_models]
    if not refs:
        raise UsageError("no model is named", hint="give the references of the models to compare")
    twice = [ref for ref, count in Counter(refs).items() if count > 1]
    if twice:
        raise UsageError(f"the model {twice[0]} is named twice", hint="`repeats` asks the same model several times")
    settings = list(_grid(asked.params or {}))
    differing = _differing(settings)
    for ref in refs:
        for params in settings:
            shown = " ".join(f"{name}={json.dumps(params.get(name), ensure_ascii=False)}" for name in differing)
            yield Arm(ref, params, f"{ref} {shown}".strip())


def _grid(params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every setting: a list is an axis, anything else a constant."""
    axes = {name: list(value) if isinstance(value, (list, tuple)) else [value] for name, value in params.items()}
    for name, values in axes.items():
        if not values:
            raise UsageError(f"the parameter {one_line(name, 40)} has no value", hint="give at least one")
        if len({json.dumps(v, sort_keys=True, default=str) for v in values}) < len(values):
            raise UsageError(f"the parameter {one_line(name, 40)} has a value twice", hint="name each value once")
    for setting in itertools.product(*axes.values()):
        yield given.params(dict(zip(axes, setting, strict=True)))


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for s in settings for name in s)
    return [n for n in names if len({json.dumps(s.get(n), sort_keys=True) for s in settings}) > 1]


def _repeats(value: Any) -> int:
    number = _whole(value, "repeats")
    if number < 1:
        raise UsageError(f"repeats is a whole number from 1, not {number}", hint="1 asks each question once")
    return number


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{name} is a whole number, not {one_line(repr(value), 40)}")
    return value


# ---------------------------------------------------------------- the cells


def cells_of(design: Design, address: Callable[[str], str]) -> list[Cell]:
    """Every cell, case by case, as tables show them.

    Args:
        design: What is compared.
        address: What says who answers for a provider: its base URL.
    """
    requests = {arm.label: _request(arm, design.system) for arm in design.arms}
    addresses = {arm.model.partition("/")[0]: address(arm.model.partition("/")[0]) for arm in design.arms}
    seen: Counter[str] = Counter()
    found: list[Cell] = []
    for case in design.cases:
        copy = seen[case.prompt]
        seen[case.prompt] += 1
        for arm in design.arms:
            request = requests[arm.label](case.prompt)
            for repeat in range(design.repeats):
                key = cell_key(request, address=addresses[request.provider], repeat=repeat, copy=copy)
                found.append(Cell(CellSpec(key, request), arm, case, repeat))
    return found


def _request(arm: Arm, system: str | None) -> Callable[[str], ChatRequest]:
    provider, _, model = arm.model.partition("/")
    read = read_params(arm.params)
    return lambda prompt: ChatRequest(
        provider=provider,
        model=model,
        messages=(Message.user(prompt),),
        system=system if read.system is None else read.system,
        temperature=read.temperature,
        max_tokens=read.max_tokens,
        params=read.rest,
    )


def asking_order(cells: Sequence[Cell], seed: int) -> list[Cell]:
    """The order in which they are asked: prompts shuffled, and for each prompt the arms shuffled.

    So every arm is asked all the time, and the time of day is no difference between models.
    """
    blocks: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        blocks.setdefault((cell.case.prompt_id, cell.repeat), []).append(cell)
    dice = random.Random(seed)  # noqa: S311  (an order, no secret)
    shuffled = list(blocks.values())
    dice.shuffle(shuffled)
    for block in shuffled:
        dice.shuffle(block)
    return [cell for block in shuffled for cell in block]
