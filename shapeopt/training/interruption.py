"""Ctrl-C and SIGTERM, which a scheduler sends before it kills: both ask a training to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_later() -> Iterator[Callable[[], signal.Signals | None]]:
    """Yields a function that tells which signal has come, None so far; a second one stops at once.

    Raises:
        KeyboardInterrupt: at the second signal; its argument is the signal's number.
    """
    received: list[signal.Signals] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt(signum)
        received.append(signal.Signals(signum))

    with _handled_by(note):
        yield lambda: received[0] if received else None


@contextmanager
def stop_now() -> Iterator[None]:
    """Either signal raises KeyboardInterrupt; its argument is the signal's number."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signum)

    with _handled_by(stop):
        yield


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    # Only the main thread can; and what is ignored, as under nohup, stays so.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handled = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in handled:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in handled.items():
            signal.signal(number, old or signal.SIG_DFL)
