"""What the kernels compiled for the CPU have in common.

Large work is divided into a fixed number of parts that threads take up, so the result does not
depend on the number of threads. Kernels release the interpreter lock and are called from a Python
thread pool: there is no second threading runtime next to torch's.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numba
import torch
from numba.core import event

from shapeopt.compiling import clock

PARTS = 8
"""Parts of a large piece of work: a power of two, for keys are dealt out by their lowest bits."""


class _Listener(event.Listener):
    """What is read from where it was kept is not compiled and makes no event."""

    def on_start(self, _: event.Event) -> None:
        clock.start()

    def on_end(self, _: event.Event) -> None:
        clock.end()


event.register("numba:compile", _Listener())


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles on first use. Kernels carry ``@no_type_check``, or the tests' run-time checks of
    signatures would wrap them before numba sees them.

    The kept code is dropped when the kernel's own file changes. So a kernel calls kernels and
    reads constants of its own file alone; whatever comes from another one is an argument.
    """
    return _compiled(function)


def small_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that becomes part of the loop that calls it, where the compiler may find it large.

    A call would cost more than the work: the addresses of all arrays would be handed over.
    """
    return _compiled(function, forceinline=True)


def inner_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A small kernel that makes no arrays, and calls none that does.

    So nobody has to count who holds an array; numba compiles helpers of its own in this way. Of a
    cold trace of 8 x 32, with its many slices, counting took a seventh of the time.
    """
    return _compiled(function, forceinline=True, _nrt=False)


def _compiled(function: Callable[..., Any], **more: Any) -> Callable[..., Any]:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"} | more
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no directory to keep compiled code in: compile in every process
        return numba.njit(**options)(function)


def in_parts(work: Callable[..., Any], size: int, small: int, *arguments: Any) -> list[Any]:
    """Results of work(part, start, stop, ...) on all of 0..size, in one part up to ``small``."""
    if size <= small:
        return [work(0, 0, size, *arguments)]
    bounds = [size * part // PARTS for part in range(PARTS + 1)]
    spans = [(part, *bounds[part : part + 2]) for part in range(PARTS)]
    return _each(work, spans, True, arguments)


def each_part(work: Callable[..., Any], parts: int, in_threads: bool, *arguments: Any) -> list[Any]:
    """Results of work(part, ...) for all parts."""
    return _each(work, [(part,) for part in range(parts)], in_threads, arguments)


def _each(
    work: Callable[..., Any],
    spans: Sequence[tuple[int, ...]],
    in_threads: bool,
    arguments: Sequence[Any],
) -> list[Any]:
    threads = min(torch.get_num_threads(), PARTS)
    if not in_threads or threads == 1:
        return [work(*span, *arguments) for span in spans]
    results: list[Any] = [None] * len(spans)
    waiting = iter(range(len(spans)))

    def work_off() -> None:
        try:
            for part in waiting:
                results[part] = work(*spans[part], *arguments)
        finally:
            for _ in waiting:  # after an error, or Ctrl-C, the others end as well
                pass

    # This thread works, too: another one takes some 50 us to wake up.
    pool = _pool(threads - 1, os.getpid())
    others = [pool.submit(work_off) for _ in range(threads - 1)]
    try:
        work_off()
    finally:
        for other in others:
            if not other.cancel():  # it has begun
                other.result()
    return results


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: those of its parent do not outlive a fork."""
    return ThreadPoolExecutor(threads)
