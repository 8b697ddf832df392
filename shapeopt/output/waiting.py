"""A word to the user when something takes long."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shapeopt.output.terminal import show

EXTRACTING = "extracting the surface; at first use half a minute of it is compiling ..."


@contextmanager
def told(words: str, seconds: float = 2.0) -> Iterator[None]:
    """Prints the words to the error stream if the block takes longer than this."""
    timer = threading.Timer(seconds, lambda: show(words, sys.stderr))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
