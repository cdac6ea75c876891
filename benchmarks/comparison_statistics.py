"""How often the intervals of a comparison hold the truth, and how long the tables of 20,000 cells take.

    python benchmarks/comparison_statistics.py [--share 1.0] [--seed 1]

The worlds are those of `tests/simulated_coverage.py`. Times are CPU seconds of one process, with numpy and without, the
best of three. Writes `benchmarks/results/statistics.md`. (Not called `statistics.py`, which Python would take for its
own module.)
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "statistics.md"
sys.path[:0] = [str(HERE.parent / "src"), str(HERE.parent / "tests")]
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

ARMS, PROMPTS, REPEATS = 10, 500, 4
LIMITS_S = {"summary_rows": 1, "stats_rows, 45 pairs": 5, "ranking_rows, 1000 resamples": 2}


def cells() -> list[dict[str, Any]]:
    """10 arms x 500 prompts x 4 repeats; one cell in a hundred is an error."""
    source = random.Random(1)
    hard = [source.gauss(0, 1) for _ in range(PROMPTS)]
    return [
        cell(source, arm, prompt, repeat, hard[prompt] + arm / 10)
        for arm in range(ARMS)
        for prompt in range(PROMPTS)
        for repeat in range(REPEATS)
    ]


def cell(source: random.Random, arm: int, prompt: int, repeat: int, skill: float) -> dict[str, Any]:
    failed = source.random() < 0.01
    return {
        "prompt_id": f"p{prompt}",
        "vars": {"topic": prompt // 5},
        "model": f"demo/m{arm}",
        "params": {"temperature": 0.5, "max_tokens": 100},
        "repeat": repeat,
        "status": "error" if failed else "ok",
        "error_type": "ServerError" if failed else None,
        "latency_ms": source.lognormvariate(6, 0.5),
        "cost_usd": 0.001,
        "from_store": False,
        "exact": None if failed else source.gauss(0, 1) < skill,
    }


def tables() -> dict[str, float]:
    """Seconds of each table."""
    from nbllm.compare import analysis
    from nbllm.compare.cells import Arm

    rows = cells()
    arms = [Arm(f"demo/m{i}", {"temperature": 0.5, "max_tokens": 100}) for i in range(ARMS)]
    duels = analysis.duels_from_scores(rows, arms, "exact")
    return {
        "summary_rows": best(lambda: analysis.summary_rows(rows, arms, ["exact"])),
        "stats_rows, 45 pairs": best(lambda: analysis.stats_rows(rows, arms, "exact")),
        "stats_rows, 45 pairs in 100 clusters": best(lambda: analysis.stats_rows(rows, arms, "exact", group="topic")),
        "duels_from_scores": best(lambda: analysis.duels_from_scores(rows, arms, "exact")),
        "ranking_rows, 1000 resamples": best(lambda: analysis.ranking_rows(duels, arms)),
        "latency_rows": best(lambda: analysis.latency_rows(rows, arms)),
        "consistency_rows, k = 1 and 3": best(lambda: analysis.consistency_rows(rows, arms, "exact", (1, 3))),
    }


def best(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def without_numpy() -> dict[str, float]:
    """The same in a process that has no numpy."""
    script = f"import sys; sys.modules['numpy'] = None; sys.path.insert(0, {str(HERE)!r})\n"
    script += "import comparison_statistics as c, json; print(json.dumps(c.tables()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    import json

    found: dict[str, float] = json.loads(done.stdout)
    return found


def speed_lines() -> list[str]:
    fast, plain = tables(), without_numpy()
    lines = ["| table | with numpy | without | to reach |", "| --- | --- | --- | --- |"]
    for name, seconds in fast.items():
        limit = f"{LIMITS_S[name]} s" if name in LIMITS_S else "–"
        lines.append(f"| {name} | {seconds:.2f} s | {plain[name]:.2f} s | {limit} |")
    return lines


def simulation_lines(simulations: Sequence[Any], scale: float, seed: int, wanted: str) -> list[str]:
    from simulated_coverage import share

    lines = [f"| what | conditions | {wanted} | samples | promised |", "| --- | --- | --- | --- | --- |"]
    for simulation in simulations:
        samples = max(20, int(simulation.repetitions * scale))
        found = share(simulation, samples, seed)
        promised = "yes" if simulation.promised else "no"
        lines.append(f"| {simulation.name} | {simulation.conditions} | {100 * found:.1f} % | {samples} | {promised} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the samples; less is quicker")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    import numpy

    from simulated_coverage import COVERAGES, ERROR_RATES

    speed = speed_lines()
    print("\n".join(speed))
    coverage = simulation_lines(COVERAGES, args.share, args.seed, "held the truth")
    errors = simulation_lines(ERROR_RATES, args.share, args.seed, "p under 0.05")
    text = f"""# Statistics of comparisons

## Coverage of nominal 95 % intervals

Where it is promised it is to lie between 93 and 97 %; the other lines show what small samples do, and what happens when
clusters are ignored. The worlds are described in `tests/simulated_coverage.py`. With 4000 samples the share itself is
known to ± 0.7 %, with 2000 to ± 1.0 %, with 1000 to ± 1.4 %.

{chr(10).join(coverage)}

## Tests at 5 % where there is no difference

{chr(10).join(errors)}

## Time of the tables

{ARMS} arms x {PROMPTS} prompts x {REPEATS} repeats = {ARMS * PROMPTS * REPEATS:,} cells.
CPU seconds of one process, best of three.

{chr(10).join(speed)}

Conditions: date {date.today()}; python {platform.python_version()}; numpy {numpy.__version__}, one thread; system
{platform.system()}; cores {os.cpu_count()}; load_average {os.getloadavg()[0]:.1f}; seed {args.seed}.

Again: `python benchmarks/comparison_statistics.py`
"""
    RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
