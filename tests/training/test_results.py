"""What a training leaves: surfaces that miss nothing, and what was checked of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from shapeopt import ExtractionError, Subdivision
from shapeopt.data import Normalisation, PointCloud
from shapeopt.losses import Distance
from shapeopt.output.run_log import RunLog
from shapeopt.training.batches import BatchSource
from shapeopt.training.loop import Training
from shapeopt.training.phases import Phase
from shapeopt.training.results import write_results

ROOT = Path(__file__).resolve().parents[2]


def two_bodies() -> nn.Sequential:
    """The smaller of |x - a| - 0.2 and |x - b| - 0.003, with |x| = |x1| + |x2| + |x3|."""
    network = nn.Sequential(
        nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 2), nn.ReLU(), nn.Linear(2, 1)
    )
    ways = torch.cat([torch.eye(3), -torch.eye(3)])
    with torch.no_grad():
        network[0].weight.copy_(torch.cat([ways, ways]))
        network[0].bias[:6] = -ways @ torch.tensor([-0.11, -0.12, -0.13])
        network[0].bias[6:] = -ways @ torch.tensor([0.31, 0.32, 0.33])
        # min(u, v) = u - relu(u - v); without its radius u is never negative.
        network[2].weight[0] = torch.tensor([1.0] * 6 + [0.0] * 6)
        network[2].weight[1] = torch.tensor([1.0] * 6 + [-1.0] * 6)
        network[2].bias.copy_(torch.tensor([0.0, 0.003 - 0.2]))
        network[4].weight.copy_(torch.tensor([[1.0, -1.0]]))
        network[4].bias.fill_(-0.2)
    return network


@pytest.fixture
def left(tmp_path) -> Any:
    """Writes the results of a training by coarse tracing; returns the last mesh's certificate."""
    normals = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
    cloud = PointCloud(0.3 * normals, normals, Normalisation(torch.zeros(3).double(), 0.5))
    phase = Phase(1, 1e-3)
    batches = BatchSource(cloud, 100, 10)
    job = Training(two_bodies(), cloud, [Distance(1.0)], batches, fit=phase, shape=phase)
    settings = ["experiment=smoke", "logging=none", "output=x", "evaluation_samples=100"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", [*settings, "extractor.complete=false", "extractor.seeds=4"])

    def write() -> dict[str, Any]:
        with RunLog(tmp_path, mode="disabled") as log:
            write_results(job, config, tmp_path, log)
        certificate: dict[str, Any] = json.loads(
            (tmp_path / "mesh_after.certificate.json").read_text()
        )
        return certificate

    return write


def test_the_last_mesh_misses_nothing_that_tracing_missed(left, tmp_path, capsys):
    certificate = left()
    assert (certificate["method"], certificate["complete"]) == ("Subdivision", True)
    sides = [part["volume"] ** (1 / 3) for part in certificate["components"]]
    # An octahedron of radius r holds 4/3 r^3, and a unit of the training is two of the input.
    assert sides == pytest.approx([(4 / 3) ** (1 / 3) * 2 * r for r in (0.2, 0.003)], rel=1e-3)
    printed = capsys.readouterr().out
    assert "closed, manifold, winding consistent, 2 components, genus 0, 0" in printed
    assert "pictures have z up; up=y turns them" in printed
    assert (
        '<li class="good">2 components, genus 0, 0</li>' in (tmp_path / "report.html").read_text()
    )


def test_the_numbers_are_left_for_programs(left, tmp_path):
    left()
    facts = json.loads((tmp_path / "results.json").read_text())
    assert (facts["finished"], facts["step"], facts["name"]) == (False, 0, "smoke")
    after = facts["surfaces"]["after"]
    assert after["polygons"] == 16  # two octahedra
    assert (after["closed"], after["components"], after["genus"]) == (1, 2, 0)
    # Of radius r: area 4 sqrt(3) r^2, and edges of 12 sqrt(2) r; in longest sides of the cloud.
    areas, edges = (sum(r**p for r in (0.2, 0.003)) for p in (2, 1))
    side = (after["edge_length_total"] / (12 * 2**0.5 * edges)) ** -1
    assert side == pytest.approx(0.6, rel=0.1)
    assert after["area"] == pytest.approx(4 * 3**0.5 * areas / side**2, rel=1e-6)
    assert after["distance"] > 0


def test_where_subdivision_fails_the_trainings_own_extractor_does_and_says_so(
    left, monkeypatch, capsys
):
    def too_large(*_: object) -> None:
        raise ExtractionError("going on needs 900 GB")

    monkeypatch.setattr(Subdivision, "surface_of", too_large)
    certificate = left()
    assert (certificate["method"], certificate["complete"]) == ("Tracing", False)
    assert len(certificate["components"]) == 1
    assert "900 GB; Tracing makes it, and may miss components" in capsys.readouterr().err
