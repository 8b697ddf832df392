"""Every extractor against exact arithmetic, on many small networks.

    python -m experiments.trust.run --generic 20000 --degenerate 5000

Writes NAME.json, with every fault and its seed, and NAME.md, the same as a table.
"""

import argparse
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from experiments.runs import machine, markdown_table
from tests.oracle.generators import DEGENERATE, GENERIC, Case, generate
from tests.oracle.judge import Verdict, verdicts

HERE = Path(__file__).parent
SEEDS_SHOWN = 3
SEEDS_AT_A_TIME = 10
METHODS = ("subdivision", "tracing", "complete tracing")
OUTCOMES = ("silent", "tie", "refused", "crashed")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generic", type=int, default=20_000, help="cases of generic kinds")
    parser.add_argument("--degenerate", type=int, default=5_000, help="cases of degenerate kinds")
    parser.add_argument("--kinds", nargs="*", help="only these kinds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="path without suffix")
    options = parser.parse_args(arguments)
    seeds = {
        kind: -(-total // len(kinds))
        for kinds, total in ((GENERIC, options.generic), (DEGENERATE, options.degenerate))
        for kind in kinds
        if total and (not options.kinds or kind in options.kinds)
    }
    started = time.time()
    rows = list(run(seeds, options.first_seed, options.processes))
    results = {
        "machine": machine(),
        "seconds": round(time.time() - started),
        "first_seed": options.first_seed,
        "cases": seeds,
        "faults": rows,
    }
    options.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(report(seeds, rows))


def run(seeds: dict[str, int], first_seed: int, processes: int) -> Iterator[dict[str, Any]]:
    """All extractions that did not come out right, kind by kind.

    Args:
        seeds: how many of each kind.
        first_seed: of each kind.
        processes: at a time, with one thread each.
    """
    chunks = [
        (kind, range(first, min(first + SEEDS_AT_A_TIME, first_seed + count)))
        for kind, count in seeds.items()
        for first in range(first_seed, first_seed + count, SEEDS_AT_A_TIME)
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        for index, rows in enumerate(pool.map(judge_seeds, *zip(*chunks, strict=True))):
            if index % 20 == 0:
                print(f"{index} of {len(chunks)}: {chunks[index][0]}", flush=True)
            yield from rows


def judge_seeds(kind: str, seeds: range) -> list[dict[str, Any]]:
    """The extractions of some cases of a kind that did not come out right."""
    return [
        {"kind": kind, "seed": seed, "dtype": str(case.dtype)[6:], "dimension": len(case.lower)}
        | {"extractor": name, **vars(verdict)}
        for seed in seeds
        for case in [generate(kind, seed)]
        for name, verdict in _judged(case).items()
        if verdict.outcome != "right"
    ]


def _judged(case: Case) -> dict[str, Verdict]:
    """The verdicts; what the judge itself stumbles over does not end hours of work."""
    try:
        return verdicts(case)
    except Exception as error:
        return {"judge": Verdict("crashed", type(error).__name__, str(error)[:200])}


def report(seeds: dict[str, int], rows: Sequence[dict[str, Any]]) -> str:
    """The tables."""
    total = sum(seeds.values())
    silent = {(row["kind"], row["seed"]) for row in rows if row["outcome"] == "silent"}
    text = (
        "# Every extractor against exact arithmetic\n\n"
        f"{total:,} networks, {len(silent):,} of them with a silent fault of some extractor.\n\n"
        f"## By kind\n\n{by_kind(seeds, rows)}"
    )
    return f"{text}\n## By fault\n\n{by_fault(rows)}" if rows else text


def by_kind(seeds: dict[str, int], rows: Sequence[dict[str, Any]]) -> str:
    """A row for each kind: numbers of cases, those with the most silent faults first."""

    def cases(kind: str, outcome: str, method: str) -> set[int]:
        return {
            row["seed"]
            for row in rows
            if (row["kind"], row["outcome"]) == (kind, outcome)
            and (row["extractor"] if "tracing" in row["extractor"] else "subdivision") == method
        }

    table: list[dict[str, str | int | float]] = []
    for kind, count in seeds.items():
        entry: dict[str, str | int | float] = {"kind": kind, "cases": count}
        silent: set[int] = set()
        for method in METHODS:
            for outcome in OUTCOMES:
                entry[f"{method} {outcome}"] = len(cases(kind, outcome, method))
            silent = silent or cases(kind, "silent", method)
        entry["seeds"] = ", ".join(map(str, sorted(silent)[:SEEDS_SHOWN]))
        table.append(entry)
    table.sort(key=lambda entry: [-int(entry[f"{method} silent"]) for method in METHODS])
    return markdown_table(table)


def by_fault(rows: Sequence[dict[str, Any]]) -> str:
    """A row for each kind of fault of each extractor: how often, and where."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["outcome"], row["fault"], row["extractor"]), []).append(row)
    table: list[dict[str, str | int | float]] = []
    for (outcome, fault, extractor), members in sorted(groups.items()):
        kinds = Counter(row["kind"] for row in members)
        where = ", ".join(f"{kind} ({number})" for kind, number in kinds.most_common())
        table.append(
            {
                "outcome": outcome,
                "fault": fault,
                "extractor": extractor,
                "cases": len(members),
                "kinds": where,
            }
        )
    return markdown_table(table)


if __name__ == "__main__":
    main()
