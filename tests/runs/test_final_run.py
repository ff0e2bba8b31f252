"""Training on every event, the file that names the newest model, and a run that begins with earlier weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import sear
from sear.data.history import held_out_rows, is_training, no_rows, prefix_rows, window_rows
from sear.errors import InputError
from sear.quick_start import evaluate
from sear.report import make_report
from sear.runs.folder import read_run_folder
from sear.runs.model_folder import model_folder, point_at, read_model
from sear.runs.record import read_metrics
from sear.runs.warm_start import validated_start
from tests.conftest import random_histories, write_atomic_files
from tests.helpers.killed_run import interrupt_at_step, run

FAST = {"epochs": 1, "train_batch_size": 2048}


def test_every_event_trains_and_none_is_held_out():
    offsets = np.array([0, 3, 10])
    assert is_training(offsets).sum() == 3 + 5 and is_training(offsets, hold_out=False).all()
    rows = window_rows(offsets, 4, 2, hold_out=False)
    assert rows.loss_count.sum() == 2 + 6 and rows.train_end.tolist() == [3, *[10] * (len(rows) - 1)]
    assert len(prefix_rows(offsets, 4, hold_out=False)) == 2 + 6
    assert len(held_out_rows(offsets, 4, 1)) == 1 and len(no_rows()) == 0


@pytest.mark.long
def test_the_final_model_trains_on_all_events_for_the_epochs_that_validation_chose(here, monkeypatch):
    done = run(here, train_on="all", learning_rate=0.01, train_batch_size=512)
    tested = run(here, learning_rate=0.01, train_batch_size=512)  # the same once more
    first = next(
        p for p in (here / "results" / "tiny" / "SEAR").glob("*/metrics.json") if json.loads(p.read_text())["test"]
    )
    assert done["test"] == {} and done["epochs"] == json.loads(first.read_text())["best_epoch"] + 1
    assert done["epochs"] == tested["best_epoch"] + 1
    folder = Path(done["run_folder"])
    assert not (folder / "cases.csv.gz").exists() and read_run_folder(first.parent).record.test
    counts = read_model(folder / "model").training_counts
    assert counts.sum() == done["statistics"]["interactions"] > read_model(first.parent / "model").training_counts.sum()
    with pytest.raises(InputError, match="was trained on every event, so there is nothing to test"):
        evaluate(folder)
    with pytest.raises(InputError, match="every event trained, so nothing was tested"):
        make_report([folder])
    assert make_report([here / "results"]).exists()


def test_the_newest_model_is_named_by_a_file_and_a_broken_one_is_not(here):
    folder = Path(run(here, train_on="all", **FAST)["run_folder"])
    newest = folder.parent / "newest"
    assert newest.read_text() == f"{folder.name}\n" and model_folder(newest) == folder / "model"
    assert len(sear.load(newest).recommend(["u0"], k=3)) == 3
    later = Path(run(here, train_on="all", seed=2, **FAST)["run_folder"])
    assert model_folder(newest) == later / "model"
    (folder / "model" / "texts.safetensors").write_text("[]")
    with pytest.raises(InputError, match="texts.safetensors is damaged"):
        point_at(newest, folder)
    assert model_folder(newest) == later / "model"
    newest.write_text("a\nb\n")
    with pytest.raises(InputError, match="is not one line that names a model's folder"):
        sear.load(newest)


def test_a_run_that_was_stopped_on_earlier_data_does_not_stop_later_ones(here, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_at_step(2, patch)
        run(here, train_on="all", **FAST | {"epochs": 2})
    more = {user: [*events, ("i1", 3, 881260000)] for user, events in random_histories().items()}
    write_atomic_files(here, "tiny", more)
    done = run(here, train_on="all", **FAST | {"epochs": 2})
    assert done["statistics"]["interactions"] == sum(map(len, more.values()))


def test_a_warm_start_takes_over_what_it_knows_by_id(here):
    old = Path(run(here, epochs=1)["run_folder"])
    before = read_model(old / "model")
    histories = random_histories()
    renamed = {
        user: [("new" if item == "i3" else item, *rest) for item, *rest in events] for user, events in histories.items()
    }
    directory = write_atomic_files(here, "tiny", dict(reversed(renamed.items())), items=31)
    item_file = directory / "tiny.item"
    item_file.write_text(item_file.read_text().replace("\ni30\t", "\nnew\t"))
    done = run(here, epochs=1, learning_rate=1e-12, warm_start=str(old))
    assert done["began_with"] == before.about["digest"]
    warm = read_model(Path(done["run_folder"]) / "model")
    assert warm.item_ids != before.item_ids and "new" in warm.item_ids
    for name in ("collaborative_emb.weight", "item_decoder.weight"):
        for token in set(warm.item_ids) - {"new"}:
            theirs, own = before.item_ids.index(token) + 1, warm.item_ids.index(token) + 1
            torch.testing.assert_close(warm.weights[name][own], before.weights[name][theirs], rtol=0, atol=1e-6)
    torch.testing.assert_close(warm.weights["adapter.weight"], before.weights["adapter.weight"], rtol=0, atol=1e-6)


def test_no_folder_is_made_before_the_run_that_validates_is_trained(here, monkeypatch):
    def killed(config):
        assert not list((here / "results").rglob("*"))
        raise InputError("as if it were killed")

    monkeypatch.setattr("sear.runs.training_run.validated_run", killed)
    with pytest.raises(InputError, match="as if it were killed"):
        run(here, train_on="all", **FAST)


def test_a_warm_start_is_validated_on_events_that_its_weights_have_never_seen(here):
    first = Path(run(here, train_on="all", **FAST)["run_folder"])
    newest, validated = first.parent / "newest", read_metrics(first).validated_by
    about = sear.load(newest).info
    assert not list(first.parent.glob("*/last.pth"))
    assert about["metrics"]["test"] == read_metrics(first.parent / validated).test != {}
    with pytest.raises(InputError, match="trained on every event, so those held out would not be new to it"):
        run(here, warm_start=str(newest), **FAST)
    second = Path(run(here, train_on="all", warm_start=str(newest), **FAST)["run_folder"])
    assert read_metrics(second).overrides["warm_start"] == str(first)  # and not the file that names others later
    between = read_metrics(first.parent / read_metrics(second).validated_by)
    assert between.overrides["warm_start"] == str(first.parent / validated)
    shutil.rmtree(first.parent / validated)
    assert validated_start(str(first)) is None


def test_a_warm_start_that_does_not_fit_is_refused(here, monkeypatch):
    old = run(here, **FAST)["run_folder"]
    with pytest.raises(InputError, match="warm_start: .* has num_layers 1, and this run 2 - set num_layers alike"):
        run(here, epochs=1, num_layers=2, warm_start=old)
    monkeypatch.setattr("sear.runs.training_run.prepare", None)  # each is told before any work
    with pytest.raises(InputError, match="nowhere holds no model"):
        run(here, epochs=1, warm_start=str(here / "nowhere"))
    with pytest.raises(InputError, match="has num_heads 2, and this run 4"):
        run(here, epochs=1, num_heads=4, warm_start=old)
    with pytest.raises(InputError, match="reads texts by another encoder"):
        run(here, epochs=1, item_sem_embedding_model_path="owner/other", warm_start=old)
    assert not [path for path in (here / "results").glob("*/*/*/") if str(path) != old]
