"""A word to the user when something takes long."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat

from shapeopt.compiling import CompilingClock, clock
from shapeopt.output.terminal import printable

LOADING = "loading torch and the rest ..."
EXTRACTING = "extracting the surface ..."
CHECKING = "checking the surface ..."
COMPILING = "compiling for this processor, at first use only: half a minute or so ..."
LONG = 2.0
"""Seconds of silence that a user is let wait."""


@contextmanager
def told(words: str, seconds: float = LONG, again: float = 10.0) -> Iterator[None]:
    """Prints the words to the error stream if the block takes longer than this.

    Args:
        words: what is going on.
        seconds: before the words are printed.
        again: seconds before they are, with the time so far; after a minute, six times as many.
    """
    done = threading.Event()
    teller = threading.Thread(target=_tell, args=(words, seconds, again, done), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _tell(words: str, seconds: float, again: float, done: threading.Event) -> None:
    passed = 0.0
    for pause in chain((seconds,), repeat(again, 6), repeat(6 * again)):
        if done.wait(pause):
            return
        _show(f"{words} {passed + pause:.0f} s so far" if passed else words)
        passed += pause


@contextmanager
def compiling_told(seconds: float = LONG, watched: CompilingClock = clock) -> Iterator[None]:
    """Says once that kernels are being compiled, when that has taken this long in the block."""
    teller = _CompilingTeller(seconds, watched)
    watched.watchers.append(teller)
    try:
        yield
    finally:
        watched.watchers.remove(teller)
        teller.ended()


class _CompilingTeller:
    """One kernel takes a second or two, all of them half a minute: what counts is the sum."""

    def __init__(self, seconds: float, watched: CompilingClock) -> None:
        self._at = watched.seconds + seconds
        self._clock = watched
        self._timer: threading.Timer | None = None
        self._said = False

    def started(self) -> None:
        if self._said:
            return
        left = max(0.0, self._at - self._clock.seconds)
        self._timer = threading.Timer(left, self._tell)
        self._timer.daemon = True
        self._timer.start()

    def ended(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._said = True
        _show(COMPILING)


def _show(text: str) -> None:
    """Above a progress bar, if there is one."""
    from tqdm import tqdm

    tqdm.write(printable(text, sys.stderr), file=sys.stderr)
