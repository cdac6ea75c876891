"""Every shape of error body that servers are known to send, and the class it stands for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from nbllm import errors
from nbllm.adapters.bodies import error_from_payload, error_from_response, error_in_body
from nbllm.credentials.secret import Secret

OPENROUTER = {"error": {"message": "Provider returned error", "code": 400, "metadata": {"provider_name": "X"}}}


def openrouter(raw: Any) -> dict[str, Any]:
    """OpenRouter's wrapping of an upstream's body."""
    inner = {**OPENROUTER["error"], "metadata": {"provider_name": "X", "raw": raw}}
    return {"error": inner}


@dataclass(frozen=True)
class Case:
    """A response and what it means."""

    id: str
    status: int
    body: Any
    expected: type[errors.ProviderError]
    words: str = ""
    """Must be in the message."""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float | None = None


CASES = [
    Case(
        "openai",
        400,
        {"error": {"message": "bad thing", "type": "invalid_request_error", "param": None, "code": None}},
        errors.BadRequestError,
        "bad thing",
    ),
    Case(
        "openai model",
        404,
        {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}},
        errors.ModelNotFoundError,
        "does not exist",
    ),
    Case(
        "400 with a model text",
        400,
        {"error": {"message": "Invalid model: x is not a valid model ID"}},
        errors.ModelNotFoundError,
        "not a valid model",
    ),
    Case(
        "litellm model",
        400,
        {"error": {"message": "/chat/completions: Invalid model name passed in model=x"}},
        errors.ModelNotFoundError,
        "Invalid model name",
    ),
    Case(
        "openai quota behind 429",
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan",
                "type": "insufficient_quota",
                "code": "insufficient_quota",
            }
        },
        errors.QuotaError,
        "current quota",
    ),
    Case(
        "quota with a wait is still quota",
        429,
        {"error": {"message": "no", "code": "insufficient_quota"}},
        errors.QuotaError,
        headers={"retry-after": "5"},
        wait=5.0,
    ),
    Case(
        "deepseek 402",
        402,
        {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}},
        errors.QuotaError,
        "Insufficient Balance",
    ),
    Case(
        "anthropic credit behind 400",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the Anthropic API.",
            },
        },
        errors.QuotaError,
        "credit balance",
    ),
    Case(
        "gemini per-minute quota is a rate limit",
        429,
        [
            {
                "error": {
                    "code": 429,
                    "status": "RESOURCE_EXHAUSTED",
                    "message": "You exceeded your current quota, please check your plan and billing details.",
                    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}],
                }
            }
        ],
        errors.RateLimitError,
        "current quota",
        wait=37.0,
    ),
    Case(
        "gemini bad key behind 400",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                    "details": [{"reason": "API_KEY_INVALID"}],
                }
            }
        ],
        errors.AuthenticationError,
    ),
    Case(
        "rate limit with words",
        429,
        {"error": {"message": "Rate limit reached. Please try again in 7.2s"}},
        errors.RateLimitError,
        "Rate limit",
        wait=7.2,
    ),
    Case(
        "openai bad key behind 400",
        400,
        {"error": {"message": "Incorrect API key provided: sk-ab***yz", "code": "invalid_api_key"}},
        errors.AuthenticationError,
    ),
    Case("403", 403, {"error": {"message": "Country not supported"}}, errors.AuthenticationError),
    Case("401 html", 401, "<html><title>401 Authorization Required</title></html>", errors.AuthenticationError),
    Case(
        "azure content filter",
        400,
        {
            "error": {
                "message": "The response was filtered",
                "code": "content_filter",
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
            }
        },
        errors.ContentFilterError,
        "filtered",
    ),
    Case(
        "azure flat",
        404,
        {"statusCode": 404, "message": "Resource not found"},
        errors.ModelNotFoundError,
        "Resource not found",
    ),
    Case(
        "openrouter raw as text",
        400,
        openrouter('{"error": {"message": "max_tokens is too large"}}'),
        errors.BadRequestError,
        "max_tokens is too large",
    ),
    Case(
        "openrouter raw as json",
        400,
        openrouter({"error": {"message": "tools are not supported"}}),
        errors.UnsupportedError,
        "tools are not supported",
    ),
    Case(
        "openrouter raw as plain words", 400, openrouter("upstream says no"), errors.BadRequestError, "upstream says no"
    ),
    Case(
        "mistral message as a dict",
        422,
        {
            "object": "error",
            "message": {"detail": [{"loc": ["body", "temperature"], "msg": "must be a number", "type": "x"}]},
        },
        errors.BadRequestError,
        "body.temperature: must be a number",
    ),
    Case(
        "mistral detail list",
        422,
        {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]},
        errors.BadRequestError,
        "body.messages: Field required",
    ),
    Case("fastapi detail", 404, {"detail": "Not Found"}, errors.ModelNotFoundError, "Not Found"),
    Case("ollama", 404, {"error": "model 'x' not found"}, errors.ModelNotFoundError, "model 'x' not found"),
    Case(
        "tgi",
        422,
        {"error": "Input validation error: `inputs` must have less than 512 tokens", "error_type": "validation"},
        errors.ContextLengthError,
        "512 tokens",
    ),
    Case(
        "old vllm",
        400,
        {"object": "error", "message": "This model's maximum context length is 4096 tokens", "code": 40303},
        errors.ContextLengthError,
        "4096",
    ),
    Case("cohere", 429, {"message": "too many requests", "id": "abc"}, errors.RateLimitError, "too many requests"),
    Case(
        "anthropic",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_9"},
        errors.OverloadedError,
        "Overloaded",
    ),
    Case(
        "anthropic overflow",
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"},
        },
        errors.ContextLengthError,
        "too long",
    ),
    Case(
        "llama.cpp overflow",
        400,
        {
            "error": {
                "code": 400,
                "type": "exceed_context_size_error",
                "message": "request (6024 tokens) exceeds the available context size (512 tokens)",
            }
        },
        errors.ContextLengthError,
    ),
    Case(
        "llama.cpp overflow by type alone",
        500,
        {"error": {"code": 500, "type": "exceed_context_size_error"}},
        errors.ContextLengthError,
    ),
    Case(
        "openai overflow by code alone",
        400,
        {"error": {"message": "no", "code": "context_length_exceeded"}},
        errors.ContextLengthError,
    ),
    Case(
        "gemini overflow",
        400,
        {"error": {"message": "input token count (9) exceeds the maximum (8)."}},
        errors.ContextLengthError,
    ),
    Case(
        "llama.cpp image",
        500,
        {"error": {"code": 500, "message": "image input is not supported - hint: mmproj"}},
        errors.UnsupportedError,
        "image input",
    ),
    Case(
        "unknown parameter",
        400,
        {"error": {"message": "Unrecognized request argument supplied: foo"}},
        errors.UnsupportedError,
        "foo",
    ),
    Case(
        "unsupported value",
        400,
        {"error": {"message": "Unsupported value: 'temperature'", "code": "unsupported_value"}},
        errors.UnsupportedError,
    ),
    Case("no tools", 400, {"error": {"message": "llama2 does not support tools"}}, errors.UnsupportedError),
    Case(
        "code as a number in a string",
        200,
        {"error": {"message": "slow", "code": "429"}},
        errors.RateLimitError,
        "slow",
    ),
    Case(
        "code as an int in a 200", 200, {"error": {"message": "Internal", "code": 502}}, errors.ServerError, "Internal"
    ),
    Case(
        "type alone in a 200",
        200,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        errors.OverloadedError,
    ),
    Case("a bare word in a 200", 200, {"error": "the runner has died"}, errors.ServerError, "the runner has died"),
    Case(
        "html",
        502,
        "<html><head><title>502 Bad&nbsp;Gateway</title></head><body><h1>x</h1></body></html>",
        errors.ServerError,
        "502 Bad",
    ),
    Case(
        "html without title",
        503,
        "<p>We are <b>down</b></p><script>alert(1)</script>",
        errors.ServerError,
        "We are down",
    ),
    Case("text", 500, "Internal Server Error", errors.ServerError, "Internal Server Error"),
    Case("empty", 503, "", errors.ServerError),
    Case(
        "event stream",
        429,
        'data: {"error": {"message": "slow down", "code": "429"}}\n\n',
        errors.RateLimitError,
        "slow",
    ),
    Case("payload too large", 413, {"error": {"message": "too big"}}, errors.BadRequestError),
    Case("conflict", 409, {"error": {"message": "busy"}}, errors.ProviderError),
    Case("teapot", 418, "short and stout", errors.ProviderError, "stout"),
    Case("not implemented", 501, {"error": {"message": "no embeddings"}}, errors.UnsupportedError),
    Case("json that is no error", 500, {"hello": [1, {"a": None}]}, errors.ServerError),
    Case("empty list", 500, [], errors.ServerError),
    Case("null", 500, None, errors.ServerError),
    Case("a number", 500, 7, errors.ServerError),
    Case(
        "message is a number", 400, {"error": {"message": 7, "type": ["x"], "code": {"a": 1}}}, errors.BadRequestError
    ),
]


def error_of(case: Case) -> errors.ProviderError:
    """The error that is made of the case."""
    if case.status == 200:
        assert error_in_body(case.body)
        return error_from_payload(case.body, provider="there", headers=case.headers, model="x")
    body = case.body if isinstance(case.body, str) else json.dumps(case.body)
    return error_from_response(
        provider="there", status=case.status, headers=case.headers, body=body.encode(), model="x"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_each_shape_becomes_its_class_with_its_words(case: Case) -> None:
    error = error_of(case)

    assert type(error) is case.expected
    assert case.words in error.message
    assert error.hint
    assert error.provider == "there"
    assert error.retry_after_s == case.wait
    assert "\n" not in error.message
    if case.status != 200:
        assert error.status == case.status


@pytest.mark.parametrize("case", [c for c in CASES if c.expected is errors.AuthenticationError], ids=lambda c: c.id)
def test_a_refused_key_never_shows_the_servers_words(case: Case) -> None:
    error = error_of(case)

    assert error.body is None
    assert "sk-ab" not in str(vars(error))


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (402, False), (404, False), (408, True), (409, True), (418, False), (429, True),
     (500, True), (501, False), (502, True), (503, True), (504, True), (529, True)],
)  # fmt: skip
def test_what_may_be_asked_again(status: int, retryable: bool) -> None:
    error = error_from_response(provider="there", status=status, headers={}, body=b"{}", model=None)

    assert error.retryable is retryable


def test_quota_behind_a_429_is_not_asked_again() -> None:
    body = json.dumps({"error": {"code": "insufficient_quota"}}).encode()

    assert not error_from_response(provider="there", status=429, headers={}, body=body, model=None).retryable


@pytest.mark.parametrize("name", ["x-request-id", "request-id", "apim-request-id", "cf-ray"])
def test_the_request_id_is_kept(name: str) -> None:
    error = error_from_response(provider="there", status=500, headers={name: "id-1"}, body=b"", model=None)

    assert error.request_id == "id-1"


def test_anthropics_request_id_is_read_from_the_body() -> None:
    body = b'{"type": "error", "error": {"type": "api_error", "message": "x"}, "request_id": "req_9"}'

    assert error_from_response(provider="p", status=500, headers={}, body=body, model=None).request_id == "req_9"


def test_long_words_are_cut_and_hidden_characters_shown() -> None:
    body = json.dumps({"error": {"message": "a\u202eb " + "x" * 5000}}).encode()
    error = error_from_response(provider="there", status=400, headers={}, body=body, model=None)

    assert error.body is not None
    assert len(error.body) <= 500
    assert "\u202e" not in error.message


def test_a_key_in_the_servers_words_is_taken_out() -> None:
    key = Secret("zq81-mine-and-mine-alone-77")
    body = json.dumps({"error": {"message": f"got {key.reveal()} and sk-abcdefghijklmnop1234"}}).encode()
    error = error_from_response(provider="there", status=400, headers={}, body=body, model=None)

    assert "mine-alone" not in str(vars(error))
    assert "mnop1234" not in str(vars(error))


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [], "usage": None},
        {"choices": [{"delta": {"content": "error"}}], "error": None},
        {"id": "1", "message": {"role": "assistant", "content": "hi"}, "done": True},
        {"type": "message_start", "message": {}},
        {"candidates": []},
        {"models": []},
        {},
        [],
        "error",
        None,
        7,
    ],
)
def test_an_answer_is_no_error(payload: Any) -> None:
    assert not error_in_body(payload)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 5000, b"\xff" * 999, b'{"error":' * 500 + b"1" + b"}" * 500]
)
def test_no_body_makes_it_fail(body: bytes) -> None:
    assert isinstance(
        error_from_response(provider="p", status=500, headers={}, body=body, model=None), errors.ServerError
    )
