"""NumPy's .npy and .npz; the name does not matter, the content does."""

import io
import zipfile
from pathlib import Path

import numpy as np

from shapeopt.data.formats.columns import from_columns
from shapeopt.data.formats.raw import RawCloud
from shapeopt.errors import InputError

LARGEST = 200  # times the size of the file that a packed array may have


def read_arrays(path: Path, columns: str | None = None) -> RawCloud:
    """A cloud: one array of rows, or the arrays `points` and, if there are any, `normals`.

    Args:
        columns: what the columns of the rows are, see `columns.py`.

    Raises:
        InputError: arrays of Python objects, which could run code, or of anything but numbers.
    """
    data = path.read_bytes()
    if not data.startswith(b"PK"):
        return from_columns(_array("the array", data), columns)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {Path(info.filename).stem: info for info in archive.infolist()}
            if "points" not in names:
                raise InputError(f"has no array `points`, only {sorted(names)}")
            parts = {
                name: _array(f"`{name}`", _unpacked(archive, names[name], len(data)))
                for name in ("points", "normals")
                if name in names
            }
    except InputError:
        raise
    except Exception as error:  # a damaged archive can fail in any way
        raise InputError(f"cannot be read, damaged or cut short? ({error})") from error
    return RawCloud(parts["points"], parts.get("normals"))


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, whole: int) -> bytes:
    if info.file_size > LARGEST * whole:
        raise InputError(f"{info.filename} would be {info.file_size} bytes unpacked; damaged?")
    return archive.read(info)


def _array(name: str, data: bytes) -> np.ndarray:
    """The content of a .npy file, of as many bytes as its header says."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_columns, dtype = read(file)
    except Exception as error:  # the header is a Python literal, which can fail in any way
        raise InputError(f"cannot be read, damaged or cut short? ({error})") from error
    if dtype.hasobject or not np.issubdtype(dtype, np.number) or dtype.kind == "c":
        raise InputError(f"{name} must hold real numbers, not {dtype}")
    count = int(np.prod([int(side) for side in shape], dtype=object))
    held = len(data) - file.tell()
    if count < 0 or count * dtype.itemsize != held:
        raise InputError(
            f"damaged or cut short: {name} needs {count * dtype.itemsize} bytes and has {held}"
        )
    flat = np.frombuffer(data, dtype, count, file.tell())
    return flat.reshape(shape, order="F" if by_columns else "C").astype(np.float64)
