"""Who does the asking: this process (`local`), a Dask cluster (`dask`), or a provider's batches (`batch`)."""

from __future__ import annotations

from collections.abc import Callable

from nbllm.chat.plan import Services, find_endpoint
from nbllm.compare.asking import Asker
from nbllm.compare.engines.base import Engine
from nbllm.compare.engines.batch import BatchEngine
from nbllm.compare.engines.dask import DaskEngine
from nbllm.compare.engines.local import LocalEngine
from nbllm.compare.lanes import Lane
from nbllm.compare.options import ENGINES, CompareOptions
from nbllm.errors import UnsupportedError, UsageError
from nbllm.usage import cost


def make_engine(
    options: CompareOptions,
    services: Services,
    asker: Asker,
    lane: Callable[[str], Lane],
    on_news: Callable[[str], None],
    *,
    services_name: str,
) -> Engine:
    """The engine that was asked for.

    Raises:
        UsageError: There is none of this name.
        UnsupportedError: What it needs is not installed.
    """
    if options.engine == "local":
        return LocalEngine(asker, lane)
    if options.engine == "dask":
        if services.recordings.mode != "off":
            raise UnsupportedError(
                "the workers of a cluster have no recording", hint="`%llm_replay off`, or --engine local"
            )
        return DaskEngine(options.cluster, services.registry.get, lane, services=services_name, on_news=on_news)
    if options.engine == "batch":
        if services.recordings.mode != "off":
            raise UnsupportedError(
                "batches are not recorded, and no recording answers them", hint="`%llm_replay off`, or --engine local"
            )
        return BatchEngine(
            lambda name: find_endpoint(services.registry.get(name), services),
            on_news=on_news,
            price=lambda provider, model, usage: cost(provider, model, usage, known=services.prices(provider, model)),
        )
    raise UsageError(f"there is no engine {options.engine!r}", hint=f"there are {', '.join(ENGINES)}")
