"""A grid from the command line to its report: finished, interrupted, resumed, and with a planned that fails."""

import json
import re

import pandas as pd
import pytest

from sear.cli.main import main
from sear.errors import InputError
from sear.quick_start import evaluate
from sear.settings.rules import dump_yaml
from sear.trainer.trainer import SEARTrainer
from tests.conftest import TOY, random_histories, tiny_config_root, write_atomic_files

RUNS = 6


@pytest.fixture
def grid(tmp_path, monkeypatch, tiny_text):
    """A function that runs SEAR, SEAR without ratings and Pop on the tiny data set, with two seeds; the exit code."""
    write_atomic_files(tmp_path, "tiny", random_histories())
    monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", tiny_config_root(tmp_path))
    (tmp_path / "toy.yaml").write_text(dump_yaml({key: TOY[key] for key in TOY if key != "seed"} | {"threads": 1}))

    def run(*words):
        asked = ["--dataset=tiny", "--model=SEAR,Pop", "--ablate=rating", "--seed=1,2", f"--config={tmp_path}/toy.yaml"]
        return main([*asked, f"--results_path={tmp_path}/results", *words])

    run.results = tmp_path / "results"
    return run


def metrics_of(results):
    return [json.loads(path.read_text()) for path in sorted(results.rglob("metrics.json"))]


@pytest.mark.long
def test_a_grid_is_run_once_and_reported(grid, capsys):
    assert grid() == 0
    found = metrics_of(grid.results)
    runs = [(m["model"], m["ablate"], m["seed"]) for m in found]
    assert sorted(runs, key=str) == sorted(
        [(model, part, seed) for model, part in (("SEAR", None), ("SEAR", "rating"), ("Pop", None)) for seed in (1, 2)],
        key=str,
    )
    assert all(("--ablate=rating" in m["command"]) == (m["ablate"] == "rating") for m in found)
    assert sorted(path.name for path in grid.results.rglob("*.pth")) == ["best.pth"] * RUNS
    summary = pd.read_csv(grid.results / "summary.csv")
    assert summary["ablate"].fillna("").tolist().count("rating") == 2
    report = grid.results / "tiny" / "report" / "report.html"
    page = report.read_text()
    assert "SEAR without rating" in page and "Pop" in page and "--ablate=rating" in page
    assert f"report: {report}" in capsys.readouterr().out

    before = {path: path.stat().st_mtime_ns for path in grid.results.rglob("metrics.json")}
    assert grid() == 0
    assert before == {path: path.stat().st_mtime_ns for path in grid.results.rglob("metrics.json")}
    assert capsys.readouterr().out.count("is done already in") == RUNS


@pytest.mark.long
def test_a_grid_trains_anew_what_was_trained_on_other_data(grid, tmp_path, capsys):
    words = ["--model=Pop,ItemKNN", "--dataset=tiny", f"--config={tmp_path}/toy.yaml", f"--results_path={grid.results}"]
    assert main(words) == 0
    events = tmp_path / "tiny" / "tiny.inter"
    events.write_text(events.read_text() + "u0\ti1\t5\t990000000\n")
    assert main(words) == 0
    assert capsys.readouterr().out.count("was trained on other data (its .inter file was another)") == 2
    assert len(metrics_of(grid.results)) == 4
    assert main(words) == 0
    assert capsys.readouterr().out.count("is done already in") == 2 and len(metrics_of(grid.results)) == 4


@pytest.mark.long
def test_an_interrupted_grid_goes_on_where_it_was(grid, monkeypatch, capsys):
    step, steps = SEARTrainer._train_step, []

    def interrupted(self, *arguments):
        steps.append(1)
        if len(steps) == 17:  # in the second planned, after its first epoch
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(SEARTrainer, "_train_step", interrupted)
    assert grid() == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"stopped in run 2 of 6: .* - the same command goes on from here", line)
    assert len(metrics_of(grid.results)) == 1
    assert grid() == 0
    told = capsys.readouterr().out
    assert told.count("is done already in") == 1 and told.count("goes on in") == 1 and "going on after epoch 0" in told
    assert len(metrics_of(grid.results)) == len(list(grid.results.rglob("config.yaml"))) == RUNS


@pytest.mark.long
def test_a_failed_run_is_told_at_the_end_and_the_others_are_run(grid, monkeypatch, capsys):
    fit = SEARTrainer.fit

    def failing(self, *arguments, **options):
        if self.config["ablate"] and self.config["seed"] == 1:
            raise InputError("epoch 0: the training loss is nan - lower learning_rate")
        return fit(self, *arguments, **options)

    monkeypatch.setattr(SEARTrainer, "fit", failing)
    assert grid() == 1
    told = capsys.readouterr()
    assert "\n5 of 6 runs are finished\n" in told.out
    assert told.err.splitlines()[-1].startswith("error: failed: tiny, SEAR without rating, seed 1: epoch 0")
    assert len(metrics_of(grid.results)) == 5 and (grid.results / "tiny" / "report" / "report.html").exists()


@pytest.mark.long
def test_both_names_of_a_data_set_mean_the_same_runs(grid, tmp_path, capsys):
    root = tmp_path / "config" / "data"
    (root / "short.yaml").write_text((root / "tiny.yaml").read_text() + "dataset: tiny\n")
    (root / "tiny.yaml").unlink()
    words = [f"--config={tmp_path}/toy.yaml", f"--results_path={grid.results}", "--model=Pop,ItemKNN"]
    assert main(["--dataset=short", *words]) == 0
    assert main(["--dataset=tiny", *words]) == 0
    assert capsys.readouterr().out.count("is done already in") == 2


@pytest.mark.long
def test_runs_of_a_grid_over_values_are_told_apart_by_folder_and_row(grid, tmp_path, capsys):
    words = ["--dataset=tiny", "--model=SASRec", f"--config={tmp_path}/toy.yaml", f"--results_path={grid.results}"]
    words += ["--learning_rate=0.001,0.003", "--epochs=1"]
    assert main(words) == 0
    folders = sorted(path.parent.name.partition("-seed")[2] for path in grid.results.rglob("metrics.json"))
    assert folders == ["2020-learning_rate=0.001", "2020-learning_rate=0.003"]
    page = (grid.results / "tiny" / "SASRec" / "report" / "report.html").read_text()
    assert re.search(r"SASRec \([^<]*learning_rate=0\.003", page)
    assert main(words) == 0
    assert capsys.readouterr().out.count("is done already in") == 2


@pytest.mark.long
def test_runs_that_differ_in_what_is_mixed_in_after_training_are_trained_once(grid, tmp_path, capsys):
    def asked(*words, results=grid.results):
        shared = ["--dataset=tiny", "--model=SASRec", f"--config={tmp_path}/toy.yaml", "--epochs=2"]
        assert main([*shared, f"--results_path={results}", "--mask_history=True", *words]) == 0
        return {json.loads(path.read_text())["command"]: path.parent for path in results.rglob("metrics.json")}

    mixed = ["--seed=1", "--transition_prior=[1]"]
    asked(*mixed, "--transition_popularity=0,0.5")
    found = asked("--seed=1,2", "--transition_prior=~")
    assert capsys.readouterr().out.count("trained already in") == 2  # all but one of seed 1
    assert len(found) == 4 and sorted(path.name for path in grid.results.rglob("*.pth")) == ["best.pth"] * 4

    anew = asked(*mixed, "--transition_popularity=0.5", results=tmp_path / "other")
    anew |= asked("--seed=1", "--transition_prior=~", results=tmp_path / "one more")
    assert "trained already in" not in capsys.readouterr().out
    for command, folder in anew.items():
        taken = found[command]
        record, same = (json.loads((path / "metrics.json").read_text()) for path in (taken, folder))
        assert "training_of" not in same and (taken.parent / record["training_of"] / "best.pth").exists()
        assert sum("training_of" in json.loads((path / "metrics.json").read_text()) for path in found.values()) == 2
        alike = ("test", "test_history_masked", "valid", "best_epoch", "epochs", "weights", "settings", "overrides")
        assert {key: record[key] for key in alike} == {key: same[key] for key in alike}
        assert (taken / "cases.csv.gz").read_bytes() == (folder / "cases.csv.gz").read_bytes()
        losses = [pd.read_csv(path / "history.csv").drop(columns="seconds") for path in (taken, folder)]
        pd.testing.assert_frame_equal(*losses)
        assert evaluate(taken)["test"] == record["test"]
