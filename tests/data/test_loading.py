import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from shapeopt.data import CloudReference, ImplicitReference, MeshReference, bunny_sdf, load
from shapeopt.errors import InputError

CONF = Path(__file__).parents[2] / "conf"


def test_shipped_bunny_knows_its_formula(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # found from anywhere
    cloud = load("data/bunny.ply")
    assert isinstance(cloud.reference, ImplicitReference)
    assert cloud.points.abs().max().item() == pytest.approx(0.45, abs=1e-6)
    assert cloud.reference.distance(cloud.points[:500].double().numpy()).max() < 1e-6
    own = cloud.normalisation.undo(cloud.points).requires_grad_()
    values = bunny_sdf(own)
    assert values.abs().max() < 1e-6
    (gradients,) = torch.autograd.grad(values.sum(), own)
    directions = gradients / gradients.norm(dim=1, keepdim=True)
    torch.testing.assert_close(directions.float(), cloud.normals, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_shipped_bunny_is_what_its_script_makes(monkeypatch, tmp_path):
    source = CONF.parent / "data" / "make_bunny.py"
    copy = tmp_path / "make_bunny.py"
    copy.write_text(source.read_text())
    subprocess.run([sys.executable, str(copy)], check=True, cwd=CONF.parent, env=with_package())
    made, shipped = load(tmp_path / "bunny.ply"), load("data/bunny.ply")
    torch.testing.assert_close(made.points, shipped.points, atol=1e-6, rtol=0)


def with_package() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(CONF.parent)}


def test_mesh_brings_its_reference_into_the_box(tmp_path):
    mesh = trimesh.creation.icosphere(radius=5)
    mesh.apply_translation([100, 0, 0])
    mesh.export(tmp_path / "ball.ply")
    cloud = load(tmp_path / "ball.ply", mesh_samples=3000)
    assert isinstance(cloud.reference, MeshReference)
    assert len(cloud.points) == 3000
    assert cloud.reference.distance(cloud.points.double().numpy()).max() < 1e-6


def test_cloud_without_normals_gets_them_and_measures_against_itself(tmp_path):
    points = np.random.default_rng(0).normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    np.savetxt(tmp_path / "ball.xyz", points)
    cloud = load(tmp_path / "ball.xyz")
    assert isinstance(cloud.reference, CloudReference)
    assert ((cloud.normals * cloud.points).sum(dim=1) > 0).all()


def test_missing_file():
    with pytest.raises(InputError, match=r"nowhere\.ply: there is no such file"):
        load("nowhere.ply")


def test_importing_the_package_loads_no_heavy_library():
    code = (
        "import sys, shapeopt.data;"
        "print([m for m in ('trimesh', 'scipy', 'pooch', 'igl') if m in sys.modules])"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, check=True, capture_output=True, text=True, env=with_package())
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "data").glob("*.yaml")))
def test_every_config_names_a_loader_and_options_it_takes(name):
    import inspect

    from hydra import compose, initialize_config_dir
    from hydra.utils import get_method
    from omegaconf import OmegaConf

    path = ["data.path=a.ply"] if name in ("bunny", "file") else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+data={name}", "+seed=3", *path])
    options = OmegaConf.to_container(config.data, resolve=True)
    target = get_method(options.pop("_target_"))
    assert options["seed"] == 3
    if target.__name__ == "load_scan":
        assert options.pop("name") == name
        target, options["path"] = load, "a.ply"  # what it loads the scan with
    inspect.signature(target).bind(**options)
    assert target.__module__ in ("shapeopt.data.loading", "shapeopt.data.shapes")


def test_columns_can_be_told(tmp_path):
    points = np.random.default_rng(0).normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    np.savetxt(tmp_path / "a.xyz", np.hstack([points, 0.9 * np.abs(points)]))
    with pytest.raises(InputError, match=r"data\.columns"):
        load(tmp_path / "a.xyz")
    cloud = load(tmp_path / "a.xyz", columns="xyzrgb")
    assert ((cloud.normals * cloud.points).sum(dim=1) > 0).all()


def ball_of(count: int) -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_an_inside_out_mesh_is_turned_and_says_so(tmp_path, caplog):
    mesh = trimesh.creation.icosphere(subdivisions=2)
    mesh.invert()
    mesh.export(tmp_path / "ball.ply")
    with caplog.at_level("INFO"):
        cloud = load(tmp_path / "ball.ply", mesh_samples=500)
    assert ((cloud.normals * cloud.points).sum(dim=1) > 0).all()
    assert "320 of 320 triangles faced in and are turned" in caplog.text
    cloud = load(tmp_path / "ball.ply", mesh_samples=500, normals="given")
    assert ((cloud.normals * cloud.points).sum(dim=1) < 0).all()
    cloud = load(tmp_path / "ball.ply", mesh_samples=500, normals="flipped")
    assert ((cloud.normals * cloud.points).sum(dim=1) > 0).all()
    centroids = cloud.reference.vertices[cloud.reference.faces].mean(axis=1)
    assert ((cloud.reference.triangle_normals() * centroids).sum(axis=1) > 0).all()
    with pytest.raises(InputError, match=r"holds a mesh; .* are for clouds"):
        load(tmp_path / "ball.ply", remove_stray=True)


def test_normals_that_face_in_stop_and_can_be_chosen(tmp_path):
    points = ball_of(500)
    np.save(tmp_path / "a.npy", np.hstack([points, -points]))
    with pytest.raises(InputError, match=r"a\.npy: its normals face into .*data\.normals=flipped"):
        load(tmp_path / "a.npy")
    for normals, sign in (("flipped", 1), ("estimated", 1), ("given", -1)):
        cloud = load(tmp_path / "a.npy", normals=normals)
        assert ((cloud.normals * cloud.points).sum(dim=1) * sign > 0).all()
    np.save(tmp_path / "b.npy", points)
    with pytest.raises(InputError, match="has no normals"):
        load(tmp_path / "b.npy", normals="flipped")


def test_normals_of_another_length_are_told_of_once(tmp_path):
    np.savez(tmp_path / "a.npz", points=ball_of(200), normals=3 * ball_of(200))
    with pytest.warns(UserWarning, match="200 of 200 normals do not have length 1") as told:
        load(tmp_path / "a.npz")
    assert len(told) == 1


def test_points_that_lie_apart_are_told_of_and_left_out(tmp_path, caplog):
    far = np.random.default_rng(1).normal(size=(5, 3)) * 20
    np.save(tmp_path / "a.npy", np.vstack([ball_of(500), far, ball_of(500)]))
    with pytest.warns(UserWarning, match=r"5 of 505 points lie apart .*data\.remove_stray=true"):
        cloud = load(tmp_path / "a.npy")
    assert len(cloud.points) == 505
    with caplog.at_level("INFO"):
        cloud = load(tmp_path / "a.npy", remove_stray=True)
    assert len(cloud.points) == 500
    assert cloud.normalisation.scale == pytest.approx(0.45, rel=0.01)
    assert ((cloud.normals * cloud.points).sum(dim=1) > 0).all()
    for words in ("500 of 1005 points are repeated", "5 of 505 points lie apart", "estimated"):
        assert words in caplog.text


@pytest.mark.parametrize(("name", "value"), [("mesh_samples", 2), ("neighbours", 1)])
def test_too_small_settings(tmp_path, name, value):
    np.save(tmp_path / "a.npy", ball_of(50))
    with pytest.raises(InputError, match=f"{name} is {value}"):
        load(tmp_path / "a.npy", **{name: value})
