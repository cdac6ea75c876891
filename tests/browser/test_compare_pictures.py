"""The five pictures in a real JupyterLab, light and dark: legible by measured boxes, nothing for axe, no requests."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from browser.lab import Lab, chromium, need_browser, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ROWS = """
from nbllm.compare.pictures import PICTURES

N = %d
NAMES = ["openai/gpt-5.2-mini", "anthropic/claude-sonnet-4-5-20250929-with-a-very-long-name-" + "x" * 90,
         "排序/模型-七十亿", "שלום/עולם", "</svg><script>document.title='hurt'</script>"]
arms = []
for i in range(N):
    mean = None if i == 3 else 0.35 + 0.6 * (i * 7 %% N) / N
    arms.append(dict(model=NAMES[i %% 5], params={"t": i}, scorer="exact", mean=mean, n_prompts=40, n_cells=40,
        cost_usd=None if i == 4 else 0.002 * 1.4 ** i, ci_low=mean and mean - 0.08, ci_high=mean and mean + 0.07,
        latency_p50_ms=300 + 60 * i, latency_p95_ms=900 + 400 * i, p50_low_ms=280 + 55 * i, p50_high_ms=330 + 65 * i,
        p95_low_ms=800 + 300 * i, p95_high_ms=1100 + 500 * i))
labels = [f"{a['model']} t={a['params']['t']}" for a in arms]
pairs = [dict(a=labels[i], b=labels[i - 1], scorer="exact", difference=i / 50 - 0.05, ci_low=i / 50 - 0.12,
         ci_high=i / 50 + 0.02, mde=0.1, n_prompts=40) for i in range(N)]
duels = [dict(a=a, b=b, win_rate=(3 * i + j) %% 11 / 10, n=30 + j) for i, a in enumerate(labels)
         for j, b in enumerate(labels) if i < j]
ROWS = {"differences": pairs, "wins": duels}
"""
SHOW = "PICTURES[{kind!r}](ROWS.get({kind!r}, arms), width={width})"
KINDS = ("scores", "differences", "latency", "cost", "wins")
PICTURE = ".jp-OutputArea-output img[src^='data:image/svg+xml']"
# Every text with its real box, in the coordinates of the picture, which is put into the page at its own size.
MEASURE = """async ([documents, font]) => {
  const found = [];
  for (const source of documents) {
    const holder = document.createElement('div');
    holder.style.cssText = `position:fixed;left:0;top:0;z-index:9999;--jp-ui-font-family:${font}`;
    holder.innerHTML = source;
    document.body.append(holder);
    await document.fonts.ready;
    const svg = holder.firstElementChild, size = svg.viewBox.baseVal;
    const texts = [...svg.querySelectorAll('text')].map(t => {
      const b = t.getBBox();
      return {text: t.lastChild.textContent, left: b.x, right: b.x + b.width, top: b.y, bottom: b.y + b.height};
    });
    found.push({width: size.width, height: size.height, texts});
    holder.remove();
  }
  return found;
}"""
# What the eye sees of an image: the lightest and the darkest of its pixels in a screenshot.
SHADES = """async shot => {
  const image = new Image();
  image.src = 'data:image/png;base64,' + shot;
  await image.decode();
  const canvas = Object.assign(document.createElement('canvas'), {width: image.width, height: image.height});
  const ink = canvas.getContext('2d');
  ink.drawImage(image, 0, 0);
  const data = ink.getImageData(0, 0, image.width, image.height).data;
  let least = 255, most = 0;
  const shade = i => (data[i] + data[i + 1] + data[i + 2]) / 3;
  for (let i = 0; i < data.length; i += 4) { least = Math.min(least, shade(i)); most = Math.max(most, shade(i)); }
  return {corner: shade(0), least, most};
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    need_browser()
    with chromium() as started:
        yield started


@pytest.fixture(scope="module", params=["light", "dark"])
def lab(tmp_path_factory: pytest.TempPathFactory, browser: Any, request: pytest.FixtureRequest) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("notebooks"), theme=request.param) as server:
        yield server


def shown(
    lab: Lab, browser: Any, n: int, width: int = 640, size: tuple[int, int] = (1200, 900)
) -> tuple[Any, list[str]]:
    """A page with all five pictures, and every address that it asked for."""
    asked: list[str] = []
    cells = [ROWS % n, *(SHOW.format(kind=kind, width=width) for kind in KINDS)]
    write_notebook(lab.folder / "pictures.ipynb", cells)
    page = lab.open(
        browser, "pictures.ipynb", size=size, watch=lambda p: p.on("request", lambda r: asked.append(r.url))
    )
    lab.run_all(page)
    page.wait_for_function(f"() => document.querySelectorAll({PICTURE!r}.replaceAll('\"', '')).length === {len(KINDS)}")
    return page, asked


def documents(page: Any) -> list[str]:
    sources = page.evaluate("css => [...document.querySelectorAll(css)].map(i => i.src)", PICTURE)
    return [base64.b64decode(s.partition(",")[2]).decode() for s in sources]


def overlap(a: dict[str, float], b: dict[str, float]) -> float:
    """Pixels that two boxes share in their smaller direction, less the air above and below letters."""
    across = min(a["right"], b["right"]) - max(a["left"], b["left"])
    down = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"]) - 4
    return min(across, down)


def check_boxes(found: list[dict[str, Any]]) -> None:
    for picture in found:
        texts = sorted(picture["texts"], key=lambda t: t["top"])
        assert texts
        for i, one in enumerate(texts):
            assert one["left"] >= -0.5, one
            assert one["right"] <= picture["width"] + 0.5, one
            assert one["top"] >= -1, one
            assert one["bottom"] <= picture["height"] + 1, one
            for other in texts[i + 1 :]:
                if other["top"] >= one["bottom"]:
                    break
                assert overlap(one, other) <= 0.5, (one, other)


@pytest.mark.parametrize(("n", "width"), [(5, 360), (30, 640)])
def test_no_text_is_cut_or_covered_by_measured_boxes(lab: Lab, browser: Any, n: int, width: int) -> None:
    page, _ = shown(lab, browser, n, width)
    sources = documents(page)
    for font in ("", "sans-serif", "'DejaVu Sans'", "'Liberation Sans'", "Arial"):
        check_boxes(page.evaluate(MEASURE, [sources, font]))
    page.context.close()


def test_pictures_follow_the_theme_and_run_nothing_and_load_nothing(lab: Lab, browser: Any) -> None:
    page, asked = shown(lab, browser, 5)
    for picture in page.query_selector_all(PICTURE):
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("i => i.complete && i.naturalWidth") == 640
        shades = page.evaluate(SHADES, base64.b64encode(picture.screenshot()).decode())
        if lab.theme == "dark":
            assert shades["corner"] < 40
            assert shades["most"] > 200
        else:
            assert shades["corner"] > 240
            assert shades["least"] < 60
    assert page.title() != "hurt"
    strange = [url for url in asked if not url.startswith((lab.url, lab.url.replace("http", "ws"), "data:", "blob:"))]
    assert strange == []
    page.context.close()


@pytest.mark.parametrize("size", [(1200, 900), (390, 800)])
def test_axe_finds_nothing_and_the_numbers_open_below(lab: Lab, browser: Any, size: tuple[int, int]) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, _ = shown(lab, browser, 5, size=size)
    page.evaluate("() => document.querySelectorAll('.jp-OutputArea-output details').forEach(d => { d.open = true })")
    # JupyterLab's body has no height, and so hides, in axe's eyes, every text in it.
    page.add_style_tag(content="body { min-height: 100vh }")
    found = Axe().run(page, context={"include": [[".jp-OutputArea-output"]]})
    assert [(v["id"], v["nodes"][0]["html"]) for v in found.response["violations"]] == []
    assert page.get_by_text("Numbers of this picture").count() == len(KINDS)
    assert (
        page.get_by_role("cell", name="no score", exact=False).count() + page.get_by_text("score unknown").count() > 0
    )
    page.context.close()


def test_pictures_survive_in_a_notebook_that_is_not_trusted(lab: Lab, browser: Any) -> None:
    page, _ = shown(lab, browser, 5)
    lab.save(page)
    page.context.close()
    path = lab.folder / "pictures.ipynb"
    path.write_text(path.read_text().replace("N = 5", "N =  5"))  # no longer what was signed
    page = lab.open(browser, "pictures.ipynb")
    assert not lab.is_trusted(page)
    assert page.evaluate("css => [...document.querySelectorAll(css)].map(i => i.naturalWidth)", PICTURE) == [640] * 5
    page.context.close()
