"""Where the classes of a classifier meet: facets between regions of different labels."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from shapeopt.complex.cells import Cells, cell_vertices, collect_cells, incidence, region_maps
from shapeopt.complex.skeleton import Skeleton
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.mesh.polygons import order_corners, reversed_corners, vector_areas
from shapeopt.mesh.ragged import owners_of, positions_of
from shapeopt.networks.affine import AffineLayer


@dataclass(frozen=True)
class Interfaces:
    """The decision boundaries of a classifier: segments in 2D, flat convex polygons in 3D.

    They meet without gaps, along edges where three classes and more come together.

    Attributes:
        vertices: positions, with gradient as those of the complex.
        offsets, corners: facet i has the corners ``corners[offsets[i]:offsets[i + 1]]``; polygons
            run counter-clockwise seen from the second class.
        labels: the two classes of each facet, the smaller one first.
    """

    vertices: Float[Tensor, "v d"]
    offsets: Int64[Tensor, "f_plus_1"]
    corners: Int64[Tensor, "m"]
    labels: Int64[Tensor, "f 2"]

    def around(self, label: int) -> PolygonMesh:
        """In 3D, the polygons between a class and all others, seen from outside of it.

        Closed but where the class reaches the box.
        """
        is_second = self.labels[:, 1] == label
        chosen = torch.nonzero((self.labels[:, 0] == label) | is_second).flatten()
        offsets, places = positions_of(self.offsets, chosen)
        corners = self.corners[places]
        turned = reversed_corners(corners, offsets)
        inward = is_second[chosen].repeat_interleave(offsets.diff())
        corners = torch.where(inward, turned, corners)
        used, place = torch.unique(corners, return_inverse=True)
        polygons = [part.tolist() for part in place.split(offsets.diff().tolist())]
        return PolygonMesh.from_polygons(self.vertices[used], polygons)


def region_labels(
    skeleton: Skeleton, layers: list[AffineLayer], vertices: Float[Tensor, "v d"], regions: Cells
) -> Int64[Tensor, "r"]:
    """The class with the largest score in each region, by its middle."""
    offsets, corner = cell_vertices(regions, skeleton)
    total = vertices.new_zeros(len(regions), vertices.shape[1]).detach()
    total.index_add_(0, owners_of(offsets), vertices.detach()[corner])
    middle = (total / offsets.diff()[:, None]).double()
    exact = [layer.map(lambda part: part.detach().double()) for layer in layers]
    weight, bias = region_maps(exact, skeleton.constraints, regions.plus_bits)
    return ((weight @ middle[:, :, None]).squeeze(2) + bias).argmax(dim=1)


def interfaces(
    skeleton: Skeleton, layers: list[AffineLayer], vertices: Float[Tensor, "v d"]
) -> Interfaces:
    """The facets between regions of different classes; see :class:`Interfaces`."""
    dimension = skeleton.constraints.dimension
    labels = region_labels(skeleton, layers, vertices, collect_cells(skeleton, dimension))
    facet, region = incidence(skeleton, dimension - 1).unbind(1)
    facet, order = torch.sort(facet, stable=True)
    label = labels[region[order]]
    first = torch.nonzero(facet[1:] == facet[:-1]).flatten()
    one, two = label[first], label[first + 1]
    between = torch.nonzero(one != two).flatten()
    chosen = facet[first[between]]
    pair = torch.stack([one, two], dim=1)[between].sort(dim=1).values
    if dimension == 2:
        corners = skeleton.edges[chosen].long().flatten()
        offsets = torch.arange(len(chosen) + 1, device=corners.device) * 2
    else:
        cells = collect_cells(skeleton, 2).select(chosen)
        offsets = cells.edge_offsets
        corners = order_corners(skeleton.edges[cells.edges].long(), offsets)
        corners = _seen_from_second(skeleton, layers, vertices, cells, pair, corners)
    used, place = torch.unique(corners, return_inverse=True)
    return Interfaces(vertices[used], offsets, place, pair)


def _seen_from_second(
    skeleton: Skeleton,
    layers: list[AffineLayer],
    vertices: Float[Tensor, "v d"],
    cells: Cells,
    labels: Int64[Tensor, "f 2"],
    corners: Int64[Tensor, "m"],
) -> Int64[Tensor, "m"]:
    """The corners counter-clockwise for who looks from where the second score is larger."""
    exact = [layer.map(lambda part: part.detach().double()) for layer in layers]
    weight, _ = region_maps(exact, skeleton.constraints, cells.plus_bits)
    place = labels[:, :, None].expand(-1, -1, weight.shape[2])
    first, second = weight.gather(1, place).unbind(1)
    areas = vector_areas(vertices.detach().double(), corners, cells.edge_offsets)
    is_wrong = (areas * (second - first)).sum(dim=1) < 0
    turned = reversed_corners(corners, cells.edge_offsets)
    return torch.where(is_wrong.repeat_interleave(cells.edge_offsets.diff()), turned, corners)
