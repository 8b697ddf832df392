"""Deliberate faults in a copy of the package, each of which the fast tests must notice.

    python -m experiments.trust.faults

A fault is one change of a few words: a sign, an index, a margin, a step left out. It is made in a
copy of package and tests in a temporary folder, and the tests that concern it run there until the
first failure. First they all run without a fault: they must pass. Compiled kernels are kept beside
their source, so each copy has its own, and numba drops those whose source has changed. Writes
NAME.json and NAME.md.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.runs import machine, markdown_table
from experiments.trust.fault_list import FAULTS, Fault

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COPIED = ["shapeopt", "tests", "conf", "data", "pyproject.toml", "train.py"]
OPTIONS = [
    *("-x", "-q", "-p", "no:cacheprovider"),
    *("-o", "addopts=--import-mode=importlib", "-m", "not slow and not campaign"),
]
"""Until the first failure; without the checks of types and shapes, which take half of the time."""

MOST_SECONDS = 900
"""A fault may keep a loop from ending: that is noticed, too."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=int, nargs="*", help="these faults anew, from 1")
    parser.add_argument("--output", type=Path, default=HERE / "faults", help="path without suffix")
    options = parser.parse_args(arguments)
    numbers = options.only or range(1, len(FAULTS) + 1)
    chosen = [FAULTS[number - 1] for number in numbers]
    for fault in chosen:
        with_fault(fault, ROOT)
    results: dict[int, dict] = {}
    if options.only:
        before = json.loads(options.output.with_suffix(".json").read_text())["list"]
        results = {result["number"]: result for result in before}
    with tempfile.TemporaryDirectory() as folder:
        sound = copy(ROOT, Path(folder) / "sound")
        every = sorted({test for fault in chosen for test in fault.tests})
        failed, seconds = run(sound, every, "")
        if failed is not None:
            raise SystemExit(f"without a fault, too: {failed}")
        print(f"    {seconds:5.0f} s  all tests without a fault", flush=True)
        for number, fault in zip(numbers, chosen, strict=True):
            place = copy(sound, Path(folder) / "faulty")
            (place / "shapeopt" / fault.file).write_text(with_fault(fault, place))
            caught_by, seconds = run(place, fault.tests, fault.chosen)
            shutil.rmtree(place)
            print(f"{number:3} {seconds:5.0f} s  {fault.breaks}: {caught_by}", flush=True)
            result = {"number": number, **fault._asdict(), "caught_by": caught_by}
            results[number] = result | {"seconds": round(seconds, 1)}
            write(options.output, [results[number] for number in sorted(results)])


def copy(root: Path, target: Path) -> Path:
    """What the tests need, with times of files, so that compiled kernels stay valid."""
    target.mkdir()
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name)
        else:
            shutil.copy2(root / name, target / name)
    return target


def with_fault(fault: Fault, root: Path) -> str:
    """The text of the fault's file in a copy of the package, with the fault.

    Raises:
        SystemExit: if what it changes is not there exactly once: the list is behind the code.
    """
    text = (root / "shapeopt" / fault.file).read_text()
    if text.count(fault.old) != 1:
        raise SystemExit(f"{fault.file} has {text.count(fault.old)} times: {fault.old}")
    return text.replace(fault.old, fault.new)


def run(place: Path, tests: Sequence[str], chosen: str) -> tuple[str | None, float]:
    """The first test that fails, None if all pass; and how long that took."""
    command = [sys.executable, "-m", "pytest", *OPTIONS, "-k", chosen, *tests]
    environment = os.environ | {"PYTHONPATH": str(place)}
    environment.pop("NUMBA_CACHE_DIR", None)
    started = time.time()
    try:
        done = subprocess.run(
            command,
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {MOST_SECONDS} s", time.time() - started
    seconds = time.time() - started
    if done.returncode == 0:
        return None, seconds
    failed = re.search(r"^(?:FAILED|ERROR) (\S+(?: \S+)*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if failed is None:
        raise SystemExit(f"pytest {' '.join(tests)} did not run:\n{done.stdout[-2000:]}")
    return failed[1], seconds


def write(output: Path, results: Sequence[dict]) -> None:
    caught = sum(result["caught_by"] is not None for result in results)
    summary = {"machine": machine(), "faults": len(results), "caught": caught}
    output.with_suffix(".json").write_text(json.dumps(summary | {"list": results}, indent=1) + "\n")
    rows = [
        {
            "file": f"`{result['file'].removeprefix('extraction/')}`",
            "fault": result["breaks"],
            "noticed by": f"`{(result['caught_by'] or 'nothing').split('/')[-1]}`",
        }
        for result in results
    ]
    text = f"{caught} of {len(results)} noticed.\n\n{markdown_table(rows)}"
    output.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
