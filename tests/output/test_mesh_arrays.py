import numpy as np

from shapeopt.output.mesh_arrays import mesh_arrays
from tests.output.meshes import cube


def test_normals_and_triangles():
    mesh = mesh_arrays(cube())
    assert mesh.is_closed
    centres = mesh.vertices[mesh.corners].reshape(6, 4, 3).mean(axis=1)
    np.testing.assert_allclose(mesh.normals(), centres)
    triangles, faces = mesh.triangles()
    assert faces.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert triangles[:2].tolist() == [[0, 1, 2], [0, 2, 3]]
    np.testing.assert_array_equal(mesh.corners[triangles], cube().triangles().numpy())
