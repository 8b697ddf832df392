"""Damaged files through every reader: an error or a sound result, never anything else.

    python -m experiments.trust.fuzz --files 100000

Writes fuzz.json, with every failure and the number of its file, and fuzz.md, the same as a table.
One file again, by its number: ``python -m experiments.trust.fuzz --only 4711``.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from experiments.runs import machine, markdown_table
from tests.oracle.damaged import read_one, sources

HERE = Path(__file__).parent
MEMORY = 6 << 30  # bytes of address space, torch and all libraries included
SILENCE = 60  # seconds after which a worker counts as hung in compiled code
# Reading does none of these; what runs code would.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename")
FORBIDDEN += ("subprocess.Popen", "socket.connect", "shutil.rmtree", "ctypes.dlopen")


class CodeRan(BaseException):
    """Something happened that no reader does."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--only", type=int, help="read this one, and show what comes out")
    parser.add_argument("--output", type=Path, default=HERE / "fuzz", help="path without suffix")
    options = parser.parse_args(arguments)
    if options.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(read_one(options.only, Path(folder)))
        return
    started = time.time()
    counts, failures = run(range(options.files))
    result = {
        "machine": machine(),
        "seconds": round(time.time() - started),
        "files": options.files,
        "outcomes": [[*key, number] for key, number in sorted(counts.items())],
        "failures": failures,
    }
    options.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(report(counts, failures))


def run(numbers: range) -> tuple[Counter[tuple[str, str]], list[dict[str, Any]]]:
    """How often each kind of file had each outcome, and what failed.

    A worker reads one file after the other; when it dies or hangs, the file is a failure and
    another worker goes on behind it.
    """
    counts: Counter[tuple[str, str]] = Counter()
    failures: list[dict[str, Any]] = []
    at = numbers.start
    while at < numbers.stop:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        worker = multiprocessing.get_context("fork").Process(
            target=work, args=(sender, range(at, numbers.stop))
        )
        worker.start()
        sender.close()
        while at < numbers.stop:
            suffix, outcome, detail = _next(receiver, at)
            counts[suffix, outcome] += 1
            if outcome not in ("error", "result"):
                failures.append({"file": at, "kind": suffix, "outcome": outcome, "detail": detail})
                print(failures[-1], flush=True)
            at += 1
            if at % 5000 == 0:
                print(f"{at} of {numbers.stop}", flush=True)
            if outcome in ("crash", "hang"):
                break
        worker.kill()
        worker.join()
    return counts, failures


def _next(receiver: Connection, number: int) -> tuple[str, str, str]:
    try:
        if receiver.poll(SILENCE):
            return receiver.recv()
        outcome = "hang"
    except EOFError:
        outcome = "crash"
    files = sources()
    return files[number % len(files)][0], outcome, ""


def work(sender: Connection, numbers: range) -> None:
    """Reads damaged files and sends what came out."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # What C libraries have to say goes nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryDirectory() as folder:
        read_one(0, Path(folder))  # everything is imported, from here on reading is watched
        sys.addaudithook(_watch)
        for number in numbers:
            sender.send(read_one(number, Path(folder)))


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN:
        raise CodeRan(f"{event} {arguments}"[:200])


def report(counts: Counter[tuple[str, str]], failures: list[dict[str, Any]]) -> str:
    """The tables."""
    kinds = sorted({kind for kind, _ in counts})
    outcomes = ["error", "result", *sorted({o for _, o in counts} - {"error", "result"})]
    rows: list[dict[str, str | int | float]] = [
        {"kind": kind, "files": sum(counts[kind, o] for o in outcomes)}
        | {outcome: counts[kind, outcome] for outcome in outcomes}
        for kind in kinds
    ]
    text = f"# {sum(counts.values()):,} damaged files\n\n{markdown_table(rows)}"
    if failures:
        text += f"\n## Failures\n\n{markdown_table(failures[:100])}"
    return text


if __name__ == "__main__":
    main()
