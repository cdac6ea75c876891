"""What went wrong on the way: exceptions of the network, of TLS and of HTTP, as errors of nbllm.

The errors made here keep nothing of what they were made from. An exception of httpx2 holds the request and so
its headers; therefore callers note the error inside their `except` block and raise it after it, where Python
attaches no context:

    failure: NbllmError | None = None
    try:
        ...
    except Exception as exc:
        failure = fault(exc, provider=provider)
    if failure is not None:
        raise failure
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from nbllm.errors import NbllmError, RedirectError, StreamBrokenError, UnreachableError
from nbllm.foreign import one_line

_DEPTH = 20
"""Links of a chain of causes that are followed."""


class ForbiddenAddressError(OSError):
    """A name resolved to an address that must not be connected to. The text is the reason."""


class HandshakeError(OSError):
    """The connection stood, and TLS did not. The cause says more."""


class ResolveTimeout(TimeoutError):
    """The name server did not answer in time."""


def causes(exc: BaseException) -> Iterator[BaseException]:
    """`exc` and what led to it, nearest first; of a group, every member."""
    waiting: list[BaseException] = [exc]
    seen: set[int] = set()
    while waiting and len(seen) < _DEPTH:
        found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, BaseExceptionGroup):
            waiting.extend(found.exceptions)
        why = getattr(found, "why", None)  # `dial.DialError`
        if isinstance(why, BaseException):
            waiting.append(why)
        led = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
        if led is not None:
            waiting.append(led)


def fault(exc: BaseException, *, provider: str, host: str = "", begun: bool = False) -> NbllmError:
    """The error to raise for `exc`.

    Args:
        exc: What was caught, also with its cause inside another one.
        provider: The provider's id.
        host: Whom it was about, for the message.
        begun: Whether a part of the answer's body had arrived.
    """
    for found in causes(exc):
        if isinstance(found, NbllmError):
            return found.with_traceback(None)
    if begun:
        return _broken(exc, provider=provider)
    return unreachable(exc, provider=provider, host=host)


def _broken(exc: BaseException, *, provider: str) -> StreamBrokenError:
    why = "stopped sending" if _named(exc, "TimeoutException", "TimeoutError") else "closed the connection"
    return StreamBrokenError(
        f"{provider} {why} before the answer was complete",
        hint="what arrived is kept; ask again to get the whole answer",
        provider=provider,
    )


def unreachable(exc: BaseException, *, provider: str, sent: bool = True, host: str = "") -> UnreachableError:
    """The error for a request that got no answer.

    Args:
        exc: What httpx2, the operating system or ssl raised.
        provider: The provider's id.
        sent: Whether the request had left this machine, as far as the caller knows. Decides between `connect` and
            `closed` where the exception itself does not say.
        host: Whom it was about, for the message.
    """
    chain = list(causes(exc))
    for found in chain:
        if isinstance(found, UnreachableError):
            return found.with_traceback(None)
    where = host or _host(chain)
    phase, why, hint, retryable = _judge(chain, sent=sent, where=where)
    return UnreachableError(f"{provider}: {why}", phase=phase, hint=hint, provider=provider, retryable=retryable)


_Verdict = tuple[str, str, str | None, bool]
"""Phase, what happened, what to do, whether to try again."""


def _judge(chain: list[BaseException], *, sent: bool, where: str) -> _Verdict:
    at = where or "the server"
    for found in chain:
        if isinstance(found, ForbiddenAddressError):
            return "connect", f"{at} leads to an address that {found}", "check the base URL", False
        if isinstance(found, ssl.SSLCertVerificationError):
            return _certificate(found, at)
        # A handshake that waits for bytes has these two in its context, which say nothing.
        if isinstance(found, ssl.SSLError) and not isinstance(found, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):
            return _no_tls(found, at)
        if isinstance(found, UnicodeError):
            return "dns", f"{at} is no valid host name", "check the base URL for a typing error", False
        if isinstance(found, socket.gaierror):
            return _no_name(found, at)
        if isinstance(found, ResolveTimeout):
            return "timeout", f"the name of {at} was not resolved in time", "check the network connection", True
    if any(isinstance(found, HandshakeError) for found in chain):
        if _named_any(chain, "TimeoutException", "TimeoutError"):
            return (
                "timeout",
                f"{at} did not finish the TLS handshake in time",
                "should the base URL begin with http:// ?",
                True,
            )
        return "tls", f"{at} closed the connection during the TLS handshake", "check the base URL and the proxy", True
    return _judge_http(chain, sent=sent, at=at)


def _judge_http(chain: list[BaseException], *, sent: bool, at: str) -> _Verdict:
    if _named_any(chain, "ConnectTimeout"):
        return "timeout", f"{at} did not answer the connection in time", "check the base URL and the network", True
    if _named_any(chain, "PoolTimeout"):
        return "timeout", f"too many requests to {at} are under way", "lower `rate_limit.concurrency` or wait", True
    if _named_any(chain, "TimeoutException", "TimeoutError", "APITimeoutError"):
        # Not retried: the server may be at work on the request, and bill it.
        return (
            "timeout",
            f"{at} did not begin to answer in time",
            "raise `timeout.first_token_s` of the provider",
            False,
        )
    if _named_any(chain, "ProxyError"):
        return "connect", f"the proxy did not connect to {at}", "check HTTPS_PROXY and NO_PROXY", False
    if _named_any(chain, "LocalProtocolError", "UnsupportedProtocol", "InvalidURL"):
        # The exception's own text may hold a header's value.
        return "connect", f"the request to {at} is no valid HTTP", "check the base URL and the custom headers", False
    for found in chain:
        if isinstance(found, ConnectionRefusedError):
            return "connect", f"{at} refused the connection", "is the server running, and is the port right?", True
        if isinstance(found, OSError) and found.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN):
            return "connect", f"there is no route to {at}", "check the network connection", True
        if isinstance(found, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)):
            return "closed", f"{at} closed the connection before it answered", "try again", True
    if _named_any(chain, "ConnectError") or not sent:
        return "connect", f"no connection to {at}", "check the base URL, the network, and HTTPS_PROXY if set", True
    if any(type(found).__name__ == "RemoteProtocolError" and not _hung_up(found) for found in chain):
        return "closed", f"{at} sent something that is not HTTP", "check the base URL and the port", False
    return "closed", f"{at} closed the connection before it answered", "try again", True


def _hung_up(found: BaseException) -> bool:
    """h11 says both with one class: the end of the connection, and bytes that are no HTTP."""
    return "disconnected" in str(found) or "peer closed" in str(found)


# X509_V_ERR_*: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/ (read 2026-11-20)
_CERTIFICATES: Mapping[int, tuple[str, str]] = {
    9: ("is not valid yet", "check the clock of this machine"),
    10: ("has expired", "the server's operator must renew it; check the clock of this machine"),
    18: ("is self-signed", "if you trust it, point SSL_CERT_FILE to a bundle that holds it"),
    19: ("is signed by an authority that this machine does not know", "point SSL_CERT_FILE to that authority's bundle"),
    20: (
        "is signed by an authority that this machine does not know",
        "install the package `ca-certificates`, or point SSL_CERT_FILE to the authority's bundle",
    ),
    62: ("is for another host", "check the host in the base URL"),
    64: ("is for another address", "use the host's name in the base URL"),
}


def _certificate(exc: ssl.SSLCertVerificationError, at: str) -> _Verdict:
    what, hint = _CERTIFICATES.get(exc.verify_code, (f"was refused: {one_line(exc.verify_message)}", "check the host"))
    return "tls", f"the certificate of {at} {what}", hint, False


_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


def _no_tls(exc: ssl.SSLError, at: str) -> _Verdict:
    reason = (exc.reason or "").upper().replace(" ", "_")
    if any(word in reason for word in _PLAIN):
        return "tls", f"{at} does not speak TLS", "should the base URL begin with http:// ?", False
    if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "EOF" in reason:
        return "tls", f"{at} closed the connection during the TLS handshake", "check the base URL and the proxy", True
    return "tls", f"TLS with {at} failed ({one_line(reason or 'no reason given', 60)})", "check the base URL", False


def _no_name(exc: socket.gaierror, at: str) -> _Verdict:
    if exc.errno == socket.EAI_AGAIN:
        return "dns", f"the name of {at} could not be looked up", "check the network connection", True
    return "dns", f"there is no host {at}", "check the base URL for a typing error", False


def _named(exc: BaseException, *names: str) -> bool:
    return _named_any(list(causes(exc)), *names)


def _named_any(chain: list[BaseException], *names: str) -> bool:
    """By name, since httpx2, httpcore2 and the SDK each have a class of it and none is imported for this."""
    return any(cls.__name__ in names for found in chain for cls in type(found).__mro__)


def _host(chain: list[BaseException]) -> str:
    for found in chain:
        request: Any = getattr(found, "_request", None)
        host = getattr(getattr(request, "url", None), "host", None)
        if isinstance(host, str) and host:
            return one_line(host)
    return ""


def redirected(*, provider: str, status: int, url: str, headers: Mapping[str, str], attempts: int = 1) -> RedirectError:
    """The error for a 3xx: it names the new address and does not follow, since the key would go along."""
    location = _location(url, headers.get("location"))
    where = f"to {one_line(location)}" if location else "without saying where"
    return RedirectError(
        f"{provider} redirects ({status}) {where}",
        hint="nbllm does not follow, since your key would go along; if you trust that address, "
        f"run `%llm_providers edit {provider} --base-url ...`",
        location=location,
        provider=provider,
        status=status,
        attempts=attempts,
        retryable=False,
    )


def _location(url: str, header: str | None) -> str | None:
    """The new address without userinfo, query and fragment: those may hold secrets."""
    if not header:
        return None
    try:
        parts = urlsplit(urljoin(url, header))
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}"
