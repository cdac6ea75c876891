"""A child process that matches regular expressions, run as a script: it is killed when one takes too long.

Reads a line of JSON, `[pattern, text]`, and writes one: true, false, or what is wrong with the pattern as a string.
The standard library only, and nothing of nbllm: it has to start fast.
"""

from __future__ import annotations

import json
import re
import sys


def answer(line: str) -> bool | str:
    """Whether the pattern is found in the text; a string says why it cannot be known."""
    pattern, text = json.loads(line)
    try:
        return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError) as exc:
        return f"{type(exc).__name__}: {exc}"


def serve() -> None:
    """Answer until the other side closes."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(line)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
