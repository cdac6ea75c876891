"""Which requests go into which batch: as many as the vendor takes, and with some vendors one model only."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from nbllm.adapters.base import Adapter, Endpoint
from nbllm.compare.cells import CellSpec
from nbllm.compare.engines.batch_api import BatchApi, custom_id
from nbllm.errors import BadRequestError, NbllmError, PromptError

_AROUND = 100
"""Bytes of a batch that are no requests."""


@dataclass(slots=True)
class Part:
    """The cells of one batch."""

    specs: list[CellSpec] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    """One for each of `specs`."""
    refused: list[tuple[CellSpec, NbllmError]] = field(default_factory=list)
    """Cells that cannot be sent at all, and why."""

    def only(self, keys: Collection[str]) -> Part:
        """The same with these cells alone."""
        kept = [(s, line) for s, line in zip(self.specs, self.lines, strict=True) if s.key in keys]
        refused = [(s, error) for s, error in self.refused if s.key in keys]
        return Part([s for s, _ in kept], [line for _, line in kept], refused)

    @property
    def all_specs(self) -> list[CellSpec]:
        """Those that cannot be sent included."""
        return [*self.specs, *(s for s, _ in self.refused)]


def split(specs: Sequence[CellSpec], api: BatchApi, endpoint: Endpoint, adapter: Adapter) -> Iterator[Part]:
    """The batches that hold `specs`. Each is made when it is asked for, since one may be of 200 MB."""
    for group in _groups(specs, one_model=api.limits.one_model):
        part, size = Part(), _AROUND
        for spec in group:
            line = _line(spec, api, endpoint, adapter)
            if isinstance(line, NbllmError):
                part.refused.append((spec, line))
                continue
            if part.lines and (len(part.lines) >= api.limits.requests or size + len(line) > api.limits.bytes):
                yield part
                part, size = Part(), _AROUND
            part.specs.append(spec)
            part.lines.append(line)
            size += len(line)
        yield part


def _groups(specs: Sequence[CellSpec], *, one_model: bool) -> Iterator[list[CellSpec]]:
    groups: dict[str, list[CellSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.request.model if one_model else "", []).append(spec)
    yield from groups.values()


def _line(spec: CellSpec, api: BatchApi, endpoint: Endpoint, adapter: Adapter) -> bytes | NbllmError:
    """The request as it stands in the batch: what would be sent live, without a stream."""
    provider = endpoint.provider.id
    try:
        body = dict(adapter.build(replace(spec.request, stream=False), endpoint).body)
        body.pop("stream", None)  # false is the default, and Anthropic's batches do not take the word
        line = api.line(custom_id(spec.key), body)
    except NbllmError as error:
        return error
    except (TypeError, ValueError) as exc:
        return PromptError(f"the request to {provider} cannot be written as JSON: {exc}", hint="look at its parameters")
    if len(line) + _AROUND <= api.limits.bytes:
        return line
    return BadRequestError(
        f"the request of {len(line) / 1e6:.0f} MB is larger than a batch of {provider} may be",
        hint="ask with the local engine: `--engine local`",
        provider=provider,
    )
