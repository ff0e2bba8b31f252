"""W&B and TensorBoard: one run per training, finished, with validation and test; nothing unasked."""

import errno
import json
import sys
import threading
from pathlib import Path

import pytest

from sear.errors import InputError, WriteError
from sear.quick_start import resume, run_sear
from sear.trainer.tracking import Tracking, _TensorBoard
from tests.conftest import TOY
from tests.helpers.killed_run import interrupt_at_step

FAKE_WANDB = '''"""Keeps what it is told in the file of WANDB_LOG, one JSON line each."""
import json, os
run = None
class Run:
    summary = {}
def say(*words):
    with open(os.environ["WANDB_LOG"], "a") as file:
        file.write(json.dumps(words) + "\\n")
def init(**told):
    global run
    if "WANDB_REFUSES" in os.environ:
        raise RuntimeError("api_key not configured\\nsee the manual")
    assert run is None, "the last run was not finished"
    run = Run()
    say("init", told)
def define_metric(*_, **__):
    pass
def log(metrics, commit=True):
    say("log", metrics, commit)
def finish(exit_code=None):
    global run
    run = None
    say("finish", exit_code)
'''


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """A function () -> what W&B was told so far; a module that stands in for W&B's."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "wandb.py").write_text(FAKE_WANDB, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setenv("WANDB_LOG", str(tmp_path / "told"))
    yield lambda: [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    sys.modules.pop("wandb", None)


def train(here, model="GRU4Rec", **changes):
    return run_sear("tiny", model, **(TOY | {"results_path": str(here / "results"), "log_wandb": True} | changes))


def test_each_training_is_one_finished_run_with_validation_and_test(here, wandb):
    made = [train(here, seed=1), train(here, "Pop", seed=2, mask_history=True)]
    begun = [told for kind, told, *_ in wandb() if kind == "init"]
    assert [told["config"]["model"] for told in begun] == ["GRU4Rec", "Pop"]
    assert len({told["id"] for told in begun}) == 2 and begun[0]["project"] == "recbole"
    assert [told for kind, *told in wandb() if kind == "finish"] == [[0], [0]]
    rows, row = [], {}
    for kind, metrics, *commit in wandb():
        if kind == "log":
            row |= metrics
            if commit == [True]:
                rows.append(row)
                row = {}
    assert [entry["train_step"] for entry in rows] == [0, 1, made[0]["best_epoch"], 0, 0]
    assert {"train/loss", "train/lr", "valid/hit@10"} <= set(rows[0])
    assert rows[2]["test/ndcg@10"] == made[0]["test"]["ndcg@10"]
    assert rows[4]["test/filtered_hit@10"] == made[1]["test_history_masked"]["hit@10"]


def test_a_resumed_run_goes_on_as_the_same_run(here, wandb, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at_step(8, patch)
        train(here, epochs=3)
    (folder,) = here.glob("results/tiny/*/*/")
    resume(folder)
    begun = [told for kind, told, *_ in wandb() if kind == "init"]
    assert begun[0]["id"] == begun[1]["id"] and begun[1]["resume"] == "allow"
    assert [told for kind, *told in wandb() if kind == "finish"] == [[1], [0]]


def test_a_run_that_the_caller_began_is_left_to_the_caller(here, wandb):
    import wandb as module

    module.init(project="sweep")
    train(here, "Pop")
    assert [kind for kind, *_ in wandb() if kind in ("init", "finish")] == ["init"]


def test_a_run_that_wandb_refuses_is_told_in_one_line_and_leaves_nothing(here, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_REFUSES", "1")
    with pytest.raises(InputError, match=r"W&B does not take the run \(api_key not configured\) - .*offline") as caught:
        train(here, "Pop")
    assert "\n" not in str(caught.value) and not (here / "results").exists()


def test_a_folder_that_wandb_left_is_not_taken_for_the_package(here, monkeypatch):
    (here / "wandb").mkdir()
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path or path == str(here)])
    with pytest.raises(InputError, match="log_wandb is True, but wandb is not installed - pip install wandb"):
        train(here, "Pop")


def test_tensorboard_has_every_epoch_and_the_test(here):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = train(here, log_wandb=False, log_tensorboard=True)
    (file,) = (here / "results").rglob("tensorboard/events*")
    found = EventAccumulator(str(file)).Reload()
    assert {"train/loss", "valid/mrr@10", "test/mrr@10"} <= set(found.Tags()["scalars"])
    assert [event.step for event in found.Scalars("train/loss")] == [0, 1]
    (event,) = found.Scalars("test/mrr@10")
    assert (event.step, event.value) == (made["best_epoch"], pytest.approx(made["test"]["mrr@10"]))


def test_by_default_nothing_is_left_but_the_run(here, monkeypatch):
    (here / "empty").mkdir()
    monkeypatch.chdir(here / "empty")
    made = train(here, "Pop", log_wandb=False)
    assert not list((here / "empty").iterdir())
    assert not {path.name for path in Path(made["run_folder"]).iterdir()} & {"tensorboard", "wandb", "wandb_run_id"}


@pytest.mark.parametrize("at", [0, 2])
def test_a_disk_that_is_full_for_tensorboard_is_told_in_one_line_and_by_no_traceback(tmp_path, monkeypatch, capsys, at):
    from tensorboard.compat.tensorflow_stub.io.gfile import LocalFileSystem

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    tracking = Tracking({"log_wandb": False, "log_tensorboard": True, "checkpoint_dir": "", "model": "SEAR"})
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    with pytest.raises(WriteError, match=r"tensorboard/events cannot be written \(No space left on device\) - "):
        with tracking.of_run(tmp_path):
            for epoch in range(4):
                if epoch == at:
                    monkeypatch.setattr(LocalFileSystem, "_write", full)
                tracking.log_epoch({"epoch": epoch, "loss": 1.0})
    assert capsys.readouterr().err == ""


def test_the_hook_for_errors_of_threads_is_given_back_and_may_be_wrapped(tmp_path, monkeypatch):
    told, settings = [], {"checkpoint_dir": "", "model": "SEAR"}
    monkeypatch.setattr(threading, "excepthook", told.append)
    before = threading.excepthook
    _TensorBoard(settings, tmp_path).close(failed=False)
    assert threading.excepthook is before
    for tracker in [_TensorBoard(settings, tmp_path) for _ in range(2)]:
        ours = threading.excepthook
        monkeypatch.setattr(threading, "excepthook", lambda found, ours=ours: ours(found))  # as an error reporter does
        tracker.close(failed=False)
    found = threading.ExceptHookArgs([OSError, OSError("of another thread"), None, threading.current_thread()])
    threading.excepthook(found)
    assert told == [found]
