"""The command line: ``shapeopt train``, ``extract``, ``info``, ``evaluate``, and so on.

What a command does is in the file of its name, which is imported when it runs: help needs no torch.
"""

import argparse
import importlib
import importlib.metadata
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shapeopt.commands.faults import mendable
from shapeopt.output.waiting import LOADING, compiling_told, told

DESCRIPTION = """\
Trains neural implicit shapes and optimises them through their exact polyhedral surface.

  shapeopt train experiment=smoke                 a few seconds, to see what comes out
  shapeopt train experiment=bunny                 two minutes on one core; open report.html
  shapeopt train --data scan.ply                  a shape of your own
  shapeopt extract outputs/.../checkpoints/last.pt -o shape.glb
  shapeopt extract model.onnx -o shape.ply        a network from another program
"""
CHECKPOINT = "checkpoint of a training: outputs/.../checkpoints/last.pt"
MESH_FILE = (
    ".ply or .obj (polygons), .off, .stl or .3mf (triangles), .glb (to look at), .npz (arrays, "
    "with sign-vectors)"
)
MESHES = ".ply .obj .stl .off .glb .gltf .3mf"
CLOUDS = ".xyz .txt .csv .pts .asc .npy .npz .pcd .las .laz"
NETWORK = (
    f"{CHECKPOINT}; or a network: ONNX (.onnx), TorchScript (.pt), or weights by name (.npz, "
    ".safetensors, or .pt with --bounds)"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command. What the user can mend is one line, and exit code 1.

    Ctrl-C is exit code 130, and SIGTERM, which ends a training as Ctrl-C does, is 143.

    Args:
        arguments: of the command line; those of the process if None.
    """
    _prepare_process()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with compiling_told():
            if given[:1] == ["train"]:  # its arguments are Hydra's
                _module("train").run(given[1:])
            else:
                options = vars(parser().parse_args(given))
                _module(options.pop("command")).run(**options)
    except KeyboardInterrupt as stopped:
        sys.exit(128 + int(stopped.args[0] if stopped.args else signal.SIGINT))
    except Exception as error:
        reason = mendable(error)
        if reason is None:
            raise
        sys.exit(f"error: {reason}")


def _prepare_process() -> None:
    """Set-up that has to come before torch is imported, or anything printed."""
    # Threads that wait for work by spinning make a training some thirty times slower when others
    # compute on the same cores; asleep they cost nothing, and the results are the same.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # What others print here, Hydra above all, must not fail on a letter that a terminal lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _module(command: str) -> Any:
    """The file of a command, whose ``run`` takes what was parsed."""
    with told(LOADING):
        return importlib.import_module(f"shapeopt.commands.{command}")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands: ``command`` is its name, the rest the keywords of its ``run``."""
    top = argparse.ArgumentParser(
        prog="shapeopt",
        description=DESCRIPTION,
        epilog="shapeopt COMMAND --help tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = importlib.metadata.version("shapeopt")
    top.add_argument("--version", action="version", version=f"shapeopt {version}")
    commands = top.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True
    )
    commands.add_parser("train", help="fit a network to a shape, then optimise its surface")
    for name, summary, describe in (
        ("extract", "write the exact surface of a training as a mesh", _extract),
        ("info", "what a network and its surface are: layers, regions, polygons, genus", _info),
        ("evaluate", "measure a mesh or a training against the true surface", _evaluate),
        ("compare", "trainings side by side: a table, and polygons against distance", _compare),
        ("simplify", "fewer polygons for the surface of a training", _simplify),
        ("lowpoly", "a scan with few faces, closed, and its convex parts", _lowpoly),
        ("view", "a training in the browser, live, or a mesh or network", _view),
    ):
        describe(
            commands.add_parser(
                name,
                help=summary,
                formatter_class=argparse.ArgumentDefaultsHelpFormatter,
                # What is not given is not passed on: the default is that of the command's `run`.
                argument_default=argparse.SUPPRESS,
            )
        )
    return top


def _extract(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Writes the exact surface of a training's network as a mesh, in the units of the "
        "training's input, or that of a network from another program, and prints what it is."
    )
    command.add_argument("source", metavar="FILE", type=Path, help=NETWORK)
    command.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        required=True,
        help=MESH_FILE + ", .vtu (all cells of the complex)",
    )
    command.add_argument(
        "--method",
        choices=["subdivide", "trace"],
        help="subdivide misses nothing; trace follows the surface alone, many times faster on "
        "large networks (default: subdivide)",
    )
    command.add_argument(
        "--seeds",
        metavar="N",
        type=int,
        help="with --method trace: cells along a side of the grid that finds the surface; parts "
        "thinner than half a cell can be missed (default: 32)",
    )
    command.add_argument(
        "--dtype",
        choices=["float32", "float64"],
        help="to compute with (default: as in the training, or the network)",
    )
    _of_subdivision(command)
    _of_network(command)


def _of_subdivision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--blocks",
        metavar="N",
        type=int,
        help="with subdivision: cut the box into N blocks along each side, and hold one at a time; "
        "the mesh is the same (default: 1)",
    )
    command.add_argument(
        "--processes",
        metavar="N",
        type=int,
        help="with --blocks: that work on blocks at a time (default: 1)",
    )
    command.add_argument(
        "--cap",
        action="store_true",
        help="with subdivision: close the surface by the box where it leaves the box",
    )


def _info(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Prints what a network is, its regions if they are not too many, and what its exact "
        "surface is: polygons, components, genus, whether closed; in units of a training's input."
    )
    command.add_argument("source", metavar="MODEL", type=Path, help=NETWORK)
    command.add_argument(
        "--cells",
        action="store_true",
        help="count the regions, too, if there are very many",
    )
    command.add_argument(
        "--json",
        dest="as_json",
        action="store_true",
        help="print one JSON object",
    )
    _of_network(command)


def _of_network(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("networks", "for a network that is no training's")
    group.add_argument(
        "--bounds",
        metavar="X",
        type=float,
        nargs="+",
        help="of the box: its lower and upper bound, or two corners (default: -0.5 0.5)",
    )
    group.add_argument(
        "--level",
        metavar="VALUE",
        type=float,
        help="the surface is where the network has this value (default: 0)",
    )
    group.add_argument(
        "--output-index",
        dest="index",
        metavar="N",
        type=int,
        help="which output, counted from 0, if there are several",
    )
    group.add_argument(
        "--architecture",
        choices=["mlp", "deepsdf", "igr"],
        help="of weights by name (default: mlp)",
    )


def _evaluate(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Measures a mesh, or the surface of a checkpoint, against the true surface. Both are "
        "sampled uniformly in area; distances from the samples are exact. Lengths are in units "
        "of the longest side of GROUND_TRUTH."
    )
    command.add_argument(
        "surface",
        metavar="MESH_OR_CHECKPOINT",
        type=Path,
        help=f"a mesh ({MESHES}) or a checkpoint (.pt)",
    )
    command.add_argument(
        "truth", metavar="GROUND_TRUTH", type=Path, help=f"mesh, or point cloud ({CLOUDS})"
    )
    command.add_argument(
        "--samples", metavar="N", type=int, default=100_000, help="points drawn from each surface"
    )
    command.add_argument("--seed", metavar="N", type=int, default=0, help="of the points drawn")
    command.add_argument(
        "--json",
        dest="as_json",
        action="store_true",
        help="print one JSON object",
    )


def _compare(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Puts trainings side by side: in what they differ, and what came out. A plot has polygons "
        "against distance."
    )
    command.add_argument(
        "folders",
        metavar="FOLDER",
        type=Path,
        nargs="+",
        help="of a training, or of a sweep: outputs/bunny/DATE",
    )
    command.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help=".png, .svg or .pdf of the plot (default: pareto.png in the folder that holds all)",
    )


def _simplify(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Merges nearly coplanar neighbouring polygons of a checkpoint's surface, and writes them "
        "in the units of the training's input."
    )
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help=CHECKPOINT)
    command.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help=MESH_FILE)
    goal = command.add_mutually_exclusive_group()
    goal.add_argument(
        "--error",
        metavar="FRACTION",
        type=float,
        help="largest distance between the surface before and after, fraction of its longest side "
        "(default: 0.001)",
    )
    goal.add_argument(
        "--faces",
        metavar="N",
        type=int,
        help="polygons to be left, in place of an error",
    )
    command.add_argument(
        "--triangles",
        action="store_true",
        help="write triangles in place of polygons",
    )


def _lowpoly(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Fits a union of convex parts to a scan and moves its planes until few faces are left, "
        "closed and close to the scan. With --triangles edges are collapsed, and vertices moved by "
        "themselves: of the scan if it is closed and in one piece, or else of a union. The same "
        "call gives the same mesh."
    )
    command.add_argument(
        "scan", metavar="SCAN", type=Path, help=f"mesh ({MESHES}) or point cloud ({CLOUDS})"
    )
    command.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        required=True,
        help=MESH_FILE + "; an .obj has a group for each convex part",
    )
    goal = command.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--faces",
        metavar="N",
        type=int,
        help="polygons to have; with --triangles, triangles",
    )
    goal.add_argument(
        "--error",
        metavar="FRACTION",
        type=float,
        help="mean distance to the scan to reach, fraction of its longest side",
    )
    command.add_argument(
        "--parts",
        metavar="K",
        type=int,
        help="convex parts (default: as many as suit the faces); with --triangles, start from them",
    )
    command.add_argument(
        "--triangles",
        action="store_true",
        help="make triangles whose vertices move freely, and let --faces count them",
    )
    command.add_argument(
        "--convex",
        metavar="FOLDER",
        type=Path,
        help="write the convex parts there, too, with URDF and MJCF",
    )
    command.add_argument("--seed", metavar="N", type=int, default=0, help="of everything random")
    command.add_argument(
        "--effort", metavar="FACTOR", type=float, default=1.0, help="on the number of steps"
    )


def _view(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Shows a run in the browser, live while it trains; or a mesh, a checkpoint or a network, "
        "again whenever the file changes. Ctrl-C ends it."
    )
    command.add_argument(
        "source",
        metavar="RUN_OR_FILE",
        type=Path,
        help=f"folder of a run: outputs/bunny/DATE; a mesh ({MESHES}); or a {NETWORK}",
    )
    command.add_argument(
        "--port",
        metavar="N",
        type=int,
        default=8080,
        help="of this machine, to be reached at; or the next one that is free",
    )
    command.add_argument(
        "--up", choices=["y", "z"], help="the axis that points up (default: as in the run, or z)"
    )
