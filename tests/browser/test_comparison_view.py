"""The view of a comparison in a real JupyterLab: answers to sort, filter and read, and a vote that stays blind."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.lab import Lab, chromium, need_browser, write_notebook
from payloads import PAYLOADS, with_canary

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

NAMES = ("veiledhouse/alpha", "veiledhouse/beta", "veiledhouse/gamma")
# The cell's own source travels to the kernel and back, so it must not hold the names either.
SETUP = """
import json, pathlib, time
from nbllm.compare.cells import Arm, Case
from nbllm.errors import StoreError
from nbllm.notebook.panels.comparison import ComparisonView
house = "".join(reversed("esuohdeliev"))
arms = [Arm(f"{house}/{name}") for name in ("alp" + "ha", "be" + "ta", "gam" + "ma")]
def cell(arm, n, text, **more):
    return {"prompt_id": f"p{n:05}", "prompt": f"What is {n} and {n}?", "model": arm.model, "params": {}, "repeat": 0,
            "status": "ok", "text": text, "latency_ms": 100.0 * n, "output_tokens": n, "cost_usd": None,
            "exact": n % 4 / 4, **more}
def grid(count):
    return [cell(arm, n, f"Answer {at} to {n}: " + "well, " * (n % 7))
            for n in range(count) for at, arm in enumerate(arms)]
def view(rows, **options):
    cases = [Case(id, prompt) for id, prompt in dict((row["prompt_id"], row["prompt"]) for row in rows).items()]
    return ComparisonView(rows, arms, cases, ["exact"], html=f"<p>static {house}</p>", **options)
kept = []
def keep(vote):
    if pathlib.Path("full").exists():
        raise StoreError("the disk is full", hint="make room")
    while pathlib.Path("slow").exists():
        time.sleep(0.05)
    kept.append(vote)
    pathlib.Path("kept.json").write_text(json.dumps([(vote.ballot, vote.choice) for vote in kept]))
"""
VOTE = "booth = view(grid(12), keep=keep, votes=lambda: list(kept), pairs=[(arms[0].label, arms[1].label)])\nbooth"
LOOK = "view([*grid(40), cell(arms[0], 40, '', status='error', error='no such model', exact=None)])"
MANY = "view(grid(6667))"
LINE = ".nbllm-view-space [role=row]:not([hidden])"
FOREIGN = """() => {
  const tags = /^(img|script|iframe|svg|a|style|link|object|embed|form|math|video|audio)$/i;
  const bad = a => a.name.startsWith('on') || (/^javascript:/i.test(a.value) && !a.name.startsWith('aria-'));
  return [...document.querySelectorAll('.nbllm-view *')]
    .filter(e => tags.test(e.tagName) || [...e.attributes].some(bad)).map(e => e.outerHTML.slice(0, 200));
}"""
BEYOND = """() => [...document.querySelectorAll('.nbllm-view *')]
  .filter(e => !e.closest('.nbllm-view-grid > *, .nbllm-view-wide > *') && e.getBoundingClientRect().right > 391)
  .map(e => e.outerHTML.slice(0, 120))"""
COVER = """async () => {
  const box = document.querySelector('.nbllm-view-grid'), gaps = [];
  box.scrollIntoView({ block: 'center' });
  for (let i = 1; i <= 60; i += 1) {
    box.scrollTop = (i * 7919 * 28) % box.scrollHeight;
    await new Promise(requestAnimationFrame);
    const place = box.getBoundingClientRect();
    for (let y = place.top + 32; y < place.bottom - 20; y += 28) {
      const row = document.elementFromPoint(place.left + 60, y)?.closest('[role=row]');
      if (!row || !row.textContent.includes('What is')) gaps.push([i, y]);
    }
  }
  return gaps;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need_browser()
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("notebooks"), save_widgets=True) as server:
        yield server


class Page:
    """A notebook with a view in it, everything that came over the wire, and the words for what a person does."""

    def __init__(
        self, lab: Lab, browser: Any, *cells: str, app: str = "lab", size: tuple[int, int] = (1250, 950)
    ) -> None:
        self.lab = lab
        self.frames: list[bytes] = []
        self.asked: list[str] = []
        self.faults: list[str] = []
        for name in ("full", "slow", "kept.json"):
            (lab.folder / name).unlink(missing_ok=True)
        self.name = f"view-{time.monotonic_ns()}.ipynb"
        write_notebook(lab.folder / self.name, [SETUP, *cells])
        self.page = lab.open(browser, self.name, app=app, size=size, watch=self._watch)
        lab.run_all(self.page)
        self.page.wait_for_selector(".nbllm-view [role=tabpanel]:not([hidden]) *", timeout=20_000)

    def _watch(self, page: Any) -> None:
        page.on("websocket", lambda socket: socket.on("framereceived", self._frame))
        page.context.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(f"{error}\n{error.stack}"))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)

    def _frame(self, payload: Any) -> None:
        self.frames.append(payload if isinstance(payload, bytes) else str(payload).encode())

    def button(self, name: str) -> Any:
        return self.page.locator(".nbllm-view").get_by_role("button", name=name, exact=True).first

    def start(self) -> None:
        self.button("Start voting").click()
        self.page.wait_for_selector(".nbllm-view-ballot")

    def press(self, key: str, then: str) -> None:
        """Press a key and wait for what is said of it."""
        before = self.count
        self.page.keyboard.press(key)
        self.page.locator(".nbllm-view-kept", has_text=then).wait_for()
        if then.startswith(("Kept", "Taken")):
            self.page.wait_for_function(
                "old => document.querySelector('.nbllm-view-count').textContent !== old", arg=before
            )

    @property
    def count(self) -> str:
        return str(self.page.locator(".nbllm-view-count").first.inner_text())

    @property
    def sides(self) -> list[str]:
        return [str(text) for text in self.page.locator(".nbllm-view-side .nbllm-view-text").all_inner_texts()]

    def kept(self) -> list[str]:
        path = self.lab.folder / "kept.json"
        return [choice for _, choice in json.loads(path.read_text())] if path.exists() else []

    def lines(self, column: int) -> list[str]:
        """What the rows in the page say in one column, from above."""
        code = """([lines, column]) => [...document.querySelectorAll(lines)]
          .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map(row => row.children[column].textContent)"""
        return list(self.page.evaluate(code, [LINE, column]))

    def end(self) -> None:
        self.button("End the vote").click()
        self.button("End the vote: sure?").click()
        self.page.locator(".nbllm-view-results table").first.wait_for()

    def hits(self) -> dict[str, int]:
        """Where the name of an arm can be read."""
        state = self.page.evaluate(
            "() => { const all = [...window.jupyterapp.shell.widgets('main')];"
            " const panel = all.find(w => w.context && w.content);"
            " return document.body.innerHTML + JSON.stringify(panel.content.model.toJSON()) }"
        )
        wire = b"".join(self.frames)
        return {"page": state.count("veiledhouse"), "wire": wire.count(b"veiledhouse")}

    def close(self) -> None:
        """End the page; nothing went wrong in it, and it asked nobody but its own server."""
        self.page.context.close()
        own = self.lab.url.rpartition("/")[2]
        assert {url for url in self.asked if url.startswith("http") and url.split("/")[2] != own} == set()
        assert [fault for fault in self.faults if "blob:" in fault or "nbllm" in fault] == []


# ---------------------------------------------------------------- the vote


def test_a_vote_by_keyboard_is_kept_counted_and_taken_back(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, VOTE)
    cells = page.page.locator(".jp-Notebook .jp-Cell").count()
    page.button("Start voting").focus()
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector(".nbllm-view-ballot")
    assert page.count == "0 of 12"
    page.press("1", "Kept: left is better.")
    page.press("2", "Kept: right is better.")
    page.press("0", "Kept: a tie.")
    page.press("s", "Kept: skipped.")
    assert page.count == "4 of 12"
    fifth = page.sides
    page.press("u", "Taken back.")
    assert page.count == "3 of 12"
    assert page.sides != fifth
    for key in ("a", "b", "d", "d", "x", "y", "3", "Enter"):
        page.page.keyboard.press(key)

    assert page.kept() == ["left", "right", "tie", "skip", "undo"]
    assert page.page.locator(".jp-Notebook .jp-Cell").count() == cells
    page.close()


def test_names_are_nowhere_before_the_vote_ends_and_there_afterwards(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, VOTE)
    page.start()
    for key, then in (("1", "left"), ("0", "tie"), ("2", "right"), ("u", "Taken"), ("s", "skipped")):
        page.press(key, then)
    for tab in ("Answers", "Results"):
        page.page.get_by_role("tab", name=tab).click()
        page.button("Back to the vote").click()
    lab.save(page.page)
    saved = (lab.folder / page.name).read_text()

    assert page.hits() == {"page": 0, "wire": 0}
    assert "veiledhouse" not in saved
    assert "widget-state" in saved  # the state of the widget is in the file, and was looked through
    page.end()
    page.page.get_by_role("tab", name="Answers").click()
    page.page.locator(LINE).first.wait_for()
    after = page.hits()
    assert after["page"] > 10
    assert after["wire"] > 5
    page.page.get_by_role("tab", name="Vote").click()
    page.page.keyboard.press("1")
    assert page.kept() == ["left", "tie", "right", "undo", "skip"]
    page.close()


def test_a_pair_that_is_revealed_is_closed(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, VOTE)
    page.start()
    page.button("Show the names of this pair").click()
    page.page.locator(".nbllm-view-kept", has_text="Closed").wait_for()

    assert all("veiledhouse/" in text for text in page.page.locator(".nbllm-view-side h4").all_inner_texts())
    page.page.keyboard.press("1")
    page.page.keyboard.press("n")
    page.page.wait_for_function("() => !document.querySelector('.nbllm-view-side h4').textContent.includes('/')")
    assert page.kept() == ["skip"]
    assert page.count == "1 of 12"
    page.press("1", "Kept: left is better.")  # the focus is still inside
    page.close()


def test_a_vote_that_cannot_be_kept_is_shown_as_such(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, VOTE)
    page.start()
    page.press("1", "Kept: left is better.")
    (lab.folder / "full").touch()
    before = page.sides
    page.press("2", "Not kept")

    assert page.page.locator(".nbllm-view-alert").inner_text() == "the disk is full make room"
    assert (page.count, page.sides, page.kept()) == ("1 of 12", before, ["left"])
    (lab.folder / "full").unlink()
    page.press("2", "Kept: right is better.")
    assert page.page.locator(".nbllm-view-alert").inner_text() == ""
    assert page.kept() == ["left", "right"]
    page.close()


def test_nothing_is_said_to_be_kept_before_it_is(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, VOTE)
    page.start()
    (lab.folder / "slow").touch()
    page.page.keyboard.press("1")
    page.page.locator(".nbllm-view-status", has_text="The kernel is busy").wait_for()
    assert (page.count, page.page.locator(".nbllm-view-kept").inner_text()) == ("0 of 12", "keeping …")
    page.page.keyboard.press("2")  # one at a time
    (lab.folder / "slow").unlink()
    page.page.locator(".nbllm-view-kept", has_text="Kept: left").wait_for()

    assert (page.count, page.kept()) == ("1 of 12", ["left"])
    assert page.page.locator(".nbllm-view-status").inner_text() == ""
    page.close()


def test_a_second_view_of_the_widget_shows_the_same(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, VOTE, "booth")
    views = page.page.locator(".nbllm-view")
    views.nth(0).get_by_role("button", name="Start voting").click()
    views.nth(1).locator(".nbllm-view-ballot").wait_for()
    page.page.keyboard.press("1")
    for at in (0, 1):
        views.nth(at).locator(".nbllm-view-count", has_text="1 of 12").wait_for()
    first, second = (views.nth(at).locator(".nbllm-view-text").all_inner_texts() for at in (0, 1))
    assert first == second
    views.nth(1).locator(".nbllm-view-ballot").focus()
    page.page.keyboard.press("0")
    views.nth(0).locator(".nbllm-view-count", has_text="2 of 12").wait_for()
    views.nth(0).get_by_role("tab", name="Results").click()
    views.nth(1).get_by_text("Names are shown here").wait_for()

    assert page.kept() == ["left", "tie"]
    page.close()


def test_the_whole_way_by_keyboard_alone(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, VOTE)
    keys = page.page.keyboard
    page.page.get_by_role("tab", name="Vote").focus()
    keys.press("Tab")
    keys.press("Enter")
    page.page.wait_for_selector(".nbllm-view-ballot")
    for n in range(12):
        page.press("12"[n % 2], ("Kept: left", "Kept: right")[n % 2]) if n < 11 else keys.press("0")
    page.page.get_by_text("That was the last pair").wait_for()
    keys.press("Enter")  # the focus is on the button that ends the vote
    page.page.locator(".nbllm-view-results table").first.wait_for()
    page.page.get_by_role("tab", name="Results").focus()
    keys.press("Home")
    page.page.locator(LINE).first.wait_for()
    page.page.locator(".nbllm-view-grid").focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        keys.press(key)
    page.page.locator(".nbllm-view-opened h3", has_text="Prompt").wait_for()
    keys.press("Escape")
    assert page.page.evaluate("() => document.activeElement.getAttribute('role')") == "grid"
    keys.press("Escape")
    assert page.page.evaluate("() => document.activeElement.closest('.nbllm-view')") is None
    page.close()


# ---------------------------------------------------------------- the answers


def test_answers_are_sorted_and_filtered(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, LOOK)
    page.page.locator(LINE).first.wait_for()
    find, view = page.page.get_by_label("Find"), page.page.locator(".nbllm-view")
    assert page.count == "121 of 121 answers"
    assert page.page.locator(".nbllm-view [role=tab]:visible").all_inner_texts() == ["Answers"]

    for _ in range(2):
        view.get_by_role("button", name="tokens").click()
    assert page.lines(5)[:4] == ["40", "39", "39", "39"]
    assert view.locator("[aria-sort=descending]").inner_text() == "tokens ▼"
    find.fill("ANSWER 17 beta")
    assert page.count == "1 of 121 answers"
    assert page.lines(1) == ["veiledhouse/beta"]
    find.fill("")
    page.page.get_by_label("Model", exact=True).select_option("veiledhouse/gamma")
    assert page.count == "40 of 121 answers"
    page.page.get_by_label("least exact").fill("0,5")
    page.page.get_by_label("most exact").fill("0.5")
    assert page.count == "10 of 121 answers"
    assert set(page.lines(3)) == {"0.5"}
    view.get_by_role("button", name="Clear").click()
    page.page.get_by_label("Status", exact=True).select_option("error")
    assert (page.count, page.lines(2), page.lines(7)) == ("1 of 121 answers", ["✗ error"], ["no such model"])
    page.close()


def test_unknown_values_come_last_whichever_way_one_sorts(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, "rows = grid(3); rows[2]['exact'] = None; view(rows)")
    page.page.locator(LINE).first.wait_for()
    for _ in range(2):
        page.page.locator(".nbllm-view").get_by_role("button", name="exact").click()
        assert page.lines(3)[-1] == "—"
    page.close()


def test_a_row_opens_the_answers_to_its_prompt_beside_each_other(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, LOOK)
    page.page.locator(LINE).nth(4).click()
    page.page.locator(".nbllm-view-opened h3", has_text="Prompt p00001").wait_for()
    assert [text[:13] for text in page.sides] == ["Answer 0 to 1", "Answer 1 to 1", "Answer 2 to 1"]
    assert page.page.locator(".nbllm-view-chosen h4").inner_text() == "veiledhouse/beta"
    page.button("Next row").click()
    page.page.locator(".nbllm-view-chosen h4", has_text="gamma").wait_for()
    page.button("Next row").click()
    page.page.locator(".nbllm-view-opened h3", has_text="Prompt p00002").wait_for()
    assert page.page.evaluate("() => document.activeElement.textContent") == "Next row"
    page.close()


def test_20_000_cells_are_listed_without_gaps_and_filtered(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, MANY)
    page.page.locator(".nbllm-view-count", has_text="20,001 of 20,001 answers").wait_for(timeout=30_000)

    assert page.page.locator(LINE).count() < 100
    assert page.page.evaluate(COVER) == []
    page.page.get_by_label("Find").fill("answer 2 to 6")
    page.page.wait_for_function("() => !document.querySelector('.nbllm-view-count').textContent.startsWith('20')")
    assert page.lines(7)[0].startswith("Answer 2 to 6")
    page.page.locator(".nbllm-view-grid").focus()
    page.page.keyboard.press("End")
    last = page.page.locator(".nbllm-view-active")
    assert last.inner_text().startswith("p06")
    assert last.get_attribute("id") == page.page.locator(".nbllm-view-grid").get_attribute("aria-activedescendant")
    page.close()


def test_words_are_found_beyond_the_beginnings_of_long_answers(lab: Lab, browser: Any) -> None:
    many = (
        "view([cell(arm, n, f\"{'pad ' * 30_000} needle{at}of{n}\") for n in range(8) for at, arm in enumerate(arms)])"
    )
    page = Page(lab, browser, many)
    page.page.locator(LINE).first.wait_for()
    page.page.get_by_label("Find").fill("needle2of5")
    page.page.locator(".nbllm-view-count", has_text="1 of 24 answers").wait_for()

    assert page.lines(1) == ["veiledhouse/gamma"]
    page.close()


def test_settings_are_shared_by_views_and_survive(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, f"shown = {LOOK}\nshown", "shown", "print(shown.filters['text'], shown.sort)")
    views = page.page.locator(".nbllm-view")
    for at in (0, 1):
        views.nth(at).locator("[role=row]").nth(5).wait_for()
    views.nth(0).get_by_label("Find").fill("well")
    views.nth(0).get_by_role("button", name="time").click()
    page.page.wait_for_function("() => document.querySelectorAll('.nbllm-view [type=search]')[1].value === 'well'")
    counts = page.page.locator(".nbllm-view-count").all_inner_texts()

    assert counts[0] == counts[1] != "121 of 121 answers"
    assert views.nth(1).locator("[aria-sort=ascending]").inner_text() == "time ▲"
    page.close()


# ---------------------------------------------------------------- strangers' texts, looks, and what is saved


@pytest.mark.parametrize("tab", ["vote", "answers"])
def test_hostile_texts_are_text(lab: Lab, browser: Any, tab: str) -> None:
    more = [
        "<img src=x onerror=window.pwned=1>",
        "</script><script>window.pwned=1</script>",
        "a\u202ebcd\u2066 \u200b\ud800",
    ]
    (lab.folder / "payloads.json").write_text(json.dumps([*more, *with_canary(PAYLOADS, "http://127.0.0.1:9")[:40]]))
    rows = (
        "texts = json.load(open('payloads.json'))\n"
        "rows = [{**cell(arm, n, text + '.' * at), 'prompt': text, 'prompt_id': text[:90] + str(n)}"
        " for n, text in enumerate(texts) for at, arm in enumerate(arms)]\n"
    )
    page = Page(lab, browser, rows + ("view(rows, keep=keep)" if tab == "vote" else "view(rows)"))
    seen = []
    if tab == "vote":
        page.start()
        for _ in range(30):
            seen += page.sides
            page.press("0", "Kept: a tie.")
    else:
        page.page.locator(LINE).nth(1).click()
        for _ in range(40):
            page.page.locator(".nbllm-view-chosen h4").wait_for()
            before = page.page.locator(f"{LINE}[aria-selected=true]").get_attribute("id")
            seen += page.sides
            page.button("Next row").click()
            page.page.locator(f"{LINE}[aria-selected=true]:not(#{before})").wait_for()
        assert any("a<U+202E>bcd<U+2066>" in text for text in seen)

    assert any("<img" in text or "<script" in text for text in seen)
    found = page.page.evaluate(FOREIGN)
    assert found == []
    assert page.page.evaluate("() => window.pwned ?? null") is None
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(tmp_path: Path, browser: Any, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    def complaints() -> list[str]:
        found = Axe().run(page.page, context={"include": [[".nbllm-view"]]}).response["violations"]
        return [f"{v['id']}: {n['target']}" for v in found for n in v["nodes"]]

    with Lab(tmp_path, theme=theme) as lab:
        page = Page(lab, browser, VOTE, size=(1250, 1800))
        # JupyterLab's body has no height, and so hides, in axe's eyes, every text in it.
        page.page.evaluate("() => { document.body.style.height = '100vh'; return 1 }")
        assert complaints() == []
        page.start()
        assert complaints() == []
        page.press("1", "Kept")
        assert complaints() == []
        page.button("Show the names of this pair").click()
        page.page.locator(".nbllm-view-kept", has_text="Closed").wait_for()
        assert complaints() == []
        page.end()
        assert complaints() == []
        page.page.get_by_role("tab", name="Answers").click()
        page.page.locator(LINE).nth(2).click()
        page.page.locator(".nbllm-view-opened h3").wait_for()
        assert complaints() == []
        page.page.evaluate(
            "() => { const i = document.createElement('input'); document.querySelector('.nbllm-view').prepend(i);"
            " const p = document.createElement('p'); p.textContent = 'faint';"
            " p.style = 'color: #888; background: #999'; document.querySelector('.nbllm-view').prepend(p) }"
        )
        assert {each.partition(":")[0] for each in complaints()} >= {"label", "color-contrast"}
        page.close()


def test_a_narrow_page_holds_the_view(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, VOTE, app="notebook", size=(390, 844))
    page.start()
    left, right = (side.bounding_box() for side in page.page.locator(".nbllm-view-side").all())
    assert left["y"] + left["height"] <= right["y"]  # above each other
    assert _sticks_out(page) == []
    page.press("1", "Kept")
    page.end()
    assert _sticks_out(page) == []
    page.page.get_by_role("tab", name="Answers").click()
    page.page.locator(LINE).nth(2).click()
    page.page.locator(".nbllm-view-opened h3").wait_for()
    assert _sticks_out(page) == []
    page.close()


def _sticks_out(page: Page) -> list[str]:
    """What reaches beyond the page and is in no box that scrolls."""
    return list(page.page.evaluate(BEYOND))


def test_the_saved_notebook_holds_the_static_page(lab: Lab, browser: Any) -> None:
    page = Page(lab, browser, LOOK)
    lab.save(page.page)
    [output] = json.loads((lab.folder / page.name).read_text())["cells"][1]["outputs"]

    assert "".join(output["data"]["text/html"]) == "<p>static veiledhouse</p>"
    assert "".join(output["data"]["text/plain"]) == "ComparisonView(3 models, 41 prompts, 121 answers)"
    page.close()
