"""How long this process has compiled kernels: that happens once on a machine, and takes seconds."""

import time
from typing import Protocol


class Watcher(Protocol):
    """Is told when the compiler starts and ends."""

    def started(self) -> None:
        """Of the outermost of kernels that call each other."""

    def ended(self) -> None:
        """Of the same."""


class CompilingClock:
    """Adds up the time from the start to the end of each outermost kernel.

    Attributes:
        seconds: so far, without a kernel that is being compiled just now.
        watchers: that are told, too.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.watchers: list[Watcher] = []
        self._depth = 0
        self._started = 0.0

    def start(self) -> None:
        """A kernel, maybe one that another one calls."""
        self._depth += 1
        if self._depth == 1:
            self._started = time.perf_counter()
            for watcher in self.watchers:
                watcher.started()

    def end(self) -> None:
        """Of the kernel that was started last."""
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._started
            for watcher in self.watchers:
                watcher.ended()


clock = CompilingClock()
"""Of this process; the compiler lets one thread in at a time."""


def working_time() -> float:
    """Seconds from some moment on, as `time.perf_counter`, without those spent compiling."""
    return time.perf_counter() - clock.seconds
