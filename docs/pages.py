"""Pages of the site that are made from the repository: README, losses, help, experiments.

A hook of MkDocs: it calls the functions `on_...` by their names.
"""

import importlib
import io
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
COPIED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "data/README.md": "formats.md",
}
"""Files of the repository that are pages of the site, and their names there."""

KINDS = {
    "FitLoss": "On points, of the network",
    "SurfaceFitLoss": "On the exact surface, against the cloud",
    "GeometryLoss": "On the exact surface alone",
}
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
PICTURE = re.compile(r"(!\[[^\]]*\]\(|src=\")([^)\s\"]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fills the parts of the navigation that have a page for each loss and experiment."""
    for entry in config.nav or []:
        if "Losses" in entry:
            entry["Losses"] += [f"losses/{name}.md" for name in _losses()]
        if "Experiments" in entry:
            entry["Experiments"] += [
                path.relative_to(ROOT).as_posix()
                for path in sorted(ROOT.glob("experiments/*/README.md"))
            ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made here."""
    texts = {page: (ROOT / source).read_text(encoding="utf-8") for source, page in COPIED.items()}
    texts |= {f"losses/{name}.md": loss_page(name) for name in _losses()}
    texts |= {"losses/index.md": losses_index(), "command_line.md": command_line()}
    for path in ROOT.glob("experiments/*/*.md"):
        texts[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
    for name, text in texts.items():
        files.append(File.generated(config, name, content=text))
    for path in ROOT.glob("experiments/*/*.png"):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Makes links between files of the repository links of the site; code is not on it."""
    here = page.file.src_uri
    source = {name: path for path, name in COPIED.items()}.get(here)
    if source is None:
        source = here if here.startswith("experiments/") else f"docs/{here}"

    def target(link: str) -> str | None:
        """Where a link of the repository leads on the site; None to a file that is not there."""
        path, _, anchor = link.partition("#")
        if not path or re.match(r"[a-z]+:", link):
            return link
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        name = COPIED.get(inside, inside.removeprefix("docs/"))
        if files.get_file_from_path(name) is None:
            return None if (ROOT / inside).exists() else link
        return posixpath.relpath(name, posixpath.dirname(here) or ".") + ("#" + anchor) * bool(
            anchor
        )

    def link(found: re.Match[str]) -> str:
        to = target(found[2])
        return found[1] if to is None else f"[{found[1]}]({to})"

    markdown = LINK.sub(link, markdown)
    return PICTURE.sub(lambda found: found[1] + (target(found[2]) or found[2]), markdown)


def _losses() -> dict[str, type]:
    """Name in the configuration -> class, in the order of `losses.yaml`."""
    losses = importlib.import_module("shapeopt.losses")
    return {name: getattr(losses, _class_name(name)) for name in _table()}


def _class_name(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))


def _table() -> dict[str, dict[str, str]]:
    return yaml.safe_load((ROOT / "docs" / "losses.yaml").read_text(encoding="utf-8"))


def loss_page(name: str) -> str:
    """A loss: formula, docstring, settings, a picture, and what it does alone."""
    about = _table()[name]
    loss = _losses()[name]
    summary = sys.modules[loss.__module__].__doc__ or ""
    settings = (ROOT / "conf" / "loss" / f"{name}.yaml").read_text(encoding="utf-8")
    parts = [
        f"# {name}",
        summary.strip(),
        f'<div class="formula">{formula(about["formula"])}</div>',
        f"::: shapeopt.losses.{loss.__name__}\n    options: {{members: false}}",
        f"## Settings\n\n    shapeopt train 'loss=[distance,{name}]' losses.{name}.weight=...\n"
        if name != "distance"
        else "## Settings",
        f"```yaml\n{settings.strip()}\n```",
    ]
    if alone := _alone(name):
        parts.append(alone)
    if "picture" in about:
        parts.append(f"![{about['caption']}](../experiments/{about['picture']})")
        folder = about["picture"].split("/")[0]
        parts.append(f"*{about['caption']}: [{folder}](../experiments/{folder}/README.md).*")
    return "\n\n".join(parts) + "\n"


def losses_index() -> str:
    """All losses by kind, with what each is for."""
    parts = [
        "# Losses",
        "The total is a sum of losses, each with a weight. Those on points count in both phases of "
        "a training; those on the exact surface in the shape phase, where their gradient reaches "
        "the weights through the vertices. Lengths are in box lengths: the box of a training has "
        "side 1, and the data fills nine tenths of it. "
        "[Write one](../tutorials/write_a_loss.md) in a few lines.",
    ]
    for kind, heading in KINDS.items():
        rows = [
            f"| [{name}]({name}.md) | {(sys.modules[loss.__module__].__doc__ or '').strip()} |"
            for name, loss in _losses().items()
            if kind in [base.__name__ for base in loss.__mro__]
        ]
        parts.append(f"## {heading}\n\n| loss | |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _alone(name: str) -> str:
    """Its row in the experiment on each loss alone; empty if it has none."""
    text = (ROOT / "experiments" / "smoothness" / "README.md").read_text(encoding="utf-8")
    head = re.findall(r"^\| (?:loss|---) \|.*$", text, re.MULTILINE)[:2]
    own = re.findall(rf"^\| {name} \|.*$", text, re.MULTILINE)[:1]
    if not own:
        return ""
    return (
        "## Alone\n\nA shape phase of 500 steps on the fitted bunny, with it and the distance "
        "to the cloud ([experiment](../experiments/smoothness/README.md)):\n\n"
        + "\n".join(head + own)
    )


def formula(text: str) -> str:
    """A formula as SVG in the colour of the text around it."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"mathtext.fontset": "cm", "svg.hashsalt": "shapeopt"}):
        figure = Figure(figsize=(0.01, 0.01))
        FigureCanvasSVG(figure)
        figure.text(0, 0, f"${text}$", size=15)
        drawn = io.StringIO()
        figure.savefig(
            drawn, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None}
        )
    svg = drawn.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|\s*\n\s*", " ", svg[svg.index("<svg") :])
    label = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace(
        "<svg ", f'<svg role="img" aria-label="{label}" fill="currentColor" ', 1
    ).replace("fill: #000000", "fill: currentColor")


def command_line() -> str:
    """What `--help` says, of every command."""
    os.environ["COLUMNS"] = "84"
    main: Any = importlib.import_module("shapeopt.commands.main")
    train: Any = importlib.import_module("shapeopt.commands.train")
    parser = main.parser()
    (commands,) = parser._subparsers._group_actions
    parts = ["# Command line", _block(parser.format_help())]
    for name, command in commands.choices.items():
        text = train._help(ROOT / "conf") if name == "train" else command.format_help()
        parts.append(f"## {name}\n\n{_block(text)}")
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    return f"``` {{.text .help}}\n{text.rstrip()}\n```"
