"""A key does not show, whatever is done to the object that holds it."""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import pickle
import pprint
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from IPython.core import ultratb
from IPython.lib import pretty

from key_shapes import traces
from nbllm.credentials import Secret
from nbllm.credentials.secret import alive
from nbllm.errors import CredentialError, MissingKeyError


class Leaky:
    """The control: what a key would look like in an object that takes no care."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __repr__(self) -> str:
        return f"Leaky({self.key})"

    __str__ = __repr__


@dataclass
class Holder:
    key: Any


def raising(holder: Any) -> None:
    in_a_dict = {"headers": {"x-api-key": holder}}
    raise RuntimeError(f"failed with {type(in_a_dict).__name__}")


def shown_in_traceback(mode: str) -> Callable[[Any], str]:
    def surface(holder: Any) -> str:
        try:
            raising(holder)
        except RuntimeError:
            return str(ultratb.FormattedTB(mode=mode, theme_name="nocolor").text(*sys.exc_info()))
        raise AssertionError

    return surface


def dumped(holder: Any) -> str:
    return json.dumps({"key": holder}, default=lambda o: vars(o) if hasattr(o, "__dict__") else str(o))


SURFACES: dict[str, Callable[[Any], str]] = {
    "repr": repr,
    "str": str,
    "f-string": lambda s: f"{s} {s!r} {s!s:>40}",
    "percent": lambda s: "%s %r" % (s, s),  # noqa: UP031
    "format": "{0} {0!r}".format,
    "containers": lambda s: repr([s, (s,), {"key": s}, {s}]),
    "dataclass": lambda s: repr(Holder(s)),
    "asdict": lambda s: repr(dataclasses.asdict(Holder(s))),
    "pprint": lambda s: pprint.pformat([s, Holder(s)]),
    "pretty": lambda s: str(pretty.pretty({"key": s})),
    "json": dumped,
    "vars": lambda s: repr(vars(s)),
    "attributes": lambda s: repr([getattr(s, name, None) for name in dir(s)]),
    "pickle": lambda s: repr([pickle.dumps(s, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]),
    "pickle of a holder": lambda s: repr(pickle.dumps(Holder(s))),
    "copy": lambda s: repr(copy.copy(s)),
    "deepcopy": lambda s: repr(copy.deepcopy({"key": s})),
    "state": lambda s: repr(s.__getstate__()),
    "reduce": lambda s: repr(s.__reduce_ex__(2)),
    "list": lambda s: repr(list(s)),
    "traceback Verbose": shown_in_traceback("Verbose"),
    "traceback Context": shown_in_traceback("Context"),
    "traceback Docs": shown_in_traceback("Docs"),
}


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_a_key_does_not_show(surface: Callable[[Any], str], key: str) -> None:
    secret = Secret(key)
    try:
        shown = surface(secret)
    except TypeError as refused:  # pickling, copying, listing, vars
        shown = str(refused)

    assert traces(key, shown) == []


LEAKS = [name for name in SURFACES if name not in ("list", "traceback Context", "traceback Docs", "state", "reduce")]


@pytest.mark.parametrize("name", LEAKS)
def test_the_search_catches_a_key_that_does_show(name: str, key: str) -> None:
    assert traces(key, SURFACES[name](Leaky(key)).replace("\\\\", "\\").replace('\\"', '"')) != []


@pytest.mark.parametrize("mode", ["Plain", "Context", "Verbose", "Minimal", "Docs"])
@pytest.mark.parametrize("spoilt", ["inside {} of it", "{0}\n{0}", "\x1b{}"], ids=["space", "two lines", "control"])
def test_a_refused_key_does_not_show(spoilt: str, mode: str, key: str) -> None:
    """What is refused may be a key all the same, pasted together with something else."""
    with pytest.raises(CredentialError) as caught:
        Secret(spoilt.format(key))

    frames = caught.tb.tb_next  # this test's own frame holds the key
    shown = str(ultratb.FormattedTB(mode=mode, theme_name="nocolor").text(caught.type, caught.value, frames))
    assert "CredentialError" in shown
    assert traces(key, shown) == []
    assert traces(key, repr(pickle.dumps(caught.value))) == []


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_nothing_is_not_a_key(text: str) -> None:
    with pytest.raises(CredentialError, match="the key is empty"):
        Secret(text)


def test_blanks_around_a_key_are_dropped(key: str) -> None:
    assert Secret(f"  {key}\n").reveal() == key


def test_two_secrets_of_one_text_are_not_told_apart_by_comparing(key: str) -> None:
    one, other = Secret(key), Secret(key)
    assert one == one
    assert one != other
    assert one != key


def test_a_process_knows_its_keys_as_long_as_it_holds_them(key: str) -> None:
    secret = Secret(key)
    assert any(known is secret for known in alive())

    seen = weakref.ref(secret)
    del secret
    gc.collect()
    assert seen() is None, "the list of keys in use holds none of them"


def test_an_error_about_a_key_holds_none(key: str) -> None:
    secret = Secret(key, source="environment (GROQ_API_KEY)")
    error = MissingKeyError("no key for groq", provider="groq", env=("GROQ_API_KEY",))
    error.add_note(f"{secret!r}")
    assert traces(key, repr(pickle.dumps(error)) + error.describe()) == []
