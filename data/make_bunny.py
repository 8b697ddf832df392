"""Makes data/bunny.ply, the cloud that ships with the project.

    python data/make_bunny.py

takes a few seconds and writes 20,000 points, uniform in area, exactly on the zero set of
`shapeopt.data.bunny_sdf`, with its unit normals. The same seed gives the same file.
"""

from pathlib import Path

import numpy as np

from shapeopt.data.bunny import bunny_sdf
from shapeopt.data.implicit_sampling import sample_implicit, value_and_gradient

POINTS = 20_000
SEED = 0
HEADER = f"""ply
format binary_little_endian 1.0
comment shapeopt implicit shape: bunny
element vertex {POINTS}
property float x
property float y
property float z
property float nx
property float ny
property float nz
end_header
"""


def main() -> None:
    points = sample_implicit(bunny_sdf, POINTS, SEED)
    _, gradients = value_and_gradient(bunny_sdf, points)
    normals = gradients / gradients.norm(dim=1, keepdim=True)
    rows = np.hstack([points.numpy(), normals.numpy()]).astype("<f4")
    path = Path(__file__).with_name("bunny.ply")
    path.write_bytes(HEADER.encode() + rows.tobytes())
    print(f"{path}: {POINTS} points, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
