"""Where data, results and configuration are looked for: in a checkout, and as an installed package elsewhere."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sear import files
from sear.cli.arguments import parse
from sear.errors import InputError, WriteError
from sear.program import Parser
from sear.settings import gather

ROOT = Path(__file__).parent.parent
CODE = """
import sys
sys.path.insert(0, {place!r})
from sear import files
from sear.settings.gather import gather_settings, own_files
"""


def test_a_checkout_counts_from_itself_wherever_one_stands():
    assert files.CHECKOUT == files.PROJECT_ROOT == files.BUNDLED == ROOT
    assert files.COMMAND == ("python", "custom_trainer.py")


def test_a_package_without_the_projects_files_around_it_is_an_installed_one(tmp_path):
    (tmp_path / "sear").mkdir()
    assert files.find_checkout(tmp_path / "sear") is None
    (tmp_path / "custom_trainer.py").touch()
    assert files.find_checkout(tmp_path / "sear") is None
    (tmp_path / "config").mkdir()
    assert files.find_checkout(tmp_path / "sear") == tmp_path


def test_a_path_counts_from_where_one_stands_and_is_short_inside_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert files.from_here("mine") == str(tmp_path / "mine")
    assert files.from_here("../mine") == str(tmp_path.parent / "mine")
    assert files.from_here(tmp_path / "mine") == str(tmp_path / "mine")
    monkeypatch.chdir(ROOT / "docs")
    assert files.from_here("mine") == os.path.join("docs", "mine")


@pytest.mark.parametrize("folder", [".", "docs"])
def test_results_path_counts_from_where_one_stands_and_its_default_from_the_checkout(folder, monkeypatch):
    monkeypatch.chdir(ROOT / folder)
    assert gather.gather_settings("ml-100k", "SEAR").get("results_path") == "results/"
    asked = gather.gather_settings("ml-100k", "SEAR", (), {"results_path": "mine"}, "command line")
    assert asked.get("results_path") == os.path.normpath(os.path.join(folder, "mine"))


def test_a_tilde_after_an_equals_sign_is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.yaml").write_text("results_path: ~/results\ndata_path: '~'\n")
    asked = parse(["--config=~/my.yaml"])
    assert asked.config_files == [tmp_path / "my.yaml"]
    settings = gather.gather_settings("ml-100k", "SEAR", asked.config_files)
    assert (settings.get("results_path"), settings.get("data_path")) == (str(tmp_path / "results"), str(tmp_path))
    parser = Parser()
    parser.add_argument("--out")
    assert parser.parse_args(["--out=~/report"]).out == str(tmp_path / "report")
    assert parser.parse_args(["--out=~"]).out == "~"  # in other options a word for missing values


@pytest.fixture
def installed(tmp_path):
    """A function (code) -> what it prints in an empty folder, with `sear` as an installed package."""
    place, here = tmp_path / "site-packages", tmp_path / "here"
    shutil.copytree(ROOT / "sear", place / "sear", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "config", place / "sear" / "bundled" / "config")
    here.mkdir()

    def run(code: str) -> str:
        code = CODE.format(place=str(place)) + code
        done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.here, run.place = here, place
    return run


def test_an_installed_package_counts_from_the_working_directory(installed):
    printed = installed("print(files.CHECKOUT, files.PROJECT_ROOT, files.BUNDLED, *files.COMMAND, sep='\\n')")
    assert printed.splitlines() == [
        "None", str(installed.here), str(installed.place / "sear" / "bundled"), "sear", "train",
    ]  # fmt: skip


def test_an_installed_package_reads_its_own_yaml_and_the_users_over_it(installed):
    show = "s = gather_settings({!r}, {!r})\nprint(s.get('hidden_size'), s.get('epochs'), s.dataset)"
    before = installed(show.format("ml-100k", "SEAR")).split()
    for path, text in {
        "data/mine.yaml": "dataset: my-folder\n",
        "model/Small.yaml": "model: SEAR\nhidden_size: 16   # (int) width\n",
        "model/SEAR.yaml": "epochs: 7   # (int) mine\n",
    }.items():
        (installed.here / "config" / path).parent.mkdir(parents=True, exist_ok=True)
        (installed.here / "config" / path).write_text(text)
    assert installed(show.format("mine", "SEAR")).split() == [before[0], "7", "my-folder"]
    assert installed(show.format("mine", "Small")).split() == ["16", "7", "my-folder"]
    assert "ml-100k" in installed("print(*own_files('data'))").split()


def test_what_killed_processes_left_is_cleared_and_nothing_else(tmp_path):
    host, mine = files.HOST, os.getppid()
    dead = [f".a.csv.{host}-999999999.tmp", f".b.csv.{host}-999999999.tmp", ".a.csv.other_machine-1.tmp"]
    kept = [f".a.csv.{host}-{mine}.tmp", ".b.csv.other_machine-1.tmp", ".a.csv.tmp", f"a.csv.{host}-999999999.tmp"]
    for name in (*dead, *kept):
        (tmp_path / name).touch()
    os.utime(tmp_path / dead[2], (0, 0))  # a machine whose processes are not known, long ago
    files.write_text(tmp_path / "a.csv", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", dead[1], *kept}
    (tmp_path / f".model.{host}-999999999.old").mkdir()
    (tmp_path / f".model.{host}-999999999.old" / "model.json").touch()
    files.clear_asides(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", *kept}


def test_a_symbolic_link_goes_on_naming_the_file_that_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.csv").symlink_to("there/file.csv")
    for text in ("first", "second"):
        files.write_text(tmp_path / "link.csv", text)
        assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "there" / "file.csv").read_text() == text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_neither_replaced_nor_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="pipe.json is a device or a pipe, no file - name a file"):
        files.write_text(tmp_path / "pipe.json", "{}")
    assert (tmp_path / "pipe.json").is_fifo()
    with pytest.raises(InputError, match="pipe.json is no file but a folder, a pipe or a device - move it elsewhere"):
        files.read_json(tmp_path / "pipe.json", "restore it")


def test_a_place_that_cannot_be_seen_for_lack_of_rights_is_told_with_the_remedy(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(files.Path, "exists", refused)
    with pytest.raises(WriteError, match=r"a.json cannot be written \(Permission denied\) - give yourself the rights"):
        files.write_text(tmp_path / "a.json", "{}")


def test_links_inside_a_run_folder_that_lead_nowhere_are_not_told(tmp_path):
    for run, has in (("done", "metrics.json"), ("begun", "config.yaml")):
        (tmp_path / run / "wandb").mkdir(parents=True)
        (tmp_path / run / has).touch()
        (tmp_path / run / "wandb" / "latest-run").symlink_to("nowhere")
    lines = []
    assert files.find_below(tmp_path, ["metrics.json"], lines.append) == [tmp_path / "done" / "metrics.json"]
    assert not lines


def test_files_are_found_below_links_each_folder_once_and_what_is_left_out_is_told(tmp_path, monkeypatch):
    for folder in ("results/b", "elsewhere", "results/secret"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "metrics.json").touch()
    (tmp_path / "results" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "results")
    (tmp_path / "results" / "gone").symlink_to("nowhere")
    scandir = os.scandir

    def refusing(path):
        if os.fspath(path).endswith("secret"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    lines = []
    found = files.find_below(tmp_path / "results", ["metrics.json"], lines.append)
    assert found == [tmp_path / "results" / folder / "metrics.json" for folder in ("a", "b")]
    told = "\n".join(sorted(lines))
    assert "gone is a link to nowhere, which is not there - mend" in told and len(lines) == 2
    assert "secret cannot be read (Permission denied) - give yourself the rights" in told
