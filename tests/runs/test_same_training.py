"""A run with the training of a finished one takes it over, unless something is wrong with it."""

import json
from pathlib import Path

import pytest

from sear.quick_start import evaluate, resume, train
from sear.runs import training_run
from sear.settings.recbole_config import build_config
from tests.conftest import TOY


@pytest.fixture
def asked(here):
    """A function that asks for a SASRec with other settings; returns the run's folder and metrics.json."""

    def run(**changes):
        settings = TOY | {"epochs": 2, "threads": 1, "results_path": str(here / "results"), "ema_decay": 0.9}
        done = train(build_config("tiny", "SASRec", settings | changes), reuse=True)
        return Path(done["run_folder"]), json.loads((Path(done["run_folder"]) / "metrics.json").read_text())

    return run


def test_all_that_take_over_a_training_name_the_run_that_did_it(asked):
    first, trained = asked(transition_prior=[1.0])
    assert "training_of" not in trained
    for changes in ({}, {"text_match": [30.0]}, {"transition_prior": [1.0], "mask_history": True}):
        folder, record = asked(**changes)
        assert record["training_of"] == first.name and record["seconds"]["train"] == trained["seconds"]["train"]
        assert record["peak_memory_mb"] >= trained["peak_memory_mb"]
        assert evaluate(folder)["test"] == record["test"]
    _, other = asked(learning_rate=0.01)
    assert "training_of" not in other


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def better(path):
    record = json.loads(path.read_text())
    record["valid"]["mrr@10"] += 0.01
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    "name, spoil, told",
    [
        ("best.pth", cut, "best.pth"),
        pytest.param("history.csv", Path.unlink, "history.csv", marks=pytest.mark.long),
        pytest.param("metrics.json", cut, "metrics.json", marks=pytest.mark.long),
        ("metrics.json", better, "validates otherwise by now (mrr@10 "),
    ],
)
def test_a_training_that_cannot_be_used_is_done_again(asked, name, spoil, told, caplog):
    folder, before = asked(transition_prior=[1.0])
    spoil(folder / name)
    _, record = asked(transition_prior=[2.0])
    (line,) = [line for line in caplog.messages if line.startswith("not taken over: ")]
    assert told in line and "training_of" not in record
    assert (record["epochs"], record["best_epoch"]) == (before["epochs"], before["best_epoch"])
    again, same = asked(transition_prior=[1.0], text_match=[30.0])  # of the one that is sound
    assert same["training_of"] and evaluate(again)["test"] == same["test"]


def test_a_run_that_is_stopped_with_anothers_training_goes_on_with_it(asked, monkeypatch):
    first, _ = asked()

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "write_metrics", stop)
        with pytest.raises(KeyboardInterrupt, match="stopped; go on with: .*--resume="):
            asked(transition_prior=[1.0])
    (left,) = {path.parent for path in first.parent.glob("*/config.yaml")} - {first}
    (left / "best.pth").unlink()  # as when it is killed a moment earlier
    done = resume(left, reuse=True)
    assert done["training_of"] == first.name
    _, anew = asked(transition_prior=[1.0], results_path=str(first.parents[2] / "others"))
    assert done["test"] == anew["test"] and "training_of" not in anew
