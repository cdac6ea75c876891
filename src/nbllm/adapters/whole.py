"""A whole answer that was kept as JSON, such as a line of a batch's results, read as a live one is.

The same code that decodes an answer from the network (`nbllm.adapters.chunks`, `nbllm.adapters.blocks`) decodes it
here, so that usage, finish reasons and oddities come out the same whichever way an answer travelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2

from nbllm.adapters.body import BodyReader
from nbllm.adapters.reading import Arrival
from nbllm.messages import ChatRequest
from nbllm.providers.spec import ProviderConfig
from nbllm.reply_builder import ReplyBuilder


def read_whole(
    decoder: type[BodyReader],
    payload: Any,
    request: ChatRequest,
    provider: ProviderConfig,
    *,
    headers: Mapping[str, str] | None = None,
) -> ReplyBuilder:
    """The answer that `payload` is.

    Args:
        decoder: The wire format: `chunks.Answer` or `blocks.Answer`.
        payload: The decoded JSON of the answer's body.
        request: What was asked.
        provider: The row that was asked.
        headers: What is known of the answer's head; `x-request-id` counts.

    Raises:
        ProviderError: It is an error in disguise, or no answer.
        StreamBrokenError: It cannot be read.
    """
    # The address is not shown anywhere; a response without a request is not accepted.
    response = httpx2.Response(200, headers=dict(headers or {}), request=httpx2.Request("POST", provider.base_url))
    answer = decoder(request, provider, Arrival(response, provider))
    built = ReplyBuilder()
    for delta in (*answer.feed(json.dumps(payload).encode("ascii")), *answer.finish()):
        built.add(delta)
    if answer.failure is not None:
        raise answer.failure
    return built
