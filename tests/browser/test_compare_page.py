"""The page of a comparison in a real JupyterLab and as a file of its own: read, scrolled, unfolded, and harmless."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.lab import SRC, Lab, chromium, need_browser, write_notebook
from nbllm.compare.reports import to_html
from payloads import PAYLOADS, with_canary
from unit.compare.sample import ARMS, NOTES, SUMMARY, sample

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

HOSTILE = (
    *with_canary(PAYLOADS, "http://canary.invalid"),
    "</style><script>window.pwned=1</script>",
    "</pre></td></table></div><img src=http://canary.invalid/x onerror=window.pwned=1>",
    "[click](javascript:window.pwned=1) <a href=javascript:window.pwned=1>here</a>",
    "user\u202egnp.exe",
)
SHOW = """
import json, sys
sys.path.insert(0, {tests!r})
from IPython.display import HTML, display
from nbllm.compare.page import comparison_html
from unit.compare.sample import ARMS, NOTES, SUMMARY, sample
texts = tuple(json.load(open("hostile.json"))) if {hostile} else ()
rows, cases = sample(len(texts) or 40, texts)
parts = dict(scorers=["exact"], summary=SUMMARY, notes=NOTES, differences={hostile})
display(HTML(comparison_html(rows, ARMS, cases, **parts)))
"""
ROOT = ".nbllm-compare"
BOX = f"{ROOT} .nbc-box"
HEADER = f"""() => {{
  const box = document.querySelector('{BOX}'), head = box.querySelector('thead th:nth-child(2)');
  return [box.scrollTop, head.getBoundingClientRect().top - box.getBoundingClientRect().top,
          head.contains(document.elementFromPoint(head.getBoundingClientRect().left + 20,
                                                  head.getBoundingClientRect().top + 20))];
}}"""
INSPECT = f"""() => {{
  const all = [...document.querySelectorAll('{ROOT} *')];
  const own = new Set(('style p strong span small b em div table caption thead tbody tr th td pre details summary '
    + 'ul li ins del code h1 figure svg title desc').split(' '));
  return {{
    strange: all.map(e => e.localName).filter(name => !own.has(name)),
    handlers: all.flatMap(e => e.getAttributeNames()).filter(n => /^on|^href|^src/.test(n)),
    styles: document.querySelectorAll('{ROOT} style').length,
    pwned: window.pwned ?? null,
    rows: document.querySelectorAll('{BOX} tbody tr').length,
  }};
}}"""


class Witness:
    """What a page asked for, and what it popped up."""

    def __init__(self, own: str) -> None:
        self._own = own
        self.strange: list[str] = []

    def watch(self, page: Any) -> None:
        page.on("request", lambda r: self.strange.append(r.url) if not self._is_own(r.url) else None)
        page.on("dialog", lambda d: (self.strange.append(d.message), d.dismiss()))

    def _is_own(self, url: str) -> bool:
        return url.startswith((self._own, "data:", "blob:")) and "canary" not in url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need_browser()
    with chromium() as started:
        yield started


def complaints(page: Any, root: str) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context={"include": [[root]]})
    return [f"{v['id']}: {n['target']}" for v in found.response["violations"] for n in v["nodes"]]


def spoil(page: Any) -> None:
    """Faults that axe must find, or it finds none."""
    page.evaluate(
        f"() => {{ const root = document.querySelector('{ROOT}'); root.prepend(document.createElement('input'));"
        " const p = document.createElement('p'); p.textContent = 'faint'; p.style = 'color: #888; background: #999';"
        " root.prepend(p) }"
    )


def check_header_sticks(page: Any) -> None:
    page.locator(BOX).focus()
    before = page.evaluate(HEADER)
    for _ in range(3):
        page.keyboard.press("PageDown")
        page.wait_for_timeout(300)
    scrolled, top, in_front = page.evaluate(HEADER)
    assert scrolled > before[0] + 300
    assert abs(top - before[1]) < 2
    assert in_front


def check_details_open_by_keyboard(page: Any) -> None:
    fold = page.locator(f"{BOX} td details").first
    fold.locator("summary").focus()
    assert not fold.locator("pre").is_visible()
    page.keyboard.press("Enter")
    assert fold.locator("pre").is_visible()
    assert not fold.locator(".nbc-excerpt").is_visible()
    page.keyboard.press("Space")
    assert not fold.locator("pre").is_visible()


def check_texts_stand_as_written(page: Any) -> None:
    """JupyterLab puts the words of tables to the right, and breaks those of `pre` anywhere."""
    seen = page.evaluate(
        f"() => [...document.querySelectorAll('{BOX} :is(th, td, pre)')].map(e => getComputedStyle(e))"
        ".map(s => `${s.textAlign} ${s.wordBreak}`)"
    )
    assert set(seen) == {"left normal"}


def check_harmless(page: Any, witness: Witness, *, styles: int, rows: int = 40) -> None:
    seen = page.evaluate(INSPECT)
    expected = {"strange": [], "handlers": [], "styles": styles, "pwned": None, "rows": rows}
    assert seen == expected
    assert witness.strange == []


def notebook(folder: Path, *, hostile: bool) -> str:
    (folder / "hostile.json").write_text(json.dumps(HOSTILE))
    name = f"compare-{hostile}.ipynb"
    write_notebook(folder / name, [SHOW.format(tests=str(SRC.parent / "tests"), hostile=hostile)])
    return name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_reads_well_in_jupyterlab_and_does_nothing_else(tmp_path: Path, browser: Any, theme: str) -> None:
    with Lab(tmp_path, theme=theme) as lab:
        witness = Witness(lab.url)
        page = lab.open(browser, notebook(tmp_path, hostile=False), size=(1300, 1000), watch=witness.watch)
        lab.run_all(page)
        page.locator(BOX).wait_for()
        check_harmless(page, witness, styles=1)
        # JupyterLab's body has no height, and so hides, in axe's eyes, every text in it.
        page.evaluate("() => { document.body.style.height = '100vh'; return 1 }")
        assert complaints(page, ROOT) == []
        check_texts_stand_as_written(page)
        check_header_sticks(page)
        check_details_open_by_keyboard(page)
        spoil(page)
        assert {"label", "color-contrast"} <= {c.partition(":")[0] for c in complaints(page, ROOT)}

        hostile = lab.open(browser, notebook(tmp_path, hostile=True), size=(1300, 1000), watch=witness.watch)
        lab.run_all(hostile)
        hostile.locator(BOX).wait_for()
        hostile.wait_for_timeout(500)
        check_harmless(hostile, witness, styles=1, rows=len(HOSTILE))
        assert "<U+202E>" in hostile.locator(BOX).inner_text()
        lab.save(hostile)
        lab.load(hostile, "compare-True.ipynb")
        hostile.locator(BOX).wait_for()
        hostile.wait_for_timeout(500)
        check_harmless(hostile, witness, styles=1, rows=len(HOSTILE))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_its_own_reads_well_and_does_nothing_else(tmp_path: Path, browser: Any, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 1300, "height": 900}, color_scheme=scheme)
    page, witness = context.new_page(), Witness(f"file://{tmp_path}")
    witness.watch(page)
    for hostile in (HOSTILE, ()):
        rows, cases = sample(len(hostile) or 40, hostile)
        parts = {"scorers": ["exact"], "summary": SUMMARY, "notes": NOTES, "manifest": {"</details>": "<script>"}}
        to_html(tmp_path / "page.html", rows, ARMS, cases, differences=bool(hostile), **parts)
        page.goto(f"file://{tmp_path}/page.html")
        page.wait_for_timeout(300)
        check_harmless(page, witness, styles=0, rows=len(cases))
        assert complaints(page, "html") == []
    check_header_sticks(page)
    check_details_open_by_keyboard(page)
    spoil(page)
    assert {"label", "color-contrast"} <= {c.partition(":")[0] for c in complaints(page, ROOT)}
    context.close()


def test_a_control_that_is_not_escaped_is_caught(tmp_path: Path, browser: Any) -> None:
    rows, cases = sample(40)
    path = to_html(tmp_path / "page.html", rows, ARMS, cases)
    harm = "<img src=http://canary.invalid/x onerror=window.pwned=1><script>window.pwned=1</script>"
    text = re.sub("<meta http-equiv[^>]*>", "", path.read_text()).replace("</main>", harm + "</main>")
    path.write_text(text)
    page = browser.new_context().new_page()
    witness = Witness(f"file://{tmp_path}")
    witness.watch(page)
    page.goto(f"file://{path}")
    page.wait_for_timeout(300)
    seen = page.evaluate(INSPECT)
    assert (seen["strange"], seen["pwned"]) == (["img", "script"], 1)
    assert witness.strange == ["http://canary.invalid/x"]
    page.context.close()


def test_a_narrow_window_scrolls_inside_the_box_and_never_as_a_whole(tmp_path: Path, browser: Any) -> None:
    rows, cases = sample(40)
    path = to_html(tmp_path / "page.html", rows, ARMS, cases, summary=SUMMARY, notes=NOTES)
    page = browser.new_context(viewport={"width": 390, "height": 800}).new_page()
    page.goto(f"file://{path}")
    wide = page.evaluate(
        f"() => [document.documentElement.scrollWidth, document.querySelector('{BOX}').scrollWidth,"
        f" document.querySelector('{BOX}').clientWidth]"
    )
    assert wide[0] <= 390
    assert wide[1] > wide[2] + 300
    page.context.close()
