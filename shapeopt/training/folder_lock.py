"""One training per folder: a lock of the operating system, which ends with its process."""

import contextlib
import errno
import io
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shapeopt.errors import InputError

LOCK_FILE = ".lock"
BEYOND_THE_TEXT = 2**30  # Windows locks bytes, and what is locked cannot be read
logger = logging.getLogger(__name__)


class FolderInUseError(InputError):
    """Another training holds the folder, or has left its results there."""


@contextmanager
def locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Holds a folder; however the process ends, the folder is free again.

    A folder in which nothing came to stand is gone again, too. What is yielded holds the folder
    again if somebody removed it in between, and is harmless if nobody did; it raises as this does.

    Args:
        folder: made if it is not there. Its lock file stays and says which process held it last.

    Raises:
        FolderInUseError: if another process, or another call in this one, holds it.
        OSError: if the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        files = [_hold(folder, held)]

        def hold_again() -> None:
            if not _is_there(folder / LOCK_FILE, files[-1].fileno()):
                files.append(_hold(folder, held))

        try:
            yield hold_again
        finally:
            _leave_no_empty(folder)
    if os.name == "nt":  # which removes no file that is open
        _leave_no_empty(folder)


def _leave_no_empty(folder: Path) -> None:
    """Removes a folder, which is held, if there is nothing in it but the lock file."""
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
        folder.rmdir()


def _hold(folder: Path, held: contextlib.ExitStack) -> io.FileIO:
    """The lock file, locked until it is closed with all that is held."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # Opened without being emptied: its text may be that of the holder.
        file = held.enter_context((folder / LOCK_FILE).open("a+b", buffering=0))
        if not _lock(file.fileno(), folder):
            file.seek(0)
            holder = file.read(300).decode(errors="replace") or "another process"
            raise FolderInUseError(
                f"{folder} is in use by a training that is running ({holder}); choose another "
                "with output=FOLDER"
            )
        if _is_there(folder / LOCK_FILE, file.fileno()):  # its last holder may have removed it
            file.truncate(0)
            with contextlib.suppress(OSError):  # on a full disk it is held without a text
                file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            return file


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether the open file still has its name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, folder: Path) -> bool:
    """Whether the file could be locked, which lasts until it is closed."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(descriptor, BEYOND_THE_TEXT, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        # Some file systems of clusters have no locks; that must not keep anyone from training.
        logger.warning(
            "%s cannot be locked (%s): see to it that no other training writes there.",
            folder,
            error.strerror,
        )
    return True
