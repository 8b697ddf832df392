"""The rooms of the house: imports run one way, and a function fits a screen."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "errors",
    "shipped",
    "compiling",
    "compiled",
    "sorting",
    "bits",
    "vectors",
    "mesh",
    "networks",
    "complex",
    "extraction",
    "data",
    "evaluation",
    "conversion",
    "losses",
    "output",
    "training",
    "simplify",
    "lowpoly",
    "commands",
)
"""Each room may import those before it; ``shapeopt`` itself is above all of them."""
SUBDIVISION, TRACING = "shapeopt.extraction.subdivision", "shapeopt.extraction.tracing"
"""Tracing falls back to subdivision, which knows nothing of it."""

LONGEST = 60  # lines, docstring included
MOST_ARGUMENTS = 8  # that are passed by position


def modules(root: Path = ROOT) -> dict[str, ast.Module]:
    """Dotted name -> syntax tree of every file of the package."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text(encoding="utf-8")
        )
        for path in sorted((root / "shapeopt").rglob("*.py"))
    }


def imports(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """The modules of the package that each one imports, wherever in it."""

    def named(tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"a relative import in line {node.lineno}"
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield whole if whole in trees else str(node.module)

    return {module: {n for n in named(tree) if n in trees} for module, tree in trees.items()}


def floor(module: str) -> int:
    """The place of the module's room; the package's own files are above all rooms."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] == "__main__":
        return len(ROOMS)
    assert parts[1] in ROOMS, f"{module} is in no room of the map"
    return ROOMS.index(parts[1])


def wrong_imports(trees: dict[str, ast.Module]) -> list[str]:
    """What is wrong with the imports, in words."""
    graph = imports(trees)
    found = [
        f"{module} imports {other}, which is above it"
        for module, others in graph.items()
        for other in sorted(others)
        if floor(other) > floor(module)
    ]
    for module in graph:
        if module.startswith(SUBDIVISION) and any(n.startswith(TRACING) for n in graph[module]):
            found.append(f"{module} imports from {TRACING}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append("a circle: " + " <- ".join(error.args[1]))
    return found


def large_functions(trees: dict[str, ast.Module]) -> dict[str, str]:
    """``module.function`` -> its size, for those over a limit."""
    found = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [argument.arg for argument in node.args.posonlyargs + node.args.args]
                lines = (node.end_lineno or 0) - node.lineno + 1
                arguments = len(names) - (names[:1] in (["self"], ["cls"]))
                if lines > LONGEST or arguments > MOST_ARGUMENTS:
                    found[f"{module}.{node.name}"] = f"{lines} lines, {arguments} arguments"
    return found


def test_imports_run_one_way():
    trees = modules()
    assert len(imports(trees)["shapeopt"]) > 5
    assert wrong_imports(trees) == []


def test_functions_fit_a_screen():
    assert large_functions(modules()) == {}


def test_the_checks_find_what_they_look_for():
    sources = {
        "shapeopt.mesh.low": "def f():\n    from shapeopt.training import high",
        "shapeopt.training.high": "",
        "shapeopt.data.one": "from shapeopt.data.two import x",
        "shapeopt.data.two": "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import shapeopt.data.one",
        "shapeopt.extraction.tracing.a": "",
        "shapeopt.extraction.subdivision.b": "import shapeopt.extraction.tracing.a",
        "shapeopt.losses.long": "def f():\n" + "    pass\n" * LONGEST,
        "shapeopt.losses.wide": "class A:\n    def g(self, a, b, c, d, e, f, g, h, i, *, j): ...",
        "shapeopt.losses.fine": "def h(a, b, c, d, e, f, g, h, *, i):\n" + "    pass\n" * 59,
    }
    trees = {module: ast.parse(source) for module, source in sources.items()}
    upwards, back, circle = wrong_imports(trees)
    assert upwards == "shapeopt.mesh.low imports shapeopt.training.high, which is above it"
    assert back == f"shapeopt.extraction.subdivision.b imports from {TRACING}"
    assert "shapeopt.data.one <- shapeopt.data.two" in circle
    assert list(large_functions(trees)) == ["shapeopt.losses.long.f", "shapeopt.losses.wide.g"]
