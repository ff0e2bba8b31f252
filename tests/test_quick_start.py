"""A run from data to folder, evaluated again, and with every kind of bad checkpoint."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from sear.errors import HeldError, InputError
from sear.quick_start import evaluate, resume
from sear.runs.lock import held
from sear.trainer.trainer import SEARTrainer
from tests.conftest import fake_sentence_vectors, random_histories, write_atomic_files
from tests.helpers.killed_run import run


def test_a_run_leaves_all_that_it_promises(here):
    folder = Path(run(here)["run_folder"])
    assert folder.parts[-4:-1] == ("results", "tiny", "SEAR")
    names = "config.yaml metrics.json history.csv cases.csv.gz examples.json best.pth last.pth run.log model"
    assert {path.name for path in folder.iterdir()} == set(names.split())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["epochs"] == len(pd.read_csv(folder / "history.csv")) == 3
    assert set(metrics["seconds"]) == {"data", "text", "train", "test"}
    assert metrics["environment"]["threads"] == 2
    cases = pd.read_csv(folder / "cases.csv.gz")
    assert len(cases) == 40
    assert metrics["test"]["hit@10"] == pytest.approx((cases["rank"] <= 10).mean())
    assert sum(group["cases"] for group in metrics["test_by_history_length"]) == 40
    empty = [group for group in metrics["test_by_item_popularity"] if not group["cases"]]
    assert empty and all(group["hit@10"] is None for group in empty)
    assert len(pd.read_csv(here / "results" / "summary.csv")) == 1


def test_a_run_holds_its_folder_before_anything_that_takes_long_and_leaves_none_if_that_fails(here, monkeypatch):
    seen = []

    def prepare(config, checkpoints):
        (folder,) = here.glob("**/results/**/config.yaml")
        with pytest.raises(HeldError), held(folder.parent):
            pass
        seen.append(folder)
        raise InputError("no item has any text")

    monkeypatch.setattr("sear.runs.training_run.prepare", prepare)
    with pytest.raises(InputError, match="no item has any text"):
        run(here)
    assert len(seen) == 1 and not (here / "results").exists()
    (here / "results").mkdir()
    with pytest.raises(InputError):
        run(here)
    assert len(seen) == 2 and list((here / "results").iterdir()) == []  # the user's own folder stays
    with pytest.raises(InputError):
        run(here, results_path=str(here / "other" / "results"))
    assert not (here / "other").exists()


def files_of(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.long
def test_a_finished_run_is_tested_again_without_training(here, capsys):
    done = run(here, mask_history=True)
    before = files_of(done["run_folder"])
    again = evaluate(done["run_folder"])
    assert again["test"] == done["test"]
    assert again["test_history_masked"] == done["test_history_masked"] != done["test"]
    assert done["test_history_masked"]["mrr@10"] >= done["test"]["mrr@10"]
    assert before == files_of(done["run_folder"])
    assert "target's training events" in capsys.readouterr().out
    other = evaluate(done["run_folder"], {"topk": [1, 20], "metrics": ["Hit"], "mask_history": False, "threads": 1})
    assert set(other["test"]) == {"hit@1", "hit@20"} and other["test_history_masked"] is None
    assert before == files_of(done["run_folder"])
    with pytest.raises(InputError, match="command line: topk is .0., not list of int >= 1"):
        evaluate(done["run_folder"], {"topk": [0]})


@pytest.mark.long
def test_bad_run_folders_and_checkpoints_are_named_with_the_remedy(here, monkeypatch):
    folder = Path(run(here, epochs=1)["run_folder"])
    with pytest.raises(InputError, match="config.yaml is missing - name a run folder"):
        resume(here)
    best = folder / "best.pth"
    whole = best.read_bytes()
    for content, told in (
        (whole[: len(whole) // 2], "truncated or no checkpoint"),
        (b"", "truncated or no checkpoint"),
        (b"not a checkpoint", "truncated or no checkpoint"),
    ):
        best.write_bytes(content)
        with pytest.raises(InputError, match=told) as error:
            evaluate(folder)
        assert "best.pth" in str(error.value) and "\n" not in str(error.value)
    torch.save({"state_dict": {}}, best)
    with pytest.raises(InputError, match="is not a checkpoint of SEAR"):
        evaluate(folder)
    best.unlink()
    with pytest.raises(InputError, match="best.pth is missing"):
        evaluate(folder)
    best.write_bytes(whole)
    with monkeypatch.context() as other_texts:
        other_texts.setattr("sear.data.text_cache.sentence_vectors", lambda *a, **k: -fake_sentence_vectors(*a, **k))
        with pytest.raises(InputError, match="trained on other texts of 30 items - restore"):
            evaluate(folder)
    write_atomic_files(here, "tiny", random_histories(seed=5))
    with pytest.raises(InputError, match="trained on other events or items"):
        evaluate(folder)


def test_a_fault_in_the_data_leaves_no_run_folder(here):
    (here / "tiny" / "tiny.inter").write_text("user_id:token\n")
    with pytest.raises(InputError, match="no column 'item_id'"):
        run(here)
    assert not (here / "results").exists()


def test_a_catalogue_too_small_for_its_start_is_told_before_anything_is_encoded(here, monkeypatch):
    monkeypatch.setattr("sear.data.text_cache.sentence_vectors", None)
    with pytest.raises(InputError, match="hidden_size is 64: 3 streams need 192 PCA components, but 30 items have"):
        run(here, hidden_size=64)


def test_early_stopping_waits_for_more_than_stopping_step_epochs(here, monkeypatch):
    scores = iter([0.1, 0.3, 0.2, 0.2, 0.2, 0.9])
    monkeypatch.setattr(SEARTrainer, "_valid_epoch", lambda self, *_: ((s := next(scores)), {"mrr@10": s}))
    done = run(here, epochs=6, stopping_step=2)
    assert (done["epochs"], done["best_epoch"]) == (5, 1)


@pytest.mark.long
def test_a_tie_is_no_improvement_and_best_is_always_a_validated_epoch(here, monkeypatch):
    scores = iter([0.3, 0.3, 0.3, 0.3])
    monkeypatch.setattr(SEARTrainer, "_valid_epoch", lambda self, *_: ((s := next(scores)), {"mrr@10": s}))
    done = run(here, epochs=8, eval_step=2, stopping_step=1)
    assert (done["epochs"], done["best_epoch"]) == (6, 1)
    assert torch.load(Path(done["run_folder"]) / "best.pth", weights_only=True)["epoch"] == 1


@pytest.mark.long
def test_mixed_precision_learns_nearly_the_same(here):
    exact, low = (run(here, epochs=1, dropout_prob=0.0, enable_amp=amp)["run_folder"] for amp in (False, True))
    losses = [pd.read_csv(Path(folder) / "history.csv")["loss"].item() for folder in (exact, low)]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.01)


def test_the_learning_rate_decays_every_epoch(here):
    folder = Path(run(here)["run_folder"])
    rates = pd.read_csv(folder / "history.csv")["lr"]
    assert rates.tolist() == pytest.approx([0.001, 0.001 * 0.96, 0.001 * 0.96**2])
