"""Texts lose the keys that are known, in every form, and what looks like a key; everything else stays."""

from __future__ import annotations

import base64
import html
import json
import random
import string
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from key_shapes import SHAPES, encodings, traces
from nbllm.credentials import Secret, looks_like_key, redact, redactor

FORMS: dict[str, Callable[[str], str]] = {
    "exact": lambda k: k,
    "url-encoded": lambda k: quote(k, safe=""),
    "url-encoded, slashes kept": quote,
    "form-encoded": quote_plus,
    "url-encoded twice": lambda k: quote(quote(k, safe=""), safe=""),
    "url-encoded in small letters": lambda k: quote(k, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
    "base64": lambda k: base64.b64encode(k.encode()).decode(),
    "base64 for URLs": lambda k: base64.urlsafe_b64encode(k.encode()).decode(),
    "Basic user:key": lambda k: "Basic " + base64.b64encode(f"user:{k}".encode()).decode(),
    "Basic key:": lambda k: "Basic " + base64.b64encode(f"{k}:".encode()).decode(),
    "base64, alignment 1": lambda k: base64.b64encode(f"x{k}yz".encode()).decode(),
    "base64, alignment 2": lambda k: base64.b64encode(f"xy{k}z".encode()).decode(),
    "JSON": json.dumps,
    "JSON, slashes escaped": lambda k: json.dumps(k).replace("/", "\\/"),
    "JSON, symbols escaped": lambda k: json.dumps(k).replace("+", "\\u002b").replace("=", "\\u003d"),
    "JSON in JSON": lambda k: json.dumps(json.dumps({"key": k})),
    "repr": repr,
    "HTML": html.escape,
    "hex": lambda k: k.encode().hex(),
    "HEX": lambda k: k.encode().hex().upper(),
    "capitals": str.upper,
    "header": lambda k: f"Authorization: Bearer {k}",
    "header in a dict": lambda k: repr({"x-api-key": k}),
    "header in bytes": lambda k: repr([(b"x-goog-api-key", k.encode())]),
    "query": lambda k: f"https://example.invalid/v1/models?key={quote(k)}&page=2",
    "first half": lambda k: k[: max(12, len(k) // 2)],
    "last half": lambda k: k[-max(12, len(k) // 2) :],
    "twelve from the middle": lambda k: k[2:14],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_known_key_is_removed(form: Callable[[str], str], key: str) -> None:
    secret = Secret(key)
    clean = redact(f"the server said <{form(key)}> and no more")

    assert traces(key, clean) == []
    assert clean.startswith("the server said <")
    assert clean.endswith("> and no more")
    assert secret


@pytest.mark.parametrize("form", [form for name, form in FORMS.items() if name not in ("capitals", "JSON in JSON")])
def test_the_control_finds_what_is_not_removed(form: Callable[[str], str]) -> None:
    plain = "".join(random.Random(3).choice(string.ascii_letters) for _ in range(40))
    assert traces(plain, form(plain).lower() if form(plain).isupper() else form(plain)) != []


def test_every_window_of_a_key_is_removed_in_every_encoding(key: str) -> None:
    kept = Secret(key)
    for start in range(len(key) - 11):
        for form in encodings(key[start : start + 12]).values():
            clean = redact(f"({form})")
            assert traces(key, clean) == [], (start, form)
    assert kept


def test_a_key_split_by_nothing_but_words_around_it_goes_whole(key: str) -> None:
    kept = Secret(key)
    assert redact(f"a {key}{key} b") == "a **** b"
    assert kept


def test_a_known_key_inside_of_another_does_not_save_the_rest_of_it() -> None:
    known = Secret("prefix-abcdefghijkl-suffix")
    said = redact("got sk-abcdefghijklmnop1234 and api_key=xyz-abcdefghijkl-9876", [known])
    assert said == "got **** and api_key=****"


def test_keys_passed_in_are_removed_too() -> None:
    key = SHAPES[0].key(seed=99)
    assert redact(key[4:], [Secret(key)]) == "****"


@pytest.mark.parametrize("length", [8, 9, 10, 11])
@pytest.mark.parametrize("around", ["{}", "user:{}", "me:{}", "a:{}:z", "ab:{}", "abc:{}!"])
def test_a_key_of_less_than_twelve_characters_is_removed_whole(around: str, length: int) -> None:
    key = "".join(random.Random(length).choice(string.ascii_letters) for _ in range(length))
    secret = Secret(key)
    hidden = base64.b64encode(around.format(key).encode()).decode()
    left = redact(hidden, [secret]).replace("****", "").rstrip("=")
    assert len(left) <= len(around) * 4 / 3 + 2, "of the key at most the bits that it shares with its neighbours"
    assert redact(f"<{key}> <{key.encode().hex()}>", [secret]) == "<****> <****>"


def test_a_short_key_is_removed_as_a_word_only() -> None:
    """Servers on this machine take keys such as the name of the program."""
    secret = Secret("ollama")
    assert redact("Bearer ollama, from ollamahub", [secret]) == "Bearer ****, from ollamahub"


UNKNOWN = {
    "a bearer token": ("Authorization: Bearer {}", "Authorization: Bearer ****"),
    "a bearer token in words": ("you sent Bearer {} and it expired", "you sent Bearer **** and it expired"),
    "a header": ("x-api-key: {}", "x-api-key: ****"),
    "a header in JSON": ('{{"api-key": "{}"}}', '{{"api-key": "****"}}'),
    "a query": ("GET /v1?key={}&a=1", "GET /v1?key=****&a=1"),
}


@pytest.mark.parametrize("case", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("shape", [s for s in SHAPES if s.id != "escaped"], ids=lambda s: s.id)
def test_an_unknown_key_is_removed_where_keys_stand(case: tuple[str, str], shape: object) -> None:
    key = shape.key(seed=1234)  # type: ignore[attr-defined]
    text, clean = case
    assert redact(text.format(key)) == clean.replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.id not in ("escaped", "short-hex")], ids=lambda s: s.id)
def test_an_unknown_key_with_a_known_prefix_is_removed_anywhere(shape: object) -> None:
    key = shape.key(seed=4321)  # type: ignore[attr-defined]
    assert redact(f"Incorrect API key provided: {key}.") == "Incorrect API key provided: ****."


HARMLESS = [
    "The model `gpt-4o-mini-2024-07-18` does not exist or you do not have access to it.",
    "api-key: required",
    "Authorization header is missing; send Authorization: Bearer YOUR_KEY",
    "Rate limit reached for llama-3.3-70b-versatile in organization org_x on tokens per minute (TPM): Limit 6000",
    "request id req_011CQfR8EvUqx3u8Yhm2t4zC, cf-ray 8c1f0a7b2e4d9f31-FRA",
    "basic authentication is not supported",
    "Unexpected token < in JSON at position 0",
    "https://api.groq.com/openai/v1/chat/completions?page=2&limit=10",
    "the token limit is 8192, max_tokens: 4096",
    "",
    "短い答え 🎉 ünïcödé İstanbul",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_without_a_key_stays(text: str) -> None:
    kept = Secret(SHAPES[0].key())
    assert redact(text) == text
    assert kept


def test_positions_hold_in_text_whose_small_letters_are_longer() -> None:
    """`İ` in small letters is two characters."""
    key = SHAPES[2].key()
    assert redact(f"İİİ {key} İ", [Secret(key)]) == "İİİ **** İ"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.id)
def test_a_key_typed_as_an_argument_is_recognised(shape: object) -> None:
    assert looks_like_key(shape.key(seed=5))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "groq", "openrouter/meta-llama/llama-3.3-70b-instruct:free", "claude-sonnet-4-5-20250929", "demo/guide",
        "accounts/fireworks/models/llama4-maverick-instruct-basic", "https://api.groq.com/openai/v1",
        "/home/me/models/Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf", "temperature=0.2", "GROQ_API_KEY", "--model", "",
        "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "a question in words", "12345678901234567890",
        "@cf/meta/llama-3.1-8b-instruct-fp8", "key-value-store", "sk-local",
    ],
)  # fmt: skip
def test_other_arguments_are_not_taken_for_keys(text: str) -> None:
    assert not looks_like_key(text)


def test_the_redactor_is_the_same_as_a_function(key: str) -> None:
    assert redactor(f"<{key}>", [Secret(key)]) == redact(f"<{key}>", [Secret(key)])
