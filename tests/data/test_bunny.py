import torch

from shapeopt.data import bunny_sdf


def test_inside_is_negative_and_the_box_boundary_is_outside():
    inside = torch.tensor([[0.0, 0.06, -0.2], [0.0, -0.17, 0.09], [0.165, 0.0, -0.37]])
    assert (bunny_sdf(inside) < 0).all()
    face = torch.cartesian_prod(torch.linspace(-0.5, 0.5, 30), torch.linspace(-0.5, 0.5, 30))
    for axis in range(3):
        for side in (-0.5, 0.5):
            points = torch.cat([face[:, :axis], torch.full((900, 1), side), face[:, axis:]], dim=1)
            assert (bunny_sdf(points) > 0).all()


def test_symmetric_in_x():
    points = torch.rand(100, 3) - 0.5
    torch.testing.assert_close(bunny_sdf(points), bunny_sdf(points * torch.tensor([-1.0, 1, 1])))


def test_one_piece_on_a_grid():
    from scipy.ndimage import label

    axis = torch.linspace(-0.5, 0.5, 64)
    inside = (bunny_sdf(torch.cartesian_prod(axis, axis, axis)) < 0).reshape(64, 64, 64).numpy()
    assert label(inside)[1] == 1
    assert label(~inside)[1] == 1  # no cavity either
    assert euler_characteristic(inside) == 1  # nor a handle


def euler_characteristic(voxels) -> int:
    """Of the solid made of closed cubes: vertices - edges + squares - cubes."""
    import numpy as np

    total = 0
    for directions in np.ndindex(2, 2, 2):
        # A cell is there if one of the cubes around it is.
        cells = np.pad(voxels, 1)
        for axis, shrinks in enumerate(directions):
            if shrinks:
                low = np.take(cells, range(cells.shape[axis] - 1), axis)
                cells = low | np.take(cells, range(1, cells.shape[axis]), axis)
        total += (-1) ** (3 - sum(directions)) * int(cells.sum())
    return total


def test_gradients_are_finite_everywhere_also_at_centres():
    points = torch.tensor([[0.0, 0.06, -0.2], [0.0, 0.315, -0.22]], requires_grad=True)
    bunny_sdf(points).sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
