"""The parts of the provider panel one by one: headers, limits, odd keys, the vault, filters, groups, bulk by keyboard,
waiting, foreign text, other processes, other views. The first minute and the figures are in `test_provider_panel`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.lab import SRC, Lab, chromium, need_browser
from browser.test_injection import Canary
from browser.test_provider_panel import PANEL, Page, listing
from payloads import PAYLOADS, with_canary
from wire_server import WireServer, answer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

ROWS = f"{PANEL} .nbllm-left .nbllm-row"
MODELS = f"{PANEL} .nbllm-model-list .nbllm-row"
LISTEN = """() => { window.sent = []; const k = [...window.jupyterapp.shell.widgets('main')]
  .find(w => w.context && w.sessionContext).sessionContext.session.kernel;
  k.anyMessage.connect((_, m) => m.direction === 'send' && window.sent.push(JSON.stringify(m.msg))) }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need_browser()
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("notebooks")) as server:
        yield server


def _home(page: Page) -> Path:
    return page.lab.own / "homes" / page.name


def _focused(page: Page) -> str:
    return str(page.page.evaluate("() => document.activeElement.textContent.trim()"))


def test_headers_and_limits_are_set_and_no_value_comes_back(lab: Lab, browser: Any) -> None:
    with WireServer([listing(2)]) as server:
        page = Page(lab, browser)
        page.add("mine", server.url)
        page.page.locator(f"{PANEL} .nbllm-headers summary").click()
        page.field("Header").fill("X-Team")
        page.field("Value").fill("tulip-harvest")
        page.button("Set header").click()
        page.find("the header X-Team is set").wait_for()
        page.page.locator(f"{PANEL} .nbllm-headers summary", has_text="1").wait_for()
        page.test("It answers")
        assert b"tulip-harvest" in server.requests[-1]
        html = page.page.content()
        values = page.page.evaluate("() => JSON.stringify([...document.querySelectorAll('input')].map(i => i.value))")
        assert "tulip" not in html + values

        page.page.locator(f"{PANEL} .nbllm-form:not(.nbllm-headers) summary").first.click()
        page.field("Requests a minute").fill("0")
        page.find("Cannot be saved yet: a whole number").wait_for()
        assert page.button("Save changes").is_disabled()
        page.field("Requests a minute").fill("60")
        page.field("Requests at the same time").fill("2")
        page.button("Save changes").click(timeout=5000)
        page.find("mine: changed (rate_limit)").wait_for()
        page.page.wait_for_function(
            "() => document.querySelector('.nbllm-panel form button.nbllm-main[type=submit]').disabled")  # fmt: skip
        page.page.locator(f"{PANEL} .nbllm-form:not(.nbllm-headers) summary").first.click()
        assert page.field("Requests at the same time").input_value() == "2"
        page.field("Requests a minute").fill("")
        page.button("Save changes").click(timeout=5000)
        page.page.wait_for_timeout(500)
        (config,) = _home(page).rglob("config.toml")
        assert "concurrency = 2" in config.read_text()
        assert "requests_per_minute" not in config.read_text()

        page.page.locator(f"{PANEL} .nbllm-headers summary").click()
        page.button("Remove X-Team").click()
        page.button("Remove X-Team").click()
        page.find("the header X-Team is removed").wait_for()
        page.close()


def test_an_odd_key_is_doubted_in_the_browser_alone_and_then_moves_into_the_vault(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser)
    page.open("groq")
    page.page.evaluate(LISTEN)
    secret = page.page.locator(f"{PANEL} .nbllm-key input[type=password]").first
    secret.fill("abcdefghijkl1234")
    page.find("usually begin with gsk_").wait_for()
    assert page.button("Save key").is_enabled()
    page.page.wait_for_timeout(800)
    assert not [m for m in page.page.evaluate("() => window.sent") if "abcdefghijkl" in m]
    secret.fill("gsk_abcdefghijkl1234")
    assert not page.find("usually begin with gsk_").is_visible()
    secret.fill("two words")
    page.find("a key has no spaces").wait_for()
    assert page.button("Save key").is_disabled()

    secret.fill("gsk_abcdefghijkl1234")
    page.button("Save key").click()
    page.find("is kept in this session only").wait_for()
    page.find("Key: in this session: it is gone when the kernel ends").wait_for()
    page.button("Keep it in the vault").click()
    page.page.keyboard.type("three little words")
    page.page.keyboard.press("Enter")
    page.find("Key: in the vault").wait_for()
    assert "gsk_" not in page.page.locator(PANEL).inner_html()
    page.close()


def test_what_a_provider_lacks_is_said_in_the_list_and_beside_it(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser)
    page.open("azure")
    assert "to be set: AZURE" in page.page.locator(ROWS, has_text="azure").first.inner_text()
    page.find("Still to be set: AZURE").wait_for()
    assert "${AZURE" in page.field("Base URL").get_attribute("placeholder")
    page.close()


def test_models_are_filtered_as_the_magic_does_and_put_into_groups(lab: Lab, browser: Any) -> None:
    before = (
        "import nbllm; w = nbllm.workspace(); "
        "w.marking.add('demo/wide', {'context': 200_000, 'input_price': 2, 'output_price': 3}); "
        "w.marking.add('demo/gift', {'context': 1000, 'input_price': 0, 'output_price': 0})"
    )
    page = Page(lab, browser, before=before)
    page.open("demo")
    models = page.page.locator(MODELS)
    page.page.wait_for_function("() => document.querySelectorAll('.nbllm-model-list .nbllm-row').length === 9")

    def ids() -> list[str]:
        return [str(row.locator(".nbllm-title").inner_text()) for row in models.all()]

    page.page.get_by_label("context at least").fill("128k")
    assert ids() == ["wide"]
    page.page.get_by_label("context at least").fill("")
    page.page.get_by_label("in $/M at most").fill("1")
    assert ids() == ["gift"]
    page.page.get_by_label("in $/M at most").fill("")
    page.page.get_by_label("free", exact=True).check()
    assert ids() == ["gift"]
    page.page.get_by_label("free", exact=True).uncheck()
    assert len(ids()) == 9

    page.page.locator(f"{PANEL} .nbllm-model-list").focus()
    page.page.keyboard.press("Home")
    page.field("Name of the group").fill("daily")
    page.button("Put into group").click()
    page.find("demo/guide: now in daily").wait_for()
    models.first.locator(".nbllm-sub", has_text="daily").wait_for()
    page.field("Group").select_option("daily")
    assert ids() == ["guide"]
    page.button("Take out of group").click()
    page.find("demo/guide: no longer in daily").wait_for()
    page.page.wait_for_function("() => document.querySelectorAll('.nbllm-model-list .nbllm-row').length === 9")
    page.field("Model to add by hand").fill("mine")
    page.button("Add by hand").click()
    page.page.locator(MODELS, has_text="mine").wait_for()
    page.close()


def test_several_are_marked_switched_exported_and_removed_by_keyboard_alone(lab: Lab, browser: Any) -> None:
    rows = "".join(
        f"w.registry.add('k{n}', name='Row {n}', base_url='http://127.0.0.1:9/v1', auth='none'); " for n in range(3)
    )
    page = Page(lab, browser, before=f"import nbllm; w = nbllm.workspace(); {rows}")
    keys = page.page.keyboard
    page.field("Search providers").focus()
    keys.type("127.0.0.1:9/v1")
    page.find("3 of 17").wait_for()

    def reach(name: str) -> None:
        for _ in range(12):
            keys.press("Tab")
            if _focused(page) == name:
                return
        raise AssertionError(f"{name} cannot be reached by Tab")

    page.page.locator(f"{PANEL} .nbllm-left [role=listbox]").focus()
    for key in ("Home", "Space", "ArrowDown", "Space"):
        keys.press(key)
    page.find("2 selected").wait_for()
    reach("Disable")
    keys.press("Enter")
    page.find("k0: disabled").wait_for()
    page.page.locator(ROWS, has_text="disabled").nth(1).wait_for()
    assert _focused(page) == "Disable"  # what the list does does not take the focus away
    keys.press("Shift+Tab")
    assert _focused(page) == "Enable"
    keys.press("Enter")
    page.find("k0: enabled").wait_for()
    reach("Export")
    with page.page.expect_download() as download:
        keys.press("Enter")
    text = Path(download.value.path()).read_text()
    assert "[providers.k0]" in text
    assert "[providers.k2]" not in text
    keys.press("Tab")
    keys.press("Enter")
    assert _focused(page) == "Remove: sure?"
    keys.press("Enter")
    page.find("k0: removed").wait_for()
    page.page.wait_for_function("rows => document.querySelectorAll(rows).length === 1", arg=ROWS)
    assert page.page.evaluate("() => document.querySelector('.nbllm-panel').contains(document.activeElement)")
    page.close()


def test_the_button_counts_down_to_when_the_server_wants_to_be_asked_again(lab: Lab, browser: Any) -> None:
    limited = answer(b'{"error": {"message": "slow"}}', status=429, kind="application/json", retry_after="3")
    with WireServer([limited, listing(1)]) as server:
        page = Page(lab, browser)
        page.add("mine", server.url)
        page.give_key("abcdefghijkl1234")
        page.page.locator(f"{PANEL} .nbllm-test button.nbllm-main").click()
        again = page.page.locator(f"{PANEL} .nbllm-stages button")
        again.wait_for(timeout=10_000)
        assert again.is_disabled()
        assert again.inner_text().startswith("Test again in ")
        page.page.wait_for_function(
            "() => { const b = document.querySelector('.nbllm-panel .nbllm-stages button');"
            " return b && !b.disabled && b.textContent === 'Test again' }"
        )
        again.click()
        page.page.locator(f"{PANEL} .nbllm-stages", has_text="It answers").wait_for()
        page.close()


def test_names_and_messages_of_strangers_are_text(lab: Lab, browser: Any) -> None:
    canary = Canary()
    texts = [text[:180] for text in with_canary(PAYLOADS, canary.url)]
    hidden = "safe\u202egnp.exe\u200b"
    refused = {"error": {"message": " ".join(texts[:12]), "type": "x"}}
    models = {"data": [{"id": text.replace("\n", " ")} for text in [*texts, hidden]]}
    plans = [answer(json.dumps(models).encode(), kind="application/json")] * 2
    plans += [answer(json.dumps(refused).encode(), status=400, kind="application/json")] * 3
    (lab.folder / "names.json").write_text(json.dumps([*texts, hidden]))
    rows = (
        "import json, nbllm; w = nbllm.workspace()\n"
        "for n, text in enumerate(json.load(open('names.json'))):\n"
        "    w.registry.set_session(f'p{n:03}', name=text, note=text, base_url='http://127.0.0.1:9/v1', auth='none')"
    )
    with WireServer(plans) as server:
        page = Page(lab, browser, before=rows)
        for top in range(0, 44 * 220, 400):
            page.page.evaluate("t => { document.querySelector('.nbllm-left [role=listbox]').scrollTop = t }", top)
        page.open("p000")
        page.field("Search providers").fill("safe")
        page.page.locator(ROWS, has_text="safe<U+202E>gnp.exe<U+200B>").click()
        page.page.locator(f"{PANEL} h3", has_text="safe<U+202E>").wait_for()
        page.add("mine", server.url)
        page.give_key("abcdefghijkl1234")
        page.button("Ask for the models").click()
        page.find("models, just now").wait_for()
        for top in range(0, 30 * 200, 200):
            page.page.evaluate("t => { document.querySelector('.nbllm-model-list').scrollTop = t }", top)
        page.test("It answers")
        page.test("✗")
        file = "".join(
            f"[providers.q{n:03}]\ngguf = {json.dumps(text, ensure_ascii=False)}\n" for n, text in enumerate(texts[:40])
        )
        page.page.locator(f"{PANEL} input[type=file]").set_input_files(
            {"name": "rows.toml", "mimeType": "text/plain", "buffer": file.encode()})  # fmt: skip
        page.find("q000: new").wait_for()
        page.page.wait_for_timeout(500)
        found = page.page.evaluate(
            "() => [window.pwned ?? null, [...document.querySelectorAll('.nbllm-panel *')]"
            ".filter(e => /^(script|iframe|object|embed|img|svg|video|audio|style|link|base|marquee)$/i.test(e.tagName)"
            " || [...e.attributes].some(a => /^on/.test(a.name) || /^javascript:/i.test(a.value))).length]"
        )
        assert found == [None, 0]
        assert canary.hits == []
        # The control: as HTML one of them does reach out, or this test sees nothing.
        page.page.evaluate("h => { const d = document.createElement('div'); d.innerHTML = h; document.body.append(d) }",
                           f"<img src='{canary.url}/control.png'>")  # fmt: skip
        page.page.wait_for_timeout(500)
        assert canary.hits == ["/control.png"]
        page.page.context.close()
    canary.close()


def test_what_a_terminal_adds_appears_in_the_open_panel(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser)
    page.field("Search providers").fill("from-terminal")
    page.find("0 of 17").wait_for()
    env = {k: v for k, v in os.environ.items() if not k.startswith("NBLLM_")}
    env |= {"NBLLM_HOME": str(_home(page)), "PYTHONPATH": str(SRC)}
    words = [sys.executable, "-m", "nbllm", "providers"]
    url = "http://127.0.0.1:9/v1"
    subprocess.run([*words, "add", "from-terminal", "--base-url", url], env=env, check=True, capture_output=True)
    page.page.locator(ROWS, has_text="from-terminal").click(timeout=10_000)
    page.page.locator(f"{PANEL} .nbllm-detail-head").get_by_role("button", name="Disable").click()
    page.find("from-terminal: disabled").wait_for()
    listed = subprocess.run([*words, "show", "from-terminal"], env=env, check=True, capture_output=True, text=True)
    assert "enabled" in listed.stdout
    assert "False" in listed.stdout or "no" in listed.stdout
    page.close()


def test_two_views_of_one_panel_follow_and_a_closed_one_asks_no_more(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, after=("%llm_providers add from-cell --base-url http://127.0.0.1:9/v1",))
    page.page.evaluate(
        "() => { const w = [...window.jupyterapp.shell.widgets('main')].find(w => w.context && w.content);"
        " w.content.activeCellIndex = 2; w.content.deselectAll();"
        " window.jupyterapp.commands.execute('notebook:create-output-view').catch(() => 0); return 1 }"
    )
    page.page.wait_for_function("() => document.querySelectorAll('.nbllm-panel .nbllm-counts').length === 2")
    page.page.evaluate(LISTEN)
    page.run(3)
    for panel in page.page.locator(PANEL).all():
        panel.get_by_label("Search providers").fill("from-cell")
        panel.locator(".nbllm-left .nbllm-row", has_text="from-cell").wait_for(timeout=10_000)
    page.page.wait_for_function(  # each of them asks
        '() => new Set(window.sent.map(m => /"seq":\\["([^"]+)/.exec(m)?.[1]).filter(Boolean)).size === 2'
    )
    page.page.evaluate(
        "() => { const all = [...window.jupyterapp.shell.widgets('main')];"
        " all.find(w => !(w.context && w.content?.activeCellIndex !== undefined))?.close();"
        " const w = all.find(w => w.context && w.content); w.content.activeCellIndex = 2;"
        " window.jupyterapp.commands.execute('notebook:delete-cell').catch(() => 0); return 1 }"
    )
    page.page.wait_for_function("() => document.querySelectorAll('.nbllm-panel').length === 0")
    page.page.evaluate("() => { window.sent = [] }")
    page.page.wait_for_timeout(5000)  # two and a half times as long as between two questions
    assert [m for m in page.page.evaluate("() => window.sent") if '"sync"' in m] == []
    page.close()
