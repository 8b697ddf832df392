"""A plot of polygons against distance: points with names, those that none beats joined."""

import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

BEST, BEATEN = "#c8102e", "0.4"

FEW_TICKS = 4
"""Times the least polygons up to which an axis is not logarithmic: its ticks lie far apart."""

GAP = 6.0
"""Between a point and its name, in typographic points."""

ROWS = 6
"""Lines above and below its point in which a name is tried."""


class Mark(NamedTuple):
    """A point: its name, its polygons and distance as shown, and its colour."""

    name: str
    place: tuple[float, float]
    colour: str


def pareto_plot(best: Sequence[Mark], beaten: Sequence[Mark], label: str, kind: str) -> bytes:
    """The file of a picture.

    Args:
        best: by number of polygons, each with less distance than the one before.
        beaten: the others.
        label: of the distance.
        kind: png, svg or pdf.

    Raises:
        ValueError: for a kind that there is not.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel="polygons", ylabel=label)
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    steps = _steps([mark.place for mark in best])
    axes.plot([x for x, _ in steps], [y for _, y in steps], color=BEST)
    marks = [*best, *beaten]
    for mark in marks:
        axes.plot(*mark.place, color=mark.colour, marker="o")
    polygons = [mark.place[0] for mark in marks]
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if max(polygons) > FEW_TICKS * min(polygons):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    canvas.draw()  # where things are is known from here on
    _write_names(axes, marks, steps)
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, dpi=150)
    return drawn.getvalue()


def _steps(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of a stair: level to the next place, then down to it."""
    corners = [corner for (x, y), (after, _) in pairwise(places) for corner in ((x, y), (after, y))]
    return [*corners, *places[-1:]]


def _write_names(
    axes: Any,
    marks: Sequence[Mark],
    steps: Sequence[tuple[float, float]],
) -> None:
    """Writes a name beside each point, where it covers the least of the others, points and steps.

    Args:
        axes: of matplotlib, drawn once, with their limits.
        marks: each has a name.
        steps: x and y of the corners of a line whose parts are level or upright.
    """
    import numpy as np

    unit = axes.figure.dpi / 72  # pixels in a typographic point
    inside = axes.get_window_extent().extents  # boxes are left, bottom, right, top in pixels
    points = [axes.transData.transform(mark.place) for mark in marks]
    corners = [axes.transData.transform(step) for step in steps]
    taken = [np.array([*(point - 4 * unit), *(point + 4 * unit)]) for point in points]
    for ends in pairwise(corners):
        taken.append(np.array([*(np.min(ends, axis=0) - unit), *(np.max(ends, axis=0) + unit)]))
    for mark, point in zip(marks, points, strict=True):
        text = axes.annotate(
            mark.name, mark.place, (0, 0), textcoords="offset points", size=8, va="center"
        )
        text.set(color=mark.colour, parse_math=False)
        width, height = text.get_window_extent().size
        found = []
        for place in _places(width / unit, height / unit):
            left, middle = point + unit * np.array(place)
            stands = np.array([left, middle - height / 2, left + width, middle + height / 2])
            outside = width * height - _shared(stands, inside)
            covered = outside + sum(_shared(stands, other) for other in taken)
            found.append((round(covered), place, stands))  # whole pixels: the first free place wins
        _, place, stands = min(found, key=lambda candidate: candidate[0])
        text.set_position(place)
        taken.append(stands)


def _places(width: float, height: float) -> Iterator[tuple[float, float]]:
    """Left middle of a name from its point, in typographic points; the nearest first."""
    for row in range(ROWS):
        for up in (-row * height, row * height) if row else (0.0,):
            yield GAP, up
            yield -GAP - width, up


def _shared(a: Any, b: Any) -> float:
    """The area that two boxes have in common."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0.0) * max(high, 0.0)
