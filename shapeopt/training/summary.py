"""What a training came to in numbers: the table of its surfaces, and its curves in the same units.

Lengths are fractions of the longest side of the data's box ("side"), so that shapes can be
compared.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.data import CloudReference, PointCloud, Reference
from shapeopt.errors import InputError
from shapeopt.evaluation.measures import evaluate
from shapeopt.losses import GeometryLoss
from shapeopt.output.polygon_values import Distance
from shapeopt.training.loop import Training
from shapeopt.training.surface_scalars import surface_scalars


class Quantity(NamedTuple):
    """How a number of a surface is shown: times ``factor``, over ``side**power``."""

    label: str
    form: str
    factor: float = 1.0
    power: int = 0


DISTANCES = {
    "distance": Quantity("distance to truth, mean (1e-3 side)", ".2f", 1e3, 1),
    "hausdorff": Quantity("distance to truth, largest (1e-3 side)", ".1f", 1e3, 1),
}
SURFACE = {
    "surface/polygons": Quantity("polygons", ",.0f"),
    "surface/expected_polygons": Quantity("polygons expected (L²/πA)", ",.0f"),
    "surface/edge_length_total": Quantity("edge length, total (side)", ".1f", 1, 1),
    "surface/edge_length_mean": Quantity("edge length, mean (1e-3 side)", ".1f", 1e3, 1),
    "surface/bending_mean_degrees": Quantity("bending at edges, mean (degrees)", ".2f"),
    "surface/area": Quantity("area (side²)", ".4g", 1, 2),
}


def measured(surface: PolyhedralSurface, cloud: PointCloud, samples: int) -> dict[str, float]:
    """The numbers of a surface, by the names of `SURFACE` and `DISTANCES`; lengths in sides.

    Args:
        surface: in the training's box.
        cloud: of the training.
        samples: points per surface that the distance to the truth is measured with; 0 for not
            measuring it, which takes longest.
    """
    numbers = surface_scalars(surface)
    if samples:
        numbers |= evaluate(surface, _reference(cloud), samples)
    side = longest_side(cloud)
    return {
        name: numbers[name] / side**quantity.power
        for name, quantity in (SURFACE | DISTANCES).items()
        if name in numbers
    }


def summary_table(
    training: Training,
    surfaces: Mapping[str, PolyhedralSurface],
    numbers: Mapping[str, Mapping[str, float]],
) -> list[dict[str, str]]:
    """Measures of each surface, then of the training, as text under the headings.

    Args:
        training: finished or interrupted.
        surfaces: "after", and "before" if there was a shape phase; in the training's box.
        numbers: of each, see `measured`.
    """
    columns = {
        label: _measures(surface, numbers[label])
        | {f"loss {n}": _value(f, surface) for n, f in training.geometry_losses.items()}
        | _costs(training, label)
        for label, surface in surfaces.items()
    }
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [
        {"": name} | {label: column.get(name, "") for label, column in columns.items()}
        for name in names
    ]


def curves_as_shown(rows: Sequence[Mapping[str, Any]], cloud: PointCloud) -> list[dict[str, Any]]:
    """Rows of a metrics file with the names and units of the table."""
    side = longest_side(cloud)

    def shown(name: str, value: float | None) -> tuple[str, float | None]:
        if name not in SURFACE:
            return name, value
        quantity = SURFACE[name]
        scale = quantity.factor / side**quantity.power
        return f"surface/{quantity.label}", None if value is None else value * scale

    return [dict(shown(name, value) for name, value in row.items()) for row in rows]


def units_note(cloud: PointCloud) -> str:
    """What the units in the table and the curves are."""
    return (
        'The "side" in units is the longest side of the data\'s box; losses are measured in the '
        f"box of the training, where it is {longest_side(cloud):.3g} long."
    )


def longest_side(cloud: PointCloud) -> float:
    """The longest side of a cloud's box, in its own units."""
    return float((cloud.points.amax(dim=0) - cloud.points.amin(dim=0)).max())


def _measures(surface: PolyhedralSurface, numbers: Mapping[str, float]) -> dict[str, str]:
    texts = {
        quantity.label: format(numbers[name] * quantity.factor, quantity.form)
        if name in numbers
        else "not measured"
        for name, quantity in (SURFACE | DISTANCES).items()
    }
    return texts | {
        "V - E + F": f"{surface.euler_characteristic}",
        "closed": "yes" if surface.is_closed else "no",
    }


def _value(loss: GeometryLoss, surface: PolyhedralSurface) -> str:
    try:
        return f"{float(loss(surface)):.4g}"
    except InputError:  # such as that of a solid, where the surface is open
        return "not defined"


def distance_in_file(cloud: PointCloud) -> Distance:
    """How far points are from what is true, all in units of the file."""
    reference, units = _reference(cloud), cloud.normalisation

    def distance(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        return reference.distance(units.apply(torch.from_numpy(points)).numpy()) / units.scale

    return distance


def _reference(cloud: PointCloud) -> Reference:
    """What a cloud was drawn from; or the cloud itself."""
    if cloud.reference is not None:
        return cloud.reference
    return CloudReference(cloud.points.double().numpy(), cloud.normals.double().numpy())


def _costs(training: Training, label: str) -> dict[str, str]:
    """What it took to get to the surface *before* (the fit phase) and *after* (the shape phase)."""
    if label == "before" or training.fitted is None:
        phase, steps = "fit", min(training.step, training.fit.steps)
    else:
        phase, steps = "shape", training.step - training.fit.steps
    seconds = training.seconds[phase]
    costs = {
        "phase": phase,
        "steps": f"{steps:,}",
        "time (seconds)": f"{seconds:,.1f}",
        "time per step (seconds)": f"{seconds / max(steps, 1):.2g}",
    }
    if phase == "shape":
        costs |= {
            "of which extraction": f"{training.seconds['extraction'] / max(seconds, 1e-9):.0%}",
            **_compiling(training),
            "peak memory (MiB)": f"{peak_memory() / 2**20:,.0f}",
        }
    return costs


def _compiling(training: Training) -> dict[str, str]:
    """Once on a machine, and so no part of what a step takes."""
    seconds = training.seconds["compiling"]
    return {"compiling, besides (seconds)": f"{seconds:,.1f}"} if seconds >= 0.05 else {}


def peak_memory() -> int:
    """Most bytes held so far: of the GPU if one is used, else of the process; 0 if unknown."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
