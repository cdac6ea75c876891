"""Addresses with gaps: how they are filled, and what does not fit."""

from __future__ import annotations

import pytest

from nbllm.errors import RegistryError
from nbllm.providers import templates

AZURE = "https://${AZURE_RESOURCE_NAME}.openai.azure.com/openai/v1"
HOST = "https://${DATABRICKS_HOST}/ai-gateway/mlflow/v1"
ACCOUNT = "https://api.example.com/accounts/${ACCOUNT_ID}/ai/v1"


@pytest.mark.parametrize(
    ("template", "value", "address"),
    [
        (AZURE, "mine", "https://mine.openai.azure.com/openai/v1"),
        (AZURE, " mine ", "https://mine.openai.azure.com/openai/v1"),
        (HOST, "adb-1.2.example.net", "https://adb-1.2.example.net/ai-gateway/mlflow/v1"),
        (HOST, "https://adb-1.2.example.net/", "https://adb-1.2.example.net/ai-gateway/mlflow/v1"),
        (HOST, "box.example.net:8443", "https://box.example.net:8443/ai-gateway/mlflow/v1"),
        (ACCOUNT, "0123abc", "https://api.example.com/accounts/0123abc/ai/v1"),
    ],
)
def test_a_variable_fills_its_gap(template, value, address):
    assert templates.filled(template, {templates.variables(template)[0]: value}) == address


@pytest.mark.parametrize("environ", [{}, {"AZURE_RESOURCE_NAME": ""}, {"AZURE_RESOURCE_NAME": "  "}])
def test_without_the_variable_there_is_no_address(environ):
    assert templates.filled(AZURE, environ) is None


@pytest.mark.parametrize(
    ("template", "value"),
    [
        *((AZURE, v) for v in ("evil.example/", "evil.example#", "a@b", "https://mine.openai.azure.com", "..", "a b")),
        *((HOST, v) for v in ("http://adb.example.net", "a@evil.example", "evil.example/path", "[::1]", "-x")),
        *((ACCOUNT, v) for v in ("../admin", "a/b", "a?b", "%2e%2e", "ä")),
    ],
)
def test_what_would_lead_elsewhere_is_refused_and_not_repeated(template, value):
    with pytest.raises(RegistryError) as caught:
        templates.filled(template, {templates.variables(template)[0]: value})

    assert templates.variables(template)[0] in str(caught.value)
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "path"),
    [(AZURE, "/openai/v1"), (HOST, "/ai-gateway/mlflow/v1"), (ACCOUNT, ""), ("${WHOLE_URL}/a/v1", "/a/v1"),
     ("https://${X}.example.com", "")],
)  # fmt: skip
def test_the_path_that_all_of_them_have(template, path):
    assert templates.path(template) == path


def test_each_variable_is_named_once():
    assert templates.variables("https://${B}.example.com/${A}/${B}") == ("B", "A")
