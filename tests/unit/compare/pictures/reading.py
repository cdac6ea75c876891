"""Reads a picture as a browser would: where every text, mark and line is."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from nbllm.compare.pictures import Svg
from nbllm.compare.pictures.placing import Box
from nbllm.compare.pictures.text import text_width

SVG = "{http://www.w3.org/2000/svg}"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_COMMAND = re.compile(r"([MLHVhvzZ])([^MLHVhvzZ]*)")


@dataclass(frozen=True)
class Written:
    """A text and the box that it takes by the estimate."""

    text: str
    full: str | None
    box: Box


def parse(picture: Svg) -> ET.Element:
    return ET.fromstring(picture.to_svg().encode())


def texts(picture: Svg) -> list[Written]:
    found: list[Written] = []
    _collect(parse(picture), {"font-size": "13", "text-anchor": "start", "font-weight": "400"}, found)
    return found


def _collect(element: ET.Element, inherited: dict[str, str], found: list[Written], whole: str | None = None) -> None:
    style = inherited | {k: v for k, v in element.attrib.items() if k in inherited}
    if element.tag == f"{SVG}text":
        text = element.text or ""
        found.append(Written(text, whole, _box(element, text, style)))
    title = element.find(f"{SVG}title") if element.tag == f"{SVG}g" else None
    for child in element:
        _collect(child, style, found, whole if title is None else title.text)


def _box(element: ET.Element, text: str, style: dict[str, str]) -> Box:
    size = float(style["font-size"])
    width = text_width(text, size, bold=style["font-weight"] == "600")
    x, y = float(element.attrib["x"]), float(element.attrib["y"])
    left = x - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[style["text-anchor"]]
    return Box(left, y - 0.8 * size, left + width, y + 0.2 * size)


def points(picture: Svg) -> list[tuple[float, float]]:
    """Corners of all strokes."""
    found: list[tuple[float, float]] = []
    for element in parse(picture).iter():
        get = element.attrib.get
        if element.tag == f"{SVG}circle":
            r = float(get("r", "0"))
            x, y = float(get("cx", "nan")), float(get("cy", "nan"))
            found += [(x - r, y - r), (x + r, y + r)]
        elif element.tag == f"{SVG}rect":
            x, y = float(get("x", "0")), float(get("y", "0"))
            found += [(x, y), (x + float(get("width", "nan")), y + float(get("height", "nan")))]
        elif element.tag == f"{SVG}path":
            found += _path(get("d", ""))
    return found


def _path(data: str) -> list[tuple[float, float]]:
    x = y = math.nan
    found = []
    for command, rest in _COMMAND.findall(data):
        numbers = [float(n) for n in _NUMBER.findall(rest)]
        if command in "ML":
            x, y = numbers
        elif command == "H":
            x = numbers[0]
        elif command == "V":
            y = numbers[0]
        elif command == "h":
            x += numbers[0]
        elif command == "v":
            y += numbers[0]
        found.append((x, y))
    return found


def circles(picture: Svg, fill: str) -> list[tuple[float, float]]:
    """Centres of the circles in groups of that fill."""
    return [
        (float(c.attrib["cx"]), float(c.attrib["cy"]))
        for group in parse(picture).iter(f"{SVG}g")
        if group.get("fill") == fill
        for c in group.findall(f"{SVG}circle")
    ]


def description(picture: Svg) -> str:
    return parse(picture).findtext(f"{SVG}desc") or ""


def check(picture: Svg) -> None:
    """What every picture promises, whatever its rows: well-formed, whole, legible, inert, the same each time."""
    written = texts(picture)
    for one in written:
        assert one.text.strip(), "an empty text"
        box = one.box
        assert box.left >= -0.1, (one, picture.width)
        assert box.right <= picture.width + 0.1, (one, picture.width)
        assert box.top >= 0, one
        assert box.bottom <= picture.height, one
    ordered = sorted(written, key=lambda w: w.box.top)
    for i, one in enumerate(ordered):
        for other in ordered[i + 1 :]:
            if other.box.top >= one.box.bottom:
                break
            assert not _overlap(one.box, other.box), (one, other)
    for x, y in points(picture):
        assert -0.1 <= x <= picture.width + 0.1
        assert -0.1 <= y <= picture.height + 0.1
    allowed = {"svg", "title", "desc", "g", "text", "path", "circle", "rect", "style"}
    root = parse(picture)
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in allowed
        assert not {a for a in element.attrib if a.startswith("on") or "href" in a or a in ("id", "style")}
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    strokes = re.sub(r"<(text|title).*?</\1>", "", picture.body)
    assert "nan" not in strokes
    assert "inf" not in strokes


def _overlap(a: Box, b: Box) -> bool:
    return min(a.right, b.right) - max(a.left, b.left) > 0.2 and min(a.bottom, b.bottom) - max(a.top, b.top) > 0.2
