"""One training per folder: a lock of the operating system, which ends with its process."""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shapeopt.errors import InputError

LOCK_FILE = ".lock"
BEYOND_THE_TEXT = 2**30  # Windows locks bytes, and what is locked cannot be read
logger = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder; however the process ends, the folder is free again.

    Args:
        folder: that exists. Its lock file stays and says which process held it last.

    Raises:
        InputError: if another process, or another call in this one, holds it.
        OSError: if the folder cannot be written.
    """
    # Opened without being emptied: its text may be that of the holder.
    with (folder / LOCK_FILE).open("a+b", buffering=0) as file:
        if not _lock(file.fileno(), folder):
            file.seek(0)
            holder = file.read(300).decode(errors="replace") or "another process"
            raise InputError(
                f"{folder} is in use by a training that is running ({holder}); choose another "
                "with output=FOLDER"
            )
        file.truncate(0)
        with contextlib.suppress(OSError):  # on a full disk it is held without a text
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield


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
