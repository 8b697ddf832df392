"""How the surface moved in the shape phase: the exact surfaces of the weights that were kept."""

import copy

import numpy as np
import torch
from omegaconf import DictConfig

from shapeopt.errors import ExtractionError, InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.waiting import told
from shapeopt.training.config import build_extraction
from shapeopt.training.loop import Training

MOST_POLYGONS = 60_000
"""Of all these surfaces: some five megabytes in a report. Of large ones there are fewer."""


@torch.no_grad()
def surfaces_between(
    training: Training, config: DictConfig, polygons: int
) -> dict[int, PolygonMesh]:
    """Surfaces before the current step, in units of the input, by the training's own extractor.

    Args:
        training: finished or interrupted.
        config: of the experiment.
        polygons: of the current surface.

    Returns:
        Step of the training -> surface. One that cannot be extracted is left out: they are only
        to look at.
    """
    extract, network = build_extraction(config), copy.deepcopy(training.network)
    steps = [step for step in sorted(training.history) if step < training.step]
    most = min(len(steps), MOST_POLYGONS // max(polygons, 1))
    chosen = np.linspace(0, len(steps), most, endpoint=False) + len(steps) / max(2 * most, 1)
    found: dict[int, PolygonMesh] = {}
    with told("extracting the surfaces between the first and the last ..."):
        for step in (steps[int(place)] for place in chosen):
            network.load_state_dict(training.history[step])
            try:
                found[step] = training.cloud.normalisation.undo_mesh(extract(network))
            except (InputError, ExtractionError):
                continue
    return found
