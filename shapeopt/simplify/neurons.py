"""Removes neurons that do not fold the surface, and leaves the surface as it is."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from shapeopt.complex.box import Bounds
from shapeopt.complex.signs import unpack
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.extraction.extract import extract_surface
from shapeopt.mesh.ragged import owners_of
from shapeopt.networks.affine import AffineLayer, as_module, evaluate, without_graph
from shapeopt.networks.reading import affine_layers

TOLERANCE = 1e-12  # of f on the surface, in units of the largest term it is a sum of


@dataclass(frozen=True)
class Reduction:
    """A network with fewer neurons and the same surface.

    Attributes:
        network: in float64.
        widths_before, widths: neurons in each hidden layer.
        refused: neurons without a fold on the surface whose removal would change it elsewhere.
    """

    network: nn.Sequential
    widths_before: tuple[int, ...]
    widths: tuple[int, ...]
    refused: int


@torch.no_grad()
def remove_idle_neurons(network: nn.Module, bounds: Bounds = (-0.5, 0.5)) -> Reduction:
    """Removes the neurons that keep one sign on the whole surface of a network.

    A neuron that is off on all polygons is deleted. One that is on everywhere is linear there: k
    of them in one layer only pass on ``V (W x + b)``, a map of some rank r, so if r < k they are
    replaced by r neurons that are on in the whole box. Away from the surface f changes; there it
    could get new zeros. So the surface is extracted again, by subdivision, which misses nothing,
    and if it is not the same, the removals are tried one by one and those that change it refused.

    Args:
        network: as for :func:`shapeopt.extract_surface`, R^3 -> R.
        bounds: lower and upper corner of the box.

    Raises:
        InputError: as :func:`shapeopt.extract_surface`.
    """
    layers = [layer.map(Tensor.double) for layer in without_graph(affine_layers(network, 3))]
    before = extract_surface(as_module(layers), bounds)
    idle = idle_neurons(before)
    chosen: set[tuple[int, int]] = set(idle)
    reduced = _reduce(layers, idle, chosen, bounds)
    if not same_surface(before, layers, reduced, bounds):
        chosen = set()
        for neuron in idle:
            if same_surface(
                before, layers, _reduce(layers, idle, chosen | {neuron}, bounds), bounds
            ):
                chosen.add(neuron)
        reduced = _reduce(layers, idle, chosen, bounds)
    return Reduction(as_module(reduced), _widths(layers), _widths(reduced), len(idle) - len(chosen))


def idle_neurons(surface: PolyhedralSurface) -> dict[tuple[int, int], bool]:
    """Hidden neurons (layer, place) that keep one sign on all polygons; whether it is +."""
    signs = surface.signs
    idle = {}
    for layer, width in enumerate(signs.constraints.widths[:-1]):
        active = unpack(signs.face_plus_bits[:, signs.constraints.words(layer)], width)
        for place, (always, ever) in enumerate(
            zip(active.all(dim=0).tolist(), active.any(dim=0).tolist(), strict=True)
        ):
            if always or not ever:
                idle[layer, place] = always
    return idle


def same_surface(
    surface: PolyhedralSurface,
    layers: Sequence[AffineLayer],
    others: Sequence[AffineLayer],
    bounds: Bounds,
) -> bool:
    """Whether other layers have the surface of these: f to 1e-12, and the same vertices.

    Both f are evaluated at the corners and the middle of every polygon; between them both are
    affine there. The polygons of the others are counted, so that they have no further ones.
    """
    points = torch.cat([surface.vertices, _middles(surface)])
    scale = max(_largest_term(x, points) for x in (layers, others))
    if bool(((_values(layers, points) - _values(others, points)).abs() > TOLERANCE * scale).any()):
        return False
    again = extract_surface(as_module(others), bounds)
    counts = ("num_vertices", "num_edges", "num_faces", "euler_characteristic")
    return all(getattr(surface, name) == getattr(again, name) for name in counts)


def _reduce(
    layers: Sequence[AffineLayer],
    idle: dict[tuple[int, int], bool],
    chosen: Collection[tuple[int, int]],
    bounds: Bounds,
) -> list[AffineLayer]:
    """The layers without the chosen idle neurons."""
    layers = list(layers)
    weight = layers[0].weight
    lower, upper = (torch.as_tensor(x).to(weight).expand(weight.shape[1]) for x in bounds)
    for index in range(len(layers) - 1):
        width = len(layers[index].bias)
        neurons = [(index, place) for place in range(width)]
        places = torch.tensor([neuron in chosen for neuron in neurons], device=weight.device)
        on = torch.tensor([idle.get(neuron, False) for neuron in neurons], device=weight.device)
        layers[index : index + 2] = _reduce_pair(
            layers[index], layers[index + 1], places & ~on, places & on, (lower, upper)
        )
        lower, upper = (x.clamp(min=0) for x in _range(layers[index], lower, upper))
    return layers


def _reduce_pair(
    layer: AffineLayer,
    following: AffineLayer,
    off: Bool[Tensor, "w"],
    on: Bool[Tensor, "w"],
    inputs: tuple[Float[Tensor, "n"], Float[Tensor, "n"]],
) -> list[AffineLayer]:
    """A layer without its neurons that are off or, if that saves any, on; and the one after it."""
    through = following.weight[:, on] @ layer.weight[on]
    left, size, right = torch.linalg.svd(through, full_matrices=False)
    rank = int((size > 1e-14 * size.max()).sum()) if size.numel() else 0
    kept = ~off
    if rank >= int(on.sum()):
        return [
            AffineLayer(layer.weight[kept], layer.bias[kept]),
            AffineLayer(following.weight[:, kept], following.bias),
        ]
    kept &= ~on
    rows, columns = right[:rank], left[:, :rank] * size[:rank]
    # As much as it takes to keep these neurons on for all inputs.
    lowest, _ = _range(AffineLayer(rows, rows.new_zeros(rank)), *inputs)
    shift = 0.01 - lowest.clamp(max=0)
    constant = following.weight[:, on] @ layer.bias[on] - columns @ shift
    return [
        AffineLayer(torch.cat([layer.weight[kept], rows]), torch.cat([layer.bias[kept], shift])),
        AffineLayer(
            torch.cat([following.weight[:, kept], columns], dim=1), following.bias + constant
        ),
    ]


def _range(
    layer: AffineLayer, lower: Float[Tensor, "n"], upper: Float[Tensor, "n"]
) -> tuple[Float[Tensor, "w"], Float[Tensor, "w"]]:
    """Bounds of an affine map over a box."""
    middle, half = (lower + upper) / 2, (upper - lower) / 2
    center, radius = layer.weight @ middle + layer.bias, layer.weight.abs() @ half
    return center - radius, center + radius


def _values(layers: Sequence[AffineLayer], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
    return evaluate(layers, points)[:, 0]


def _largest_term(layers: Sequence[AffineLayer], points: Float[Tensor, "n 3"]) -> float:
    """Largest term of the sums that f is computed by: the size that rounding is relative to."""
    size = points.abs()
    for layer in layers[:-1]:
        size = points = layer.activated(layer.values(points))
    return float((size @ layers[-1].weight.abs().T + layers[-1].bias.abs()).max())


def _middles(surface: PolyhedralSurface) -> Float[Tensor, "f 3"]:
    sizes = surface.face_offsets.diff()
    faces = owners_of(surface.face_offsets)
    total = surface.vertices.new_zeros(surface.num_faces, 3)
    return total.index_add(0, faces, surface.vertices[surface.face_vertices]) / sizes[:, None]


def _widths(layers: Sequence[AffineLayer]) -> tuple[int, ...]:
    return tuple(len(layer.bias) for layer in layers[:-1])
