"""Text for any terminal: letters it does not know are replaced, so that printing never fails."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

# How the letters that shapeopt itself prints are spelt without them.
SPELLING = str.maketrans({"π": "pi", "²": "^2", "³": "^3"})


def printable(text: str, stream: Any = None) -> str:
    """The text in letters that a stream can show, spelt otherwise or as "?" where it cannot.

    Args:
        text: any.
        stream: text stream that it is to go to; the standard output if None.
    """
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(SPELLING).encode(encoding, "replace").decode(encoding)
    return text


def show(text: str, stream: Any = None) -> None:
    """Print a line as well as the terminal can, see `printable`; use it in place of `print`.

    Args:
        text: any.
        stream: text stream to print to; the standard output if None.
    """
    print(printable(text, stream), file=stream)


def show_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows of text in columns, the first to the left and the others to the right.

    Args:
        rows: at least one, each heading -> text, all with the same headings.
    """
    lines = [[printable(text) for text in line] for line in (rows[0], *(r.values() for r in rows))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *values in lines:
        cells = [value.rjust(width) for value, width in zip(values, widths[1:], strict=True)]
        show("  ".join([name.ljust(widths[0]), *cells]))
