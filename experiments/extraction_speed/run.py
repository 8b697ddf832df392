"""Time and memory of extraction, against marching cubes and the paper's own code.

    python experiments/extraction_speed/run.py --quick                  # a minute, to see it work
    python experiments/extraction_speed/run.py --reference DIR --published DIR

Each case runs in a process of its own, so that its peak memory is its own. Writes
``results_<machine>.json``, ``results_<machine>.md`` and two figures beside this file.
"""

import argparse
import json
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

import shapeopt

HERE = Path(__file__).resolve().parent
RANDOM = {  # (input dimension, width, depth)
    "quick": [(2, 32, 2), (3, 16, 2), (3, 32, 2)],
    "full": [
        *[(1, width, depth) for width, depth in [(64, 2), (256, 4), (256, 8)]],
        *[(2, width, depth) for width, depth in [(64, 2), (128, 4), (256, 4)]],
        *[(3, width, depth) for width, depth in [(16, 2), (16, 4), (32, 2), (32, 4), (64, 2)]],
        *[(3, width, depth) for width, depth in [(128, 1), (256, 1), (64, 4), (128, 2)]],
        *[(4, width, depth) for width, depth in [(16, 1), (16, 2), (32, 2)]],
    ],
}


def random_network(dimension: int, width: int, depth: int) -> nn.Sequential:
    """He-initialised, with biases that spread the folds over the box and f = 0 in half of it."""
    torch.manual_seed(0)
    sizes = [dimension] + [width] * depth + [1]
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.normal_(linear.weight, std=(2 / fan_in) ** 0.5)
        nn.init.uniform_(linear.bias, -0.3, 0.3)
        modules += [linear, nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    with torch.no_grad():
        network[-1].bias -= network(torch.rand(10_000, dimension) - 0.5).median()
    return network


def stored_network(path: Path) -> nn.Sequential:
    """A network from an .npz file with W0, b0, W1, b1, ..."""
    arrays = np.load(path)
    modules: list[nn.Module] = []
    for index in range(len(arrays.files) // 2):
        weight, bias = torch.tensor(arrays[f"W{index}"]), torch.tensor(arrays[f"b{index}"])
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = weight, bias
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def load(name: str) -> nn.Sequential:
    """``3,32,4`` is a random network, ``path.npz`` a stored one, ``path.npz:5`` its first 5 layers,
    whose neurons are then the outputs."""
    if ".npz" not in name:
        return random_network(*(int(part) for part in name.split(",")))
    path, _, layers = name.partition(":")
    network = stored_network(Path(path))
    return network[: 2 * int(layers) - 1] if layers else network


def whole(network: nn.Module, case: dict) -> dict:
    skeleton = shapeopt.extract_complex(network, dtype=getattr(torch, case["dtype"])).skeleton
    return {"vertices": len(skeleton.vertices), "edges": len(skeleton.edges)}


def surface(network: nn.Module, case: dict) -> dict:
    mesh = shapeopt.extract_surface(
        network, method=case["method"], dtype=getattr(torch, case["dtype"])
    )
    counts = {"vertices": mesh.num_vertices, "edges": mesh.num_edges, "faces": mesh.num_faces}
    if mesh.num_faces == 0:
        return counts
    return counts | {"mesh": (mesh.vertices.cpu(), mesh.triangles().cpu())}


POINTS_AT_A_TIME = 1 << 15
"""Of 2^12 to 2^16 the fastest. With 2^16 memory can come anew from the system for every layer: that
took four times as long in one process and not in another."""


def dense_evaluation(network: nn.Module, case: dict) -> dict:
    """f on a grid over the box: what marching cubes has to start with."""
    count = case["resolution"]
    axis = torch.linspace(-0.5, 0.5, count, device=next(network.parameters()).device)
    values = []
    for x in axis:
        points = torch.cartesian_prod(x[None], axis, axis)
        values += [network(part).cpu() for part in points.split(POINTS_AT_A_TIME)]
    return {"vertices": count**3, "values": torch.cat(values).view(count, count, count).numpy()}


def marching_cubes(network: nn.Module, case: dict) -> dict:
    from skimage.measure import marching_cubes

    values = dense_evaluation(network, case)["values"]
    spacing = (1 / (case["resolution"] - 1),) * 3
    vertices, faces, *_ = marching_cubes(values, 0.0, spacing=spacing)
    mesh = torch.tensor(vertices - 0.5), torch.tensor(faces.astype(np.int64))
    return {"vertices": len(vertices), "faces": len(faces), "mesh": mesh}


def quality(network: nn.Module, vertices: torch.Tensor, triangles: torch.Tensor) -> dict:
    """|f| at the vertices and at 100,000 random points of the faces, in float64; and topology."""
    import trimesh

    network, vertices = network.cpu().double(), vertices.double()
    mesh = trimesh.Trimesh(vertices.numpy(), triangles.numpy(), process=False)
    points, _ = trimesh.sample.sample_surface(mesh, 100_000, seed=0)
    at_vertices, on_faces = network(vertices).abs(), network(torch.tensor(points)).abs()
    border = np.bincount(mesh.faces_unique_edges.ravel()) == 1
    ends = vertices[torch.tensor(mesh.edges_unique[border].astype(np.int64))]
    return {
        "f_vertices": [float(at_vertices.max()), float(at_vertices.mean())],
        "f_faces": [float(on_faces.max()), float(on_faces.mean())],
        "components": int(mesh.body_count),
        "closed": bool(mesh.is_watertight),
        # A surface may only end where the box does.
        "closed_but_for_box": bool((ends.abs().amax(dim=2) > 0.5 - 1e-6).all()),
    }


def published(network: nn.Module, case: dict) -> dict:
    """The authors' code, on the same weights; up to ``layers`` if the case says so.

    Ours runs right after it, so that both meet the same machine: ``ours`` is its time.
    """
    sys.path.insert(0, case["published"])
    from edge_subdivision import skeletal_subdivision
    from NN import Net

    linears = [module for module in network if isinstance(module, nn.Linear)]
    theirs = Net([linears[0].in_features, *(linear.out_features for linear in linears)])
    for target, source in zip(theirs.fcs, linears, strict=True):
        target.load_state_dict(source.state_dict())
    layers = case.get("layers", len(linears))
    theirs.ls = theirs.ls[:layers]
    device = next(network.parameters()).device
    start = time.perf_counter()
    vertices, *_ = skeletal_subdivision(theirs, bbox=(-0.5, 0.5), device=device, verbose=False)
    theirs_done = time.perf_counter()
    result = whole(network[: 2 * layers - 1], case)
    ours_done = time.perf_counter()
    return result | {
        "published_vertices": len(vertices),
        "published_seconds": theirs_done - start,
        "ours_seconds": ours_done - theirs_done,
    }


KINDS = {
    "whole": whole,
    "surface": surface,
    "dense evaluation": dense_evaluation,
    "marching cubes": marching_cubes,
    "published": published,
}


def peak_bytes(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@torch.no_grad()
def work(case: dict) -> dict:
    """Runs one case and returns its medians.

    A small extraction first loads all code. The first run of the case does not count: it grows the
    process's memory, which on a virtual machine can take longer than the work itself.
    """
    device = case["device"]
    shapeopt.extract_complex(
        random_network(3, 8, 2).to(device), dtype=getattr(torch, case["dtype"])
    )
    network = load(case["network"]).to(device)
    before = peak_bytes(device)
    seconds: list[float] = []
    pairs = []
    while len(seconds) < 2 or (len(seconds) <= case["repeats"] and sum(seconds) < case["patience"]):
        result = None  # the memory of the one before is given back first
        start = time.perf_counter()
        result = KINDS[case["kind"]](network, case)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        if "ours_seconds" in result:
            pairs.append((result["published_seconds"], result["ours_seconds"]))
    seconds, pairs = seconds[1:], pairs[1:]
    if pairs:
        theirs, ours = (statistics.median(part) for part in zip(*pairs, strict=True))
        result |= {"published_seconds": theirs, "ours_seconds": ours, "ratio": theirs / ours}
    peak = peak_bytes(device)
    result.pop("values", None)
    mesh = result.pop("mesh", None)
    if mesh is not None:
        result |= quality(network, *mesh)
    return result | {
        "seconds": statistics.median(seconds),
        "repeats": len(seconds),
        "peak_bytes": peak,
        "bytes_per_vertex": (peak - before) / result["vertices"],
    }


def run_case(case: dict, timeout: float) -> dict:
    """The case with its result, or with what went wrong."""
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return case | {"error": f"not finished after {timeout:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        return case | {"error": lines[-1]}
    return case | json.loads(done.stdout.splitlines()[-1])


def all_cases(arguments: argparse.Namespace) -> list[dict]:
    common = {"device": arguments.device, "repeats": arguments.repeats, "patience": 8}
    cases = []

    def add(network: str, kind: str, dtype: str, **more: object) -> None:
        cases.append({"network": network, "kind": kind, "dtype": dtype, **more, **common})

    resolutions = (128,) if arguments.quick else (128, 256)
    for sizes in RANDOM["quick" if arguments.quick else "full"]:
        name = ",".join(map(str, sizes))
        add(name, "whole", "float32")
        if sizes[0] == 3:
            add(name, "surface", "float32", method="trace")
            add(name, "marching cubes", "float32", resolution=128)
    names = ["bunny2d_4x32", "bunny2d_2x100", "bunny_3x16"] + ["bunny_8x32"] * (not arguments.quick)
    paths = [arguments.reference / f"{name}.npz" for name in names] if arguments.reference else []
    for path in filter(Path.exists, paths):
        for dtype in ("float32", "float64"):
            add(str(path), "whole", dtype)
            for method in ("subdivide", "trace"):
                add(str(path), "surface", dtype, method=method)
        if "2d" not in path.name:
            for resolution in resolutions:
                add(str(path), "dense evaluation", "float32", resolution=resolution)
                add(str(path), "marching cubes", "float32", resolution=resolution)
        if arguments.published:
            more = {"published": str(arguments.published.resolve())}
            if path.stem == "bunny_8x32":  # it does not get through all of it
                more["layers"] = 5
            add(str(path), "published", "float32", **more)
        if path.stem == "bunny_8x32":  # one width, growing depth: how time grows with the result
            for layers in range(2, 9):
                add(f"{path}:{layers}", "whole", "float32")
    return cases


def machine() -> dict:
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    processor = model.group(1) if model else platform.processor() or platform.machine()
    return {
        "processor": processor,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def fitted_slope(cases: list[dict], name: str = "") -> float | None:
    """Slope of log time against log vertices, for whole complexes of 10^4 to 10^7 vertices.

    Args:
        name: part of the network's name, to compare networks of one width alone.

    None if they span less than two decades.
    """
    points = [
        (case["vertices"], case["seconds"])
        for case in cases
        if case["kind"] == "whole"
        and case["dtype"] == "float32"
        and name in case["network"]
        and 1e4 <= case.get("vertices", 0) <= 1.1e7
    ]
    logs = np.log(np.array(points).reshape(-1, 2))
    if len(points) < 3 or np.ptp(logs[:, 0]) < np.log(100):
        return None
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def closedness(case: dict) -> str:
    if "closed" not in case:
        return ""
    return "yes" if case["closed"] else "to the box" if case["closed_but_for_box"] else "no"


def to_markdown(results: dict) -> str:
    slopes = [
        "not fitted" if results[key] is None else f"{results[key]:.3f}"
        for key in ("slope", "slope_of_one_width")
    ]
    lines = [
        ", ".join(f"{key} {value}" for key, value in results["machine"].items() if value),
        "",
        f"Slope of log time against log vertices, 10^4 to 10^7: {slopes[0]} over all whole "
        f"complexes, {slopes[1]} over the first 2 to 9 layers of bunny_8x32 (one width).",
        "",
        "`f` is the largest and the mean |f| in float64, at vertices and on faces; `comp` counts "
        "components.",
        "",
        "| network | what | dtype | vertices | faces | seconds | peak GB | bytes / vertex | "
        "f vertices | f faces | comp | closed |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for case in results["cases"]:
        keys = ("kind", "method", "resolution", "layers")
        what = " ".join(str(case[key]) for key in keys if key in case)
        if "ratio" in case:
            what += (
                f": {case['published_seconds']:.4g} s, ours {case['ours_seconds']:.4g} s, "
                f"ratio {case['ratio']:.1f}"
            )
        if "error" in case:
            cells = [case["error"], *[""] * 8]
        else:
            cells = [
                f"{case['vertices']:,}",
                f"{case['faces']:,}" if "faces" in case else "",
                f"{case['seconds']:.4g}",
                f"{case['peak_bytes'] / 1e9:.2f}",
                f"{case['bytes_per_vertex']:.0f}",
                *(" ".join(f"{x:.0e}" for x in case.get(f, [])) for f in ("f_vertices", "f_faces")),
                str(case.get("components", "")),
                closedness(case),
            ]
        lines.append(f"| {' | '.join([case['network'], what, case['dtype'], *cells])} |")
    return "\n".join(lines) + "\n"


def draw(results: dict, stem: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    done = [case for case in results["cases"] if "error" not in case]
    for quantity, label in {"seconds": "seconds", "bytes_per_vertex": "bytes per vertex"}.items():
        figure, axes = plt.subplots(figsize=(6, 4))
        for kind in KINDS:
            points = [(case["vertices"], case[quantity]) for case in done if case["kind"] == kind]
            if points:
                axes.plot(*zip(*points, strict=True), "o", label=kind)
        axes.set(xscale="log", yscale="log", xlabel="vertices of the result", ylabel=label)
        if quantity == "seconds" and results["slope_of_one_width"]:
            axes.set_title(
                f"whole complexes of width 32: slope {results['slope_of_one_width']:.2f}"
            )
        axes.legend()
        figure.savefig(HERE / f"{quantity}_{stem}.png", dpi=150, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reference", type=Path, help="folder with the trained .npz networks")
    parser.add_argument("--published", type=Path, help="checkout of relu_edge_subdivision")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--repeats", type=int, default=15, help="at most")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one case")
    parser.add_argument("--quick", action="store_true", help="small cases only")
    parser.add_argument("--name", help="of the machine, for the files")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(work(json.loads(arguments.case))))
        return
    cases = []
    for case in all_cases(arguments):
        cases.append(run_case(case, arguments.timeout))
        print(
            {key: cases[-1].get(key) for key in ("network", "kind", "seconds", "error")}, flush=True
        )
    results = {
        "machine": machine(),
        "slope": fitted_slope(cases),
        "slope_of_one_width": fitted_slope(cases, "bunny_8x32"),
        "cases": cases,
    }
    stem = arguments.name or (f"{platform.machine()}_{arguments.device}")
    for case in cases:  # paths of this machine say nothing to others
        case["network"] = Path(case["network"]).name.replace(".npz", "")
        case.pop("published", None)
    (HERE / f"results_{stem}.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / f"results_{stem}.md").write_text(to_markdown(results))
    draw(results, stem)


if __name__ == "__main__":
    main()
