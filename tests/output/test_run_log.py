import itertools
import json
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import trimesh
from omegaconf import OmegaConf

from shapeopt.errors import InputError
from shapeopt.mesh.polygon_mesh import PolygonMesh
from shapeopt.output.run_log import RunLog, read_metrics
from tests.output.limits import small_files

CONF = Path(__file__).parents[2] / "conf" / "logging"


@pytest.fixture
def cube():
    """Side 2 about the origin, six squares."""
    vertices = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3)))
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return PolygonMesh.from_polygons(vertices, quads)


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """No test reads the user's keys or writes into their home folder."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def records(run_dir):
    """What an offline run wrote. LevelDB's log format: 32 KiB blocks, records cut at their ends."""
    pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    (file,) = run_dir.glob("*.wandb")
    data, position, part, found = file.read_bytes(), 7, b"", []
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        part += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            found.append(pb.Record.FromString(part))
            part = b""
    return found


def finished_records(run_dir):
    """The same, once all is there: wandb's helper process closes the file after finish()."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = records(run_dir)
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        time.sleep(0.02)
    return pytest.fail("the run was not finished")


def history(run_dir):
    """Rows logged to an offline run: {step: {key: value}}, nested keys joined by a slash."""
    rows = {}
    for record in finished_records(run_dir):
        if record.WhichOneof("record_type") == "history":
            items = {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            assert items["_step"] not in rows
            rows[items["_step"]] = items
    return rows


def summary(run_dir):
    """Numbers set for an offline run as a whole."""
    return {
        "/".join(item.nested_key) or item.key: json.loads(item.value_json)
        for record in finished_records(run_dir)
        if record.WhichOneof("record_type") == "summary"
        for item in record.summary.update
    }


def artifact_types(run_dir):
    found = finished_records(run_dir)
    return [r.artifact.type for r in found if r.WhichOneof("record_type") == "artifact"]


def offline_runs(folder):
    return sorted((folder / "wandb").glob("offline-run-*"))


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "shapeopt.output.wandb_run"]


def test_importing_leaves_wandb_alone():
    code = "import sys, shapeopt.output.run_log; sys.exit('wandb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.thorough
def test_the_numbers_of_a_run_are_in_its_summary(tmp_path):
    with RunLog(tmp_path) as log:
        log.log(0, {"loss": 1.5})
        log.summarise({"distance": 0.25, "polygons": 12})
    (run_dir,) = offline_runs(tmp_path)
    assert summary(run_dir).items() >= {"final/distance": 0.25, "final/polygons": 12}.items()


def test_runs_of_a_sweep_have_a_group_and_names(tmp_path):
    for name, group in {"0_width=8": "bunny/widths", "alone": None}.items():
        with RunLog(tmp_path / name, group=group) as log:
            log.log(0, {"loss": 1})
        (run_dir,) = offline_runs(tmp_path / name)
        (run,) = (r.run for r in finished_records(run_dir) if r.WhichOneof("record_type") == "run")
        assert (run.display_name, run.run_group) == (name, group or "")
        assert run.job_type == ("sweep" if group else "train")


def test_the_outcome_is_a_picture_and_a_mesh_behind_the_last_step(tmp_path, cube):
    from shapeopt.output.glb import write_glb
    from shapeopt.output.viewing import render_png

    mesh = write_glb(cube, tmp_path / "cube.glb")
    picture = tmp_path / "cube.png"
    render_png({"after": cube}, picture, dpi=20)
    with RunLog(tmp_path) as log:
        log.log(7, {"loss": 1})
        log.log_outcome(picture, mesh)
    (run,) = offline_runs(tmp_path)
    row = history(run)[8]
    assert row["picture/_type"] == "image-file"
    assert (run / "files" / row["picture/path"]).read_bytes() == (
        tmp_path / "cube.png"
    ).read_bytes()
    assert row["outcome/_type"] == "object3D-file"
    assert (run / "files" / row["outcome/path"]).read_bytes() == mesh.read_bytes()


@pytest.mark.slow
def test_without_a_network_it_takes_seconds_and_one_line(tmp_path, monkeypatch, caplog, capfd):
    """The server is a port of this machine at which nobody listens."""
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    with RunLog(tmp_path, mode="online") as log:
        log.log(0, {"loss": 1})
    assert time.monotonic() - began < 60
    (message,) = warnings_of(caplog)
    assert "logging offline" in message
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    (run,) = offline_runs(tmp_path)
    assert history(run)[0]["loss"] == 1


def test_file_has_one_flushed_line_per_step(tmp_path):
    log = RunLog(tmp_path, mode="disabled")
    log.log(0, {"loss": 1.5, "polygons": 12})
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 0, "loss": 1.5, "polygons": 12}]
    log.log(10, {"loss": float("nan")})
    log.finish()
    log.finish()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"step": 10, "loss": None}


def test_resuming_drops_what_will_be_done_again(tmp_path):
    with RunLog(tmp_path, mode="disabled") as log:
        for step in range(5):
            log.log(step, {"loss": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # killed while writing
    with RunLog(tmp_path, mode="disabled", start_step=3) as log:
        log.log(3, {"loss": 30})
    steps = [(row["step"], row["loss"]) for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert steps == [(0, 0), (1, 1), (2, 2), (3, 30)]
    with RunLog(tmp_path, mode="disabled"):
        pass
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_full_disk_leaves_whole_rows_and_names_the_file(tmp_path):
    row = {f"loss/{i}": 1.5 for i in range(1000)}
    with RunLog(tmp_path, mode="disabled") as log:
        log.log(0, {"loss": 1.5})
        with pytest.raises(OSError, match=r"metrics\.jsonl"), small_files():
            log.log(1, row)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b'{"step": 0, "loss": 1.5}\n'


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="negative"):
        RunLog(tmp_path, mode="disabled", mesh_every=-1)
    with RunLog(tmp_path, mode="disabled") as log:
        log.log(2, {})
        with pytest.raises(InputError, match="steps must grow"):
            log.log(2, {})


def test_offline_run_holds_numbers_mesh_and_artifacts(tmp_path, cube):
    checkpoint = tmp_path / "last.pt"
    checkpoint.write_bytes(b"weights")
    with RunLog(tmp_path, mode="offline", mesh_every=5, config={"width": 16}) as log:
        log.log(0, {"loss": 1.0})
        assert log.mesh_due(5)
        assert not log.mesh_due(6)
        log.log_mesh(5, cube, "mesh")
        log.log(5, {"loss": 0.5, "polygons": 6})
        log.log_mesh(7, cube, "mesh")  # a step without numbers
        log.log(9, {"loss": 0.25})
        log.log_mesh(10, cube, "mesh")
        log.log_artifacts(tmp_path / "meshes" / "mesh_0000005.glb", checkpoint)

    (run,) = offline_runs(tmp_path)
    rows = history(run)
    assert artifact_types(run) == ["mesh", "checkpoint"]
    assert list(rows) == [0, 5, 7, 9, 10]
    assert [rows[step].get("loss") for step in rows] == [1.0, 0.5, None, 0.25, None]
    assert rows[5]["polygons"] == 6
    assert rows[5]["mesh/_type"] == "object3D-file"
    for step in (5, 7, 10):
        scene = trimesh.load(run / "files" / rows[step]["mesh/path"])
        assert scene.geometry["surface"].volume == pytest.approx(8)
    assert (tmp_path / "meshes" / "mesh_0000005.glb").exists()


def test_two_runs_in_one_process_are_two_runs(tmp_path):
    first = RunLog(tmp_path / "a")
    first.log(0, {"loss": 1})
    with RunLog(tmp_path / "b") as second:  # the first is still open
        second.log(0, {"loss": 2})
    first.log(1, {"loss": 3})
    first.finish()
    with RunLog(tmp_path / "b") as third:
        third.log(0, {"loss": 4})
    (a,) = offline_runs(tmp_path / "a")
    assert {step: row["loss"] for step, row in history(a).items()} == {0: 1, 1: 3}
    losses = sorted(history(run)[0]["loss"] for run in offline_runs(tmp_path / "b"))
    assert losses == [2, 4]


def test_failing_init_is_a_warning(tmp_path, cube, monkeypatch, caplog):
    import wandb

    def broken(**_):
        raise wandb.errors.CommError("the server is away")

    monkeypatch.setattr(wandb, "init", broken)
    with RunLog(tmp_path, mesh_every=1) as log:
        assert not log.mesh_due(0)
        for step in range(3):
            log.log_mesh(step, cube)
            log.log(step, {"loss": step})
        log.log_artifacts(tmp_path / "metrics.jsonl")
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 3
    (message,) = warnings_of(caplog)
    assert "the server is away" in message


def test_a_server_that_does_not_answer_turns_online_into_offline(tmp_path, monkeypatch, caplog):
    import wandb

    start = wandb.init

    def unreachable(**settings):
        if settings["mode"] == "online":
            raise wandb.errors.CommError("timed out\nConsider increasing the timeout")
        return start(**settings)

    monkeypatch.setattr("shapeopt.output.wandb_run._has_credentials", lambda _: True)
    monkeypatch.setattr(wandb, "init", unreachable)
    with RunLog(tmp_path, mode="online") as log:
        log.log(0, {"loss": 1})
    (message,) = warnings_of(caplog)
    assert "does not answer (timed out): logging offline" in message
    (run,) = offline_runs(tmp_path)
    assert history(run)[0]["loss"] == 1


def test_missing_wandb_is_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with RunLog(tmp_path) as log:
        log.log(0, {"loss": 1})
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1
    assert "could not be started" in caplog.text


def test_failing_log_is_one_warning(tmp_path, monkeypatch, caplog):
    import wandb

    with RunLog(tmp_path) as log:

        def broken(*_, **__):
            raise OSError("disk full")

        monkeypatch.setattr(wandb.Run, "log", broken)
        for step in range(3):
            log.log(step, {"loss": 1})
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 3
    assert len(warnings_of(caplog)) == 1
    assert "disk full" in warnings_of(caplog)[0]


@pytest.mark.slow
def test_a_wandb_process_that_is_killed_is_one_warning(tmp_path):
    """In a process of its own: what is printed when it ends counts."""
    if shutil.which("pgrep") is None:
        pytest.skip("needs pgrep to find W&B's process")
    code = """if True:
        import os, signal, subprocess, sys
        from shapeopt.output.run_log import RunLog
        with RunLog(sys.argv[1]) as log:
            log.log(0, {"loss": 1})
            find = ["pgrep", "-P", str(os.getpid()), "wandb"]
            found = subprocess.run(find, capture_output=True, text=True).stdout.split()
            assert found
            for process in found:
                os.kill(int(process), signal.SIGKILL)
            for step in range(1, 2000):
                log.log(step, {"loss": 1})
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Weights & Biases did not take step") == 1
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2000


def test_online_without_a_key_goes_offline_and_never_asks(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked for a key"))
    with RunLog(tmp_path, mode="online") as log:
        log.log(0, {"loss": 1})
    assert "wandb login" in caplog.text
    (run,) = offline_runs(tmp_path)
    assert history(run)[0]["loss"] == 1


@pytest.mark.parametrize("name", ["wandb", "none"])
def test_config_group_makes_a_run_log(name, tmp_path):
    config = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"), resolve=True)
    assert config.pop("_target_") == "shapeopt.output.RunLog"
    assert config.pop("_partial_")  # the training gives the folder
    assert config["mode"] == {"wandb": "offline", "none": "disabled"}[name]
    RunLog(tmp_path, **{**config, "mode": "disabled"}).finish()
