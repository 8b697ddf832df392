"""The whole complex of a network: every cell, of every dimension."""

from dataclasses import dataclass

from jaxtyping import Float, Int, Int8, Int64
from torch import Tensor

from shapeopt.complex.cells import (
    Cells,
    cell_vertices,
    collect_cells,
    count_cells,
    incidence,
    region_maps,
)
from shapeopt.complex.interfaces import Interfaces, interfaces, region_labels
from shapeopt.complex.signs import sign_vectors
from shapeopt.complex.skeleton import Skeleton
from shapeopt.errors import InputError
from shapeopt.networks.affine import AffineLayer


@dataclass(frozen=True)
class PolyhedralComplex:
    """All cells of a ReLU network in a box: the pieces on which every neuron keeps its sign.

    Attributes:
        vertices: positions, with gradient unless extracted under ``torch.no_grad()``.
        skeleton: vertices and edges with their sign-vectors, packed.
        layers: the affine layers of the network.
    """

    vertices: Float[Tensor, "v d"]
    skeleton: Skeleton
    layers: list[AffineLayer]

    @property
    def edges(self) -> Int64[Tensor, "e 2"]:
        """The two end vertices of each edge."""
        return self.skeleton.edges.long()

    @property
    def num_cells(self) -> tuple[int, ...]:
        """Number of cells of dimension 0 (vertices), 1 (edges), ... d (regions)."""
        d = self.skeleton.constraints.dimension
        return tuple(count_cells(self.skeleton, k) for k in range(d + 1))

    def cells(self, dimension: int) -> Cells:
        """The cells of the given dimension, at least 1, with the edges around each."""
        return collect_cells(self.skeleton, dimension)

    def sign_vectors(self, cells: Cells) -> Int8[Tensor, "n all_constraints"]:
        """Sign-vectors of cells, int8 of -1, 0, +1: neurons first, then the box planes."""
        return sign_vectors(cells.plus_bits, cells.zeros, self.skeleton.constraints)

    def cell_vertices(self, cells: Cells) -> tuple[Int64[Tensor, "n_plus_1"], Int64[Tensor, "m"]]:
        """Offsets and indices of the vertices of each cell, as ``Cells.edges`` has its edges."""
        return cell_vertices(cells, self.skeleton)

    def incidence(self, dimension: int) -> Int64[Tensor, "m 2"]:
        """All pairs (i, j) where k-cell i lies in (k + 1)-cell j, for k the given dimension.

        The numbers are places in ``vertices``, ``edges`` or ``cells(k)``; sorted by j.
        """
        return incidence(self.skeleton, dimension)

    def region_maps(
        self, regions: Cells | None = None
    ) -> tuple[Float[Tensor, "r out d"], Float[Tensor, "r out"]]:
        """The affine map ``weights @ x + bias`` that the network is in each region.

        ``regions`` are ``cells(d)`` if None. They carry the gradient to the network's parameters.
        """
        regions = self.cells(self.skeleton.constraints.dimension) if regions is None else regions
        return region_maps(self.layers, self.skeleton.constraints, regions.plus_bits)

    def region_labels(self, regions: Cells | None = None) -> Int64[Tensor, "r"]:
        """The output that is largest in each region, for a complex with ``boundaries=True``."""
        regions = self.cells(self.skeleton.constraints.dimension) if regions is None else regions
        return region_labels(self.skeleton, self.layers, self.vertices, regions)

    def interfaces(self) -> Interfaces:
        """The facets between regions of different labels, for one with ``boundaries=True``.

        Raises:
            InputError: in other dimensions than 2 and 3.
        """
        dimension = self.skeleton.constraints.dimension
        if dimension not in (2, 3):
            raise InputError(f"interfaces are drawn in 2 and 3 dimensions, not in {dimension}")
        return interfaces(self.skeleton, self.layers, self.vertices)

    def vertex_sign_vectors(self) -> Int[Tensor, "v constraints"]:
        """Sign-vectors of the vertices, int8 of -1, 0, +1: neurons first, then the box planes."""
        skeleton = self.skeleton
        return sign_vectors(skeleton.vertex_plus_bits, skeleton.vertex_zeros, skeleton.constraints)
