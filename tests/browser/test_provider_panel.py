"""The provider panel as a person uses it, in a real JupyterLab, a real Notebook 7 and a real browser."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.lab import Lab, chromium, need_browser, write_notebook
from chatting import chunk, event
from key_shapes import SHAPES, traces
from peers import Peers
from wire_server import Close, Pause, Send, Stall, WireServer, answer, head

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

KEY = "sk-local"
PANEL = ".nbllm-panel"
_NOTEBOOK = "[...window.jupyterapp.shell.widgets('main')].find(w => w.context && w.content)"
OPEN = ["%load_ext nbllm", "%llm_providers"]
PICTURES = os.environ.get("NBLLM_PICTURES")
"""A folder: the pictures of the first minute, as they stand in the documentation, are taken into it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need_browser()
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("notebooks")) as server:
        yield server


def listing(count: int) -> Any:
    rows = [{"id": f"vendor/model-{n:05}", "context_length": 8192} for n in range(count)]
    return answer(json.dumps({"data": rows}).encode(), kind="application/json")


class Page:
    """A notebook with the panel open, and the words for what a person does there."""

    def __init__(self, lab: Lab, browser: Any, *, app: str = "lab", size: tuple[int, int] = (1250, 950),
                 kernel: str | None = None, before: str = "", after: tuple[str, ...] = ()) -> None:  # fmt: skip
        self.lab = lab
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.name = f"panel-{time.monotonic_ns()}.ipynb"
        home = lab.own / "homes" / self.name
        first = f"import os; os.environ['NBLLM_HOME'] = {str(home)!r}\n{before}"
        path = write_notebook(lab.folder / self.name, [first, *OPEN, *after])
        if kernel:
            content = json.loads(path.read_text())
            content["metadata"]["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
            path.write_text(json.dumps(content))
        self.page = lab.open(browser, self.name, app=app, size=size, watch=self._watch)
        self.run(0, 1, 2)
        self.page.wait_for_selector(f"{PANEL} .nbllm-row", timeout=20_000)

    def _watch(self, page: Any) -> None:
        # The context's also come from workers and from pages that this one opens; web sockets are told apart.
        page.context.on("request", lambda request: self.asked.append(request.url))
        page.on("websocket", lambda socket: self.asked.append(socket.url))
        page.on("pageerror", lambda error: self.faults.append(f"{error}\n{error.stack}"))

    def run(self, *cells: int) -> None:
        """Run these cells and wait for the last."""
        for cell in cells:
            self.start(cell)
            self.page.wait_for_timeout(250)
        self.lab.wait_until_idle(self.page)

    def start(self, cell: int) -> None:
        """Run a cell and do not wait."""
        self.page.evaluate(
            "n => { const w = [...window.jupyterapp.shell.widgets('main')].find(w => w.context && w.content);"
            " w.content.activeCellIndex = n; w.content.deselectAll();"
            " window.jupyterapp.commands.execute('notebook:run-cell').catch(() => 0); return 1 }",
            cell,
        )

    def find(self, text: str) -> Any:
        return self.page.locator(PANEL).get_by_text(text, exact=False).first

    def button(self, name: str) -> Any:
        return self.page.locator(PANEL).get_by_role("button", name=name, exact=True).first

    def field(self, label: str) -> Any:
        return self.page.locator(PANEL).get_by_label(label, exact=True).first

    def open(self, name: str) -> None:
        """Search for a provider and open it."""
        self.field("Search providers").fill(name)
        self.page.locator(f"{PANEL} .nbllm-left .nbllm-row", has_text=name).first.click()
        self.page.wait_for_selector(f"{PANEL} .nbllm-detail h3")

    def add(self, id_: str, url: str) -> None:
        self.button("Add").click()
        self.field("Id").fill(id_)
        self.field("Base URL").fill(url)
        self.button("Add provider").click(timeout=5000)
        self.page.wait_for_selector(f"{PANEL} .nbllm-detail h3:has-text('{id_}')")

    def give_key(self, key: str) -> None:
        self.page.locator(f"{PANEL} .nbllm-key input[type=password]").first.fill(key)
        self.field("Keep it in").select_option("session")
        self.button("Save key").click()
        self.find("Key: in this session").wait_for()

    def test(self, outcome: str) -> str:
        """Press Test, wait for the outcome, and give what the stages say."""
        self.page.locator(f"{PANEL} .nbllm-test button.nbllm-main").click()
        self.page.locator(f"{PANEL} .nbllm-stages", has_text=outcome).wait_for(timeout=20_000)
        return str(self.page.locator(f"{PANEL} .nbllm-stages").inner_text())

    def picture(self, name: str, of: str = PANEL, *, tall: int = 0) -> None:
        """A picture of the first element that fits; with `tall` only so many pixels of it."""
        if PICTURES:
            area = self.page.locator(of).first
            area.scroll_into_view_if_needed()
            box = area.bounding_box()
            clip = {**box, "height": min(tall or box["height"], box["height"])}
            self.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), clip=clip)

    def strangers(self) -> set[str]:
        """What was asked of others than the page's own server."""
        own = self.lab.url.rpartition("/")[2]
        return {url for url in self.asked if url.startswith(("http", "ws")) and url.split("/")[2] != own}

    def close(self) -> None:
        """End the page; nothing went wrong in it, and it asked nobody but its own server."""
        self.page.context.close()
        assert self.strangers() == set()
        assert [f for f in self.faults if "blob:" in f] == []  # Jupyter has faults of its own; ours come from a blob


@pytest.mark.peers
@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_first_minute_from_nothing_to_an_answer(lab: Lab, browser: Any, peers: Peers, app: str) -> None:
    url = str(peers["llamacpp"]["openai"])
    page = Page(lab, browser, app=app, size=(1250, 1500), after=("%%chat\nSay something.",))
    page.picture("1-panel")
    page.open("groq")
    page.page.locator(f"{PANEL} .nbllm-key input[type=password]").first.fill("gsk_" + "nobodys" * 3)
    page.picture("2-key", tall=480)
    page.page.locator(f"{PANEL} .nbllm-key input[type=password]").first.fill("")
    page.field("Search providers").fill("")

    page.button("Add").click()
    page.field("Id").fill("My Server")
    page.find("an id is made of").wait_for()
    assert page.button("Add provider").is_disabled()
    page.field("Id").fill("my-server")
    page.field("Base URL").fill(f"{url}/chat/completions")
    page.button(f"use {url}").click()
    assert page.field("Base URL").input_value() == url
    page.field("Base URL").fill(url.replace("/v1", "/v7"))
    page.button("Add provider").click()
    page.page.wait_for_selector(f"{PANEL} .nbllm-detail h3:has-text('my-server')")
    page.give_key("sk-wrong-key-0000")

    assert "What to do" in page.test("✗")
    page.picture("3-wrong-key", tall=650)
    page.give_key(KEY)
    said = page.test("✗ models")
    assert url in said  # it names the address where a server answers
    page.button("Correct the address").click()
    assert page.page.evaluate("() => document.activeElement.value").endswith("/v7")
    page.field("Base URL").fill(url)
    page.button("Save changes").click()
    page.find("my-server: changed").wait_for()
    assert "It answers" in page.test("It answers")

    page.page.locator(f"{PANEL} .nbllm-model-list .nbllm-row").first.wait_for()
    page.page.locator(f"{PANEL} .nbllm-model-list .nbllm-row").first.click()
    page.find("the default model is my-server/").wait_for()
    said = page.test("tiny-random answers")
    assert re.search(r"✓ model \d+ ms tiny-random answers", said)
    page.picture("4-answers", tall=1060)

    page.run(3)
    head = page.page.locator(".jp-OutputArea-output .nbllm .nbllm-head strong").first
    assert head.inner_text() == "my-server/tiny-random"
    page.close()


ANSWER = (
    "**How large is the error of a mean?**\n\n",
    "The standard error is the standard deviation of one measurement divided by $\\sqrt{n}$:\n\n",
    "- 4 measurements halve it,\n- 100 measurements make it a tenth.\n\n",
    "```python\nerror = sample.std(ddof=1) / len(sample) ** 0.5\n```\n",
)


def test_with_a_key_in_hand_an_answer_streams_into_the_next_cell(lab: Lab, browser: Any) -> None:
    start = Send(head(content_type="text/event-stream", connection="close"))
    parts = [Send(chunk({"content": part})) for part in ANSWER]
    rest = [Send(chunk({}, finish="stop") + event("[DONE]")), Close()]
    plan = [start, *parts[:2], Pause(3), *parts[2:], *rest]
    with WireServer([listing(3), plan]) as server:
        page = Page(lab, browser, after=("%%chat\nHow large is the error of a mean?",))
        page.add("my-server", server.url)
        page.give_key("abcdefghijkl1234")
        page.button("Ask for the models").click()
        page.page.locator(f"{PANEL} .nbllm-model-list .nbllm-row").nth(1).click()
        page.find("the default model is my-server/vendor/model-00001").wait_for()
        page.start(3)
        answer_ = page.page.locator(".jp-Cell .nbllm", has_text="divided by").first
        answer_.wait_for()
        assert answer_.get_attribute("aria-busy") is not None  # it is still coming
        assert "a tenth" not in answer_.inner_text()
        page.lab.wait_until_idle(page.page)
        assert "a tenth" in answer_.inner_text()
        assert b"Authorization: Bearer abcdefghijkl1234" in server.requests[-1]
        page.page.wait_for_timeout(500)  # formulas are set
        page.picture("5-streamed", ".jp-Cell:has(.nbllm)")
        page.close()


def test_a_request_to_another_host_would_be_noticed(lab: Lab, browser: Any) -> None:
    kinds = {
        "fetch": "fetch(url, {mode: 'no-cors'}).catch(() => 0)",
        "image": "new Image().src = url",
        "font": "new FontFace('other', `url(${url})`).load().catch(() => 0)",
        "style": "document.head.insertAdjacentHTML('beforeend', `<link rel=stylesheet href=${url}>`)",
        "module": "import(url).catch(() => 0)",
        "beacon": "navigator.sendBeacon(url, 'x')",
        "frame": "{ const f = document.createElement('iframe'); f.src = url; document.body.append(f) }",
        "window": "window.open(url)",
        "worker": "new Worker(URL.createObjectURL(new Blob([`fetch('${url}', {mode: 'no-cors'}).catch(() => 0)`])))",
        "socket": "new WebSocket(url.replace('http', 'ws'))",
    }
    page = Page(lab, browser)
    assert page.strangers() == set()
    assert any(url.startswith("ws") for url in page.asked)  # its own sockets are seen
    with WireServer([answer(b"")]) as other:
        for kind, code in kinds.items():
            page.page.evaluate(f"() => {{ const url = '{other.origin}/{kind}'; {code}; return 1 }}")
        page.page.wait_for_timeout(1500)
        told = {url.rpartition("/")[2] for url in page.strangers()}
    assert told == set(kinds)
    with pytest.raises(AssertionError):
        page.close()


@pytest.mark.peers
def test_the_whole_way_by_keyboard_alone(lab: Lab, browser: Any, peers: Peers) -> None:
    page = Page(lab, browser, after=("%%chat\nSay something.",))
    keys = page.page.keyboard
    cells = page.page.locator(".jp-Notebook .jp-Cell").count()

    def reach(what: str) -> None:
        for _ in range(80):
            if page.page.evaluate(
                "w => { const e = document.activeElement; return (e.labels?.[0]?.textContent || e.ariaLabel ||"
                " e.textContent || '').trim() === w }", what):  # fmt: skip
                return
            keys.press("Tab")
        raise AssertionError(f"{what} cannot be reached by Tab")

    page.page.evaluate(f"() => {{ {_NOTEBOOK}.content.activeCellIndex = 2; {_NOTEBOOK}.content.activate(); return 1 }}")
    reach("Search providers")
    keys.press("Escape")  # to the list
    keys.press("+")
    keys.type("by-keys")
    keys.press("Tab")
    keys.type(str(peers["llamacpp"]["openai"]))
    page.page.wait_for_function("() => !document.querySelector('.nbllm-panel form button.nbllm-main').disabled")
    keys.press("Enter")
    page.page.wait_for_selector(f"{PANEL} .nbllm-detail h3:has-text('by-keys')")
    reach("Key")
    keys.type(KEY)
    reach("Keep it in")
    keys.press("t")  # this session
    reach("Save key")
    keys.press("Enter")
    page.find("Key: in this session").wait_for()
    reach("Test")
    keys.press("Enter")
    page.page.locator(f"{PANEL} .nbllm-stages", has_text="It answers").wait_for()
    page.page.locator(f"{PANEL} .nbllm-model-list .nbllm-row").first.wait_for()
    reach("Models")
    keys.press("ArrowDown")
    keys.press("Enter")
    page.find("the default model is by-keys/").wait_for()

    keys.press("Escape")
    for letter in "abdd":  # in the notebook each of these would do something
        keys.press(letter)
    keys.press("?")
    assert page.page.locator(f"{PANEL} [role=dialog]").is_visible()
    keys.press("Escape")
    keys.press("/")
    keys.type("anthropic")
    assert page.page.locator(f"{PANEL} .nbllm-left .nbllm-row").first.inner_text().split("\n")[2] == "Anthropic"
    assert page.page.locator(".jp-Notebook .jp-Cell").count() == cells

    keys.press("Escape")  # to the list
    keys.press("Escape")  # to the notebook
    keys.press("ArrowDown")
    keys.press("Shift+Enter")
    page.page.locator(".jp-OutputArea-output .nbllm .nbllm-head strong", has_text="by-keys/tiny-random").wait_for()
    lab.wait_until_idle(page.page)
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(tmp_path: Path, browser: Any, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with Lab(tmp_path, theme=theme) as lab, WireServer([listing(40)]) as server:
        page = Page(lab, browser, size=(1250, 2400))  # what is scrolled out of sight is not judged
        page.add("mine", server.url)
        page.give_key("abcdefghijkl1234")
        page.test("It answers")
        page.page.locator(f"{PANEL} details summary").first.click()
        # JupyterLab's body has no height, and so hides, in axe's eyes, every text in it.
        page.page.evaluate("() => { document.body.style.height = '100vh'; return 1 }")
        found = Axe().run(page.page, context={"include": [[PANEL]]})
        told = [f"{v['id']}: {n['target']}" for v in found.response["violations"] for n in v["nodes"]]
        assert told == []
        page.page.evaluate(
            "() => { const i = document.createElement('input'); document.querySelector('.nbllm-panel').prepend(i);"
            " const p = document.createElement('p'); p.textContent = 'faint';"
            " p.style = 'color: #888; background: #999'; document.querySelector('.nbllm-panel').prepend(p) }"
        )
        control = {v["id"] for v in Axe().run(page.page, context={"include": [[PANEL]]}).response["violations"]}
        assert {"label", "color-contrast"} <= control
        page.close()


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_narrow_page_holds_the_panel(lab: Lab, browser: Any, app: str) -> None:
    page = Page(lab, browser, app=app, size=(390, 844)) if app == "notebook" else Page(lab, browser, size=(700, 844))
    page.page.locator(f"{PANEL} .nbllm-row").first.click()
    page.page.wait_for_selector(f"{PANEL} .nbllm-detail h3")
    box = page.page.evaluate(
        "() => { const p = document.querySelector('.nbllm-panel'); const r = p.getBoundingClientRect();"
        " return [p.scrollWidth - p.clientWidth, [...p.querySelectorAll('button, input, select')]"
        "  .filter(e => e.checkVisibility() && !e.closest('.nbllm-hidden') && !e.classList.contains('nbllm-hidden'))"
        "  .filter(e => e.getBoundingClientRect().right > r.right + 1).length] }"
    )
    assert box == [0, 0]
    page.close()


def test_a_key_typed_in_the_browser_is_found_nowhere(tmp_path: Path, browser: Any) -> None:
    """Widget state is saved, the server logs all; a stock password field left filled is found by the same search."""
    key, control = SHAPES[0].key(), SHAPES[1].key()
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    with Lab(notebooks, save_widgets=True, debug=True) as lab, WireServer([listing(2)]) as server:
        page = Page(lab, browser, after=("import ipywidgets\nipywidgets.Password()",))
        page.add("mine", server.url)
        page.page.evaluate(
            "() => { window.heard = []; const k = [...window.jupyterapp.shell.widgets('main')]"
            ".find(w => w.context && w.sessionContext).sessionContext.session.kernel;"
            " k.anyMessage.connect((_, m) => m.direction === 'recv' && window.heard.push(JSON.stringify(m.msg))) }"
        )
        page.give_key(key)
        page.test("It answers")
        page.run(3)
        page.page.locator(".widget-inline-hbox input[type=password]").fill(control)
        page.page.wait_for_timeout(500)
        lab.wait_until_idle(page.page)
        assert any(key.encode() in request for request in server.requests)  # it was used
        heard = page.page.evaluate("() => window.heard")
        assert len(heard) > 5
        lab.save(page.page)
        lab.save(page.page)  # the second one makes the checkpoint of the first
        saved = json.loads((notebooks / page.name).read_text())
        state = saved["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
        names = {model["model_name"] for model in state.values()}
        assert {"AnyModel", "PasswordModel"} <= names  # the panel's state is there
        log = (lab.own / "server.log").read_text(errors="replace")
        assert "[D " in log
        places = {
            "IOPub": "".join(heard),
            "DOM": page.page.content(),
            "fields": page.page.evaluate(
                "() => JSON.stringify([...document.querySelectorAll('input, textarea')].map(i => i.value))"
            ),
            "notebook": (notebooks / page.name).read_text(),
            "log": log,
            "checkpoints": "".join(p.read_text() for p in notebooks.glob(".ipynb_checkpoints/*")),
            "files": "".join(p.read_text(errors="replace") for p in _files(notebooks, lab.own)),
        }
        assert {place: traces(key, text) for place, text in places.items() if traces(key, text)} == {}
        assert {place for place, text in places.items() if traces(control, text)} >= {
            "IOPub",
            "fields",
            "notebook",
            "files",
        }
        page.close()


def _files(*folders: Path) -> list[Path]:
    """What a server and its kernels have written: settings, workspaces, history, homes."""
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_many_providers_and_models_are_drawn_as_far_as_they_are_seen(lab: Lab, browser: Any) -> None:
    rows = "".join(
        f"w.registry.set_session('p{n:03}', base_url='http://127.0.0.1:9/v1', auth='none'); " for n in range(300)
    )
    with WireServer([listing(10_000)]) as server:
        before = f"import nbllm; w = nbllm.workspace(); {rows}"
        page = Page(lab, browser, before=before)
        assert int(page.find("of 4").inner_text().split(" of ")[1].split()[0]) > 300
        page.add("big", server.url)
        page.button("Ask for the models").click()
        page.find("10000 models").wait_for(timeout=20_000)
        for place in (0, 7000, 149_000, 299_000):
            drawn = page.page.evaluate(
                "async top => { const list = document.querySelector('.nbllm-model-list'); list.scrollTop = top;"
                " await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)));"
                " const box = list.getBoundingClientRect();"
                " const seen = [...list.querySelectorAll('.nbllm-row')].map(r => r.getBoundingClientRect());"
                " return [seen.length, Math.min(...seen.map(r => r.top)) <= box.top + 2,"
                " Math.max(...seen.map(r => r.bottom)) >= box.bottom - 2] }",
                place,
            )
            assert drawn[0] < 40
            assert drawn[1:] == [True, True]
        # At once, although the list is still scrolled to where it no longer reaches.
        found = page.field("Search models").evaluate(
            "box => { box.value = 'model-00777'; box.dispatchEvent(new Event('input'));"
            " return document.querySelectorAll('.nbllm-model-list .nbllm-row').length }"
        )
        assert found == 1
        assert page.page.locator(f"{PANEL} .nbllm-left .nbllm-row").count() < 40
        page.close()


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_thirty_are_tested_while_one_hangs_and_one_is_edited(lab: Lab, browser: Any, app: str) -> None:
    with WireServer([listing(2)]) as good, WireServer([(Stall(),)]) as silent:
        rows = "".join(
            f"w.registry.set_session('t{n:02}', base_url={(silent if n == 7 else good).url!r}, auth='none'); "
            for n in range(30)
        )
        page = Page(lab, browser, app=app, before=f"import nbllm; w = nbllm.workspace(); {rows}")
        page.field("Search providers").fill("127.0.0.1")
        boxes = page.page.locator(f"{PANEL} .nbllm-left .nbllm-row .nbllm-mark")
        page.page.evaluate(
            "async () => { const list = document.querySelector('.nbllm-left [role=listbox]'); const ids = new Set();"
            " for (let top = 0; top < 44 * 60; top += 88) { list.scrollTop = top;"
            "  await new Promise(r => setTimeout(r, 30));"
            "  for (const row of list.querySelectorAll('.nbllm-row')) {"
            "   const id = row.querySelector('.nbllm-sub').textContent.split(' ')[0];"
            "   if (/^t\\d\\d$/.test(id) && !ids.has(id)) {"
            "    ids.add(id); row.querySelector('.nbllm-mark').click(); } } } }"
        )
        page.find("30 selected").wait_for()
        page.page.locator(f"{PANEL} .nbllm-bulk").get_by_role("button", name="Test", exact=True).click()
        page.find("29 of 30 tested").wait_for(timeout=30_000)
        page.open("t03")
        page.field("Base URL").fill(silent.url)
        page.page.wait_for_timeout(2600)  # the list comes anew in between, and must leave what is typed alone
        assert page.field("Base URL").input_value() == silent.url
        page.button("Cancel").click()
        page.page.wait_for_function("() => document.querySelector('.nbllm-panel .nbllm-progress').hidden")
        assert boxes.count() > 0
        page.close()


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_two_panels_share_what_they_know_and_a_restart_is_said(lab: Lab, browser: Any, app: str) -> None:
    page = Page(
        lab, browser, app=app, after=("%llm_providers", "%llm_providers add from-cell --base-url http://127.0.0.1:9/v1")
    )
    page.run(3)
    page.page.wait_for_function("() => document.querySelectorAll('.nbllm-panel .nbllm-counts').length === 2")
    page.run(4)
    for panel in page.page.locator(PANEL).all():
        panel.get_by_label("Search providers").fill("from-cell")
        panel.locator(".nbllm-left .nbllm-row", has_text="from-cell").wait_for(timeout=10_000)
    first, second = page.page.locator(PANEL).all()
    first.locator(".nbllm-left .nbllm-row").first.click()
    first.get_by_role("button", name="Disable", exact=True).last.click()
    second.locator(".nbllm-left .nbllm-row", has_text="disabled").wait_for(timeout=10_000)
    page.page.evaluate(
        "async () => { const w = [...window.jupyterapp.shell.widgets('main')].find(w => w.context && w.sessionContext);"
        " await w.sessionContext.session.kernel.restart(); return 1 }"
    )
    lab.wait_until_idle(page.page)
    page.find("was restarted").wait_for(timeout=30_000)
    page.run(0, 1, 2)
    page.page.locator(f"{PANEL} .nbllm-row").first.wait_for()
    page.close()


def test_the_saved_notebook_keeps_the_table_with_its_time(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser)
    assert not page.page.locator(".nbllm-static").first.is_visible()
    lab.save(page.page)
    outputs = json.loads((lab.folder / page.name).read_text())["cells"][2]["outputs"]
    page.page.context.close()

    kept = "".join(outputs[0]["data"]["text/plain"])
    assert kept.startswith("Providers on 20")
    assert "demo" in kept
    assert set(outputs[0]["data"]) == {"text/plain", "text/html"}
    assert "".join(outputs[1]["data"]["text/plain"]) == "ProviderPanel()"
    for kernel in lab.call("GET", "kernels"):
        lab.call("DELETE", f"kernels/{kernel['id']}")
    again = lab.open(browser, page.name)
    again.locator(".jp-OutputArea-output", has_text="Providers on").first.wait_for()
    assert again.locator(".jp-OutputArea-output", has_text="Providers on").first.is_visible()
    again.context.close()
