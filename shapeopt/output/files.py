"""Files that appear whole or not at all."""

import io
import os
import re
import secrets
from pathlib import Path

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.partial")


def write_whole(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write under a temporary name beside the target, then rename: never a half file.

    What is written is on the disk before it gets its name, so that not even a loss of power
    leaves half of it. A process that is killed leaves the temporary file, see `remove_leftovers`.

    Args:
        path: where to write; its folder is made if it is not there.
        data: the whole content.

    Returns:
        The path written.

    Raises:
        OSError: a full disk, a folder that is gone or closed to writing; names the target.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        # What failed was told of the temporary file, or of no file at all.
        raise OSError(error.errno, error.strerror, str(path)) from error
    return path


def append_whole(file: io.FileIO, data: bytes) -> None:
    """Write at the end of a file: all of it, or, if that fails, nothing.

    Args:
        file: opened to append, without a buffer.
        data: what to add.

    Raises:
        OSError: such as a full disk.
    """
    before, written = os.fstat(file.fileno()).st_size, 0
    try:
        while written < len(data):
            written += file.write(data[written:]) or 0
    except BaseException:
        file.truncate(before)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of `write_whole` that a killed process left right in a folder.

    Args:
        folder: that nobody else is writing to; nothing is done if it is not there.

    Raises:
        OSError: one of them cannot be removed.
    """
    if folder.is_dir():
        for path in folder.iterdir():
            if TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)
