"""Where rows come from, which layer wins, and how a change becomes visible."""

from __future__ import annotations

import logging
import threading

import pytest

from nbllm.errors import RegistryError, SettingsError, UnknownProviderError
from nbllm.providers.registry import Registry
from nbllm.providers.rows import bundled_row

pytestmark = pytest.mark.filterwarnings("error")


def test_a_provider_is_added_by_file(bench):
    bench.write('[providers.acme]\nbase_url = "https://api.acme.example/v1"\nmodels = ["rocket"]\n')
    registry = bench.registry()

    assert registry.resolve("acme/rocket-2").ref == "acme/rocket-2"
    assert registry.resolve("rocket").ref == "acme/rocket"
    assert registry.sources("acme") == {"base_url": "config.toml", "models": "config.toml"}
    assert registry.is_own("acme")
    assert registry.ids()[-1] == "acme"


def test_a_provider_is_added_by_an_installed_package(bench, install):
    install(
        'ROWS = {"acme": {"base_url": "https://api.acme.example/v1", "env": ["ACME_TOKEN"]}}\n',
        "[nbllm.providers]\nacme_rows = MODULE:ROWS\n",
    )
    registry = bench.registry()

    assert registry.resolve("acme/rocket").ref == "acme/rocket"
    assert registry.get("acme").base_url == "https://api.acme.example/v1"
    assert registry.sources("acme")["base_url"] == "entry point acme_rows"
    assert registry.key_variables("acme") == ("ACME_TOKEN", "ACME_API_KEY")
    assert not registry.is_own("acme")


def test_a_provider_is_added_by_the_environment(bench):
    bench.environ |= {"ACME_BASE_URL": "https://api.acme.example/v1", "ACME_API_KEY": "x"}
    registry = bench.registry()

    assert registry.resolve("acme/rocket").ref == "acme/rocket"
    assert registry.get("acme").kind == "openai"
    assert registry.key_variables("acme") == ("ACME_API_KEY",)
    assert registry.sources("acme")["base_url"] == "environment ACME_BASE_URL"


@pytest.mark.parametrize(
    "source",
    [
        'X = {"id": "acme", "base_url": "https://a.example/v1"}',
        'X = [{"id": "acme", "base_url": "https://a.example/v1"}]',
        'def X():\n    return {"acme": {"base_url": "https://a.example/v1"}}',
        "from nbllm.providers.spec import ProviderConfig\n"
        'X = ProviderConfig(id="acme", base_url="https://a.example/v1")',
        "from nbllm.providers.spec import ProviderConfig\n"
        'def X():\n    return [ProviderConfig(id="acme", base_url="https://a.example/v1")]',
        'def X():\n    yield {"id": "acme", "base_url": "https://a.example/v1"}',
    ],
    ids=["row", "list", "callable", "config", "callable of configs", "generator"],
)
def test_an_entry_point_may_take_any_of_these_forms(bench, install, source):
    install(source + "\n", "[nbllm.providers]\nacme = MODULE:X\n")

    assert bench.registry().get("acme").base_url == "https://a.example/v1"


def test_a_package_that_fails_does_not_stop_the_others(bench, install):
    install("raise RuntimeError('boom')\n", "[nbllm.providers]\nbad = MODULE:X\n")
    install('X = {"acme": {"base_url": "https://a.example/v1"}}\n', "[nbllm.providers]\ngood = MODULE:X\n")
    install("X = 3\n", "[nbllm.providers]\nodd = MODULE:X\n")
    registry = bench.registry()

    assert registry.get("acme")
    assert registry.get("groq")
    assert [p.partition(" (")[0] for p in registry.problems()] == ["entry point bad", "entry point odd"]
    assert "boom" in registry.problems()[0]


def test_later_layers_win(bench, install):
    install('X = {"groq": {"name": "installed", "doc": "https://d.example"}}\n', "[nbllm.providers]\nacme = MODULE:X\n")
    registry = bench.registry()
    assert registry.get("groq").name == "installed"

    registry.edit("groq", name="filed")
    assert registry.get("groq").name == "filed"

    bench.environ["GROQ_BASE_URL"] = "https://proxy.example/groq/v1"
    assert registry.get("groq").base_url == "https://proxy.example/groq/v1"

    registry.set_session("groq", name="now", base_url="https://other.example/v1")
    row, sources = registry.get("groq"), registry.sources("groq")
    assert (row.name, row.base_url) == ("now", "https://other.example/v1")
    assert sources["name"] == sources["base_url"] == "session"
    assert sources["doc"] == "entry point acme"
    assert sources["env"] == "bundled"

    registry.clear_session("groq")
    assert registry.get("groq").base_url == "https://proxy.example/groq/v1"
    assert registry.sources("groq")["base_url"] == "environment GROQ_BASE_URL"


def test_a_partial_table_lies_over_the_bundled_row(bench, registry):
    bench.write('[providers.anthropic.headers]\nx-team = "a"\n[providers.anthropic.timeout]\nfirst_token_s = 5\n')
    row = registry.get("anthropic")

    assert row.headers == {"anthropic-version": "2023-06-01", "x-team": "a"}
    assert row.timeout.first_token_s == 5
    assert row.timeout.connect_s == 8
    assert row.base_url == "https://api.anthropic.com"


def test_a_moved_address_drops_what_belonged_to_the_old_one(bench, install):
    install(
        'X = {"acme": {"base_url": "https://a.example/v1", "models_url": "https://a.example/list?x=1"}}\n',
        "[nbllm.providers]\nacme = MODULE:X\n",
    )
    registry = bench.registry()
    assert registry.get("acme").models_url == "https://a.example/list?x=1"

    bench.environ |= {"ACME_BASE_URL": "http://127.0.0.1:9/v1", "CHUTES_API_OPENAI": "http://127.0.0.1:9/v1"}

    assert registry.get("acme").models_url is None
    assert registry.get("acme").local
    join = registry.get("chutes").listing.join_url
    assert join == "http://127.0.0.1:9/chutes/?include_public=true&include_schemas=false"


def test_the_users_headers_do_not_go_to_an_address_from_elsewhere(bench, registry):
    registry.edit("groq", headers={"X-Team": "a"})
    assert registry.get("groq").headers == {"X-Team": "a"}

    bench.environ["GROQ_BASE_URL"] = "https://other.example/v1"

    assert registry.get("groq").headers == {}


BROKEN_ROWS = {
    "no address": ("x = 1", "no field 'x'"),
    "address refused": ('base_url = "https://u:canary@h.example"', "user name"),
    "metadata": ('base_url = "http://169.254.169.254/v1"', "link-local"),
    "plain http": ('base_url = "http://h.example/v1"', "plain http"),
    "unknown kind": ('base_url = "https://h.example"\nkind = "canary"', "kind is not one of"),
    "wrong type": ('base_url = "https://h.example"\nenabled = "canary"', "enabled"),
    "address no text": ("base_url = 3", "base_url is not a text"),
    "nothing in it": ("", "no base_url"),
    "key in a header": ('base_url = "https://h.example"\nheaders = { Authorization = "canary" }', "headers.Auth"),
    "key in a parameter": ('base_url = "https://h.example"\nparams = { api_key = "canary" }', "params.api_key"),
    "key by its shape": (
        'base_url = "https://h.example"\nheaders = { X-Other = "sk-canary-0123456789abcdef" }',
        "headers.X-Other",
    ),
    "bad auth": ('base_url = "https://h.example"\nauth = "canary"', "auth"),
}


@pytest.mark.parametrize(("table", "said"), BROKEN_ROWS.values(), ids=list(BROKEN_ROWS))
def test_a_broken_row_says_so_and_does_not_stop_the_others(bench, caplog, table, said):
    bench.write(f'[providers.bad]\n{table}\n[providers.good]\nbase_url = "https://good.example/v1"\n')
    registry = bench.registry()
    caplog.set_level(logging.INFO, logger="nbllm.providers")

    assert registry.get("good")
    assert len(registry.problems()) == 1
    line = registry.problems()[0]
    assert said in line
    assert "bad" in line
    assert "canary" not in line
    assert registry.ids().count("bad") == 0
    with pytest.raises(RegistryError, match="bad cannot be used"):
        registry.get("bad")
    assert [r.getMessage() for r in caplog.records] == [line]


def test_a_broken_overlay_puts_only_its_own_row_out_of_use(bench, registry):
    bench.write('[providers.groq]\nbase_url = "ftp://h"\n[providers.Bad_Id]\nbase_url = "https://h.example"\n')

    assert len(registry.problems()) == 2
    assert str(bench.file) in registry.problems()[0]
    with pytest.raises(RegistryError, match="groq cannot be used"):
        registry.resolve("groq/x")
    assert registry.resolve("openai/x").ref == "openai/x"


def test_a_broken_file_leaves_the_bundled_rows_and_refuses_to_be_written(bench, registry):
    bench.write("[providers.x\n")

    assert registry.get("groq")
    assert isinstance(registry.config_error, SettingsError)
    assert registry.config_error.line == 1
    assert len(registry.problems()) == 1
    assert registry.model_list() == []
    assert registry.default_model(lambda id: True) == "demo/guide"
    with pytest.raises(SettingsError):
        registry.add("acme", base_url="https://h.example/v1")
    with pytest.raises(SettingsError):
        registry.set_enabled("groq", False)
    assert bench.file.read_text() == "[providers.x\n"

    bench.write("")
    assert registry.config_error is None


def test_a_change_of_file_or_environment_holds_at_once(bench, registry):
    assert "acme" not in registry.ids()
    bench.write('[providers.acme]\nbase_url = "https://a.example/v1"\n')
    assert "acme" in registry.ids()
    bench.environ["GROQ_API_OPENAI"] = "https://b.example/v1"
    assert registry.get("groq").base_url == "https://b.example/v1"
    del bench.environ["GROQ_API_OPENAI"]
    assert registry.get("groq").base_url == "https://api.groq.com/openai/v1"


def test_rows_that_are_held_stay_as_they_are_for_that_thread_and_that_long(bench, registry):
    seen: list[bool] = []
    with registry.held():
        assert "acme" not in registry.ids()
        bench.write('[providers.acme]\nbase_url = "https://a.example/v1"\nenv = ["ACME_API_KEY"]\n')
        other = threading.Thread(target=lambda: seen.append("acme" in registry.ids()))
        other.start()
        other.join()
        with registry.held():
            pass
        assert "acme" not in registry.ids()
        with pytest.raises(UnknownProviderError):
            registry.key_variables("acme")
    assert seen == [True]
    assert registry.key_variables("acme") == ("ACME_API_KEY",)


def test_nothing_is_built_again_while_nothing_changed(bench, registry, monkeypatch):
    registry.all()
    monkeypatch.setattr("nbllm.providers.registry.build", lambda *a, **k: pytest.fail("built again"))
    bench.environ["UNRELATED"] = "1"

    registry.all()
    registry.get("groq")


def test_a_disabled_provider_is_listed_refused_and_logged_once(bench, caplog):
    registry = bench.registry()
    caplog.set_level(logging.INFO, logger="nbllm.providers")
    registry.set_enabled(["groq", "xai"], False)
    registry.all()
    registry.edit("openai", name="o")

    assert "groq" in registry.ids()
    assert not registry.get("groq").enabled
    with pytest.raises(RegistryError, match="disabled"):
        registry.resolve("groq/x")
    lines = [r.getMessage() for r in caplog.records]
    assert lines == ["provider groq is disabled (config.toml)", "provider xai is disabled (config.toml)"]


def test_it_may_be_asked_from_many_threads(bench, registry):
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(30):
                assert len(registry.all()) >= 49
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for n in range(20):
        bench.environ["GROQ_BASE_URL"] = f"https://h{n}.example/v1"
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_unknown_provider_is_told_the_three_closest(registry):
    with pytest.raises(UnknownProviderError) as caught:
        registry.get("grok")

    assert caught.value.suggestions[0] == "groq"
    assert len(caught.value.suggestions) == 3
    assert str(caught.value).startswith("there is no provider 'grok'; did you mean groq, ")


def test_an_unknown_provider_is_also_compared_with_names(bench, registry):
    bench.write('[providers.x1]\nname = "Zebra Cloud"\nbase_url = "https://z.example/v1"\n')

    with pytest.raises(UnknownProviderError) as caught:
        registry.get("zebracloud")
    assert caught.value.suggestions[0] == "x1"


def test_a_registry_needs_no_file_and_writes_none(bench, registry):
    registry.all()
    registry.model_list()
    registry.default_model(lambda id: True)

    assert not bench.file.parent.exists()


def test_plain_http_without_a_key_works_and_says_that_none_is_sent(bench):
    bench.environ["LLAMACPP_API_BASE"] = "http://192.168.1.5:8080"
    registry = bench.registry()

    row = registry.get("llamacpp")
    assert row.base_url == "http://192.168.1.5:8080/v1"
    assert row.auth == "none"
    assert registry.key_variables("llamacpp") == ()
    assert any("no key is sent" in r for r in registry.remarks("llamacpp"))


def test_plain_http_that_was_agreed_to_takes_a_key(bench):
    bench.write('[providers.box]\nbase_url = "http://192.168.1.5/v1"\nconfirmed_http = true\nenv = ["BOX_KEY"]\n')
    registry = bench.registry()

    assert registry.key_variables("box") == ("BOX_KEY",)
    bench.environ["BOX_BASE_URL"] = "http://192.168.1.6/v1"
    with pytest.raises(RegistryError, match="plain http"):
        registry.get("box")


def test_two_registries_share_nothing_but_the_file(bench):
    one, two = bench.registry(), bench.registry()
    one.set_session("acme", base_url="https://a.example/v1")

    assert "acme" in one.ids()
    assert "acme" not in two.ids()
    one.add("beta", base_url="https://b.example/v1")
    assert "beta" in two.ids()


def test_registry_is_what_the_module_offers() -> None:
    assert Registry.__module__ == "nbllm.providers.registry"


def test_a_server_of_ones_own_on_this_machine_needs_no_key_unless_it_says_so(registry):
    registry.add("mine", base_url="http://127.0.0.1:9/v1")
    registry.add("away", base_url="https://llm.example/v1")

    assert not registry.get("mine").needs_key
    assert registry.get("away").needs_key


def test_a_model_on_this_machine_has_time_for_its_first_token(registry):
    registry.add("mine", base_url="http://127.0.0.1:9/v1")
    registry.add("hasty", base_url="http://127.0.0.1:9/v1", timeout={"first_token_s": 5, "connect_s": 1})
    registry.add("far", base_url="https://far.example/v1")

    assert registry.get("mine").timeout.first_token_s == 300
    assert registry.get("hasty").timeout.first_token_s == 5
    assert registry.get("far").timeout.first_token_s == 60
    assert "timeout" not in registry.export(["mine"])


def test_a_question_makes_the_row_that_it_asks_and_no_other(bench):
    bench.environ |= {"GROQ_API_KEY": "x", "DEEPSEEK_BASE_URL": "https://proxy.example.org/v1"}
    bundled_row.cache_clear()
    registry = bench.registry()

    assert registry.resolve("groq/some-model").provider == "groq"
    assert registry.key_variables("groq") == ("GROQ_API_KEY",)
    assert registry.get("deepseek").base_url == "https://proxy.example.org/v1"
    assert "lambda" in registry.ids()
    assert bundled_row.cache_info().currsize == 1
    bench.environ["XAI_BASE_URL"] = "https://proxy.example.org/v1"
    registry.all()
    assert bundled_row.cache_info().currsize == len(registry.ids()) - 2
