import pytest
from hydra import compose, initialize_config_dir

from shapeopt.commands.train import _with_own_file
from shapeopt.errors import InputError
from shapeopt.shipped import shipped_folder

EXPERIMENTS = [path.stem for path in (shipped_folder() / "conf" / "experiment").glob("*.yaml")]


def composed(*arguments: str):
    with initialize_config_dir(str((shipped_folder() / "conf").resolve()), version_base="1.3"):
        return compose("config", overrides=_with_own_file(arguments))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_path_works_with_every_experiment(experiment):
    config = composed(f"experiment={experiment}", "data.path=spot.obj")
    assert config.data._target_ == "shapeopt.data.load"
    assert config.data.path == "spot.obj"


@pytest.mark.parametrize(
    "name",
    [
        "a b.ply",
        "x=1,2.ply",
        "[scan] (1)#2.ply",
        "Größe.obj",
        "it's.ply",
        "cost$5.ply",
        "a${b}.ply",
    ],
)
def test_a_file_may_have_any_name(name):
    config = composed("--data", name, "experiment=lowpoly")
    assert config.data.path == name


def test_a_checkpoint_of_a_sweep_needs_no_quotes():
    config = composed("resume=outputs/a/0_width=8/checkpoints/last.pt", "output=b/1_seed=2")
    assert config.resume == "outputs/a/0_width=8/checkpoints/last.pt"
    assert config.output == "b/1_seed=2"
    quoted = ["resume='a=b.pt'", "output=${name}", "resume=a=b,c=d"]
    assert _with_own_file(quoted) == quoted


def test_data_that_is_chosen_stays():
    assert composed("data=box").data._target_ == "shapeopt.data.shapes.box"
    assert _with_own_file(["data=file", "data.path=a.ply"]) == ["data=file", "data.path=a.ply"]
    assert _with_own_file(["experiment=bunny"]) == ["experiment=bunny"]


def test_wrong_names_are_one_line():
    with pytest.raises(InputError, match="needs a file"):
        _with_own_file(["--data"])
    with pytest.raises(InputError, match="rename the file"):
        _with_own_file(["--data", "'\".ply"])
