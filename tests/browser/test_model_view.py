"""`ModelTable.view()` in a real JupyterLab: sorts, filters, scrolls 10,000 rows, and is a static table once saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from browser.lab import Lab, chromium, need_browser, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

MANY = """
import nbllm
from nbllm.catalog.table import ModelTable, row_of
from nbllm.catalog.marks import Marked
from nbllm.notebook.panels import view_models
from nbllm.providers.spec import ModelInfo

def model(n):
    return ModelInfo("hub", f"model-{n:05}", name="<img src=x onerror=window.hurt=1>" if n == 3 else f"Model {n}",
                     context=None if n % 2 else n, input_price=None if n % 5 else n / 1000, tools=n % 3 == 0)

rows = [row_of(model(n), Marked(), favourites=(), usable="yes" if n % 7 == 0 else "needs a key") for n in range(10_000)]
ModelTable(rows, viewer=view_models).view()
"""
FOCUS = """() => {
  const it = document.activeElement;
  return it.closest('.nbllm-models') && (it.type || it.className);
}"""
ROW = ".nbllm-models tbody tr:not(.nbllm-gap)"
REFS = f"() => [...document.querySelectorAll('{ROW} td:nth-child(2)')].map(e => e.textContent)"
IN_SIGHT = f"""() => {{
  const box = document.querySelector('.nbllm-models-box').getBoundingClientRect();
  return [...document.querySelectorAll('{ROW}')].filter(e => {{
    const r = e.getBoundingClientRect(); return r.bottom > box.top + 30 && r.top < box.bottom;
  }}).map(e => e.children[1].textContent);
}}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need_browser()
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("notebooks")
    with Lab(folder) as server:
        yield server


@pytest.fixture
def page(lab: Lab, browser: Any) -> Iterator[Any]:
    write_notebook(lab.folder / "view.ipynb", ["%load_ext nbllm", MANY])
    opened = lab.open(browser, "view.ipynb")
    lab.run_all(opened)
    opened.wait_for_selector(ROW)
    yield opened
    opened.context.close()


def first(page: Any) -> str:
    return str(page.evaluate(REFS)[0])


def heading(page: Any, title: str) -> Any:
    return page.locator(".nbllm-models th button", has_text=title).first


def count(page: Any) -> str:
    return str(page.locator(".nbllm-models-count").inner_text())


def test_ten_thousand_rows_are_scrolled_with_few_of_them_in_the_page(page: Any) -> None:
    assert count(page) == "10,000 of 10,000 models"
    assert len(page.evaluate(REFS)) < 60

    box = page.locator(".nbllm-models-box")
    box.evaluate("e => { e.scrollTop = e.scrollHeight }")
    page.wait_for_function(f"({REFS})().at(-1) === 'hub/model-09999'")
    assert page.evaluate(IN_SIGHT)[-1] == "hub/model-09999"
    assert len(page.evaluate(REFS)) < 60

    box.evaluate("e => { e.scrollTop = e.scrollHeight / 2 }")
    page.wait_for_function(f"({REFS})().includes('hub/model-05000')")
    assert any(ref.startswith(("hub/model-0500", "hub/model-0499")) for ref in page.evaluate(IN_SIGHT))


def test_a_click_on_a_heading_sorts_and_unknown_stays_last(page: Any) -> None:
    context = heading(page, "context")
    context.click()
    assert first(page) == "hub/model-00000"
    context.click()
    assert first(page) == "hub/model-09998"
    assert page.locator(".nbllm-models th[aria-sort=descending]").count() == 1
    page.locator(".nbllm-models-box").evaluate("e => { e.scrollTop = e.scrollHeight }")
    page.wait_for_function(f"({REFS})().at(-1) === 'hub/model-09999'")
    last = page.locator(ROW).last
    assert last.locator("td").nth(2).inner_text() == "—"
    context.click()
    assert first(page) == "hub/model-00000"
    assert page.locator(".nbllm-models th[aria-sort=none]").count() == page.locator(".nbllm-models th").count()


def test_the_boxes_filter_and_an_unknown_price_satisfies_no_bound(page: Any) -> None:
    page.get_by_label("tools").check()
    assert count(page) == "3,334 of 10,000 models"
    page.get_by_label("usable now").check()
    assert count(page) == "477 of 10,000 models"
    page.get_by_label("in $/M at most").fill("1")
    assert count(page) == "10 of 10,000 models"  # of 0, 105, 210 ... 945
    page.get_by_label("Find").fill("00210 HUB")
    assert page.evaluate(REFS) == ["hub/model-00210"]
    page.get_by_label("Find").fill("nothing like it")
    assert (count(page), page.evaluate(REFS)) == ("0 of 10,000 models", [])


def test_typing_there_does_nothing_to_the_notebook(page: Any) -> None:
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    page.get_by_label("Find").focus()
    for key in ("a", "b", "d", "d", "x", "Enter", "Escape", "a"):
        page.keyboard.press(key)

    assert page.locator(".jp-Notebook .jp-Cell").count() == cells


def test_everything_is_reached_by_keyboard(page: Any) -> None:
    page.get_by_label("Find").focus()
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUS))
    assert reached[:7] == ["checkbox"] * 5 + ["search", "nbllm-models-box"]
    assert reached[7:] == ["button", "button"]
    page.keyboard.press("Enter")
    assert page.locator(".nbllm-models th[aria-sort=ascending]").count() == 1


def test_a_servers_text_is_text(page: Any) -> None:
    page.get_by_label("Find").fill("onerror")

    assert page.locator(ROW).inner_text().count("<img src=x onerror=window.hurt=1>") == 1
    assert page.evaluate("() => window.hurt") is None
    assert page.locator(".nbllm-models img").count() == 0


def test_the_saved_notebook_holds_the_static_table(lab: Lab, page: Any) -> None:
    lab.save(page)

    cells = json.loads((lab.folder / "view.ipynb").read_text())["cells"]
    [output] = cells[1]["outputs"]
    html = "".join(output["data"]["text/html"])
    assert "hub/model-00003" in html
    assert "50 of 10,000" in html
    assert len(html) < 50_000
    assert "<script" not in html
    assert "<img" not in html
    assert "hub/model-00003" in "".join(output["data"]["text/plain"])


def test_a_narrow_page_is_not_widened(lab: Lab, browser: Any) -> None:
    write_notebook(lab.folder / "narrow.ipynb", ["%load_ext nbllm", MANY])
    page = lab.open(browser, "narrow.ipynb", size=(390, 844), app="notebook")
    lab.run_all(page)
    page.wait_for_selector(ROW)

    box = page.locator(".nbllm-models-box").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    for part in page.locator(".nbllm-models-bar > *").all():
        place = part.bounding_box()
        assert place["x"] + place["width"] <= 390
    page.context.close()
