"""Which addresses are taken, how they are repaired, and which are refused."""

from __future__ import annotations

import dataclasses
import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbllm.errors import RegistryError
from nbllm.providers.urls import (
    check_listing_url,
    check_url,
    forbidden_address,
    is_loopback,
    move_to_origin,
    origin_of,
)


@dataclasses.dataclass(frozen=True)
class Taken:
    id: str
    text: str
    url: str
    kind: str = "openai"
    repair: str | None = None
    """Words of one of the sentences; None: nothing may have been repaired."""
    warning: str | None = None
    confirm: bool = False


TAKEN = [
    Taken("as it is", "https://api.openai.com/v1", "https://api.openai.com/v1"),
    Taken("capitals", "HTTPS://API.OpenAI.com/v1", "https://api.openai.com/v1"),
    Taken("path keeps its capitals", "https://h.example/Team/v1", "https://h.example/Team/v1"),
    Taken("bare origin", "https://api.deepseek.com", "https://api.deepseek.com"),
    Taken("one slash", "https://api.x.ai/v1/", "https://api.x.ai/v1", repair="slash at the end"),
    Taken("many slashes", "https://api.x.ai/v1///", "https://api.x.ai/v1", repair="slash at the end"),
    Taken("root slash", "https://api.x.ai/", "https://api.x.ai"),
    Taken("chat path", "https://h.example/v1/chat/completions", "https://h.example/v1", repair="/chat/completions"),
    Taken("chat path and slash", "https://h.example/v1/chat/completions/", "https://h.example/v1", repair="/chat/comp"),
    Taken("models path", "https://h.example/v1/models", "https://h.example/v1", repair="/models"),
    Taken("responses path", "https://h.example/v1/responses", "https://h.example/v1", repair="/responses"),
    Taken("messages path", "https://h.example/v1/messages", "https://h.example", "anthropic", repair="/messages"),
    Taken("anthropic version", "https://api.anthropic.com/v1", "https://api.anthropic.com", "anthropic", repair="/v1"),
    Taken("anthropic below a path", "https://h.example/anthropic", "https://h.example/anthropic", "anthropic"),
    Taken("ollama api", "http://127.0.0.1:11434/api", "http://127.0.0.1:11434", "ollama", repair="/api"),
    Taken("ollama chat", "http://127.0.0.1:11434/api/chat", "http://127.0.0.1:11434", "ollama", repair="/api/chat"),
    Taken("ollama tags", "http://localhost:11434/api/tags/", "http://localhost:11434", "ollama", repair="/api/tags"),
    Taken("ollama version", "http://localhost:11434/v1/", "http://localhost:11434", "ollama", repair="/v1"),
    Taken("gemini call", "https://g.example/v1beta/models/m-1:streamGenerateContent", "https://g.example/v1beta",
          "gemini", repair="call"),
    Taken("gemini models", "https://g.example/v1beta/models", "https://g.example/v1beta", "gemini", repair="/models"),
    Taken("a list stays", "https://h.example/v1/models", "https://h.example/v1/models", "url"),
    Taken("no scheme", "api.groq.com/openai/v1", "https://api.groq.com/openai/v1", repair="https://"),
    Taken("no scheme, this machine", "localhost:8080/v1", "http://localhost:8080/v1", repair="http://"),
    Taken("no scheme, loopback address", "127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1", repair="http://"),
    Taken("default port", "https://h.example:443/v1", "https://h.example/v1"),
    Taken("other port", "https://h.example:8443/v1", "https://h.example:8443/v1"),
    Taken("port zeros", "https://h.example:00443/v1", "https://h.example/v1"),
    Taken("empty port", "https://h.example:/v1", "https://h.example/v1"),
    Taken("http localhost", "http://localhost:1234/v1", "http://localhost:1234/v1"),
    Taken("http 127/8", "http://127.3.2.1/v1", "http://127.3.2.1/v1"),
    Taken("http ::1", "http://[::1]:8080/v1", "http://[::1]:8080/v1"),
    Taken("decimal loopback", "http://2130706433/v1", "http://127.0.0.1/v1", repair="127.0.0.1"),
    Taken("octal loopback", "http://0177.0.0.1/v1", "http://127.0.0.1/v1", repair="127.0.0.1"),
    Taken("hex loopback", "http://0x7f.1/v1", "http://127.0.0.1/v1", repair="127.0.0.1"),
    Taken("short loopback", "http://127.1:80/v1", "http://127.0.0.1/v1", repair="127.0.0.1"),
    Taken("every address", "http://0.0.0.0:11434", "http://127.0.0.1:11434", repair="every address"),
    Taken("every IPv6 address", "http://[::]:8000/v1", "http://127.0.0.1:8000/v1", repair="every address"),
    Taken("IPv6 zone", "http://[::1%25lo]:8080/v1", "http://[::1]:8080/v1", repair="zone"),
    Taken("IPv6 spelling", "https://[2001:DB8:0:0::1]/v1", "https://[2001:db8::1]/v1"),
    Taken("mapped IPv4", "http://[::ffff:127.0.0.1]/v1", "http://127.0.0.1/v1"),
    Taken("trailing dot", "https://api.openai.com./v1", "https://api.openai.com/v1", repair="dot"),
    Taken("underscore", "https://my_box.lan/v1", "https://my_box.lan/v1"),
    Taken("umlaut", "https://bücher.example/v1", "https://xn--bcher-kva.example/v1", warning="xn--bcher-kva.example"),
    Taken("cyrillic a", "https://аpi.openai.com/v1", "https://xn--pi-6kc.openai.com/v1", warning="xn--pi-6kc"),
    Taken("wide letters", "https://ａｐｉ.openai.com/v1", "https://api.openai.com/v1"),
    Taken("http on the LAN", "http://192.168.1.5:8000/v1", "http://192.168.1.5:8000/v1", warning="http", confirm=True),
    Taken("http to a name", "http://box.lan/v1", "http://box.lan/v1", warning="http", confirm=True),
    Taken("docker", "https://172.17.0.1/v1", "https://172.17.0.1/v1"),
    Taken("localhost in front", "http://localhost.evil.example/v1", "http://localhost.evil.example/v1",
          warning="http", confirm=True),
    Taken("the demo", "http://demo.invalid/v1", "http://demo.invalid/v1", "demo"),
]  # fmt: skip


@pytest.mark.parametrize("case", TAKEN, ids=lambda c: c.id)
def test_an_address_is_taken_in_its_one_spelling(case: Taken) -> None:
    verdict = check_url(case.text, kind=case.kind)

    assert verdict.url == case.url
    assert verdict.needs_confirmation is case.confirm
    if case.repair is None:
        assert verdict.repairs == ()
    else:
        assert any(case.repair in sentence for sentence in verdict.repairs)
    assert (case.warning is None) == (verdict.warning is None)
    assert case.warning is None or case.warning in (verdict.warning or "")


REFUSED = {
    "empty": "",
    "user": "https://user@h.example/v1",
    "user and password": "https://user:pass@h.example/v1",
    "user without scheme": "user:123@h.example/v1",
    "query": "https://h.example/v1?key=abc",
    "empty query": "https://h.example/v1?",
    "fragment": "https://h.example/v1#x",
    "empty fragment": "https://h.example/v1#",
    "blank in front": " https://h.example/v1",
    "blank inside": "https://h.example/a b",
    "newline": "https://h.example/v1\r\nX-Evil: 1",
    "tab": "https://h.example/\tv1",
    "null": "https://h.example/\x00",
    "no-break space": "https://h.example/\u00a0",
    "zero width": "https://h.\u200bexample/v1",
    "bidirectional": "https://h.example/\u202ev1",
    "backslash": "https://h.example\\@evil.example/v1",
    "file": "file:///etc/passwd",
    "ftp": "ftp://h.example/",
    "javascript": "javascript:alert(1)",
    "one slash": "http:/h.example/v1",
    "no host": "https:///v1",
    "scheme-relative": "//h.example/v1",
    "port 0": "https://h.example:0/v1",
    "port too high": "https://h.example:65536/v1",
    "port a word": "https://h.example:http/v1",
    "wide port": "https://h.example:８０/v1",
    "bare IPv6": "http://::1/v1",
    "open bracket": "http://[::1/v1",
    "bracketed name": "http://[localhost]/v1",
    "two dots": "https://a..example/v1",
    "label too long": f"https://{'a' * 64}.example/v1",
    "hyphen first": "https://-a.example/v1",
    "percent host": "https://%31%36%39.254.169.254/v1",
    "a/c in one letter": "https://evil.c℀.example/v1",
    "sharp s": "https://faß.de/v1",
    "too many numbers": "http://1.2.3.4.5/v1",
    "number too large": "http://256.1.1.1/v1",
    "link-local": "http://169.254.169.254/latest",
    "link-local decimal": "http://2852039166/",
    "link-local octal": "http://0251.0376.0251.0376/",
    "link-local hex": "http://0xa9fea9fe/",
    "link-local mapped": "http://[::ffff:169.254.169.254]/",
    "link-local NAT64": "http://[64:ff9b::a9fe:a9fe]/",
    "link-local 6to4": "http://[2002:a9fe:a9fe::]/",
    "link-local IPv6": "http://[fe80::1]/",
    "link-local IPv6 with zone": "http://[fe80::1%25eth0]/",
    "link-local wide digits": "http://１６９.254.169.254/",
    "link-local ideographic dots": "http://169。254。169。254/",
    "link-local with dot": "https://169.254.169.254./v1",
    "AWS by IPv6": "http://[fd00:ec2::254]/",
    "Alibaba": "http://100.100.100.200/",
    "metadata name": "http://metadata.google.internal/computeMetadata/v1",
    "metadata name, capitals and dot": "http://METADATA.google.INTERNAL./",
    "multicast": "http://224.0.0.1/v1",
    "parent": "https://h.example/v1/../admin",
    "encoded parent": "https://h.example/v1/%2e%2e/admin",
    "encoded slash": "https://h.example/v1%2fadmin",
    "encoded newline": "https://h.example/v1%0d%0a",
    "broken escape": "https://h.example/%zz",
    "quote": 'https://h.example/"v1',
    "placeholder": "https://${RESOURCE}.example/v1",
    "placeholder in path": "https://h.example/{account}/v1",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=list(REFUSED))
def test_an_address_is_refused(text: str) -> None:
    with pytest.raises(RegistryError) as caught:
        check_url(text)

    assert caught.value.hint


@pytest.mark.parametrize("where", ["https://{}@h.example/v1", "https://h.example/v1?k={}", "https://h.example/#{}"])
def test_a_refusal_does_not_repeat_what_was_typed(where: str) -> None:
    with pytest.raises(RegistryError) as caught:
        check_url(where.format("sk-canary-1234567890"))

    assert "canary" not in str(caught.value)


def test_confirmed_http_needs_no_confirmation_and_is_still_warned_of() -> None:
    verdict = check_url("http://192.168.1.5/v1", confirmed_http=True)

    assert not verdict.needs_confirmation
    assert "192.168.1.5" in (verdict.warning or "")


_PIECES = st.sampled_from(
    ["https://", "http://", "HTTP:", "//", "/", "\\", "@", "?", "#", ":", "%", "%25", "%2f", "..", ".", " ", "\n",
     "\x00", "[", "]", "::1", "fe80::1", "127.0.0.1", "0x7f.1", "2852039166", "169.254.169.254", "0", "localhost",
     "api.example", "bücher", "ß", "。", "８", "\u200b", "v1", "/v1/", "/api", "/models", "/chat/completions", "user",
     ":80", ":443", "1"]
)  # fmt: skip
_TEXTS = st.one_of(
    st.lists(_PIECES, max_size=8).map("".join),
    st.builds(lambda host, rest: f"https://{host}/{rest}", st.text(max_size=12), st.text(max_size=12)),
    st.text(string.printable, max_size=30),
)
_KINDS = st.sampled_from(["openai", "anthropic", "gemini", "ollama", "url"])


@given(_TEXTS, _KINDS)
def test_what_is_taken_is_clean_and_stays_the_same_when_taken_again(text: str, kind: str) -> None:
    try:
        verdict = check_url(text, kind=kind)
    except RegistryError:
        return
    url = verdict.url
    scheme, _, rest = url.partition("://")
    host = origin_of(url).partition("://")[2].rpartition(":")[0]

    assert scheme in ("http", "https")
    assert "@" not in rest.partition("/")[0]
    assert not set(url) & set("?#\\ \t\r\n")
    assert url.isascii()
    assert url.isprintable()
    assert kind == "url" or not url.endswith("/")
    assert forbidden_address(host) is None
    assert verdict.needs_confirmation == (scheme == "http" and not is_loopback(host))
    again = check_url(url, kind=kind)
    assert again.url == url
    assert again.repairs == ()


@given(st.ip_addresses())
def test_an_address_in_any_number_system_is_judged_alike(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.version == 6:
        forms = [str(address), address.exploded, f"{address}%eth0"]
    else:
        number = int(address)
        octets = [number >> shift & 255 for shift in (24, 16, 8, 0)]
        forms = [str(address), str(number), hex(number), ".".join(f"0{o:o}" for o in octets)]

    assert len({forbidden_address(form) for form in forms}) == 1
    assert len({is_loopback(form) for form in forms}) == 1


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.255.0.9", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_this_machine_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.evil.example", "127.0.0.1.nip.io", "192.168.0.1", "0.0.0.0", "", "::2"])
def test_other_names_are_not_taken_for_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("address", ["8.8.8.8", "192.168.1.1", "10.0.0.1", "172.17.0.1", "127.0.0.1", "::1", "fd00::1"])
def test_local_networks_may_be_reached(address: str) -> None:
    assert forbidden_address(address) is None


def test_an_origin_always_has_its_port() -> None:
    assert origin_of("https://API.groq.com/openai/v1") == "https://api.groq.com:443"
    assert origin_of("http://demo.invalid/v1?x=1#y") == "http://demo.invalid:80"
    assert origin_of("http://[::1]:8080") == "http://[::1]:8080"
    assert origin_of("https://bücher.example") == "https://xn--bcher-kva.example:443"


def test_a_listing_may_have_a_query() -> None:
    assert check_listing_url("https://api.h.example/list/?a=1&b=2") == "https://api.h.example/list/?a=1&b=2"
    with pytest.raises(RegistryError):
        check_listing_url("http://169.254.169.254/?a=1")


def test_a_second_listing_moves_with_the_base_address() -> None:
    moved = move_to_origin("https://api.chutes.ai/chutes/?include_public=true", "http://127.0.0.1:9/v1")

    assert moved == "http://127.0.0.1:9/chutes/?include_public=true"
