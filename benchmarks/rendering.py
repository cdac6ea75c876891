"""What the rendering pipeline costs, by the size of the answer.

    python benchmarks/rendering.py [--json FILE]

For each size: the whole answer without and with coloured code (the final picture), the next picture while streaming
(only the unfinished end is rendered anew), and the bytes of the HTML. Times are medians of 7 on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nbllm.notebook.display import MIN_INTERVAL_S
from nbllm.notebook.rendering import GrowingText, render_markdown

SIZES_KIB = (1, 11, 60, 200)
PIECE = """## A heading

A paragraph with **bold** and *slanted* words, `code`, a [link](https://example.org/path), and the formula
$E = mc^2$ in the middle of a line that goes on for a while, as answers do.

- one point
- another point with more words in it
  1. and a nested one

| column | another |
|:-------|--------:|
| cell   |     1.5 |

```python
def greet(name: str) -> str:
    return f"Hello {name}"  # a comment
```

$$
\\int_0^1 x^2 \\, dx = \\frac{1}{3}
$$

"""


def text_of(kib: int) -> str:
    """An ordinary answer of this size."""
    return (PIECE * (kib * 1024 // len(PIECE) + 1))[: kib * 1024]


def median_ms(work: Callable[[], Any], times: int = 7) -> float:
    """Median wall time of `work`."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(took), 2)


def measure(kib: int) -> dict[str, Any]:
    """One row."""
    text = text_of(kib)
    growing = GrowingText()
    growing.render(text)
    return {
        "answer_kib": kib,
        "html_kb": round(len(render_markdown(text)) / 1000, 1),
        "whole_ms": median_ms(lambda: render_markdown(text)),
        "whole_coloured_ms": median_ms(lambda: render_markdown(text, highlight=True)),
        "next_while_streaming_ms": median_ms(lambda: growing.render(text + " and a word")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the result there")
    wanted = parser.parse_args()
    render_markdown(PIECE, highlight=True)  # imports are not part of it
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {name: version(name) for name in ("markdown-it-py", "nh3", "pygments")},
        "shortest_interval_ms": MIN_INTERVAL_S * 1000,
        "rows": [measure(kib) for kib in SIZES_KIB],
    }
    print(json.dumps(result, indent=2))
    if wanted.json:
        wanted.json.parent.mkdir(parents=True, exist_ok=True)
        wanted.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
