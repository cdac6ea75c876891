"""A diff shows what changes, and no key that stands in the file."""

from __future__ import annotations

import pytest

from key_shapes import SHAPES, KeyShape, traces
from nbllm.credentials import Secret
from nbllm.exporters.difference import difference, without_keys

LINES = (
    "    api_key: {key}",
    "    api_key: '{key}' # mine",
    '      "apiKey": "{key}",',
    '      "apiKey": "{key}" }}, // mine',
    'experimental_bearer_token = "{key}"',
    "headers: {{authorization: Bearer {key}, x-other: 1}}",
    "provider add mine --api-key {key} --name x",
    "provider add mine --api-key '{key}'",
    "export MINE_API_KEY={key}",
    "- {key}",
    "  {key}",
    "# old key {key}",
    "url: https://mine.example/v1?key={key}",
    "OPENAI_API_KEY: >- {key}",
    "secret = {key}",
    '"token":"{key}"',
)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.id)
@pytest.mark.parametrize("line", LINES)
def test_no_key_of_any_shape_is_shown(line: str, shape: KeyShape) -> None:
    key = shape.key()
    assert traces(key, without_keys(line.format(key=key))) == []


def test_a_key_that_this_process_holds_is_known_in_any_place() -> None:
    held = Secret("plain-words-of-mine")
    assert "words" not in without_keys(f"# {held.reveal()}")


@pytest.mark.parametrize("word", ["hunter2", "s3cr3t", "correct horse battery"])
@pytest.mark.parametrize("name", ["password", "api_key", "apiKey", "auth_token", "client_secret", "master_key"])
def test_a_short_secret_is_known_by_its_name(name: str, word: str) -> None:
    for line in (f"{name}: {word}", f'"{name}": "{word}",', f"{name} = '{word}'"):
        assert word not in without_keys(line)


@pytest.mark.parametrize(
    "line",
    [
        'env_key = "GROQ_API_KEY"',
        'env_http_headers = { api-key = "AZURE_API_KEY" }',
        '"apiKey": "{env:GROQ_API_KEY}",',
        '"apiKey": "{env:GROQ_API_KEY}"',
        "api_key: os.environ/GROQ_API_KEY",
        "apiKey: ${{ secrets.GROQ_API_KEY }}",
        "api-key-env: GROQ_API_KEY",
        "api_key_name: groq",
        '--api-key "$GROQ_API_KEY"',
        "max_tokens: 8192",
        '"max_input_tokens": 120000,',
        "input_cost_per_token: 0.00000011",
        "model: openai/meta-llama/llama-4-scout:free@v1",
        "base_url: https://api.groq.com/openai/v1",
        "keep: alive",
        "[model_providers.keyhole]",
    ],
)
def test_what_is_no_secret_can_be_read(line: str) -> None:
    assert without_keys(line) == line


def test_only_what_changes_is_marked_and_control_characters_are_shown() -> None:
    shown = difference("a: 1\nb: \x1b[31m2\n", "a: 1\nb: \x1b[31m2\nc: 3\n", "file")
    assert shown == "--- file (as it is)\n+++ file (as it will be)\n@@ -1,2 +1,3 @@\n a: 1\n b: <U+001B>[31m2\n+c: 3"
    assert difference("a\n", "a\n", "file") == ""
