"""A run that was killed, stopped or finished meanwhile, and the run that goes on with it."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from sear.cli.main import main
from sear.errors import HeldError
from sear.quick_start import resume
from sear.runs.log import RunLog
from sear.runs.training_run import TrainingRun
from sear.settings.recbole_config import build_config
from sear.settings.rules import dump_yaml, read_settings
from sear.trainer.trainer import SEARTrainer
from tests.conftest import TOY, random_histories, tiny_config_root, write_atomic_files
from tests.helpers.killed_run import interrupt_at_step, run

ROOT = Path(__file__).parent.parent.parent


def without_clock(metrics):
    kept = {key: value for key, value in metrics.items() if key not in ("seconds", "run_folder", "peak_memory_mb")}
    return json.loads(json.dumps(kept))


def everything_but_the_clock(folder):
    history = pd.read_csv(folder / "history.csv").drop(columns="seconds")
    states = [torch.load(folder / name, weights_only=True) for name in ("best.pth", "last.pth")]
    for state in states:
        del state["fit_seconds"]
        state["history"] = [{k: v for k, v in row.items() if k != "seconds"} for row in state["history"]]
    return history, states, (folder / "cases.csv.gz").read_bytes(), (folder / "config.yaml").read_text()


def assert_same(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    else:
        assert a == b


@pytest.mark.long
def test_two_runs_agree_to_the_last_bit(here):
    first, second = run(here), run(here)
    assert without_clock(first) == without_clock(second)
    assert_same(*(everything_but_the_clock(Path(done["run_folder"])) for done in (first, second)))
    assert len(pd.read_csv(here / "results" / "summary.csv")) == 2


def killed_at(moments, place):
    """moment -> the folder of a run that was killed then; all killed at the same time."""
    processes = {}
    for moment in moments:
        folder = place / moment
        write_atomic_files(folder, "tiny", random_histories())
        command = [sys.executable, "-m", "tests.helpers.killed_run", str(folder), moment]
        processes[folder] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for folder, process in processes.items():
        output, _ = process.communicate(timeout=120)
        assert process.returncode == -9, f"{folder.name}: {output.decode()}"
    return {folder.name: folder for folder in processes}


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_had_never_been_stopped(here, monkeypatch, tmp_path):
    unstopped = run(here)
    for moment, place in killed_at(("best", "write", "report"), tmp_path / "killed").items():
        monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", tiny_config_root(place))
        (folder,) = (place / "results" / "tiny" / "SEAR").iterdir()
        assert not (folder / "metrics.json").exists(), moment
        resumed = resume(folder)
        assert without_clock(resumed) == without_clock(unstopped), moment
        ours, theirs = (everything_but_the_clock(Path(run["run_folder"])) for run in (resumed, unstopped))
        assert_same(ours[:3], theirs[:3])
        assert not list(folder.glob(".*.tmp")), moment
        assert len(pd.read_csv(place / "results" / "summary.csv")) == 1, moment
        assert without_clock(resume(folder)) == without_clock(unstopped)  # a finished run is left as it is


@pytest.mark.parametrize(
    "signal_number, code", [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)]
)
def test_a_stop_leaves_a_resumable_run_and_says_how_to_go_on(here, monkeypatch, capsys, signal_number, code):
    (here / "toy.yaml").write_text(dump_yaml(TOY | {"epochs": 3, "train_batch_size": 64}))
    interrupt_at_step(15, monkeypatch, lambda: signal.raise_signal(signal_number))
    assert main(["--dataset=tiny", f"--config={here}/toy.yaml", f"--results_path={here}/results"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    told = re.fullmatch(r"stopped; go on with: python custom_trainer.py --resume=(\S+)", line)
    assert "last.pth" in {path.name for path in Path(told.group(1)).iterdir()}
    assert resume(told.group(1))["epochs"] == 3


@pytest.mark.parametrize("moved", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_run_goes_on_from_inside_its_folder_and_where_it_was_moved_to(here, monkeypatch, caplog, moved):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at_step(15, patch)
        run(here)
    (config,) = (here / "results").rglob("config.yaml")
    folder = config.parent.rename(here / "elsewhere") if moved else config.parent
    monkeypatch.chdir(folder)
    assert main(["--resume=."]) == 0
    assert (folder / "metrics.json").exists()
    summary = here / "results" / "summary.csv"
    if moved:
        assert not summary.exists() and "elsewhere lies in no RESULTS/tiny/SEAR: no row in a summary.csv" in caplog.text
    else:
        assert list(pd.read_csv(summary)["run_id"]) == [folder.name]
    assert resume(Path("."))["run_folder"] == str(folder)


def test_a_run_goes_on_where_it_is_asked_to_and_says_so(here, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("sear.runs.training_run.TrainingRun._report", stop)
        run(here)
    (config,) = (here / "results").rglob("config.yaml")
    assert read_settings(config)[0]["threads"] == 2
    for left in (".model.host-1.tmp", ".model.host-1.old"):  # by a process that was killed while it wrote the model
        (config.parent / left).mkdir()
        (config.parent / left / "model.json").touch()
    assert resume(config.parent, {"threads": 1})["environment"]["threads"] == 1
    assert read_settings(config)[0]["threads"] == 1
    (config.parent / ".lock").touch()  # by one that was killed after everything
    resume(config.parent)
    assert not list(config.parent.glob(".*"))


def test_a_run_that_another_process_finished_meanwhile_is_left_as_it_is(here):
    folder = Path(run(here, epochs=1)["run_folder"])
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(HeldError, match="finished by another process"), RunLog() as log:
        TrainingRun(build_config("tiny", overrides=TOY), folder, begun=True).train(log)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_commit_is_the_one_that_a_run_began_with(here, monkeypatch):
    commits = iter(["first", "second"])
    monkeypatch.setattr("sear.runs.training_run.environment", lambda _: {"device": "cpu", "commit": next(commits)})
    fit = SEARTrainer.fit

    def fit_and_commit(self, *arguments, **options):
        found = fit(self, *arguments, **options)
        next(commits)
        return found

    monkeypatch.setattr(SEARTrainer, "fit", fit_and_commit)
    assert run(here, epochs=1)["environment"]["commit"] == "first"


def test_a_run_that_was_resumed_at_another_commit_names_both(here, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    def at(commit):
        monkeypatch.setattr("sear.runs.training_run.environment", lambda _: {"device": "cpu", "commit": commit})

    at("first")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("sear.runs.training_run.TrainingRun._report", stop)
        run(here, epochs=1)
    (config,) = (here / "results").rglob("config.yaml")
    at("second")
    made = resume(config.parent)["environment"]
    assert (made["commit"], made["earlier_commits"]) == ("second", ["first"])


@pytest.mark.parametrize(("begun", "told"), [(True, "run folder: /here/run"), (False, "results folder: /here")])
def test_a_run_that_goes_on_names_its_own_folder_and_a_new_one_that_of_all_results(begun, told):
    config = {"results_path": "/here", "data_path": "/data"}
    run = SimpleNamespace(begun=begun, folder=Path("/here/run"), config=config, environment={"device": "cpu"})
    assert TrainingRun._places(run)[-1] == told
