"""Clouds as lines of numbers: .xyz, .txt, .csv, .pts, .asc."""

import re
from pathlib import Path

import numpy as np

from shapeopt.data.formats.columns import from_columns, from_headings
from shapeopt.data.formats.raw import RawCloud
from shapeopt.errors import InputError

COMMENTS = ("#", "//", "%")
BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+([eE][-+]?\d+)?")


def read_text(path: Path, columns: str | None = None) -> RawCloud:
    """A cloud of lines `x y z`, with more columns or without.

    Between numbers there are blanks, tabs, commas or semicolons; with blanks or semicolons between
    them, numbers may have decimal commas. A first line may name the columns or, as in .pts, say
    how many rows follow. Comments begin with # or //; one that names the columns counts.

    Args:
        columns: what the columns are, see `columns.py`; None: as headings say, or as can be seen.

    Raises:
        InputError: no numbers, not as many in each row, or what they are cannot be seen.
    """
    data = path.read_bytes()
    encoding = next((BYTE_ORDER_MARKS[m] for m in BYTE_ORDER_MARKS if data.startswith(m)), "utf-8")
    lines = [
        s for line in data.decode(encoding, errors="replace").splitlines() if (s := line.strip())
    ]
    comments = [line for line in lines if line.startswith(COMMENTS)]
    lines = [line for line in lines if not line.startswith(COMMENTS)]
    if not lines:
        raise InputError("must be lines of numbers, and holds none")
    headings = None
    for comment in comments:
        headings = headings or from_headings(_split(comment.lstrip("#/% ")))
    if not _is_row(lines[0]):
        headings, lines = from_headings(_split(lines[0])), lines[1:]
    elif len(lines) > 1 and len(_split(lines[0])) == 1 and len(_split(lines[1])) > 1:
        lines = _counted(lines)
    rows = _numbers(lines)
    if headings is not None and len(headings) != rows.shape[1]:
        headings = None
    return from_columns(rows, columns or headings)


def _split(line: str) -> list[str]:
    return re.split(r"[\s,;]+", line.strip(" \t,;"))


def _is_row(line: str) -> bool:
    """Whether any word is a number: of a row with one broken number, too."""
    for word in _split(line):
        try:
            float(word)
        except ValueError:
            continue
        return True
    return False


def _counted(lines: list[str]) -> list[str]:
    """Without the first line, which says how many there are."""
    count, rows = lines[0], lines[1:]
    if not count.isascii() or not count.isdigit() or int(count) != len(rows):
        raise InputError(
            f"damaged or cut short: the first line says {count[:20]} rows, {len(rows)} are there"
        )
    return rows


def _numbers(lines: list[str]) -> np.ndarray:
    if not lines:
        raise InputError("not numbers in lines `x y z`: it has a line of words alone")
    delimiter = _delimiter(lines[0])
    if delimiter != "," and any(map(DECIMAL_COMMA.fullmatch, _fields(lines[0], delimiter))):
        lines = [line.replace(",", ".") for line in lines]
    if delimiter is not None and all(line.endswith(delimiter) for line in lines):
        lines = [line[:-1] for line in lines]
    try:
        return np.loadtxt(lines, ndmin=2, dtype=np.float64, comments=None, delimiter=delimiter)
    except ValueError as error:
        raise InputError(
            f"not numbers, or not as many in each line, cut short? ({error})"
        ) from error


def _fields(line: str, delimiter: str | None) -> list[str]:
    return [field.strip() for field in line.split(delimiter)]


def _delimiter(line: str) -> str | None:
    """Semicolon, comma or, as None, blanks."""
    if ";" in line:
        return ";"
    fields = line.split()
    if "," in line and not (len(fields) >= 3 and all("," in f.strip(",") for f in fields)):
        return ","
    return None
