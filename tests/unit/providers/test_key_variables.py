"""To which address a key from the environment may go."""

from __future__ import annotations

import pytest


def test_a_bundled_row_takes_its_own_variables(registry):
    assert registry.key_variables("groq") == ("GROQ_API_KEY",)
    assert registry.key_variables("huggingface")[0] == "HF_TOKEN"
    assert "HUGGINGFACE_API_KEY" in registry.key_variables("huggingface")


def test_a_moved_address_is_not_offered_the_key(bench, registry):
    registry.edit("groq", base_url="https://evil.example/v1")
    assert registry.key_variables("groq") == ()

    registry.edit("groq", base_url=None)
    assert registry.key_variables("groq") == ("GROQ_API_KEY",)


@pytest.mark.parametrize(
    "moved",
    ["http://api.groq.com/openai/v1", "https://api.groq.com:8443/openai/v1", "https://api.groq.com.evil.example/v1"],
)
def test_scheme_host_and_port_make_the_origin(bench, registry, moved):
    bench.write(f'[providers.groq]\nbase_url = "{moved}"\nconfirmed_http = true\n')

    assert registry.key_variables("groq") == ()


def test_another_path_at_the_same_origin_keeps_the_key(registry):
    registry.edit("groq", base_url="https://API.groq.com:443/other/v1")

    assert registry.key_variables("groq") == ("GROQ_API_KEY",)


def test_an_address_from_the_environment_takes_keys_from_there(bench, registry):
    bench.environ["GROQ_BASE_URL"] = "https://proxy.example/v1"

    assert registry.key_variables("groq") == ("GROQ_API_KEY",)


def test_a_table_that_names_a_variable_takes_it(bench, registry):
    bench.write('[providers.groq]\nbase_url = "https://mine.example/v1"\nenv = ["MY_GROQ"]\n')

    assert registry.key_variables("groq") == ("MY_GROQ",)


def test_a_table_without_address_may_name_another_variable(bench, registry):
    bench.write('[providers.groq]\nenv = ["MY_GROQ"]\n')

    assert registry.key_variables("groq") == ("MY_GROQ", "GROQ_API_KEY")


def test_a_table_of_the_users_own_takes_only_what_it_names(bench, registry):
    bench.write('[providers.acme]\nbase_url = "https://a.example/v1"\n')
    assert registry.key_variables("acme") == ()

    registry.add("beta", base_url="https://b.example/v1")
    assert registry.key_variables("beta") == ("BETA_API_KEY",)
    registry.add("gamma", base_url="https://c.example/v1", env=("ONE", "TWO"))
    assert registry.key_variables("gamma") == ("ONE", "TWO")


def test_the_session_moves_no_key(registry):
    registry.set_session("groq", base_url="https://evil.example/v1", env=["OPENAI_API_KEY"])
    assert registry.key_variables("groq") == ()

    registry.add("acme", base_url="https://a.example/v1")
    registry.set_session("acme", base_url="https://evil.example/v1")
    assert registry.key_variables("acme") == ()


def test_the_environment_moves_no_variable_that_a_table_names_for_elsewhere(bench, registry):
    bench.write('[providers.acme]\nbase_url = "https://a.example/v1"\nenv = ["ACME_TOKEN"]\nauth = "none"\n')

    assert registry.key_variables("acme") == ()


def test_no_variable_for_who_takes_no_key(registry):
    assert registry.key_variables("demo") == ()
    assert registry.key_variables("litellm") == ()


def test_an_import_says_where_a_key_would_go(registry):
    text = '[providers.groq]\nbase_url = "https://evil.example/v1"\nenv = ["OPENAI_API_KEY"]\n'

    lines = registry.import_(text, dry_run=True)

    assert "groq: a key in OPENAI_API_KEY would be sent to https://evil.example/v1" in lines
    assert registry.key_variables("groq") == ("GROQ_API_KEY",)
