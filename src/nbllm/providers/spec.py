"""What a provider's row says, and what is known of a model. Data only; no network, no key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

KINDS = ("openai", "anthropic", "gemini", "ollama", "url", "demo")
"""Wire formats that come with nbllm; the entry-point group `nbllm.adapters` adds others."""

AUTH_SCHEMES: Mapping[str, str | None] = {
    "bearer": "Authorization: Bearer {key}",
    "x-api-key": "x-api-key: {key}",
    "x-goog-api-key": "x-goog-api-key: {key}",
    "api-key": "api-key: {key}",
    "none": None,
}
"""Names that `auth` takes, and the header each stands for. Anything else is a header template of its own."""

_LISTING_PATHS = {"anthropic": "/v1/models", "ollama": "/api/tags", "url": ""}
"""Where a wire format has its listing, below the base URL, when that is not `/models`."""

Status = Literal["live", "unverified", "retired", "unsupported"]

_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_TEMPLATE = re.compile(r"[A-Za-z0-9-]+: [^\r\n]*\{key\}[^\r\n{}]*")


class _Row(BaseModel):
    # hide_input_in_errors: a value typed into the wrong field may be a key.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RateLimit(_Row):
    """What the provider allows; None: no limit known."""

    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)
    concurrency: int | None = Field(default=None, gt=0)


class Timeouts(_Row):
    """Seconds. There is no limit on the whole of a stream."""

    connect_s: float = Field(default=8.0, gt=0)
    first_token_s: float = Field(default=60.0, gt=0)
    between_tokens_s: float = Field(default=60.0, gt=0)


class Quirk(_Row):
    """A way in which a server departs from its wire format, and how that is known."""

    value: Any
    source: str
    """Page, recording or test that shows it."""
    date: str
    """When it was seen, YYYY-MM-DD."""


def checked_auth(value: str) -> str:
    """A value of `auth`.

    Raises:
        ValueError: It is neither a name of `AUTH_SCHEMES` nor a header template.
    """
    if value not in AUTH_SCHEMES and not _TEMPLATE.fullmatch(value):
        raise ValueError(f"auth is one of {', '.join(AUTH_SCHEMES)} or a template 'Header-Name: ... {{key}}'")
    return value


class Listing(_Row):
    """How the model listing is shaped; the notation of fields is explained in docs/reference/provider-rows.md.

    A field is a path such as `a.b`; `a | b` takes the first that is there; `a[].b` looks into a list. For yes or no,
    `a[] = word` asks whether the list has the word.
    """

    path: str = "data[]"
    """Where the rows are: `data[]`, `models[]`, `[]` (a list at the top) or `{}` (an object keyed by id)."""
    paging: Literal["after_id", "page_token", "page"] | None = None
    """How further pages are asked for: Anthropic's `after_id`, Gemini's `pageToken`, a number (`page`, `limit`,
    `total`). None: as the kind has it, which for most is one page."""
    id: str = "id"
    strip: str | None = None
    """What ids have in front that is no part of them, such as `models/`."""
    skip: tuple[str, ...] = ()
    """Ids of rows that are no models, such as a row that documents the others."""
    name: str | None = None
    type: str | None = None
    """`chat`, `embedding`, `image`, ... where the listing tells them apart."""
    context: str | None = None
    max_input: str | None = None
    max_output: str | None = None
    input_modalities: str | None = None
    output_modalities: str | None = None
    features: str | None = None
    """A list of words, or an object of yes and no, that names what a model can do."""
    tools: str | None = None
    reasoning: str | None = None
    structured_output: str | None = None
    created: str | None = None
    created_unit: Literal["s", "ms", "iso", "request"] | None = None
    """`request`: the field holds the moment of the request, which says nothing. None: recognised by its size."""
    status: str | None = None
    routes: str | None = None
    """A list of upstreams, each with its own price and limits; what they agree on is the model's."""
    input_price: str | None = None
    output_price: str | None = None
    cached_input_price: str | None = None
    cache_write_price: str | None = None
    other_price: str | None = None
    """A price by another measure, such as the hour; a token price of 0 beside it is not free."""
    price_unit: str | None = None
    """`usd_per_token`, `usd_per_mtok`, `1e-4_usd_per_mtok`, `unknown`, or the name of the field that says it."""
    join_url: str | None = None
    """A second listing that adds facts."""
    join_path: str = "data[]"
    """Where the rows of the second listing are."""
    join_on: str | None = None
    """`ours = theirs`: the fields that must be equal."""
    join_paging: Literal["after_id", "page_token", "page"] | None = None
    join_auth: str | None = None
    """How the key goes to the second listing, as in `auth`. None: as the row has it."""

    @field_validator("join_auth")
    @classmethod
    def _auth_is_known(cls, value: str | None) -> str | None:
        return None if value is None else checked_auth(value)


class ModelRow(_Row):
    """A model added by hand."""

    id: str = Field(min_length=1)
    name: str | None = None
    context: int | None = Field(default=None, gt=0)
    max_output: int | None = Field(default=None, gt=0)
    input_price: float | None = Field(default=None, ge=0)
    """USD per million tokens."""
    output_price: float | None = Field(default=None, ge=0)


class Serving(_Row):
    """How nbllm serves a model file itself (`[providers.ID.serve]`, for rows with `gguf`)."""

    context: int | None = Field(default=None, gt=0)
    """Tokens of context for each request; None: what the model was trained for, at most 8192."""
    parallel: int = Field(default=2, gt=0, le=64)
    """Requests answered at the same time; others wait. Each reserves memory for its own context."""
    threads: int | None = Field(default=None, gt=0)
    """None: the engine decides."""
    gpu_layers: int | None = Field(default=None, ge=-1)
    """Layers that go to the graphics card, -1 for all; None: the engine decides."""
    startup_s: float = Field(default=120.0, gt=0)
    """Seconds that loading the model may take."""


class ProviderConfig(_Row):
    """One provider: the row of `providers.toml`, of `config.toml`, of an entry point."""

    id: str
    name: str = ""
    kind: str = "openai"
    base_url: str = ""
    """openai and gemini: with the version path; anthropic and ollama: the bare origin. No slash at the end."""
    base_url_template: str | None = None
    """What the address looks like where each customer has an own one: `https://${VARIABLE}.example.com/v1`. `base_url`
    is empty until the variables are set, or the user gives an address."""
    models_url: str | None = None
    """Where the listing is, when it is not where the kind has it."""
    env: tuple[str, ...] = ()
    """Variables that may hold the key, most common first."""
    base_url_env: tuple[str, ...] = ()
    auth: str = "bearer"
    """A name of `AUTH_SCHEMES` or a header template such as `Authorization: Api-Key {key}`."""
    key_optional: bool = False
    """True for servers that want a key only when they were started with one."""
    models_need_key: bool | None = None
    """Whether the listing wants a key; None: not known, so the key goes along where there is one."""
    headers: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Sent with every request to the row's origin. Their values may be secret, so nothing shows them. A value with
    `<...>` in it is to be filled in by the user; nothing is asked before."""
    params: Mapping[str, Any] = Field(default_factory=dict)
    """Parameters sent with each chat unless the call sets them."""
    extra_body: Mapping[str, Any] = Field(default_factory=dict)
    listing: Listing = Field(default_factory=Listing)
    models: tuple[ModelRow, ...] = ()
    rate_limit: RateLimit = Field(default_factory=RateLimit)
    timeout: Timeouts = Field(default_factory=Timeouts)
    quirks: Mapping[str, Quirk] = Field(default_factory=dict)
    doc: str | None = None
    status: Status = "live"
    note: str | None = None
    """A sentence for people: why it is retired, what is special, which of two sources was followed and why."""
    enabled: bool = True
    confirmed_http: bool = False
    """The user agreed to plain http to a host that is not this machine."""
    gguf: str | None = None
    """A model file that nbllm serves itself, as a child process (extra `local`)."""
    serve: Serving = Field(default_factory=Serving)
    local: bool = False
    """A server on this machine."""

    @field_validator("id")
    @classmethod
    def _id_is_plain(cls, value: str) -> str:
        if not _ID.fullmatch(value):
            raise ValueError("an id is made of a-z, 0-9 and -, and starts with a letter or digit")
        return value

    @field_validator("auth")
    @classmethod
    def _auth_is_known(cls, value: str) -> str:
        return checked_auth(value)

    @field_validator("models", mode="before")
    @classmethod
    def _models_may_be_ids(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [{"id": m} if isinstance(m, str) else m for m in value]
        return value

    @property
    def title(self) -> str:
        """The name for people."""
        return self.name or self.id

    @property
    def needs_key(self) -> bool:
        """Whether nothing can be asked without a key."""
        return self.auth != "none" and not self.key_optional

    @property
    def listing_url(self) -> str:
        """Where the models are listed: `models_url`, else where the wire format has it."""
        return self.models_url or self.base_url.rstrip("/") + _LISTING_PATHS.get(self.kind, "/models")

    def quirk(self, name: str, default: Any = None) -> Any:
        """The value of a quirk."""
        found = self.quirks.get(name)
        return default if found is None else found.value


def env_id(provider: str) -> str:
    """The id as it stands in variables: `z-ai` is `Z_AI`, `302ai` is `LLM_302AI`."""
    upper = provider.upper().replace("-", "_")
    return f"LLM_{upper}" if upper[:1].isdigit() else upper


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of one model of one provider. None: not known."""

    provider: str
    id: str
    name: str | None = None
    type: str | None = None
    """`chat`, `embedding`, `image`, ... (`nbllm.adapters.listing_types`), or a word of the provider's own."""
    context: int | None = None
    """Tokens of prompt and answer together."""
    max_input: int | None = None
    """Tokens of prompt alone, where the provider counts them apart."""
    max_output: int | None = None
    input_price: float | None = None
    """USD per million tokens, as all prices."""
    output_price: float | None = None
    cached_input_price: float | None = None
    cache_write_price: float | None = None
    input_modalities: tuple[str, ...] | None = None
    output_modalities: tuple[str, ...] | None = None
    tools: bool | None = None
    reasoning: bool | None = None
    structured_output: bool | None = None
    created: str | None = None
    """ISO date."""
    status: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    """Field name to where its value comes from and of which day."""

    @property
    def ref(self) -> str:
        """`provider/id`."""
        return f"{self.provider}/{self.id}"
