"""Imports point downwards: a folder of sear/ may use only what stands below it, and compilers stay inside kernels/."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SEAR = Path(__file__).parent.parent / "sear"
ORDER = [  # from the ground up; names on one line may not use each other
    ["errors", "console"],
    ["program"],
    ["files", "memory", "processes", "recbole_compat", "kernels"],
    ["ops", "settings"],
    ["data"],
    ["dataset", "model", "evaluation", "atomic_files", "statistics"],
    ["trainer"],
    ["runs"],
    ["recommend", "report", "quick_start"],
    ["serve"],
    ["cli"],
]
FLOOR = {name: floor for floor, names in enumerate(ORDER) for name in names}
ONLY_IN_KERNELS = {"numba", "llvmlite", "triton"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file names, imports inside functions included; `from sear import x` as sear.x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"sear.{name.name}" for name in node.names) if node.module == "sear" else (node.module,)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def wrong_imports(root: Path) -> list[str]:
    wrong = []
    for path in sorted(root.rglob("*.py")):
        home = path.relative_to(root).parts[0].removesuffix(".py")
        if home in ("__init__", "__main__"):
            continue
        for module in imported(ast.parse(path.read_text(encoding="utf-8"))):
            top, _, rest = module.partition(".")
            target = rest.partition(".")[0]
            upward = top == "sear" and target in FLOOR and target != home and FLOOR[target] >= FLOOR[home]
            if upward or (top in ONLY_IN_KERNELS and home != "kernels"):
                wrong.append(f"{path.relative_to(root)}: {module}")
    return wrong


def test_imports_point_downwards():
    assert not wrong_imports(SEAR)


def test_every_module_has_its_floor():
    there = {path.name.removesuffix(".py") for path in SEAR.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert there - {"__init__", "__main__", "__pycache__"} <= set(FLOOR)


@pytest.mark.parametrize(
    "line",
    [
        "from sear.cli.main import main",
        "import sear.runs.grid",
        "def f():\n    from sear import report",
        "import numba",
    ],
)
def test_a_planted_upward_import_is_found(tmp_path, line):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "planted.py").write_text(line + "\n")
    assert len(wrong_imports(tmp_path)) == 1
