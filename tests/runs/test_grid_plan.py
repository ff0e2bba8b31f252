import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sear.errors import HeldError, InputError, OtherDataError
from sear.runs.find import find_runs
from sear.runs.folder import write_cases, write_history, write_metrics
from sear.runs.grid import PlannedRun, plan_runs, run_grid
from tests.runs.test_folder import RECORD


def test_every_model_stands_whole_and_only_sear_without_its_parts():
    runs = plan_runs(["a"], ["SEAR", "SASRec"], [1, 2], ["semantic", "rating"], "SEAR".__eq__)
    assert [(planned.model, planned.ablate) for planned in runs if planned.seed == 2] == [
        ("SEAR", ""), ("SEAR", "semantic"), ("SEAR", "rating"), ("SASRec", "")
    ]  # fmt: skip
    assert [planned.seed for planned in runs] == [1] * 4 + [2] * 4


def finish(folder, data=None):
    """What only a finished run has."""
    write_history(folder, [])
    write_cases(folder, {"user": [], "target": [], "rank": []})
    commit = {"commit": "0123456789abcdef"}
    write_metrics(folder, replace(RECORD, epochs=0, environment=commit, data=data))


class Harness:
    """Runs that leave folders as real ones do; `trouble` maps a planned to what is raised in it."""

    def __init__(self, results):
        self.results, self.trouble, self.ran, self.resumed, self.said, self.errors = results, {}, [], [], [], []
        self.use_gpu, self.data = True, {"inter": "0123", "item": "4567"}

    def settings(self, planned):
        names = {"dataset": planned.dataset, "model": planned.model, "ablate": planned.ablate, "seed": planned.seed}
        return names | {"k": 4, "use_gpu": self.use_gpu, "results_path": str(self.results)}

    def folder(self, planned):
        return self.results / planned.dataset / planned.model / f"run-{planned.ablate or 'whole'}-{planned.seed}"

    def run(self, planned):
        self.ran.append(planned)
        self.folder(planned).mkdir(parents=True)
        (self.folder(planned) / "config.yaml").write_text(yaml.safe_dump(self.settings(planned)))
        for name in ("best.pth", "last.pth"):
            (self.folder(planned) / name).touch()
        if planned in self.trouble:
            raise self.trouble[planned]
        finish(self.folder(planned), self.data)

    def resume(self, folder, changes):
        self.resumed.append((folder, changes))
        finish(folder, self.data)

    def grid(self, **changes):
        asked = {"datasets": ["a"], "models": ["SEAR", "SASRec"], "seeds": [1, 2], "ablations": ["rating"]}
        asked |= {"ablatable": "SEAR".__eq__} | changes
        callables = {"run": self.run, "resume": self.resume, "settings": self.settings, "say": self.said.append}
        callables |= {"data": lambda _: self.data, "complain": self.errors.append}
        return run_grid(plan_runs(**asked), **callables)


@pytest.fixture
def harness(tmp_path):
    return Harness(tmp_path / "results")


def test_a_second_call_runs_nothing_again(harness):
    first = harness.grid()
    assert len(harness.ran) == len(first.finished) == 6 and first.exit_code == 0
    assert harness.grid().finished == first.finished
    assert len(harness.ran) == 6
    assert sum("is done already" in line and "at commit 0123456789abcdef -" in line for line in harness.said) == 6
    harness.grid(seeds=[1, 2, 3])
    assert [planned.seed for planned in harness.ran[6:]] == [3, 3, 3]


def test_runs_on_other_data_are_not_taken_as_done_and_it_is_said(harness):
    harness.folder = lambda planned: Harness.folder(harness, planned).with_name(f"run-{planned.seed}-{harness.data}")
    asked = {"models": ["SASRec"], "seeds": [1]}
    harness.grid(**asked)
    (old,) = harness.grid(**asked).finished.values()
    assert len(harness.ran) == 1
    harness.data = {"inter": "89ab", "item": "4567"}
    (new,) = harness.grid(**asked).finished.values()
    assert len(harness.ran) == 2 and new != old
    assert f"{old} was trained on other data (its .inter file was another): not taken as done" in harness.said
    assert len(harness.grid(**asked).finished) == 1 and len(harness.ran) == 2
    (new / "metrics.json").write_text((new / "metrics.json").read_text().replace('"data"', '"other"'))
    harness.data = {"inter": "89ab"}
    assert harness.grid(**asked).exit_code == 0 and len(harness.ran) == 3
    assert any("does not say which data it was trained on" in line for line in harness.said)


def test_a_stopped_run_whose_data_have_changed_begins_anew(harness):
    planned = PlannedRun("a", "SASRec", "", 1)
    harness.trouble = {planned: RuntimeError("stopped")}
    harness.grid(models=["SASRec"], seeds=[1])
    harness.trouble = {}

    def resume(folder, changes):
        raise OtherDataError(f"{folder}/last.pth was trained on other events - restore the data")

    harness.resume = resume
    harness.folder = lambda planned: Harness.folder(harness, planned).with_name("anew")
    assert harness.grid(models=["SASRec"], seeds=[1]).exit_code == 0
    assert any(
        line.endswith("last.pth was trained on other events: run 1 of 1: a, SASRec, seed 1 begins anew")
        for line in harness.said
    )


def test_a_failed_run_is_reported_and_does_not_stop_the_others(harness):
    mistake, fault = PlannedRun("a", "SEAR", "", 1), PlannedRun("a", "SEAR", "rating", 1)
    harness.trouble = {mistake: InputError("lower learning_rate"), fault: ZeroDivisionError("by zero")}
    outcome = harness.grid()
    assert outcome.failed == {mistake: "lower learning_rate", fault: "ZeroDivisionError: by zero"}
    assert len(outcome.finished) == 4 and outcome.exit_code == 1
    assert "run 1 of 6: a, SEAR, seed 1 failed: lower learning_rate" in harness.errors
    assert harness.errors[-2:] == [
        "failed: a, SEAR, seed 1: lower learning_rate",
        "failed: a, SEAR without rating, seed 1: ZeroDivisionError: by zero",
    ]


@pytest.fixture
def looks(monkeypatch):
    """What happens while a grid waits for other processes, one entry per look; more looks than entries are a hang."""
    happens = []
    monkeypatch.setattr("sear.runs.grid.time.sleep", lambda seconds: happens.pop(0)())
    return happens


def test_a_run_that_another_process_works_on_is_left_to_it_and_waited_for(harness, looks):
    theirs, given_up = PlannedRun("a", "SEAR", "", 1), PlannedRun("a", "SASRec", "", 1)
    harness.trouble = {planned: HeldError("another process") for planned in (theirs, given_up)}
    looks.append(lambda: finish(harness.folder(theirs), harness.data))
    outcome = harness.grid()
    assert len(outcome.finished) == 6 and outcome.exit_code == 0 and not looks
    assert [folder for folder, _ in harness.resumed] == [harness.folder(given_up)]  # its process was stopped
    waits = "run 1 of 6: a, SEAR, seed 1: another process works on it: waiting for that one"
    assert harness.said.count(waits) == 1


def test_two_equal_grids_of_the_same_moment_share_the_runs(harness, looks):
    """The second starts while the first has chosen a run, and not made its folder yet."""
    others = []

    def run(planned):
        if not others:
            others.append(None)  # the second grid asks once
            looks.append(lambda: Harness.run(harness, planned))  # what the first one does meanwhile
            others[0] = harness.grid()
        else:
            Harness.run(harness, planned)

    harness.run = run
    outcome = harness.grid()
    assert len(others[0].finished) == 6 and others[0].exit_code == 0
    assert len(outcome.finished) == len(harness.ran) == len(set(harness.ran)) == 6
    assert not list(harness.results.glob(".*.lock"))


def test_ctrl_c_ends_the_waiting_for_another_process(harness, looks):
    def stop():
        raise KeyboardInterrupt

    harness.trouble = {PlannedRun("a", "SEAR", "", 1): HeldError("another process")}
    looks.append(stop)
    told = "stopped while waiting for run 1 of 6: a, SEAR, seed 1 - the same command goes on"
    with pytest.raises(KeyboardInterrupt, match=told):
        harness.grid()


def test_a_folder_that_cannot_be_read_is_told_of_once_and_stops_nothing(harness):
    broken = harness.results / "a" / "SEAR" / "20260101-000000-seed1"
    broken.mkdir(parents=True)
    (broken / "config.yaml").write_text("k: [1")
    assert len(harness.grid().finished) == 6
    assert len([line for line in harness.said if str(broken) in line]) == 1


@pytest.mark.parametrize("name", ["metrics.json", "cases.csv.gz"])
def test_a_finished_run_with_a_broken_file_is_reported_and_does_not_stop_the_others(harness, name):
    broken, folder = PlannedRun("a", "SEAR", "", 1), harness.folder(PlannedRun("a", "SEAR", "", 1))
    harness.grid()
    (folder / name).write_bytes((folder / name).read_bytes()[:-9])
    outcome = harness.grid()
    assert list(outcome.failed) == [broken] and len(outcome.finished) == 5 and outcome.exit_code == 1
    assert re.search(f"{name} cannot be read.* run again; for the latter delete {folder}$", outcome.failed[broken])


def test_each_run_is_looked_for_where_its_own_settings_put_it(harness):
    def settings(planned):
        place = {"results_path": str(harness.results / "elsewhere")} if planned.model == "SASRec" else {}
        return Harness.settings(harness, planned) | place

    harness.settings = settings
    harness.folder = lambda run: Path(settings(run)["results_path"]) / run.dataset / run.model / f"{run.seed}"
    assert len(harness.grid(ablations=[]).finished) == 4
    assert len(harness.grid(ablations=[]).finished) == len(harness.ran) == 4


def test_ctrl_c_stops_the_grid_and_the_next_call_resumes_the_run(harness):
    stopped = PlannedRun("a", "SEAR", "rating", 1)
    harness.trouble = {stopped: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt, match="stopped in run 2 of 6: .* - the same command goes on"):
        harness.grid()
    assert len(harness.ran) == 2
    harness.use_gpu = False
    outcome = harness.grid()
    ((folder, changes),) = harness.resumed
    assert folder == harness.folder(stopped) and changes["use_gpu"] is False  # as it is asked for now
    assert len(outcome.finished) == 6 and stopped in outcome.finished
    assert harness.ran.count(stopped) == 1


def test_a_finished_run_keeps_only_its_best_checkpoint(harness):
    for folder in harness.grid().finished.values():
        assert sorted(path.name for path in folder.glob("*.pth")) == ["best.pth"]


def test_an_unfinished_run_keeps_what_it_needs_to_go_on(harness):
    failed = PlannedRun("a", "SASRec", "", 1)
    harness.trouble = {failed: RuntimeError("out of memory")}
    harness.grid()
    assert (harness.folder(failed) / "last.pth").exists()


def test_a_mistake_in_the_settings_of_the_last_run_costs_no_run(harness):
    def settings(planned):
        if planned.model == "SASRec":
            raise InputError("n_heads must divide hidden_size")
        return Harness.settings(harness, planned)

    harness.settings = settings
    with pytest.raises(InputError, match="n_heads"):
        harness.grid()
    assert not harness.ran


def test_a_run_with_other_settings_is_not_taken_for_the_run(harness):
    harness.grid(models=["SASRec"], seeds=[1])
    planned = PlannedRun("a", "SASRec", "", 1)
    assert find_runs(harness.settings(planned)) == (harness.folder(planned), None)
    assert find_runs(harness.settings(planned) | {"k": 1}) == (None, None)


def test_a_run_that_leaves_no_figures_counts_as_failed(harness):
    harness.run = lambda planned: None
    assert "left no folder" in harness.grid(models=["SASRec"], seeds=[1]).failed[PlannedRun("a", "SASRec", "", 1)]
