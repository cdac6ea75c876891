"""A workspace whose models are a server on loopback that counts what it was asked."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from model_server import Asked, ModelServer, Said, as_json, listing, refusal
from nbllm.compare.comparison import Comparison
from nbllm.compare.options import CompareOptions
from nbllm.workspace import Workspace

Answer = Callable[[str, str], Said | str]
"""What a model says to a prompt: `(model, prompt)` to a text or a whole answer."""

PROBE = "Answer with one word: yes."
"""What the test before the grid asks."""


def said(text: str, *, model: str = "m", tokens: tuple[int, int] = (10, 5)) -> Said:
    """An answer as an event stream, with its tokens counted."""
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": 0}},
    ]
    lines = [f"data: {json.dumps({'id': 'c', 'model': model, **chunk})}\n\n" for chunk in chunks]
    return Said(200, "".join([*lines, "data: [DONE]\n\n"]).encode(), {"Content-Type": "text/event-stream"})


class Models:
    """The server\'s side: what was asked, and what is answered.

    Attributes:
        asked: Model and prompt of each question, in order, without the test before the grid.
        probes: How often that test asked.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.probes = 0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Said:
        prompt = asked.body["messages"][-1]["content"]
        model = asked.body["model"]
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            if prompt == PROBE:
                self.probes += 1
            else:
                self.asked.append((model, prompt))
                self.bodies.append(asked.body)
        try:
            found = said("yes") if prompt == PROBE and self.answer is not None else self.answer(model, prompt)
        finally:
            with self._lock:
                self.at_once -= 1
        return said(found, model=model) if isinstance(found, str) else found

    def times(self) -> Counter[tuple[str, str]]:
        """How often each question was asked."""
        return Counter(self.asked)


def echo(model: str, prompt: str) -> str:
    """The simplest model."""
    return f"{model} says {prompt}"


@contextmanager
def comparing(answer: Answer = echo, **fields: Any) -> Iterator[tuple[Workspace, Models]]:
    """A workspace with the provider `lab` and its server."""
    models = Models(answer)
    answers = {"/v1/chat/completions": models, "/v1/models": listing("a", "b", "c")}
    with ModelServer(answers) as server:
        workspace = Workspace()
        workspace.registry.set_session("lab", base_url=server.url, kind="openai", auth="none", **fields)
        try:
            yield workspace, models
        finally:
            workspace.close()


def compare(workspace: Workspace, prompts: Any = "hi", models: Any = ("lab/a", "lab/b"), **options: Any) -> Comparison:
    """`nbllm.compare` with this workspace."""
    return workspace.comparisons.run(CompareOptions(prompts=prompts, models=models, **options))


__all__ = ["PROBE", "Models", "as_json", "compare", "comparing", "echo", "refusal", "said"]
