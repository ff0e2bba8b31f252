"""pyproject.toml and the requirements files agree, and the wheel that is built of them works in an empty folder."""

import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import sear

ROOT = Path(__file__).parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
TORCH_PIN = "torch==2.13.0"  # in requirements.txt; the package takes a range, as it is installed beside others


def listed(name: str, section: str = "project") -> list[str]:
    """The strings of a list in pyproject.toml, read without tomllib, which Python 3.10 has not."""
    text = PYPROJECT.split(f"\n[{section}]\n")[1].partition("\n[")[0]
    found = re.search(rf"^{name} = \[(.*?)\](?: #.*)?$", text, re.M | re.S)
    return [entry.replace("'", '"') for entry in re.findall(r'"([^"]+)"', found[1])]


def required(file: str) -> list[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [line.partition("  ")[0] for line in lines if line and not line.startswith(("#", "-r"))]


def test_pyproject_and_the_requirements_files_name_the_same_packages():
    without_torch = [entry for entry in listed("dependencies") if not entry.startswith("torch")]
    assert [TORCH_PIN, *without_torch] == required("requirements.txt")
    assert listed("dev", "project.optional-dependencies") == required("requirements-dev.txt")
    assert listed("cuda", "project.optional-dependencies") == required("requirements-cuda.txt")


def test_recbole_is_no_dependency_and_all_that_it_imports_is():
    names = {re.match(r"[\w-]+", entry)[0] for entry in listed("dependencies")}
    assert {"colorlog", "colorama", "tensorboard", "texttable", "psutil", "pandas", "scipy", "tqdm"} <= names
    assert not names & {"recbole", "ray", "plotly", "thop", "setuptools"}


def test_what_is_installed_here_is_what_the_package_asks_for():
    from packaging.requirements import Requirement

    for entry in listed("dependencies"):
        wanted = Requirement(entry)
        assert wanted.specifier.contains(metadata.version(wanted.name), prereleases=True), entry


def test_every_python_that_is_promised_is_named():
    named = re.findall(r"Python :: (3\.\d+)", PYPROJECT)
    assert named == ["3.10", "3.11", "3.12", "3.13", "3.14"] and 'requires-python = ">=3.10,<3.15"' in PYPROJECT
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in named


def test_the_entry_point_is_there():
    module, _, function = re.search(r'^sear = "(.*)"$', PYPROJECT, re.M)[1].partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.long
def test_the_wheel_holds_the_yaml_files_and_the_ready_embeddings_and_no_data(wheel):
    assert wheel.name == f"sear-{sear.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "config").rglob("*.yaml"):
        assert f"sear/bundled/{path.relative_to(ROOT).as_posix()}" in names
    assert [name for name in names if "dataset/" in name] == [
        "sear/bundled/dataset/ml-100k/ml-100k-138af42654bb4f7c.safetensors"
    ]
    assert {"sear/report/page.html", "sear/report/page.css"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks")) or "__pycache__" in name]


@pytest.mark.long
def test_a_run_of_the_wheel_in_an_empty_folder_leaves_its_results_there(wheel, tmp_path):
    place, here = tmp_path / "site-packages", tmp_path / "here"
    zipfile.ZipFile(wheel).extractall(place)
    here.mkdir()
    words = ["--epochs=1", "--hidden_size=8", "--num_heads=2", "--num_layers=1", "--use_gpu=False"]
    code = (
        f"import sys; sys.path.insert(0, {str(place)!r}); from sear.cli.commands import main; main(['train', *{words}])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True)
    assert done.returncode == 0 and "hit@10" in done.stdout, done.stderr
    assert f"results folder: {here / 'results'}\n" in done.stdout and "device: cpu\n" in done.stdout
    assert [path.name for path in here.iterdir()] == ["results"]
    (metrics,) = here.glob("results/ml-100k/SEAR/*/metrics.json")
    assert '"command": "sear train --dataset=ml-100k' in metrics.read_text(encoding="utf-8")
