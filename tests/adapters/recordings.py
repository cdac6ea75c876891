"""Recordings of real servers: the body of a `.raw` file, its chunks put together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Recorded:
    """One recorded response."""

    name: str
    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    """False when the connection ended inside a chunked body."""


def read(path: Path) -> Recorded:
    """Read a `.raw` file."""
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    whole = True
    if headers.pop("transfer-encoding", "").lower() == "chunked":
        body, whole = _unchunk(body)
    headers.pop("content-length", None)
    return Recorded(f"{path.parent.name}/{path.stem}", int(first.split(" ")[1]), headers, body, whole)


def _unchunk(data: bytes) -> tuple[bytes, bool]:
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            return body, True
        body += rest[:length]
        data = rest[length + 2 :]
    return body, False


def kind_of(recorded: Recorded) -> str:
    """Whose wire format a recording of a chat is in."""
    name = recorded.name.partition("/")[2]
    return "anthropic" if name.startswith(("ant_", "fault_ant", "x_ant", "x_sse_ping_anthropic")) else "openai"
