"""The bunny that ships with the project: a shape given by a formula.

Ellipsoids and capsules, blended. It stands on z = -0.43, looks along -y and is symmetric in x;
its longest side, from feet to ear tips, is 0.88.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def bunny_sdf(points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """The bunny's implicit function: negative inside, zero on the surface, positive outside.

    Args:
        points: positions in the bunny's own units (it fits the box [-0.5, 0.5]^3); any floating
            dtype, any device. Gradients flow.

    Returns:
        A value with the sign of the signed distance and nearly its size close to the surface
        (the gradient's length is 1 on a sphere, about 1 on an ellipsoid). For true distances
        see `shapeopt.data.ImplicitReference`.
    """
    # One half is written down, the mirror makes the other. |x| alone would leave a crease where
    # an ear or a foot meets its twin, so x is folded smoothly: the derivative at 0 is 0.
    x = points[:, 0]
    mirrored = torch.stack([torch.sqrt(x * x + 1e-4), points[:, 1], points[:, 2]], dim=1)

    body = _ellipsoid(points, center=(0.0, 0.06, -0.20), radii=(0.20, 0.245, 0.215))
    chest = _ellipsoid(points, center=(0.0, -0.09, -0.15), radii=(0.15, 0.135, 0.17))
    haunch = _ellipsoid(mirrored, center=(0.15, 0.10, -0.27), radii=(0.10, 0.155, 0.145))
    hind_foot = _capsule(mirrored, (0.17, 0.08, -0.37), (0.17, -0.11, -0.37), radius=0.055)
    fore_foot = _capsule(mirrored, (0.07, -0.13, -0.20), (0.07, -0.20, -0.37), radius=0.053)
    tail = _ellipsoid(points, center=(0.0, 0.315, -0.22), radii=(0.09, 0.09, 0.09))
    head = _ellipsoid(points, center=(0.0, -0.17, 0.09), radii=(0.15, 0.155, 0.14))
    cheek = _ellipsoid(mirrored, center=(0.065, -0.265, 0.04), radii=(0.08, 0.075, 0.068))
    nose = _ellipsoid(points, center=(0.0, -0.32, 0.085), radii=(0.035, 0.03, 0.028))
    ear = _ellipsoid(
        _tilted(mirrored, pivot=(0.065, -0.13, 0.18), outwards=0.22, backwards=0.30),
        center=(0.0, 0.0, 0.125),
        radii=(0.068, 0.05, 0.17),
    )

    shape = _blend(body, chest, width=0.10)
    shape = _blend(shape, haunch, width=0.06)
    shape = _blend(shape, fore_foot, width=0.05)
    shape = _blend(shape, hind_foot, width=0.04)
    shape = _blend(shape, tail, width=0.04)
    shape = _blend(shape, head, width=0.08)
    shape = _blend(shape, cheek, width=0.05)
    shape = _blend(shape, nose, width=0.025)
    return _blend(shape, ear, width=0.05)


def _ellipsoid(
    points: Float[Tensor, "n 3"],
    center: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> Float[Tensor, " n"]:
    """Exactly zero on the ellipsoid, first order right beside it (Inigo Quilez, "ellipsoids")."""
    offset = points - points.new_tensor(center)
    scaled = offset / points.new_tensor(radii)
    # The tiny term keeps the square roots differentiable at the centre.
    length = (scaled.square().sum(dim=1) + 1e-12).sqrt()
    slope = ((scaled / points.new_tensor(radii)).square().sum(dim=1) + 1e-12).sqrt()
    return length * (length - 1) / slope


def _capsule(
    points: Float[Tensor, "n 3"],
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    radius: float,
) -> Float[Tensor, " n"]:
    """Exact distance to a line segment, less the radius."""
    first = points.new_tensor(start)
    axis = points.new_tensor(end) - first
    along = ((points - first) @ axis / axis.square().sum()).clamp(0, 1)
    offset = points - first - along[:, None] * axis
    return (offset.square().sum(dim=1) + 1e-12).sqrt() - radius


def _blend(a: Float[Tensor, " n"], b: Float[Tensor, " n"], width: float) -> Float[Tensor, " n"]:
    """Union of two shapes, rounded where they are within `width` of each other.

    The cubic polynomial smooth minimum (Inigo Quilez, "smooth minimum"): twice continuously
    differentiable, and equal to min(a, b) away from the seam.
    """
    closeness = (width - (a - b).abs()).clamp(min=0) / width
    return torch.minimum(a, b) - closeness**3 * (width / 6)


def _tilted(
    points: Float[Tensor, "n 3"],
    pivot: tuple[float, float, float],
    outwards: float,
    backwards: float,
) -> Float[Tensor, "n 3"]:
    """Coordinates seen from an ear: origin at the pivot, z along the ear; angles in radians."""
    x, y, z = (points - points.new_tensor(pivot)).unbind(dim=1)
    angles = points.new_tensor([outwards, backwards])
    (sin_out, sin_back), (cos_out, cos_back) = angles.sin(), angles.cos()
    y, z = y * cos_back - z * sin_back, y * sin_back + z * cos_back
    x, z = x * cos_out - z * sin_out, x * sin_out + z * cos_out
    return torch.stack([x, y, z], dim=1)
