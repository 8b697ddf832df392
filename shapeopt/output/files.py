"""Files that appear whole or not at all."""

import os
import secrets
from pathlib import Path


def write_whole(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write under a temporary name beside the target, then rename: never a half file.

    Args:
        path: where to write; its folder is made if it is not there.
        data: the whole content.

    Returns:
        The path written.

    Raises:
        OSError: a full disk, a folder that is gone or closed to writing; names the target.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        # What failed was told of the temporary file, or of no file at all.
        raise OSError(error.errno, error.strerror, str(path)) from error
    return path
