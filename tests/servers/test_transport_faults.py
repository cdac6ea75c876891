"""What can go wrong on the way, on real sockets: each has its own error, words and phase."""

from __future__ import annotations

import datetime
import gc
import gzip
import ipaddress
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asking import KEY, asking, error_of, events_of, fetched, row, streamed
from nbllm.errors import NbllmError, ProviderError, RedirectError, StreamBrokenError, UnreachableError
from nbllm.transport.http import Http
from wire_server import (
    Close,
    Pause,
    Plan,
    Reset,
    Send,
    Stall,
    WireServer,
    answer,
    chunked,
    closed_port,
    head,
    until_close,
)

EVENT = b'data: {"choices": [{"delta": {"content": "hi"}}]}\n\n'
QUICK = {"timeout": {"connect_s": 0.4, "first_token_s": 0.4, "between_tokens_s": 0.4}}
HALF = b"HTTP/1.1 200 OK\r\nContent"
WHOLE = head(200, content_type="text/event-stream", content_length=str(len(EVENT)))
TOP = head(200, content_type="text/event-stream", content_length="5000")


@dataclass(frozen=True)
class Fault:
    id: str
    plan: Plan
    error: type[NbllmError]
    words: str
    phase: str | None = None
    retryable: bool | None = None
    first: Plan = ()


GONE, BROKEN = UnreachableError, StreamBrokenError
FAULTS = [
    Fault("RST before the request", (), GONE, "closed the", "closed", True, first=(Reset(),)),
    Fault("FIN before the request", (), GONE, "closed the", "closed", True, first=(Close(),)),
    Fault("RST after the request", (Reset(),), GONE, "closed the", "closed", True),
    Fault("FIN without a status line", (Close(),), GONE, "closed the", "closed", True),
    Fault("RST inside the head", (Send(HALF), Reset()), GONE, "closed", "closed", True),
    Fault("FIN inside the head", (Send(HALF), Close()), GONE, "closed", "closed", True),
    Fault("FIN after the head", (Send(TOP), Close()), GONE, "closed", "closed", True),
    Fault("RST after the head", (Send(TOP), Pause(0.05), Reset()), GONE, "closed", "closed", True),
    Fault("FIN inside the body", (Send(TOP + EVENT), Close()), BROKEN, "before the answer was complete"),
    Fault("RST inside the body", (Send(TOP + EVENT), Pause(0.05), Reset()), BROKEN, "before the answer was"),
    Fault("no last chunk", chunked([EVENT], end=False), BROKEN, "before the answer was complete"),
    Fault("a bad chunk size", (*chunked([EVENT])[:2], Send(b"zz\r\nx"), Close()), BROKEN, "before the answer"),
    Fault("silence before the head", (Stall(),), GONE, "did not begin to answer in time", "timeout", False),
    Fault("silence before the body", (Send(TOP), Stall()), GONE, "did not begin", "timeout", False),
    Fault("silence inside the body", (Send(TOP + EVENT), Stall()), BROKEN, "stopped sending"),
    Fault("a dripping head", (Send(WHOLE, piece=1, gap_s=0.02), Send(EVENT)), GONE, "did not begin", "timeout", False),
    Fault("another protocol", (Send(b"SSH-2.0\r\n\r\n"), Close()), GONE, "not HTTP", "closed", False),
    Fault("a head without end", (Send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60_000), Close()), GONE, "not HTTP"),
    Fault("a lying encoding", answer(EVENT, content_encoding="gzip"), BROKEN, "does not unpack"),
    Fault("an encoding nobody asked for", answer(EVENT, content_encoding="br"), BROKEN, "not asked for"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.id)
def test_each_fault_has_its_own_error(fault: Fault) -> None:
    with WireServer(fault.plan, on_accept=fault.first) as server:
        error = error_of(lambda: streamed(server.url, key=KEY, fields={**QUICK, "auth": "bearer"}))

    assert type(error) is fault.error
    assert fault.words in error.message
    assert "there" in error.message
    if fault.phase:
        assert isinstance(error, UnreachableError)
        assert (error.phase, error.retryable, error.provider) == (fault.phase, fault.retryable, "there")
    assert_clean(error)


def assert_clean(error: NbllmError) -> None:
    """Nothing of the request hangs on it."""
    assert error.__context__ is None
    assert error.__cause__ is None
    assert KEY not in repr(vars(error))


def test_a_refused_connection_says_so() -> None:
    port = closed_port()
    error = error_of(lambda: fetched(f"http://127.0.0.1:{port}/v1"))
    assert isinstance(error, UnreachableError)
    assert (error.phase, error.retryable) == ("connect", True)
    assert f"127.0.0.1:{port} refused the connection" in error.message
    assert "is the server running" in str(error)
    assert_clean(error)


def test_a_black_hole_is_given_up_after_the_connect_timeout() -> None:
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    callers = []
    for _ in range(3):  # the queue is full: Linux drops what comes now
        caller = socket.socket()
        caller.setblocking(False)
        caller.connect_ex(hole.getsockname())
        callers.append(caller)
    try:
        error = error_of(lambda: streamed(f"http://127.0.0.1:{hole.getsockname()[1]}/v1", fields=QUICK))
    finally:
        for each in (*callers, hole):
            each.close()
    assert isinstance(error, UnreachableError)
    assert (error.phase, error.retryable) == ("timeout", True)
    assert "did not answer the connection in time" in error.message


def test_a_name_that_does_not_exist_is_a_dns_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, *args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = error_of(lambda: fetched("http://something.invalid/v1"))
    assert isinstance(error, UnreachableError)
    assert (error.phase, error.retryable) == ("dns", False)
    assert "there is no host something.invalid" in error.message
    assert_clean(error)


def test_a_name_server_that_fails_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, *args: Any, **options: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    error = error_of(lambda: fetched("http://something.invalid/v1"))
    assert isinstance(error, UnreachableError)
    assert (error.phase, error.retryable) == ("dns", True)


def test_a_name_server_that_is_silent_counts_as_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: released.wait(10) and [])
    try:
        error = error_of(lambda: asking(lambda http: events_then_release(http, released)))
    finally:
        released.set()
    assert isinstance(error, UnreachableError)
    assert error.phase == "timeout"
    assert "was not resolved in time" in error.message


async def events_then_release(http: Http, released: threading.Event) -> Any:
    try:
        return await events_of(http, row("http://something.invalid/v1", **QUICK))
    finally:
        released.set()  # else the loop would wait for its thread


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_a_name_that_turns_out_to_lead_to_a_metadata_address_is_not_connected_to(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    rows = [
        (kind, socket.SOCK_STREAM, 6, "", (to, 9)) for kind, to in ((socket.AF_INET, "127.0.0.1"), (family, address))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: rows)
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: tried.append(to))
    monkeypatch.setattr(socket.socket, "connect_ex", lambda self, to: tried.append(to))

    error = error_of(lambda: fetched("https://harmless.example/v1"))

    assert isinstance(error, UnreachableError)
    assert (error.phase, error.retryable) == ("connect", False)
    assert "harmless.example:443 leads to an address that" in error.message or "metadata" in error.message
    assert tried == []


def test_the_second_address_of_a_name_is_used_when_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(answer(b"[]", kind="application/json")) as server:
        rows = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", server.port, 0, 0)),
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]  # fmt: skip
        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda h, *a, **k: rows if h == "two.test" else real(h, *a, **k))
        assert fetched(f"http://two.test:{server.port}/v1").json() == []
        assert b"Host: two.test" in server.bytes_seen


# ---------------------------------------------------------------- TLS


@dataclass
class Authority:
    """Certificates made on the spot."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def issue(self, *, host: str = "127.0.0.1", own: bool = False, days: int = 5) -> ssl.SSLContext:
        """A server's context with a certificate for `host`, signed by this authority or by itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer, issuer = (key, host) if own else (self.key, "test authority")
        path = self.folder / f"{host}-{own}-{days}.pem"
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        cert = self._sign(host, key.public_key(), issuer, signer, days)
        path.write_bytes(secret + cert.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    @property
    def bundle(self) -> str:
        """What a client must trust."""
        path = self.folder / "bundle.pem"
        cert = self._sign("test authority", self.key.public_key(), "test authority", self.key, 5, ca=True)
        path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        return str(path)

    def _sign(
        self, name: str, public: Any, issuer: str, signer: Any, days: int, *, ca: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name.replace(" ", "-"))
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        )
        return builder.sign(signer, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_bundle_that_the_environment_names_is_trusted(authority: Authority) -> None:
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        with WireServer(answer(b"[]", kind="application/json"), tls=authority.issue()) as server:
            assert fetched(server.url, environ={name: authority.bundle}).json() == []


@dataclass(frozen=True)
class Bad:
    id: str
    issue: Callable[[Authority], ssl.SSLContext]
    words: str
    trusted: bool = True


BAD = [
    Bad("self-signed", lambda a: a.issue(own=True), "is self-signed"),
    Bad("unknown authority", lambda a: a.issue(), "authority that this machine does not know", trusted=False),
    Bad("another address", lambda a: a.issue(host="127.0.0.2"), "is for another address"),
    Bad("another host", lambda a: a.issue(host="example.test"), "is for another"),
    Bad("expired", lambda a: a.issue(days=-2), "has expired"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda b: b.id)
def test_each_bad_certificate_has_its_own_words(bad: Bad, authority: Authority) -> None:
    environ = {"SSL_CERT_FILE": authority.bundle} if bad.trusted else {}
    with WireServer(answer(b"[]"), tls=bad.issue(authority)) as server:
        error = error_of(lambda: fetched(server.url, key=KEY, fields={"auth": "bearer"}, environ=environ))
        assert isinstance(error, UnreachableError)
        assert (error.phase, error.retryable) == ("tls", False)
        assert bad.words in error.message
        assert error.hint
        assert KEY.encode() not in server.bytes_seen
        assert_clean(error)


def test_https_to_a_server_that_speaks_plain_http_says_so() -> None:
    with WireServer((), on_accept=(Send(head(400, "Bad Request", content_length="0")), Pause(0.2), Close())) as server:
        error = error_of(lambda: fetched(server.url.replace("http://", "https://")))
    assert isinstance(error, UnreachableError)
    assert error.phase == "tls"
    assert "does not speak TLS" in error.message
    assert "http://" in str(error)


@pytest.mark.parametrize("step", [Reset(), Close()], ids=["RST", "FIN"])
def test_a_handshake_that_is_cut_is_a_tls_fault_and_worth_another_try(step: Reset | Close) -> None:
    with WireServer((), on_accept=(Pause(0.1), step)) as server:
        error = error_of(lambda: fetched(server.url.replace("http://", "https://")))
    assert isinstance(error, UnreachableError)
    assert (error.phase, error.retryable) == ("tls", True)
    assert "during the TLS handshake" in error.message


def test_a_handshake_without_an_answer_is_a_timeout() -> None:
    with WireServer((), on_accept=(Stall(),)) as server:
        error = error_of(lambda: streamed(server.url.replace("http://", "https://"), fields=QUICK))
    assert isinstance(error, UnreachableError)
    assert error.phase == "timeout"


@pytest.mark.parametrize("content", [None, "this is no bundle"])
def test_a_bundle_that_is_missing_or_broken_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "corp.pem"
    if content is not None:
        path.write_text(content)
    error = error_of(lambda: fetched("https://127.0.0.1:9/v1", environ={"REQUESTS_CA_BUNDLE": str(path)}))
    assert isinstance(error, UnreachableError)
    assert error.phase == "tls"
    assert "REQUESTS_CA_BUNDLE" in error.message
    assert str(path) in error.message
    assert "unset" in str(error)


def test_plain_http_needs_no_certificates() -> None:
    with WireServer(answer(b"[]", kind="application/json")) as server:
        assert fetched(server.url, environ={"SSL_CERT_FILE": "/nowhere.pem"}).json() == []


# ---------------------------------------------------------------- sizes


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    out = [packer.compress(b"data: " + b"x" * 1000 + b"\n\n") for _ in range(size // 1008)]
    return b"".join(out) + packer.flush()


BOMB = bomb(90_000_000)


def test_a_bomb_ends_with_an_error_of_ours_wherever_it_lies() -> None:
    with WireServer(answer(BOMB, content_encoding="gzip")) as server:
        error = error_of(lambda: streamed(server.url))
        assert isinstance(error, StreamBrokenError)
        assert "longer than 64 MB" in error.message

        error = error_of(lambda: fetched(server.url, cap_bytes=2_000_000))
        assert type(error) is ProviderError
        assert "more than 2 MB" in error.message


def test_the_body_of_an_error_is_cut_and_never_a_bomb() -> None:
    for plan in (
        answer(BOMB, status=500, content_encoding="gzip"),
        answer(b"x" * 3_000_000, status=500, kind="text/plain"),
    ):
        with WireServer(plan) as server:
            found = fetched(server.url)
        assert found.status == 500
        assert len(found.body) == 1_000_000


def test_a_body_of_100_mb_is_not_read_to_its_end() -> None:
    body = (b"data: " + b"x" * 990 + b"\n\n") * 100_000
    with WireServer(answer(body)) as server:
        assert isinstance(error_of(lambda: streamed(server.url)), StreamBrokenError)
        error = error_of(lambda: fetched(server.url, cap_bytes=5_000_000))
        assert "more than 5 MB" in error.message


def test_packed_answers_are_unpacked_also_by_the_byte() -> None:
    body = EVENT * 50
    raw = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = {
        "gzip": gzip.compress(body),
        "x-gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "Deflate": raw.compress(body) + raw.flush(),
        "identity": body,
    }
    for encoding, data in packed.items():
        for piece in (0, 1):
            with WireServer(answer(data, content_encoding=encoding, piece=piece)) as server:
                assert len(streamed(server.url)) == 50, encoding


def test_an_error_keeps_what_came_of_its_body() -> None:
    top = head(503, "Busy", content_type="application/json", content_length="500")
    with WireServer((Send(top + b'{"error":'), Reset())) as server:
        found = fetched(server.url)
    assert (found.status, found.body) in ((503, b'{"error":'), (503, b""))


def test_a_slow_listing_is_given_up_in_time() -> None:
    with WireServer(answer(b"[" + b" " * 5000 + b"]", piece=1, gap_s=0.05)) as server:
        error = error_of(lambda: fetched(server.url, timeout_s=0.4))
    assert isinstance(error, UnreachableError)
    assert error.phase == "timeout"


def test_a_slow_stream_is_not_given_up_while_it_lives() -> None:
    body = b": ping\n\n" * 8 + EVENT
    with WireServer(answer(body, piece=8, gap_s=0.1)) as server:
        assert len(streamed(server.url, fields={"timeout": {"first_token_s": 0.3, "between_tokens_s": 0.3}})) == 1


def test_the_first_token_may_take_longer_than_the_others() -> None:
    """Who reads the answer says when a token came; silence after it is in tests/unit/chat/test_run.py."""
    late = (Send(head(200, content_type="text/event-stream", connection="close")), Pause(0.5), Send(EVENT), Close())
    slow_first = {"timeout": {"first_token_s": 5, "between_tokens_s": 0.3}}
    slow_then = {"timeout": {"first_token_s": 0.3, "between_tokens_s": 5}}
    with WireServer([late, late]) as server:
        assert len(streamed(server.url, fields=slow_first)) == 1
        assert isinstance(error_of(lambda: streamed(server.url, fields=slow_then)), UnreachableError)


# ---------------------------------------------------------------- odd answers


def test_a_204_is_an_empty_answer() -> None:
    with WireServer((Send(head(204, "No Content")),)) as server:
        assert streamed(server.url) == []
        found = fetched(server.url)
        assert (found.status, found.body) == (204, b"")
        error = error_of(found.json)
        assert type(error) is ProviderError
        assert "not JSON" in error.message


def test_a_listing_that_is_a_web_page_says_so() -> None:
    with WireServer(answer(b"<html>", kind="text/html")) as server:
        error = error_of(fetched(server.url).json)
    assert "not JSON" in error.message
    assert "base URL" in str(error)


def test_a_loop_of_redirects_is_not_entered() -> None:
    with WireServer(answer(status=302, location="/v1/models")) as server:
        error = error_of(lambda: fetched(server.url))
        assert isinstance(error, RedirectError)
        assert len(server.requests) == 1
        assert error.location == f"{server.url}/models"


def test_odd_reason_phrases_and_headers_are_taken_as_they_are() -> None:
    plan = (Send(b"HTTP/1.1 529 \xe9trange!\r\nX-Odd: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}"),)
    with WireServer(plan) as server:
        assert fetched(server.url).status == 529


def test_bodies_without_a_length_end_with_the_connection() -> None:
    with WireServer(until_close(EVENT * 3, piece=5)) as server:
        assert len(streamed(server.url)) == 3


# ---------------------------------------------------------------- nothing left behind


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_many_requests_leave_no_file_thread_or_task_behind() -> None:
    import asyncio

    with WireServer(chunked([EVENT] * 20)) as server:
        provider = row(server.url)
        seen: list[tuple[int, int]] = []

        async def main(http: Http) -> int:
            await asyncio.gather(*[events_of(http, provider) for _ in range(50)])
            for number in range(300):
                assert len(await events_of(http, provider)) == 20
                if number in (50, 299):
                    gc.collect()
                    seen.append((open_files(), len(asyncio.all_tasks())))
            return len(asyncio.all_tasks())

        before = threading.active_count()
        assert asking(main) == 1
        assert seen[0] == seen[1]
        assert server.connections <= 50
    wait_until(lambda: threading.active_count() <= before + 1)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
def test_failures_and_early_exits_leave_nothing_open() -> None:
    async def main(http: Http) -> None:
        for _ in range(30):
            for provider in (cut, mute):
                with pytest.raises(NbllmError):
                    await events_of(http, provider)
            async with http.stream("GET", endless.base_url, provider=endless, key=None) as response:
                async for _ in response.aiter_bytes():
                    break

    with (
        WireServer((Send(TOP + EVENT), Close())) as one,
        WireServer((Reset(),)) as two,
        WireServer((Send(TOP + EVENT), Stall())) as three,
    ):
        cut, mute, endless = row(one.url), row(two.url), row(three.url)
        before = open_files()
        asking(main)
        gc.collect()
        wait_until(lambda: open_files() <= before)
        assert three.hung_up.wait(10)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---------------------------------------------------------------- recordings


def recordings(shared: Path) -> Iterator[Path]:
    yield from sorted((shared / "data" / "wire").rglob("*stream*.raw"))


def test_recorded_answers_arrive_the_same_whole_and_by_the_byte(shared: Path) -> None:
    count = 0
    for path in recordings(shared):
        raw = path.read_bytes()
        if b" 200 " not in raw[:20] or len(raw) > 20_000:
            continue
        with WireServer(
            [(Send(raw), Close()), (Send(raw, piece=1), Close()), (Send(raw, piece=13), Close())]
        ) as server:
            found = [outcome(server.url) for _ in range(3)]
        assert found[0] == found[1] == found[2], path.name
        count += 1
    assert count > 10


def outcome(url: str) -> Any:
    try:
        return streamed(url)
    except NbllmError as exc:
        return type(exc).__name__, exc.message
