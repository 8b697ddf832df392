"""What the columns of a cloud mean: as told, or where it can be seen."""

import logging

import numpy as np
from jaxtyping import Float

from shapeopt.data.formats.raw import RawCloud
from shapeopt.errors import InputError

logger = logging.getLogger(__name__)

LETTERS = "xyznrgb-"
HELP = (
    "Say what they are with data.columns, a letter for each: x, y, z, n (three, the normal), "
    "r, g, b, and - for what does not matter, as xyznnn, xyzrgb or xyz-"
)
NORMAL_LENGTH = 0.02  # that a normal may differ from 1, to be taken for one unasked
HEADINGS = {
    "x": "x", "y": "y", "z": "z",
    "nx": "n", "ny": "n", "nz": "n", "normalx": "n", "normaly": "n", "normalz": "n",
}  # fmt: skip


def from_columns(rows: np.ndarray, columns: str | None = None) -> RawCloud:
    """Points, and normals if there are any, from rows of numbers.

    Unasked, three columns are points. Of more, the first three are, if each other one is part of
    a triple of unit normals or of colours (whole numbers of 0 to 255), or a single number before
    or after such a triple.

    Args:
        rows: [n, k] of any numbers.
        columns: a letter for each column (see `HELP`); None: recognise them.

    Raises:
        InputError: what they are cannot be seen, or is not what was told.
    """
    if rows.ndim != 2 or rows.shape[1] < 3 or len(rows) == 0:
        raise InputError(
            f"must be rows of at least three numbers, as [n, 3] points or [n, 6] with normals, not "
            f"{list(rows.shape)}"
        )
    rows = rows.astype(np.float64)
    letters = _recognised(rows) if columns is None else _checked(columns, rows.shape[1])
    order = [letters.index(axis) for axis in "xyz"]
    normal = [i for i, letter in enumerate(letters) if letter == "n"]
    if columns is None and len(letters) > 3:
        logger.info("The %d columns are taken for %s.", len(letters), letters)
    return RawCloud(rows[:, order], rows[:, normal] if normal else None)


def from_headings(headings: list[str]) -> str | None:
    """The letters for a line of names, as `x,y,z,nx,ny,nz`; None if it does not name x, y, z."""
    names = [name.strip("\"' \t").lower().replace("_", "") for name in headings]
    letters = "".join(HEADINGS.get(name, "-") for name in names)
    if any(letters.count(axis) != 1 for axis in "xyz"):
        return None
    if letters.count("n") != 3:
        return letters.replace("n", "-")
    # Normals are taken in the order of their columns.
    axes = [name[-1] for name in names if HEADINGS.get(name) == "n"]
    return letters if axes == ["x", "y", "z"] else None


def _checked(columns: str, width: int) -> str:
    letters = columns.lower()
    if set(letters) - set(LETTERS) or any(letters.count(axis) != 1 for axis in "xyz"):
        raise InputError(f"data.columns={columns} does not say which columns are x, y, z. {HELP}")
    if letters.count("n") not in (0, 3):
        raise InputError(f"data.columns={columns} has {letters.count('n')} n; a normal has three")
    if len(letters) != width:
        raise InputError(f"data.columns={columns} is {len(letters)} letters, for {width} columns")
    return letters


def _recognised(rows: Float[np.ndarray, "n k"]) -> str:
    width = rows.shape[1]
    letters, at = "xyz", 3
    singles = 0
    while at < width:
        triple = rows[:, at : at + 3]
        if triple.shape[1] == 3 and _are_normals(triple) and "n" not in letters:
            letters, at = letters + "nnn", at + 3
        elif triple.shape[1] == 3 and _are_colours(triple) and "r" not in letters:
            letters, at = letters + "rgb", at + 3
        else:
            letters, at, singles = letters + "-", at + 1, singles + 1
    if singles > 1 or (singles == 1 and width == 4) or _is_counter(rows[:, 0], width):
        raise InputError(f"has {width} columns, and what they are cannot be seen. {HELP}")
    return letters


def _are_normals(triple: Float[np.ndarray, "n 3"]) -> bool:
    """All but a few of unit length: some programs leave 0 where they had none."""
    with np.errstate(all="ignore"):
        off = np.abs(np.linalg.norm(triple, axis=1) - 1) > NORMAL_LENGTH
    return bool(np.isfinite(triple).all() and off.mean() <= 0.05)


def _are_colours(triple: Float[np.ndarray, "n 3"]) -> bool:
    whole = triple == np.floor(triple)
    return bool((whole & (triple >= 0) & (triple <= 255)).all())


def _is_counter(column: Float[np.ndarray, " n"], width: int) -> bool:
    """1, 2, 3, ... in front of the coordinates."""
    return width > 3 and len(column) > 3 and bool((np.diff(column) == 1).all())
