"""What README and docs say holds: snippets run, commands parse, links lead somewhere."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
import trimesh
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import nn

import shapeopt
from shapeopt.commands.main import main, parser
from shapeopt.commands.train import _with_own_file

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("data/*.md"))
)
RESULTS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("experiments/*/README.md"))
PROGRAMS = ("shapeopt ", "python ", "pip ", "wandb ", "bash ")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
QUICK = ("docs/tutorials/extract.md", "docs/tutorials/write_a_loss.md")
"""Pages whose snippets run in a second or two."""

CHECKPOINT = ROOT / "tests" / "files" / "version_0.1_fit.pt"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def snippets(page: str) -> list[str]:
    """The blocks of Python on a page."""
    return re.findall(r"^```python\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[list[str]]:
    """The words of each command on a page: what stands in blocks of code that are not Python."""
    text = re.sub(r"^```python\n.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    fenced = re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(fenced).splitlines() + re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    inside = r"`((?:shapeopt train|python train\.py|wandb sweep) [^`|\n]+)`"
    lines += re.findall(inside, text)
    found = []
    for line in " && ".join(lines).replace("\\ && ", " ").split(" && "):
        line = re.sub(r"^[A-Z_]+=\S+ ", "", line.strip())  # variables of the environment
        if line.startswith(PROGRAMS) and "OVERRIDES" not in line:
            line = line.replace("yours", "area").replace("NAME", "smoke")
            found.append(shlex.split(line, comments=True))
    return found


def check_training(arguments: list[str]) -> None:
    """Fails unless the settings compose, each value of a sweep being one of them."""
    settings = [word for word in arguments if word not in ("-m", "--multirun", "--help")]
    overrides = OverridesParser.create().parse_overrides(_with_own_file(settings))
    lines = [
        f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
        if override.is_sweep_override()
        else override.input_line
        for override in overrides
    ]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose("config", overrides=[line for line in lines if line])


def check_command(words: list[str]) -> None:
    """Fails unless the command is one that there is, with options that there are."""
    if words[:2] == ["python", "train.py"] or words[:2] == ["shapeopt", "train"]:
        check_training(words[2:])
    elif words[0] == "shapeopt" and words[1] != "COMMAND":
        parser().parse_args(words[1:])
    elif "pip" in words[:3]:
        for extras in re.findall(r"(?:\.|shapeopt)\[([\w,]+)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(EXTRAS) | {"NAME"}, f"no extra {extras}"
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]) is not None, f"no module {words[2]}"
    elif words[:2] == ["wandb", "sweep"] or words[0] in ("python", "bash"):
        file = words[2 if words[0] == "wandb" else 1]
        assert (ROOT / file).exists(), f"no file {file}"


@pytest.mark.parametrize("page", [*PAGES, *RESULTS])
def test_commands_are_understood(page, capsys):
    for words in commands(page):
        try:
            check_command(words)
        except (Exception, SystemExit) as error:
            pytest.fail(f"{page}: {shlex.join(words)}: {error} {capsys.readouterr().err}")


def test_wrong_commands_are_found(capsys):
    assert len(commands("README.md")) > 15
    for line in (
        "shapeopt train experiment=no_such",
        "shapeopt train -m model.widht=8,16",
        "shapeopt extract a.pt --wrong 1 -o b.ply",
        "python -m experiments.no_such.run",
        "pip install 'shapeopt[nothing]'",
        "python no_such.py",
    ):
        with pytest.raises((Exception, SystemExit, AssertionError)):
            check_command(shlex.split(line))


@pytest.mark.parametrize("page", [*PAGES, *RESULTS])
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text)
    for target in (a or b for a, b in targets):
        if not re.match(r"[a-z]+:|#", target):
            path = (ROOT / page).parent.joinpath(unquote(target.split("#")[0])).resolve()
            made = path.parent.name == "losses" and path.parent.parent == ROOT / "docs"
            assert path.exists() or made, f"{page} links to {target}"


def shortened(code: str) -> str:
    """The code with a few training steps in place of thousands."""
    code = re.sub(r"Phase\(([\d_]{3,})", "Phase(3", code)
    return code.replace("seconds=60", "seconds=0.5")


def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training draws few points in space: their distances take longest."""
    from shapeopt.training import batches

    sample = batches.sample_training_points
    monkeypatch.setattr(
        batches, "sample_training_points", lambda cloud, n, *rest: sample(cloud, n // 50, *rest)
    )


def run_page(page: str, names: dict) -> dict:
    """Runs the snippets of a page one after the other; returns the names that they leave."""
    for code in snippets(page):
        exec(compile(shortened(code), page, "exec"), names)
    return names


def test_the_snippets_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few_points(monkeypatch)
    first, own, training = (shortened(code) for code in snippets("README.md"))
    names: dict = {}
    exec(compile(first, "README.md", "exec"), names)
    assert len(first.split("\n", 2)[2].strip().splitlines()) <= 8
    assert names["surface"].num_faces > 0
    assert all(isinstance(p.grad, torch.Tensor) for p in names["net"].parameters())
    assert len(trimesh.load(tmp_path / "shape.ply").faces) > 0
    exec(compile(own, "README.md", "exec"), names)
    assert len(names["whole"].num_cells) == 4
    assert "steps" not in training
    exec(compile(training, "README.md", "exec"), names)
    assert names["training"].step == 6


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page in QUICK else pytest.mark.slow)
        for page in PAGES
        if snippets(page) and page != "README.md"
    ],
)
def test_the_snippets_of_a_page_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few_points(monkeypatch)
    run_page(page, before(page))


def before(page: str) -> dict:
    """What the page takes for granted: files of the user's, and their names."""
    names: dict = {"__name__": "page", "torch": torch}
    if page == "docs/networks.md":
        network = shapeopt.sdf_network(width=8, depth=2)
        torch.onnx.export(network, (torch.zeros(1, 3),), "model.onnx", dynamo=False)
        names["network"] = network
        code = torch.randn(4)
        decoder = nn.Sequential(nn.Linear(7, 12), nn.ReLU(), nn.Linear(12, 1))
        torch.save(decoder.state_dict(), "decoder.pth")
        smooth = nn.Sequential(nn.Linear(3, 8), nn.Softplus(beta=100), nn.Linear(8, 1))
        with torch.no_grad():
            smooth[-1].bias -= smooth(torch.zeros(1, 3))[0]
        names |= {"code": code, "smooth": smooth}
    return names


def test_quick_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in (
        "extract CHECKPOINT -o mesh.ply",
        "simplify CHECKPOINT -o small.ply",
        "evaluate small.ply mesh.ply --samples 500",
    ):
        main([str(CHECKPOINT) if word == "CHECKPOINT" else word for word in line.split()])
        assert capsys.readouterr().out
