"""The numbers in a text as people and models write them: `1,234.5`, `−3`, `1.5 × 10³`, `3/4`, `½`, `\\frac{1}{2}`.

Read without guessing what cannot be known: `1.234` is one and a bit, `1,234` is a thousand and more (the English way,
in which models write), `3,14` can only be three and a bit, and `1.234.567,8` can only be a million and more. A per cent
sign and a unit are not read: `50 %` is 50. Every quantifier below is bounded or followed by something that cannot be
a part of it, so that the time grows with the length of the text and no faster.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

EXACT = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
"""Arithmetic with 60 digits in which nothing raises: what is too large becomes infinite."""

_WINDOW = 20_000
"""Characters at the end of a text that are searched."""
_DIGITS = 400
"""A longer run of digits is no number that anybody compares."""
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_PLAIN = str.maketrans({"٫": ".", "٬": ",", "−": "-", "–": "-", "﹣": "-", "－": "-", "＋": "+", "．": ".", "，": ","})
_POWER = r"10(?:\^\{?(?P<e2>[-+]?[0-9]{1,6})\}?|\*\*(?P<e3>[-+]?[0-9]{1,6})|(?P<e4>[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,6}))"

_NUMBER = re.compile(
    rf"""
    (?: (?<![\w.)\]])(?P<sign>[-+])[$€£¥]? )?
    (?<!\w) (?<![0-9][.]) (?<![^\W\d_]-)               # not a part of a word, of `v1.2`, or of `GPT-4`
    (?:
      \\[dt]?frac\{{(?P<top>[0-9]{{1,30}})\}}\{{(?P<bottom>[0-9]{{1,30}})\}}
    | (?<!/)(?P<whole>[0-9]{{1,3}})[ ](?P<mixed_top>[0-9]{{1,30}})/(?P<mixed_bottom>[0-9]{{1,30}})(?![0-9/]|[.,][0-9])
    | (?<!/)(?P<above>[0-9]{{1,30}})[ ]?/[ ]?(?P<below>[0-9]{{1,30}})(?![0-9/]|[.,][0-9])
    | (?P<before>[0-9]{{0,30}})[ ]?(?P<vulgar>[{_VULGAR}])
    | {_POWER.replace("<e", "<p")}
    | (?:
        (?P<english>[1-9][0-9]{{0,2}}(?:,[0-9]{{3}}){{1,12}}(?:\.[0-9]+)?)(?![0-9]|,[0-9])
      | (?P<indian>[1-9][0-9]?(?:,[0-9]{{2}}){{1,12}},[0-9]{{3}}(?:\.[0-9]+)?)(?![0-9]|,[0-9])
      | (?P<german>[1-9][0-9]{{0,2}}(?:(?:\.[0-9]{{3}}){{2,12}}|(?:\.[0-9]{{3}}){{1,12}}(?=,[0-9]))(?:,[0-9]+)?)
        (?![0-9]|[.,][0-9])
      | (?P<spaced>[1-9][0-9]{{0,2}}(?:[\u00a0\u202f\u2009'’_][0-9]{{3}}){{1,12}}(?:[.,][0-9]+)?)(?![0-9])
      | (?<![0-9],)(?P<comma>[0-9]+,[0-9]+)(?![0-9]|[.,][0-9])
      | (?P<plain>[0-9]+(?:\.[0-9]+)?|(?<!\.)\.[0-9]+)
      )
      (?: [eE](?P<e1>[-+]?[0-9]{{1,6}})(?!\w) | \s?(?:×|\*|x|·|\\times|\\cdot)\s?{_POWER} )?
    )
    """,
    re.VERBOSE,
)


def last_number(text: str) -> Decimal | None:
    """The last number in a text, or the only one; None when there is none.

    A fraction is its quotient to 60 digits.
    """
    found = None
    for match in _NUMBER.finditer(_ascii(text[-_WINDOW:])):
        value = _value(match)
        found = value if value is not None else found
    return found


def number_of(value: object) -> Decimal | None:
    """A value of a table as a number: a number itself, or a text that has one in it; None when there is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return last_number(value)
    try:
        number = Decimal(str(value))  # the shortest digits that mean this float: 0.1 and not 0.1000000000000000055
    except ArithmeticError:
        return last_number(str(value))  # `Fraction` writes 1/3
    return number if number.is_finite() else None


def _ascii(text: str) -> str:
    """Digits and signs of other scripts in ASCII; LaTeX's ways to space thousands in ours."""
    text = text.replace("{,}", ",").replace("\\,", "\u2009")
    if text.isascii():
        return text
    text = text.translate(_PLAIN)
    return "".join(c if c < "\x80" or not c.isdecimal() else str(unicodedata.decimal(c)) for c in text)


def _value(match: re.Match[str]) -> Decimal | None:
    parts = {name: text for name, text in match.groupdict().items() if text is not None}
    if any(len(text) > _DIGITS for text in parts.values()):
        return None
    magnitude = _magnitude(parts)
    return magnitude if magnitude is None or parts.get("sign") != "-" else EXACT.minus(magnitude)


def _magnitude(parts: dict[str, str]) -> Decimal | None:
    for above, below in (("top", "bottom"), ("mixed_top", "mixed_bottom"), ("above", "below")):
        if above in parts:
            return _sum(parts.get("whole"), _quotient(parts[above], parts[below]))
    if "vulgar" in parts:
        return _sum(parts["before"], _vulgar(parts["vulgar"]))
    return _scaled(_digits(parts), _exponent(parts))


def _quotient(above: str, below: str) -> Decimal | None:
    return EXACT.divide(Decimal(above), Decimal(below)) if int(below) else None


def _vulgar(char: str) -> Decimal:
    """NFKC writes ¾ as 3⁄4."""
    above, _, below = unicodedata.normalize("NFKC", char).partition("\u2044")
    return EXACT.divide(Decimal(above), Decimal(below))


def _sum(whole: str | None, part: Decimal | None) -> Decimal | None:
    return part if part is None or not whole else EXACT.add(Decimal(whole), part)


def _digits(parts: dict[str, str]) -> Decimal:
    for name in ("english", "indian"):
        if name in parts:
            return Decimal(parts[name].replace(",", ""))
    if "german" in parts:
        return Decimal(parts["german"].replace(".", "").replace(",", "."))
    if "spaced" in parts:
        return Decimal(re.sub("[\u00a0\u202f\u2009'’_]", "", parts["spaced"]).replace(",", "."))
    if "comma" in parts:
        return Decimal(parts["comma"].replace(",", "."))
    return Decimal(parts.get("plain", "1"))  # `10^6` has no digits before it


def _exponent(parts: dict[str, str]) -> int:
    names = ("e1", "e2", "e3", "e4", "p2", "p3", "p4")
    return int(next((parts[n] for n in names if n in parts), "0").translate(_SUPERSCRIPT))


def _scaled(number: Decimal, exponent: int) -> Decimal:
    return EXACT.scaleb(number, exponent) if exponent else number
