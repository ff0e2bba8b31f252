"""Checkpoints that are damaged, half there or another run's are told before any work; older ones are read."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sear.errors import InputError
from sear.quick_start import evaluate, resume
from sear.settings.rules import dump_yaml, read_settings
from sear.trainer.checkpoint import KINDS_OF_LAST, Checkpoints, load_checkpoint, save_checkpoint, weights_digest
from tests.helpers.killed_run import interrupt_at_step, run


def test_one_flipped_bit_anywhere_in_a_file_is_noticed(tmp_path):
    path = tmp_path / "best.pth"
    save_checkpoint(path, {"state_dict": {"weight": torch.arange(200.0)}, "epoch": 3})
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for place in {*random.integers(0, len(whole), 300).tolist(), *range(len(whole) - 70, len(whole))}:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="best.pth") as error:
            load_checkpoint(path, "cpu")
        assert "\n" not in str(error.value)
    path.write_bytes(whole)
    assert load_checkpoint(path, "cpu")["epoch"] == 3
    assert torch.load(path, weights_only=True)["state_dict"]["weight"][7] == 7  # by torch alone


def best_of_epoch(epoch):
    """What best.pth holds when that epoch is the best."""
    known = {"model": "Pop", "dataset": "tiny", "catalogue": None, "settings": None, "cur_step": 0, "finished": False}
    known |= {"best_valid_score": epoch / 9, "best_valid_result": {"mrr@10": epoch / 9}, "fit_seconds": 1.0}
    known |= {"steps": 9, "commits": [], "other_parameter": None, "text_sums": None}
    history = [{"epoch": number} for number in range(epoch + 1)]
    weights = {"weight": torch.full((2, 3), epoch, dtype=torch.bfloat16)}
    return known | {"epoch": epoch, "best_epoch": epoch, "history": history, "state_dict": weights}


def test_an_older_checkpoint_in_a_finished_run_is_not_the_one_that_was_tested(tmp_path):
    checkpoints, tested = Checkpoints("Pop", "tiny", tmp_path / "best.pth", tmp_path / "last.pth"), best_of_epoch(4)
    for weights in (weights_digest(tested["state_dict"]), None):  # the latter of an earlier SEAR
        recorded = weights, 4, {"mrr@10": 4 / 9}
        save_checkpoint(checkpoints.best, tested)
        checkpoints.refuse_untested(*recorded)
        save_checkpoint(checkpoints.best, best_of_epoch(2))
        with pytest.raises(InputError, match=r"best.pth \(of epoch 2\) is not the checkpoint that metrics.json"):
            checkpoints.refuse_untested(*recorded)


def test_what_a_warm_training_began_with_outlives_a_stop(tmp_path):
    model = torch.nn.Linear(1, 1)
    model.other_parameter, model.load_other_parameter = lambda: None, lambda _: None
    files = tmp_path / "best.pth", tmp_path / "last.pth"
    before, after = Checkpoints("Pop", "tiny", *files), Checkpoints("Pop", "tiny", *files)
    before.began_with = "a digest"
    before.save(model, best_of_epoch(0), {"optimizer": {}, "scheduler": {}}, None)
    after.load_last(files[1], model, {})
    assert after.began_with == "a digest"


@pytest.fixture
def stopped(here, monkeypatch):
    """The folder of a run that was stopped in its second epoch."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at_step(11, patch)
        run(here)
    (config,) = (here / "results").rglob("config.yaml")
    return config.parent


def refused(folder, monkeypatch, told, by=resume):
    """The run is refused with one line that has `told`, before its data are read."""
    with monkeypatch.context() as patch:
        patch.setattr("sear.runs.training_run.prepare", lambda *_: pytest.fail("work began"))
        with pytest.raises(InputError, match=told) as error:
            by(folder)
    assert "\n" not in str(error.value)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_told_before_a_stopped_run_goes_on(stopped, monkeypatch):
    for name, told in (("last", r"last.pth is damaged"), ("best", r"best.pth is damaged.* - restore it, or delete it")):
        whole = (stopped / f"{name}.pth").read_bytes()
        flip_a_bit(stopped / f"{name}.pth")
        refused(stopped, monkeypatch, told)
        (stopped / f"{name}.pth").write_bytes(whole)
    (stopped / "best.pth").unlink()
    refused(stopped, monkeypatch, "best.pth is missing")
    (stopped / "last.pth").unlink()  # as the message says
    assert resume(stopped)["epochs"] == 3


def test_the_best_epoch_must_be_the_one_that_the_last_knows(stopped, monkeypatch):
    best = torch.load(stopped / "best.pth", weights_only=True)
    history = [best["history"][0] | {"epoch": epoch} for epoch in range(3)]
    save_checkpoint(stopped / "best.pth", best | {"epoch": 2, "history": history})
    refused(stopped, monkeypatch, "best.pth is of epoch 2, and last.pth knows 0 as the best one")


@pytest.mark.long
def test_a_checkpoint_or_a_config_of_another_run_is_refused(here, stopped, monkeypatch):
    other = Path(run(here, seed=2)["run_folder"])
    finished = Path(run(here)["run_folder"])
    shutil.copy(other / "best.pth", finished / "best.pth")
    refused(finished, monkeypatch, r"best.pth was trained with seed 2, and the run's config.yaml says 1", evaluate)
    shutil.copy(other / "last.pth", stopped / "last.pth")
    refused(stopped, monkeypatch, r"last.pth was trained with seed 2, and the run's config.yaml says 1")
    config = read_settings(other / "config.yaml")[0]
    (other / "config.yaml").write_text(dump_yaml(config | {"soft_label_decay": 1.0}))
    refused(other, monkeypatch, "config.yaml was changed since the run was finished", evaluate)
    (other / "config.yaml").write_text(dump_yaml(config | {"threads": 1, "show_progress": True}))
    assert evaluate(other)["test"]  # what changes no result may change


@pytest.mark.long
def test_a_field_that_is_missing_or_of_the_wrong_type_is_named(stopped, monkeypatch):
    last = stopped / "last.pth"
    whole = torch.load(last, weights_only=True)
    for key in KINDS_OF_LAST:
        save_checkpoint(last, whole | {key: 1j})
        refused(stopped, monkeypatch, f"last.pth is no whole checkpoint .{key} is of type complex")
        save_checkpoint(last, {name: value for name, value in whole.items() if name != key})
        refused(stopped, monkeypatch, f"is not a checkpoint of SEAR|has no {key}|holds no optimizer state")
    for part in ("optimizer", "state_dict"):
        save_checkpoint(last, whole | {part: {"param_groups": 5}})
        with pytest.raises(InputError, match="last.pth does not fit this (model|training's optimizer)") as error:
            resume(stopped)
        assert "\n" not in str(error.value)


def test_a_checkpoint_of_an_earlier_sear_is_read(stopped):
    for name in ("best", "last"):
        path = stopped / f"{name}.pth"
        state = torch.load(path, weights_only=True) | {"format": "sear-checkpoint-1"}
        del state["settings"], state["commits"]
        torch.save(state, path)
    assert resume(stopped)["epochs"] == 3


def test_a_checkpoint_that_has_lost_its_checksum_is_damaged(tmp_path):
    path = tmp_path / "best.pth"
    save_checkpoint(path, {"state_dict": {}})
    torch.save(torch.load(path, weights_only=True), path)
    with pytest.raises(InputError, match="has lost its checksum"):
        load_checkpoint(path, "cpu")


def test_nothing_is_checked_of_a_run_that_has_trained_no_epoch(here, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at_step(2, patch)
        run(here)
    (config,) = (here / "results").rglob("config.yaml")
    assert resume(config.parent)["epochs"] == 3


@pytest.mark.long
def test_a_run_that_is_older_than_a_key_goes_on_with_the_yaml_files_value_and_no_other(stopped, monkeypatch, caplog):
    settings = read_settings(stopped / "config.yaml")[0]
    (stopped / "config.yaml").write_text(dump_yaml({k: v for k, v in settings.items() if k != "valid_smoothing"}))
    for path in (stopped / "best.pth", stopped / "last.pth"):
        state = torch.load(path, weights_only=True)
        save_checkpoint(
            path, state | {"settings": {k: v for k, v in state["settings"].items() if k != "valid_smoothing"}}
        )
    whole = (stopped / "config.yaml").read_text()
    (stopped / "config.yaml").write_text(whole + "valid_smoothing: 3\n")
    refused(stopped, monkeypatch, "was trained with valid_smoothing 1, and the run's config.yaml says 3")
    (stopped / "config.yaml").write_text(whole)
    assert resume(stopped)["epochs"] == 3
    assert "is a run of an earlier SEAR, without valid_smoothing: taken as in the YAML files" in caplog.text
    assert evaluate(stopped)["test"]["mrr@10"] > 0
