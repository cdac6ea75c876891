"""Which addresses may be asked, and in which spelling: pure functions over text, no network.

`check_url` judges what a person typed or pasted as a base URL and brings it into its one spelling; `hosts` judges the
address, also at connect time, when a name turned out to lead there.
No message repeats the address: what was typed into the wrong place may hold a key.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import urllib.parse
from dataclasses import dataclass

from nbllm.errors import RegistryError
from nbllm.providers.hosts import METADATA_NAMES, forbidden_address, is_loopback, parse_address

__all__ = [
    "DEMO_HOST",
    "UrlVerdict",
    "check_listing_url",
    "check_url",
    "forbidden_address",
    "is_loopback",
    "move_to_origin",
    "origin_of",
    "path_of",
]

DEMO_HOST = "demo.invalid"
"""The demo provider's host, which is served in this process and by nobody else (RFC 2606: never a real name)."""

_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_BAD_ESCAPE = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff]|5[Cc]|2[Ff])")
# Letters that the two standards of international names send to different hosts (UTS #46, section 7).
_DEVIATING = frozenset("ßẞς")

_ENDPOINTS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/embeddings",
    "/messages",
    "/models",
    "/api/chat",
    "/api/generate",
    "/api/tags",
)
_GEMINI_CALL = re.compile(r"/models/[^/]+:[A-Za-z]+$")
_BARE_KINDS = ("anthropic", "ollama")


@dataclass(frozen=True, slots=True)
class UrlVerdict:
    """An address that may be used, and what has to be said about it."""

    url: str
    """In its one spelling: lower case, punycode, canonical address, no default port, no slash at the end."""
    repairs: tuple[str, ...]
    """A sentence to the user for each thing that was changed."""
    warning: str | None
    """What the user should know: plain http beyond this machine, or the punycode form of the host."""
    needs_confirmation: bool
    """Plain http beyond this machine, not confirmed yet: no key goes there."""


def check_url(text: str, *, kind: str = "openai", confirmed_http: bool = False) -> UrlVerdict:
    """Judge a base URL.

    Args:
        text: What was typed. A missing scheme becomes https (http on this machine).
        kind: The wire format, which decides what belongs to the path: nothing after the origin for anthropic and
            ollama, the version path for openai and gemini; `url` is left as it is.
        confirmed_http: The user agreed to plain http to this host.

    Raises:
        RegistryError: The address is refused; the text says why and never repeats it.
    """
    _refuse_characters(text, query=False)
    repairs: list[str] = []
    given, rest = _scheme(text)
    authority, slash, path = rest.partition("/")
    host, port = _authority(authority, repairs)
    scheme = given or ("http" if is_loopback(host) else "https")
    if given is None:
        repairs.insert(0, f"added the missing {scheme}://")
    path = _path(slash + path)
    if kind != "url":
        path = _repair_path(path, kind, repairs)
    url = _join(scheme, host, port, path)
    plain = scheme == "http" and not is_loopback(host) and host != DEMO_HOST
    return UrlVerdict(url, tuple(repairs), _warning(host, plain), plain and not confirmed_http)


def check_listing_url(text: str) -> str:
    """Judge the address of a model listing: as `check_url`, but it may have a query, and nothing is repaired.

    Raises:
        RegistryError: The address is refused.
    """
    _refuse_characters(text, query=True)
    address, mark, query = text.partition("?")
    verdict = check_url(address, kind="url")
    if not _QUERY.fullmatch(query):
        raise _refused("has a character in its query that must be percent-encoded")
    return verdict.url + mark + query


@functools.lru_cache(maxsize=1024)
def origin_of(url: str) -> str:
    """`https://api.groq.com:443`: scheme, host and port, always with the port, lower case, punycode.

    Raises:
        RegistryError: It is not an http or https address.
    """
    address = re.split(r"[?#]", url, maxsplit=1)[0]
    _refuse_characters(address, query=False)
    scheme, rest = _scheme(address)
    if scheme is None:
        raise _refused("does not start with https:// or http://")
    host, port = _authority(rest.partition("/")[0], [])
    return f"{scheme}://{_bracketed(host)}:{port or _PORTS[scheme]}"


def move_to_origin(url: str, base_url: str) -> str:
    """`url` with the scheme, host and port of `base_url`; path and query stay."""
    target = urllib.parse.urlsplit(base_url)
    return urllib.parse.urlsplit(url)._replace(scheme=target.scheme, netloc=target.netloc).geturl()


def path_of(url: str) -> str:
    """The path, without a slash at the end."""
    return urllib.parse.urlsplit(url).path.rstrip("/")


def _refused(why: str, hint: str = "give the address as https://HOST/PATH") -> RegistryError:
    return RegistryError(f"the address {why}", hint=hint)


def _refuse_characters(text: str, *, query: bool) -> None:
    if not text:
        raise _refused("is empty")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise _refused("has a blank, a control character or a hidden character in it", "copy it again, without them")
    if "\\" in text:
        raise _refused("has a backslash in it", "addresses are written with /")
    if "#" in text:
        raise _refused("has a fragment (#...)", "leave out everything from the #")
    if "?" in text and not query:
        raise _refused("has a query (?...)", "leave out everything from the ?; a key goes into `%llm_providers key ID`")


def _scheme(text: str) -> tuple[str | None, str]:
    found = _SCHEME.match(text)
    if found and found[2]:
        scheme = found[1].lower()
        if scheme not in _PORTS:
            raise _refused("is neither https nor http")
        return scheme, text[found.end() :]
    if found and "@" not in text and not re.match(r"[0-9]+(?:/|$)", text[found.end() :]):  # localhost:8080 is fine
        raise _refused("is neither https:// nor http://")
    if text.startswith("/"):
        raise _refused("has no host")
    return None, text


def _authority(authority: str, repairs: list[str]) -> tuple[str, int | None]:
    """Host and port, the host in its one spelling and judged."""
    if "@" in authority:
        raise _refused("has a user name or password in it", "a key goes into `%llm_providers key ID`")
    if authority.startswith("["):
        inside, bracket, port = authority[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise _refused("has a bracket that does not close")
        host = _ipv6(inside, repairs)
        port = port[1:]
    else:
        name, _, port = authority.partition(":")
        if ":" in port:
            raise _refused("has an IPv6 address without brackets", "write [::1]:8080")
        host = _name_or_ipv4(name, repairs)
    return _reachable(host, repairs), _port(port)


def _port(text: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise _refused("has a port that is not a number from 1 to 65535")
    return int(text)


def _ipv6(text: str, repairs: list[str]) -> str:
    bare, percent, _ = text.partition("%")
    try:
        address = ipaddress.IPv6Address(bare)
    except ValueError:
        raise _refused("has brackets around something that is not an IPv6 address") from None
    if percent:
        repairs.append("removed the zone behind the IPv6 address")
    return str(address.ipv4_mapped or address)


def _name_or_ipv4(name: str, repairs: list[str]) -> str:
    if not name:
        raise _refused("has no host")
    if "%" in name:
        raise _refused("has a percent sign in its host")
    host = _ascii_name(name)
    if host.endswith("."):
        host = host[:-1]
        repairs.append("removed the dot behind the host")
    if _looks_numeric(host):
        return _ipv4_spelling(host, repairs)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise _refused("has a host that is not a valid name")
    return host


def _ascii_name(name: str) -> str:
    if name.isascii():
        return name.lower()
    if _DEVIATING & set(name):
        raise _refused("has a letter that leads to different hosts in different programs", "write the host in punycode")
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _refused("has a host that is not a valid name") from None


def _looks_numeric(host: str) -> bool:
    return re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rpartition(".")[2]) is not None


def _ipv4_spelling(host: str, repairs: list[str]) -> str:
    address = parse_address(host)
    if address is None:
        raise _refused("has a host that ends in a number but is not an IPv4 address")
    if str(address) != host:
        repairs.append(f"wrote the host as {address}")
    return str(address)


def _reachable(host: str, repairs: list[str]) -> str:
    address = parse_address(host)
    if address is not None and address.is_unspecified:
        # What servers listen at (`OLLAMA_HOST=0.0.0.0`); it is no place to connect to.
        repairs.append(f"wrote 127.0.0.1 for {host}, which means every address of this machine")
        return "127.0.0.1"
    if address is not None and (why := forbidden_address(host)):
        raise _refused(why, "nbllm sends nothing there")
    if host in METADATA_NAMES or host.endswith(".metadata.google.internal"):
        raise _refused("is a cloud's metadata service", "nbllm sends nothing there")
    return host


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _join(scheme: str, host: str, port: int | None, path: str) -> str:
    shown = "" if port in (None, _PORTS[scheme]) else f":{port}"
    return f"{scheme}://{_bracketed(host)}{shown}{path}"


def _path(path: str) -> str:
    if "{" in path or "<" in path:
        raise _refused("still has a placeholder in it", "put your own value in its place")
    quoted = urllib.parse.quote(path, safe="/%!$&'()*+,;=:@~") if not path.isascii() else path
    if not _PATH.fullmatch(quoted):
        raise _refused("has a character in its path that must be percent-encoded")
    if _BAD_ESCAPE.search(quoted):
        raise _refused("has an encoded slash, backslash or control character in its path")
    if any(part.lower().replace("%2e", ".") in (".", "..") for part in quoted.split("/")):
        raise _refused("has . or .. in its path")
    return quoted


def _repair_path(path: str, kind: str, repairs: list[str]) -> str:
    before = None
    while path != before:
        before = path
        path = _repair_once(path, kind, repairs)
    return path


def _repair_once(path: str, kind: str, repairs: list[str]) -> str:
    if path.endswith("/"):
        if path != "/":
            repairs.append("removed the slash at the end")
        return path.rstrip("/")
    lower = path.lower()
    if kind == "gemini" and (found := _GEMINI_CALL.search(path)):
        repairs.append("removed the call behind the base address")
        return path[: found.start()]
    for endpoint in _ENDPOINTS:
        if lower.endswith(endpoint):
            repairs.append(f"removed {endpoint}, which nbllm adds itself")
            return path[: -len(endpoint)]
    for version in ("/v1", "/api"):
        if kind in _BARE_KINDS and lower.endswith(version):
            repairs.append(f"removed {version}, which nbllm adds itself for {kind}")
            return path[: -len(version)]
    return path


def _warning(host: str, plain: bool) -> str | None:
    said = []
    if any(label.startswith("xn--") for label in host.split(".")):
        said.append(f"the host is {host}: make sure that this is the one you mean")
    if plain:
        said.append(f"plain http to {host}: everybody on the way can read what is sent, the key too")
    return "; ".join(said) or None
