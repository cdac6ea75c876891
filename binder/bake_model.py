"""Fetch a small GGUF into the image, where a hub can be reached; say why not, where it cannot.

    python binder/bake_model.py FOLDER

`HF_ENDPOINT` names another hub (a mirror with the same paths), `NBLLM_BINDER_MODEL` another file, such as
`owner/name/file.gguf`, or `none`. The file must be a GGUF of the length that was announced, and have the digest that
the hub names for it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from urllib.parse import urlsplit

HUB = "https://huggingface.co"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF/smollm2-135m-instruct-q8_0.gguf"
"""About 145 MB, 8 bits a weight, Apache 2.0: it answers on one core within the memory of a Binder session."""
LARGEST = 1_000_000_000
SILENCE_S = 20.0
_BLOCK = 1 << 20


class NoModel(Exception):
    """Why there is none."""


class _KeepDigest(urllib.request.HTTPRedirectHandler):
    """The hub answers with the digest and a redirect to where the bytes are, which has no digest."""

    digest: str | None = None

    def redirect_request(
        self, req: urllib.request.Request, fp: object, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" != urlsplit(newurl).scheme:
            raise NoModel(f"{urlsplit(req.full_url).hostname} redirects to a place without TLS")
        self.digest = self.digest or _digest(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _digest(headers: HTTPMessage) -> str | None:
    """SHA-256 of the file, which the hub gives as a tag in quotes."""
    tag = (headers.get("X-Linked-Etag") or "").strip('"').lower()
    return tag if len(tag) == 64 and set(tag) <= set("0123456789abcdef") else None


def fetch(model: str, folder: Path, *, hub: str = HUB) -> Path:
    """The file, in `folder`. What is there already is kept.

    Raises:
        NoModel: The hub cannot be reached, has no such file, or sends another one than it announced.
    """
    owner, name, file = _parts(model)
    place = folder / file
    if place.is_file():
        return place
    url = f"{hub.rstrip('/')}/{owner}/{name}/resolve/main/{file}"
    kept = _KeepDigest()
    half = place.with_suffix(".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with urllib.request.build_opener(kept).open(url, timeout=SILENCE_S) as answer:
            _copy(answer, half, kept.digest or _digest(answer.headers))
        half.replace(place)
    except (OSError, HTTPException, ValueError) as exc:
        raise NoModel(f"{urlsplit(url).hostname}: {exc}") from None
    finally:
        half.unlink(missing_ok=True)
    return place


def _parts(model: str) -> list[str]:
    parts = model.split("/")
    if len(parts) != 3 or not parts[2].endswith(".gguf") or any(part in ("", ".", "..") for part in parts):
        raise NoModel(f"NBLLM_BINDER_MODEL is {model!r}, and takes owner/name/file.gguf, or none")
    return parts


def _copy(answer: object, half: Path, digest: str | None) -> None:
    announced = int(answer.headers.get("Content-Length") or 0)  # type: ignore[attr-defined]
    if announced > LARGEST:
        raise NoModel(f"the file has {announced / 1e6:.0f} MB, and the image takes {LARGEST / 1e6:.0f}")
    found, size = hashlib.sha256(), 0
    with half.open("wb") as file:
        while block := answer.read(_BLOCK):  # type: ignore[attr-defined]
            size += len(block)
            if size > LARGEST:
                raise NoModel(f"the file is larger than {LARGEST / 1e6:.0f} MB")
            if size == len(block) and not block.startswith(b"GGUF"):
                raise NoModel("what came is no GGUF")
            found.update(block)
            file.write(block)
    if not size or (announced and size != announced):
        raise NoModel(f"{size} of {announced} bytes came")
    if digest is not None and found.hexdigest() != digest:
        raise NoModel("the file has another digest than the hub names for it")


def main(words: list[str]) -> int:
    """Status 1 when there is no model afterwards; the reason is printed."""
    model = os.environ.get("NBLLM_BINDER_MODEL") or MODEL
    if model == "none":
        print("bake_model: none is wanted")
        return 0
    try:
        place = fetch(model, Path(words[0]), hub=os.environ.get("HF_ENDPOINT") or HUB)
    except NoModel as exc:
        print(f"bake_model: no model ({exc})")
        return 1
    print(f"bake_model: {place.name}, {place.stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
