"""A union of convex parts, each the meeting of half-spaces: a max-min network."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from shapeopt.errors import InputError
from shapeopt.mesh.safe_norm import unit

START_QUANTILE = 0.95
"""Fraction of a cluster that lies below each of its part's first planes: most, since the outermost
points of a cluster reach into corners between its neighbours."""


class ConvexUnion(nn.Module):
    """``f(x) = min over parts of max over planes (n . x - d)``: negative inside.

    Each part is convex, the shape their union, and f the signed distance near the middle of every
    face where the normals have length 1. While ``sharpness`` is finite, max and min are smooth:
    ``log sum exp(s v) / s``, so that planes which are not the largest learn, too.

    Args:
        parts: convex parts, K.
        planes: planes of each part, P.
        radius: of the ball that the parts share out at the start, in box lengths. See
            :meth:`start_from` for a start at a shape.
        seed: of the start.

    Attributes:
        planes: normals n, ``[K, P, 3]``, of about unit length.
        offsets: d, ``[K, P]``.
        sharpness: s; ``inf`` is the exact max and min.

    Raises:
        InputError: for fewer than 1 part or 4 planes, or a radius not in (0, 0.5).
    """

    input_dimension = 3

    def __init__(self, parts: int, planes: int, radius: float = 0.3, seed: int = 0):
        super().__init__()
        if parts < 1 or planes < 4:
            raise InputError(
                f"parts is {parts} and planes {planes}; there must be at least 1 part, and 4 "
                "planes to close one"
            )
        if not 0 < radius < 0.5:
            raise InputError(f"the ball's radius is {radius}; it must lie between 0 and 0.5")
        self.planes = nn.Parameter(torch.zeros(parts, planes, 3))
        self.offsets = nn.Parameter(torch.zeros(parts, planes))
        self.sharpness = math.inf
        generator = torch.Generator().manual_seed(seed)
        points = 2 * torch.rand(20 * parts + 8000, 3, generator=generator) - 1
        self.start_from(radius * points[points.norm(dim=1) < 1], seed)

    def forward(self, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 1"]:
        """f at points, ``[n, 1]``."""
        parts, planes, _ = self.planes.shape
        values = nn.functional.linear(x, self.planes.reshape(-1, 3), -self.offsets.reshape(-1))
        values = values.view(-1, parts, planes)
        if self.sharpness == math.inf:
            return values.amax(dim=2).amin(dim=1, keepdim=True)
        of_parts = _smooth_max(values, self.sharpness, 2)
        return -_smooth_max(-of_parts, self.sharpness, 1)[:, None]

    @torch.no_grad()
    def start_from(self, inside: Float[Tensor, "n 3"], seed: int = 0) -> None:
        """Places a part around each cluster of points of the inside (k-means).

        The planes of a part have directions spread over the sphere, each part's turned at random,
        and lie where most points of its cluster are below them.

        Args:
            inside: points drawn inside of the shape.
            seed: of the clustering and the turns.

        Raises:
            InputError: with fewer points than parts.
        """
        from scipy.cluster.vq import kmeans2
        from scipy.spatial.transform import Rotation

        parts, planes, _ = self.planes.shape
        if len(inside) < parts:
            raise InputError(
                f"{len(inside)} points inside cannot make {parts} parts; is the surface closed, "
                "and do its normals point out?"
            )
        points = inside.detach().double().cpu().numpy()
        rng = np.random.default_rng(seed)
        centres, label = kmeans2(points, parts, minit="++", rng=rng)
        sphere = _spread_directions(planes)
        turns = Rotation.random(parts, rng=rng)
        for part in range(parts):
            members = points[label == part] if (label == part).any() else centres[part][None]
            normals = turns[part].apply(sphere)
            heights = np.quantile((members - centres[part]) @ normals.T, START_QUANTILE, axis=0)
            # A cluster of a few points would have no inside.
            offsets = normals @ centres[part] + np.maximum(heights, 1e-3)
            self.planes[part] = torch.from_numpy(normals).to(self.planes)
            self.offsets[part] = torch.from_numpy(offsets).to(self.offsets)

    @property
    def is_plane(self) -> Bool[Tensor, "k p"]:
        """Which of the planes there are; the places of the others hold the constant -1."""
        return (self.planes.detach() != 0).any(dim=2)

    def unit_planes(self) -> tuple[Float[Tensor, "k p 3"], Float[Tensor, "k p"]]:
        """Normals of length 1 and offsets of the same planes, with graph.

        Where there is no plane the normal is 0 and the offset 1.
        """
        normals = unit(self.planes.reshape(-1, 3)).view_as(self.planes)
        length = torch.where(self.is_plane, self.planes.norm(dim=2), 1)
        return normals, self.offsets / length

    def keeping(self, planes: Bool[Tensor, "k p"]) -> "ConvexUnion":
        """A copy with some planes alone; parts without any are left out.

        f of the copy differs from that of the planes kept alone at most where that is below -1:
        deeper than any point of the box [-0.5, 0.5]^3.

        Raises:
            InputError: if no plane is kept.
        """
        kept = planes & self.is_plane
        if not bool(kept.any()):
            raise InputError("no plane would be left")
        kept_parts = torch.nonzero(kept.any(dim=1)).flatten()
        width = max(int(kept.sum(dim=1).max()), 4)
        copy = ConvexUnion(len(kept_parts), width).to(self.planes)
        with torch.no_grad():
            copy.planes.zero_()
            copy.offsets.fill_(1)
            for place, part in enumerate(kept_parts.tolist()):
                chosen = torch.nonzero(kept[part]).flatten()
                copy.planes[place, : len(chosen)] = self.planes[part, chosen]
                copy.offsets[place, : len(chosen)] = self.offsets[part, chosen]
        copy.sharpness = self.sharpness
        return copy


def _smooth_max(values: Float[Tensor, "..."], s: float, dim: int) -> Float[Tensor, "..."]:
    """``log sum exp(s v) / s``, in which terms below exp(-30) of the largest are constants.

    They change no digit in single precision. But products of them would be denormal numbers, which
    make a processor several times slower.
    """
    largest = values.detach().amax(dim=dim, keepdim=True)
    terms = (s * (values - largest)).clamp(min=-30).exp()
    return terms.sum(dim=dim).log() / s + largest.squeeze(dim)


def _spread_directions(count: int) -> Float[np.ndarray, "count 3"]:
    """Directions spread evenly over the sphere: the spiral of the golden angle."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * math.pi * (3 - math.sqrt(5))
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
