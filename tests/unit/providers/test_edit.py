"""Changes to the user's file: what is written, what is kept, what is refused."""

from __future__ import annotations

import tomllib

import pytest

from nbllm.errors import RegistryError, UnknownProviderError

FILE = """\
# mine
[providers.acme] # the rocket people
base_url = "https://a.example/v1" # do not touch
# a thought
name = "Acme"

[settings]
model = "acme/rocket" # fast

[providers.groq]
enabled = true
"""


def test_what_is_added_is_read_again(bench, registry):
    registry.add(
        "acme",
        base_url="https://a.example/v1/chat/completions",
        kind="openai",
        env="ACME_KEY",
        headers={"X-Team": "a"},
        params={"temperature": 0.5, "stop": ["x"], "more": {"deep": [1, 2]}},
        models=["m1", {"id": "m2", "context": 10}],
        name=None,
    )
    row = bench.registry().get("acme")

    assert row.base_url == "https://a.example/v1"
    assert row.env == ("ACME_KEY",)
    assert row.headers == {"X-Team": "a"}
    assert row.params == {"temperature": 0.5, "stop": ["x"], "more": {"deep": [1, 2]}}
    assert [m.id for m in row.models] == ["m1", "m2"]
    assert row.models[1].context == 10
    assert registry.remarks("acme") == ("removed /chat/completions, which nbllm adds itself",)


def test_a_model_file_is_a_provider_without_address(bench, registry):
    row = registry.add("mine", gguf="/models/tiny.gguf")

    assert row.gguf == "/models/tiny.gguf"
    assert row.local
    assert not row.needs_key
    assert registry.key_variables("mine") == ()


def test_comments_and_order_stay(bench, registry):
    bench.write(FILE)
    registry.edit("acme", name="New", headers={"X-A": "1"})
    registry.add("beta", base_url="https://b.example/v1")
    registry.edit("groq", name="G")
    text = bench.file.read_text()

    for kept in ("# mine", "# the rocket people", "# do not touch", "# a thought", "# fast"):
        assert kept in text
    assert tomllib.loads(text) == {
        "providers": {
            "acme": {"base_url": "https://a.example/v1", "name": "New", "headers": {"X-A": "1"}},
            "groq": {"enabled": True, "name": "G"},
            "beta": {"base_url": "https://b.example/v1", "env": ["BETA_API_KEY"]},
        },
        "settings": {"model": "acme/rocket"},
    }


@pytest.mark.parametrize(
    "text",
    [
        'providers.acme.base_url = "https://a.example/v1"\n',
        'providers = { acme = { base_url = "https://a.example/v1" } }\n',
        '[providers]\nacme = { base_url = "https://a.example/v1" }\n',
        '[providers.acme]\nbase_url = "https://a.example/v1"\n[settings]\n[providers.groq.headers]\nx = "1"\n',
        '[settings]\n[providers.acme]\nbase_url = "https://a.example/v1"\n[aliases]\n[providers.xai]\nname = "x"\n',
    ],
    ids=["dotted", "inline", "inline below", "split tables", "out of order"],
)
def test_any_way_to_write_the_table_can_be_changed(bench, registry, text):
    bench.write(text)
    registry.edit("acme", name="New")
    registry.add("beta", base_url="https://b.example/v1")
    registry.edit("groq", headers={"y": "2"})
    registry.set_enabled("xai", False)
    registry.remove("acme")
    found = tomllib.loads(bench.file.read_text())["providers"]

    assert "acme" not in found
    assert found["beta"]["base_url"] == "https://b.example/v1"
    assert found["groq"]["headers"]["y"] == "2"
    assert found["xai"]["enabled"] is False


def test_edit_lays_over_and_takes_away(registry):
    registry.add("acme", base_url="https://a.example/v1", headers={"A": "1", "B": "2"}, params={"top_p": 0.5})
    row = registry.edit("acme", headers={"B": None, "C": "3"}, params=None, name="Acme")

    assert row.headers == {"A": "1", "C": "3"}
    assert row.params == {}
    assert row.name == "Acme"
    assert registry.edit("acme", headers={"A": None, "C": None}).headers == {}


REFUSED = {
    "taken": ("groq", {"base_url": "https://a.example/v1"}, "already a provider"),
    "no id": ("Acme!", {"base_url": "https://a.example/v1"}, "an id is made of"),
    "empty id": ("", {"base_url": "https://a.example/v1"}, "an id is made of"),
    "no address": ("acme", {}, "no base_url"),
    "bad address": ("acme", {"base_url": "https://a.example/v1?key=canary"}, "query"),
    "plain http": ("acme", {"base_url": "http://a.example/v1"}, "plain http"),
    "unknown field": ("acme", {"base_url": "https://a.example", "colour": "canary"}, "no field 'colour'"),
    "unknown kind": ("acme", {"base_url": "https://a.example", "kind": "soap"}, "kind is not one of"),
    "key header": ("acme", {"base_url": "https://a.example", "headers": {"X-API-Key": "canary"}}, "would hold a key"),
    "cookie": ("acme", {"base_url": "https://a.example", "headers": {"Cookie": "canary"}}, "would hold a key"),
    "key parameter": ("acme", {"base_url": "https://a.example", "params": {"api_key": "canary"}}, "would hold a key"),
    "bad header": ("acme", {"base_url": "https://a.example", "headers": {"X": ["canary"]}}, "headers.X"),
    "bad limit": ("acme", {"base_url": "https://a.example", "timeout": {"connect_s": -1}}, "timeout.connect_s"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=list(REFUSED))
def test_a_refused_addition_changes_nothing(bench, registry, case):
    id, fields, said = case
    with pytest.raises(RegistryError) as caught:
        registry.add(id, **fields)

    assert said in caught.value.message
    assert "canary" not in str(caught.value)
    assert not bench.file.exists()


def test_plain_http_is_taken_when_it_was_agreed_to(registry):
    assert registry.add("box", base_url="http://box.lan/v1", confirmed_http=True).base_url == "http://box.lan/v1"
    assert registry.add("open", base_url="http://box.lan/v1", auth="none").auth == "none"
    assert any("everybody on the way" in r for r in registry.remarks("open"))
    with pytest.raises(RegistryError):
        registry.edit("groq", base_url="http://box.lan/v1")


def test_agreement_to_one_host_is_none_to_another(bench, registry):
    bench.write('[providers.openai]\nbase_url = "http://box.lan/v1"\nconfirmed_http = true\n')
    registry.set_session("openai", base_url="https://h.example/v1")

    with pytest.raises(RegistryError, match="plain http"):
        registry.set_session("openai", base_url="http://other.lan/v1")


def test_a_refused_session_change_leaves_the_row(registry):
    with pytest.raises(RegistryError):
        registry.set_session("groq", base_url="ftp://h")
    assert registry.get("groq").base_url == "https://api.groq.com/openai/v1"


def test_removing(bench, registry):
    registry.add("acme", base_url="https://a.example/v1")
    registry.edit("groq", base_url="https://b.example/v1")

    said = registry.remove(["acme", "groq"])

    assert said == ["acme: removed", "groq: your changes are removed, the row that comes with nbllm counts again"]
    assert registry.get("groq").base_url == "https://api.groq.com/openai/v1"
    with pytest.raises(UnknownProviderError):
        registry.get("acme")


def test_what_cannot_be_removed_changes_nothing(bench, registry):
    registry.add("acme", base_url="https://a.example/v1")
    bench.environ |= {"BETA_BASE_URL": "https://b.example/v1", "BETA_API_KEY": "x"}
    before = bench.file.read_text()

    with pytest.raises(RegistryError, match="comes with nbllm and cannot be removed") as caught:
        registry.remove(["acme", "groq"])
    assert "disable groq" in (caught.value.hint or "")
    with pytest.raises(RegistryError, match="environment BETA_BASE_URL"):
        registry.remove("beta")
    with pytest.raises(UnknownProviderError):
        registry.remove(["acme", "nope"])
    assert bench.file.read_text() == before


def test_a_broken_row_can_be_mended_and_removed(bench, registry):
    bench.write('[providers.acme]\nbase_url = "ftp://x"\n[providers.beta]\nkind = "soap"\n')

    assert registry.edit("acme", base_url="https://a.example/v1")
    assert registry.remove("beta") == ["beta: removed"]
    assert registry.problems() == []


def test_out_of_use_and_back(bench, registry):
    registry.set_enabled(["groq", "xai"], False)
    assert tomllib.loads(bench.file.read_text())["providers"] == {"groq": {"enabled": False}, "xai": {"enabled": False}}

    registry.set_enabled("groq", True)
    assert tomllib.loads(bench.file.read_text())["providers"] == {"xai": {"enabled": False}}
    with pytest.raises(UnknownProviderError):
        registry.set_enabled(["groq", "nope"], False)
    assert registry.get("groq").enabled


def test_export_and_import(bench, registry, tmp_path):
    registry.add("acme", base_url="https://a.example/v1", params={"top_p": 0.5}, models=["m"])
    registry.edit("groq", timeout={"connect_s": 3})
    text = registry.export()
    row, groq = registry.get("acme"), registry.get("groq")
    registry.remove(["acme", "groq"])

    planned = registry.import_(text, dry_run=True)
    assert "acme" not in registry.ids()
    assert registry.import_(text) == planned
    assert "acme: new (openai, https://a.example/v1)" in planned
    assert "groq: also timeout" in planned
    assert registry.get("acme") == row
    assert registry.get("groq") == groq
    assert registry.import_(text) == ["groq: no change", "acme: no change"]


def test_export_of_a_bundled_row_leaves_out_what_the_environment_says(bench, registry):
    bench.environ["GROQ_BASE_URL"] = "https://internal.example/v1"

    content = tomllib.loads(registry.export(["groq"]))["providers"]["groq"]
    assert content["base_url"] == "https://api.groq.com/openai/v1"
    assert "local" not in content


def test_every_bundled_row_survives_export_and_import(registry):
    text = registry.export(registry.ids())

    assert set(registry.import_(text, dry_run=True)) == {f"{id}: no change" for id in registry.ids()}


IMPORTS = {
    "no TOML": ("[providers", "line"),
    "no tables": ("a = 1", "no [providers.ID]"),
    "empty": ("", "no [providers.ID]"),
    "a key": (
        '[providers.acme]\nbase_url = "https://a.example"\nheaders = {Authorization = "canary"}',
        "would hold a key",
    ),
    "unknown field": ('[providers.acme]\nbase_url = "https://a.example"\nx = 1', "no field 'x'"),
    "one bad": ('[providers.a]\nbase_url = "https://a.example"\n[providers.b]\nbase_url = "ftp://canary"', "neither"),
}


@pytest.mark.parametrize("case", IMPORTS.values(), ids=list(IMPORTS))
def test_a_refused_import_changes_nothing(bench, registry, case):
    text, said = case
    with pytest.raises(RegistryError) as caught:
        registry.import_(text)

    assert said in caught.value.message
    assert "canary" not in str(caught.value)
    assert not bench.file.exists()


def test_every_change_can_be_taken_back(bench, registry):
    registry.add("acme", base_url="https://a.example/v1")
    registry.remove("acme")

    registry._config.undo()
    assert "acme" in registry.ids()
