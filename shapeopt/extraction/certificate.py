"""What can be proven of an extracted surface."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shapeopt.complex.differentiate import affine_gradients
from shapeopt.complex.surface import PolyhedralSurface
from shapeopt.extraction.extractor import Extractor
from shapeopt.mesh.certificate import Certificate, Finding, certify
from shapeopt.mesh.ragged import owners_of
from shapeopt.networks.affine import AffineLayer, evaluate
from shapeopt.networks.reading import affine_layers


@dataclass(frozen=True)
class SurfaceCertificate:
    """A mesh's certificate, with what is known of its surface.

    Attributes:
        mesh: what was checked of the mesh.
        largest_error: of a vertex, to first order its distance to f = 0, in units of the vertices.
        method: the extractor's name.
        complete: whether the extractor misses no component.
    """

    mesh: Certificate
    largest_error: float
    method: str
    complete: bool

    def as_dict(self, unit: float = 1.0) -> dict[str, Any]:
        """For JSON; ``unit`` is the length of one unit of the vertices in those of the file."""
        return self.mesh.as_dict(unit) | {
            "largest_error": self.largest_error * unit,
            "method": self.method,
            "complete": self.complete,
        }

    def findings(self, unit: float = 1.0) -> list[Finding]:
        """For people; ``unit`` as in :meth:`as_dict`."""
        by = "complete" if self.complete else "components without a seed may be missing"
        return [
            *self.mesh.findings(),
            Finding(f"vertices within {self.largest_error * unit:.1e} of f = 0", True),
            Finding(f"{self.method}, {by}", self.complete),
        ]

    def summary(self, unit: float = 1.0) -> str:
        """One line for people; ``unit`` as in :meth:`as_dict`."""
        own = self.findings(unit)[len(self.mesh.findings()) :]
        return "; ".join([self.mesh.summary(), *(finding.text for finding in own)])


@torch.no_grad()
def certify_surface(
    network: nn.Module, surface: PolyhedralSurface, extractor: Extractor
) -> SurfaceCertificate:
    """Checks a surface in 3D that the extractor made of the network.

    Raises:
        InputError: for a polyline, and as :func:`shapeopt.extract_surface`.
    """
    layers = [layer.map(Tensor.double) for layer in affine_layers(network, 3)]
    return SurfaceCertificate(
        certify(surface),
        _largest_error(layers, surface),
        type(extractor).__name__,
        extractor.is_complete,
    )


def _largest_error(layers: list[AffineLayer], surface: PolyhedralSurface) -> float:
    """Over the corners of all polygons of f = 0: |f| by the length of the polygon's gradient."""
    values = evaluate(layers, surface.vertices.double())[:, 0].abs()
    signs = surface.signs
    slope = affine_gradients(layers, signs.constraints, signs.face_plus_bits).norm(dim=1)
    owner, corner = owners_of(surface.face_offsets), surface.face_vertices
    on_zero = (signs.vertex_zeros[corner] == signs.constraints.output).any(dim=1)
    errors = (values[corner] / slope[owner])[on_zero]
    # A cap may lie where f is constant.
    return float(errors[torch.isfinite(errors)].amax()) if len(errors) else 0.0
