"""The strokes of a picture, collected in layers, so that what belongs together is styled once.

Every colour of ink and paper stands twice: as a plain attribute, for programs that know SVG but not CSS variables
(CairoSVG draws all black where it meets one), and as a rule with the theme's variable and a system colour, which such
programs skip with its `@supports`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from nbllm.compare.pictures.text import LEADING, SIZE, SMALL, Fitted, clean

BLUE, ORANGE, GREEN, PURPLE, OLIVE, RED, GREY = (
    "#1f78b4", "#b85c00", "#008a63", "#b0559a", "#8a7400", "#d0443e", "#767676",
)  # fmt: skip
"""Each at least 3 : 1 against white and against the dark themes' grounds, so that marks need no theme."""

SHAPES = ("circle", "diamond", "square", "triangle", "down", "hexagon", "cross")

PAPER = 'fill="#fff" class="nbllm-paper"'
"""What is filled with the ground."""
ROOT = (
    f'class="nbllm-picture" direction="ltr" font-family="Helvetica,Arial,sans-serif" font-size="{SIZE}" color="#1f1f1f"'
)
"""Font and ink of the whole picture, as attributes."""
STYLE = (
    "<style>@supports(color:var(--a)){.nbllm-picture{color-scheme:light dark;"
    "color:var(--jp-ui-font-color1,var(--vscode-foreground,CanvasText));"
    "font-family:var(--jp-ui-font-family,system-ui,sans-serif)}"
    ".nbllm-paper{fill:var(--jp-layout-color0,var(--vscode-editor-background,Canvas))}}</style>"
)
"""The theme's. The same in each picture, so that several of them in a page do not disturb each other."""

_LAYERS = {
    "band": f'fill="{GREY}" fill-opacity=".22"',
    "grid": 'stroke="currentColor" stroke-opacity=".16"',
    "axis": 'stroke="currentColor" stroke-opacity=".75" fill="none"',
    "line": f'stroke="{BLUE}" stroke-width="2" fill="none"',
    "line2": f'stroke="{ORANGE}" stroke-width="2" fill="none"',
    "frontier": 'stroke="currentColor" stroke-opacity=".7" stroke-dasharray="3 4" fill="none"',
    "leader": 'stroke="currentColor" stroke-opacity=".5" fill="none"',
    "mark": f'fill="{BLUE}"',
    "mark2": f'fill="{ORANGE}"',
    "hollow": f'stroke="{BLUE}" stroke-width="2" {PAPER}',
    "free": "",
    "start": "",
    "middle": 'text-anchor="middle"',
    "end": 'text-anchor="end"',
    "heading": 'font-weight="600"',
    "small": f'font-size="{SMALL}"',
    "tick": f'font-size="{SMALL}" text-anchor="middle"',
    "tick-end": f'font-size="{SMALL}" text-anchor="end"',
}
"""From the back to the front, each with what its strokes have in common."""


def px(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")


class Drawing:
    """Collects strokes. Coordinates are pixels from the upper left corner."""

    def __init__(self) -> None:
        self._layers: dict[str, list[str]] = {name: [] for name in _LAYERS}

    def add(self, layer: str, markup: str) -> None:
        """Something in that layer, as SVG."""
        self._layers[layer].append(markup)

    def segment(self, layer: str, x1: float, y1: float, x2: float, y2: float) -> None:
        """A straight line; one that stands or lies is written shorter."""
        if abs(y1 - y2) < 0.05:
            way = f"H{px(x2)}"
        elif abs(x1 - x2) < 0.05:
            way = f"V{px(y2)}"
        else:
            way = f"L{px(x2)} {px(y2)}"
        self.add(layer, f"M{px(x1)} {px(y1)}{way}")

    def box(self, layer: str, x: float, y: float, width: float, height: float) -> None:
        """A filled rectangle."""
        self.add(layer, rectangle(x, y, width, height))

    def write(self, layer: str, x: float, y: float, text: str) -> None:
        """One line of text on the baseline `y`."""
        self.add(layer, _line(x, y, escaped(text)))

    def write_lines(self, layer: str, x: float, y: float, fitted: Fitted, *, leading: float = LEADING) -> None:
        """A fitted text, `y` the baseline of its first line; with its whole as a title when something was left out."""
        lines = [_line(x, y + i * leading, escaped(line)) for i, line in enumerate(fitted.lines)]
        if fitted.full is None:
            self.add(layer, "".join(lines))
        else:
            self.add(layer, f"<g><title>{escaped(fitted.full)}</title>{''.join(lines)}</g>")

    def body(self) -> str:
        """All layers that hold something."""
        return "".join(
            f"<g{' ' * bool(style)}{style}>{_strokes(self._layers[name])}</g>"
            for name, style in _LAYERS.items()
            if self._layers[name]
        )


def rectangle(x: float, y: float, width: float, height: float) -> str:
    """As path data."""
    return f"M{px(x)} {px(y)}h{px(width)}v{px(height)}h{px(-width)}z"


def _line(x: float, y: float, markup: str) -> str:
    return f'<text x="{px(x)}" y="{px(y)}">{markup}</text>'


def _strokes(parts: Iterable[str]) -> str:
    """Neighbouring path data become one path."""
    out: list[str] = []
    paths: list[str] = []
    for part in parts:
        if part.startswith("<"):
            out.append(part)
        else:
            paths.append(part)
    if paths:
        out.insert(0, f'<path d="{"".join(paths)}"/>')
    return "".join(out)


def marker(shape: str, x: float, y: float, r: float = 4.5) -> str:
    """A mark of about the same area whatever its shape."""
    if shape == "circle":
        return f'<circle cx="{px(x)}" cy="{px(y)}" r="{px(r)}"/>'
    return f'<path d="M{"L".join(f"{px(x + dx * r)} {px(y + dy * r)}" for dx, dy in _CORNERS[shape])}Z"/>'


_CORNERS: dict[str, tuple[tuple[float, float], ...]] = {
    "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0, -1.25), (1.2, 0.9), (-1.2, 0.9)),
    "down": ((0, 1.25), (1.2, -0.9), (-1.2, -0.9)),
    "hexagon": ((-0.55, -1), (0.55, -1), (1.15, 0), (0.55, 1), (-0.55, 1), (-1.15, 0)),
    "cross": (
        (-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4),
        (0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4),
    ),
}  # fmt: skip


def escaped(text: str) -> str:
    """Text for SVG and XML; hidden characters shown, whatever its length."""
    return html.escape(clean(text, 1_000_000), quote=False)
