"""From what was asked to what will be sent: nothing is sent here, nothing is changed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nbllm.adapters import load_adapter
from nbllm.adapters.base import Adapter, Endpoint
from nbllm.chat import given
from nbllm.chat.attachments import attach
from nbllm.chat.options import ChatOptions
from nbllm.chat.structured import Shape, shape_of
from nbllm.chat.tools import BoundTool, bind_all
from nbllm.conversations import Conversations, Turn
from nbllm.credentials import Credentials, Secret
from nbllm.errors import PromptError, RegistryError, SettingsError
from nbllm.messages import ChatRequest, File, Image, Message
from nbllm.prices import Prices
from nbllm.providers.readiness import hindrance
from nbllm.providers.registry import ModelRef, Registry
from nbllm.providers.spec import ModelInfo, ProviderConfig
from nbllm.settings import Settings
from nbllm.transport.http import Http
from nbllm.transport.limits import Gate
from nbllm.transport.recordings import Recordings


@dataclass(frozen=True, slots=True)
class Services:
    """What a question needs of the workspace."""

    settings: Settings
    registry: Registry
    credentials: Credentials
    http: Http
    conversations: Callable[[], Conversations]
    gate: Callable[[ProviderConfig], Gate]
    serve: Callable[[Endpoint], Awaitable[Endpoint]]
    """Starts the child process of a provider that is a GGUF file, and says where it listens."""
    known_models: Callable[[str], Mapping[str, ModelInfo]]
    """What is already known of a provider's models, without asking it."""
    presets: Callable[[], Mapping[str, Mapping[str, Any]]]
    recordings: Recordings
    """Who may answer in the place of a provider."""
    prices: Callable[[ProviderConfig, str], Sequence[Prices]] = lambda provider, model: ()
    """What is already known of a model's prices, most trusted first; asked after the answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One question, ready to be sent."""

    request: ChatRequest
    endpoint: Endpoint
    adapter: Adapter
    question: Message
    turn: Turn
    tools: Mapping[str, BoundTool]
    shape: Shape | None
    max_rounds: int
    shown_params: Mapping[str, Any]
    """The parameters that the user or a preset set, for the provenance."""


def make_plan(prompt: str, options: ChatOptions, services: Services, *, need_key: bool = True) -> Plan:
    """Resolve everything that a question names.

    Args:
        prompt: The user's text.
        options: The rest of what was asked.
        services: The workspace's parts.
        need_key: False lets a dry run go on without a credential.

    Raises:
        NbllmError: Something cannot be resolved or sent; nothing was changed.
    """
    prompt = given.text(prompt, "the prompt")
    attachments = given.several(options.attachments)
    if not prompt.strip() and not attachments:
        raise PromptError("the prompt is empty", hint="write a question")
    ref = _model(options, services)
    provider = services.registry.get(ref.provider)
    endpoint = find_endpoint(provider, services, need_key=need_key)
    adapter = load_adapter(provider.kind)
    preset = _preset(options.preset, services)
    shape = shape_of(options.schema, name=options.schema_name) if options.schema is not None else None
    tools = bind_all(options.tools if isinstance(options.tools, Mapping) else given.several(options.tools))
    parts = _attachments(attachments, services)
    _refuse_pictures(parts, ref, services)
    question = Message.user(prompt, *parts)
    turn = services.conversations().begin(
        given.text(options.conversation, "the conversation's name"),
        new=options.new,
        history=options.history,
        append=options.append,
        cell=options.cell,
    )
    request = _request(ref, options, preset, (*turn.messages, question), tools, shape)
    return Plan(
        request=request,
        endpoint=endpoint,
        adapter=adapter,
        question=question,
        turn=turn,
        tools=tools,
        shape=shape,
        max_rounds=options.max_rounds or int(services.settings["max_rounds"]),
        shown_params=_shown(request),
    )


def _model(options: ChatOptions, services: Services) -> ModelRef:
    wanted = None if options.model is None else given.text(options.model, "the model")

    def usable(provider_id: str) -> bool:
        provider = services.registry.get(provider_id)
        status = services.credentials.status(provider, services.registry.key_variables(provider_id))
        has_key = status.source != "none"
        return provider.enabled and (has_key or services.recordings.stands_in(provider_id, has_key=has_key))

    return services.registry.resolve(wanted or services.registry.default_model(usable))


def find_endpoint(provider: ProviderConfig, services: Services, *, need_key: bool = True) -> Endpoint:
    """Where a provider's requests go, with its key.

    Raises:
        NbllmError: It cannot be asked: an address or a key is missing, or it is disabled.
    """
    if why := hindrance(provider):
        raise why
    if not provider.enabled:
        raise RegistryError(
            f"the provider {provider.id} is disabled", hint=f"run `%llm_providers enable {provider.id}`"
        )
    return Endpoint(provider, _key(provider, services, need_key=need_key), services.http)


def _key(provider: ProviderConfig, services: Services, *, need_key: bool) -> Secret | None:
    recordings = services.recordings
    if recordings.stands_in(provider.id, has_key=True):
        return None  # nobody is asked, whatever keys there are
    variables = services.registry.key_variables(provider.id)
    key = services.credentials.find(provider, variables) if not need_key or recordings.mode == "auto" else None
    if key is None and need_key and not recordings.stands_in(provider.id, has_key=False):
        key = services.credentials.require(provider, variables)
    return key


def _preset(name: str | None, services: Services) -> Mapping[str, Any]:
    if name is None:
        return {}
    presets = services.presets()
    if name in presets:
        return presets[name]
    close = difflib.get_close_matches(name, presets, n=3)
    raise SettingsError(
        f"there is no preset {name!r}",
        hint=f"did you mean {', '.join(close)}?" if close else "`%llm_config preset NAME -p k=v` makes one",
        key=f"presets.{name}",
    )


def _attachments(values: Sequence[Any], services: Services) -> tuple[Image | File, ...]:
    cap = float(services.settings["attachment_mb"]) * 1e6
    named = [v if isinstance(v, tuple) and len(v) == 2 and isinstance(v[0], str) else (None, v) for v in values]
    return tuple(attach(value, name=name, cap_bytes=cap) for name, value in named)


def _refuse_pictures(parts: Sequence[Image | File], ref: ModelRef, services: Services) -> None:
    """Several servers drop a picture silently, so what the listing says is looked at first."""
    picture = next((p for p in parts if isinstance(p, Image)), None)
    known = services.known_models(ref.provider).get(ref.model) if picture else None
    if picture is None or known is None or known.input_modalities is None or "image" in known.input_modalities:
        return
    raise PromptError(
        f"{ref.ref} takes no pictures ({picture.name or 'the attachment'})",
        hint=f"its listing says: {', '.join(known.input_modalities)}",
    )


def _request(
    ref: ModelRef,
    options: ChatOptions,
    preset: Mapping[str, Any],
    messages: tuple[Message, ...],
    tools: Mapping[str, BoundTool],
    shape: Shape | None,
) -> ChatRequest:
    read = read_params({**preset, **options.params})
    system = options.system if options.system is not None else read.system
    temperature = options.temperature if options.temperature is not None else read.temperature
    max_tokens = options.max_tokens if options.max_tokens is not None else read.max_tokens
    return ChatRequest(
        provider=ref.provider,
        model=ref.model,
        messages=messages,
        system=None if system is None else given.text(system, "the system text"),
        temperature=_number(temperature, "temperature"),
        max_tokens=_whole(max_tokens, "max_tokens"),
        params=read.rest,
        tools=tuple(t.spec for t in tools.values()),
        schema=shape.schema if shape else None,
        schema_name=shape.name if shape else "answer",
        stream=options.stream,
    )


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters, with those apart that mean the same wherever they are written."""

    system: Any
    temperature: float | None
    max_tokens: int | None
    rest: Mapping[str, Any]
    """In the provider's own words."""


def read_params(params: Mapping[str, Any]) -> Params:
    """Parameters as a request has them.

    Raises:
        PromptError: A value is none that JSON has, or no number where one is needed.
    """
    rest = given.params(params)
    # Named like our own options, these mean the same wherever they are written.
    system, temperature, max_tokens = (rest.pop(name, None) for name in ("system", "temperature", "max_tokens"))
    return Params(system, _number(temperature, "temperature"), _whole(max_tokens, "max_tokens"), rest)


def _number(value: Any, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise PromptError(
            f"{name} is a number from 0, not {value!r}", hint="for example 0.7; leave it out for the default"
        )
    return float(value)


def _whole(value: Any, name: str) -> int | None:
    if value is None:
        return None
    # 0 means one token and -1 no limit to some servers, an error to others: neither is ever sent.
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PromptError(
            f"{name} is a whole number from 1, not {value!r}", hint="leave it out for no limit of your own"
        )
    return value


def _shown(request: ChatRequest) -> dict[str, Any]:
    shown = {"temperature": request.temperature, "max_tokens": request.max_tokens, **request.params}
    return {k: v for k, v in shown.items() if v is not None}


def in_prompt(request: ChatRequest, shape: Shape) -> ChatRequest:
    """The request for a server without structured output: the schema goes into the system text."""
    system = "\n\n".join(filter(None, (request.system, shape.instruction())))
    return replace(request, schema=None, system=system)
