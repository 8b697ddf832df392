"""The points of every training step, drawn from a pool that is made once."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shapeopt.data.cloud import PointCloud
from shapeopt.data.pseudo_distance import sample_training_points
from shapeopt.errors import InputError
from shapeopt.losses.batch import Batch


class BatchSource:
    """Draws batches from the cloud and from a pool of points around it.

    The batch of a step depends on the seed and the step alone, so a resumed training sees the
    same points.

    Args:
        cloud: the normalised cloud.
        pool_size: points in space whose distance to the cloud is computed once, at the start.
        batch_size: points in space per step, and points of the cloud per step.
        near_std: standard deviations of the points near the cloud, half of them each, in box
            lengths.
        uniform_fraction: fraction of the pool that is uniform in the box.
        seed: of the pool and the batches.
        device: of the batches.

    Raises:
        InputError: for sizes below 1, and for a spread or a fraction out of its range.
    """

    def __init__(
        self,
        cloud: PointCloud,
        pool_size: int = 500_000,
        batch_size: int = 4096,
        near_std: Sequence[float] = (0.01, 0.05),
        uniform_fraction: float = 0.2,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ):
        if pool_size < 1 or batch_size < 1:
            raise InputError(
                f"pool_size {pool_size} and batch_size {batch_size} must be at least 1"
            )
        if len(near_std) != 2:
            raise InputError(f"near_std is {list(near_std)}; it must be two lengths")
        points, distances = sample_training_points(
            cloud, pool_size, seed, (near_std[0], near_std[1]), uniform_fraction
        )
        self.batch_size = batch_size
        self.seed = seed
        self.points: Float[Tensor, "p 3"] = points.to(device)
        self.distances: Float[Tensor, " p"] = distances.to(device)
        self.cloud_points = cloud.points.to(device)
        self.cloud_normals = cloud.normals.to(device)

    def batch(self, network: nn.Module, step: int) -> Batch:
        """The batch of the given step."""
        # The generator takes 32 bits of its seed: a large odd factor keeps equal steps of
        # different seeds apart.
        generator = torch.Generator().manual_seed((self.seed * 0x9E3779B1 + step) % 2**32)
        space = self._draw(len(self.points), generator)
        cloud = self._draw(len(self.cloud_points), generator)
        return Batch(
            network,
            # Several times as fast as indexing.
            self.cloud_points.index_select(0, cloud),
            self.cloud_normals.index_select(0, cloud),
            self.points.index_select(0, space),
            self.distances.index_select(0, space),
        )

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(count, (self.batch_size,), generator=generator)
        return index.to(self.points.device)
