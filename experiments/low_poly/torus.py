"""A torus from parts that share out a ball: pictures of the exact surface over the steps of a fit.

``python -m experiments.low_poly.torus`` writes torus.png.
"""

import math
import tempfile
from pathlib import Path

import torch
import trimesh

from shapeopt.data.loading import load
from shapeopt.extraction.halfspaces import HalfSpaces
from shapeopt.lowpoly.fit import FitSettings, fit
from shapeopt.lowpoly.result import without_cavities
from shapeopt.mesh.certificate import certify
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.networks import ConvexUnion
from shapeopt.output.viewing import render_png
from shapeopt.training.batches import BatchSource

SHOWN = (0, 50, 100, 200, 800)
STEPS = 800


def main() -> None:
    """Fits, and draws on the way."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "torus.ply"
        trimesh.creation.torus(1.0, 0.35).export(path)
        cloud = load(path, seed=0)
    network = ConvexUnion(12, 12, radius=0.3)
    panels: dict[str, PolygonMesh] = {}

    def draw(_: str, step: int, __: int) -> None:
        if step in SHOWN:
            with torch.no_grad():
                surface = without_cavities(HalfSpaces()(network))
            genus = [part.genus for part in certify(surface).components]
            panels[f"step {step}, genus {genus[0]}"] = surface
            print(step, surface.num_faces, genus, flush=True)

    fit(network, BatchSource(cloud, 50_000, 2048), FitSettings(steps=STEPS), draw)
    assert network.sharpness == math.inf
    draw("", STEPS, STEPS)
    render_png(panels, Path(__file__).parent / "torus.png", elevation=50, size=2.6, dpi=100)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
