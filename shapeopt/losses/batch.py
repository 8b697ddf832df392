"""One step's points, and the network on them, evaluated at most once for all losses."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """Points on the cloud and in space, in the normalised box.

    Attributes:
        network: maps ``[n, 3]`` to ``[n, 1]``.
        cloud_points, cloud_normals: points of the cloud and their unit outward normals.
        space_points: points in the box, denser near the cloud.
        space_distances: their pseudo signed distance to the cloud, negative inside.
    """

    network: nn.Module
    cloud_points: Float[Tensor, "c 3"]
    cloud_normals: Float[Tensor, "c 3"]
    space_points: Float[Tensor, "s 3"]
    space_distances: Float[Tensor, "s"]

    @cached_property
    def space_values(self) -> Float[Tensor, "s"]:
        """f at the space points."""
        return self.network(self.space_points).squeeze(1)

    @cached_property
    def cloud_values(self) -> Float[Tensor, "c"]:
        """f at the cloud points."""
        return self._on_cloud[0]

    @cached_property
    def cloud_gradients(self) -> Float[Tensor, "c 3"]:
        """Gradient of f at the cloud points, itself differentiable."""
        return _gradient(*self._on_cloud)

    @cached_property
    def space_gradients(self) -> Float[Tensor, "s 3"]:
        """Gradient of f at the space points, itself differentiable."""
        points = self.space_points.detach().requires_grad_()
        return _gradient(self.network(points).squeeze(1), points)

    @cached_property
    def _on_cloud(self) -> tuple[Tensor, Tensor]:
        points = self.cloud_points.detach().requires_grad_()
        return self.network(points).squeeze(1), points


def _gradient(values: Float[Tensor, "n"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    (gradient,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    return gradient
