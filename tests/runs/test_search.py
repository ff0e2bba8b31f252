"""A search: what may be tried is read and checked, workers share one study, and a killed trial goes on."""

import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

optuna = pytest.importorskip("optuna", reason="needs optuna")

from sear import processes  # noqa: E402
from sear.cli import tune  # noqa: E402
from sear.cli.tune import main, space_file  # noqa: E402
from sear.errors import HeldError, InputError, LostProcessError, OutOfMemoryError, WriteError  # noqa: E402
from sear.files import PROJECT_ROOT  # noqa: E402
from sear.report.study import trials_table  # noqa: E402
from sear.runs import workers  # noqa: E402
from sear.runs.search import Budget, Search  # noqa: E402
from sear.runs.search_space import Parameter, check_space, read_space  # noqa: E402
from sear.runs.study import open_study, what_scores_depend_on, without_password  # noqa: E402
from sear.runs.trial import best_score  # noqa: E402
from sear.runs.workers import RETRY, retry_lost_trials, signs_of_life, this_worker  # noqa: E402
from sear.settings.gather import gather_settings, own_files  # noqa: E402
from sear.settings.rules import read_settings  # noqa: E402
from tests.conftest import TOY, random_histories, tiny_config_root, write_atomic_files  # noqa: E402

SPACE = [Parameter("x", low=0.0, high=1.0), Parameter("kind", choices=("a", ["b", "c"], None))]


ELSEWHERE = {"machine": "elsewhere", "pid": 1, "started": 0.0}


def study_in(folder, **changes):
    return open_study("s", str(folder / "study.log"), **changes)


def search(study, run, trials=6, seeds=(1,)):
    return Search(study, SPACE, seeds, 10, run, Budget(trials), sampler_seed=1)


def test_a_space_in_yaml(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "a: {low: 1, high: 9, step: 2}\nb: [1, x, [2, 3]]\nc: {low: .1, high: 1, log: True}\n"
    )
    assert read_space(tmp_path / "s.yaml") == [
        Parameter("a", low=1, high=9, step=2),
        Parameter("b", choices=(1, "x", [2, 3])),
        Parameter("c", low=0.1, high=1, log=True),
    ]


def test_a_space_in_recboles_own_words(tmp_path):
    (tmp_path / "hyper.test").write_text(
        "# a comment\nlearning_rate loguniform -8,0\nhidden_size choice [64, 128]\ndropout_prob uniform 0.0,0.5\n"
        "d_state quniform 8,64,8\nstreams choice [\"['semantic']\",\"['semantic', 'collaborative']\"]\n\n"
    )
    rate, size, dropout, state, streams = read_space(tmp_path / "hyper.test")
    assert (rate.low, rate.high, rate.log) == (pytest.approx(math.exp(-8)), 1, True)
    assert size.choices == (64, 128) and (dropout.low, dropout.high) == (0, 0.5)
    assert (state.low, state.high, state.step, state.whole) == (8, 64, 8, True)
    assert streams.choices == (["semantic"], ["semantic", "collaborative"])


@pytest.mark.parametrize(
    "words, ends",
    [
        ("8,64,8", (8, 64, 8)),
        ("1,10,4", (0, 8, 4)),
        ("0.5,9.5,2", (0, 10, 2)),
        ("0.1,0.5,0.2", (0.2, 0.4, 0.2)),
        ("0.1,0.7,0.1", (0.1, 0.7, 0.1)),
    ],
)
def test_quniform_means_multiples_of_the_step_as_hyperopt_has_it(tmp_path, words, ends):
    (tmp_path / "hyper.test").write_text(f"a quniform {words}\n")
    (found,) = read_space(tmp_path / "hyper.test")
    assert (found.low, found.high, found.step) == ends
    assert found.whole == all(isinstance(end, int) for end in ends)


@pytest.mark.parametrize(
    "name, text, told",
    [
        ("s.yaml", "a: 3\n", "line 1: a is neither a list nor a range"),
        ("s.yaml", "a: [1]\n", "needs two or more different values"),
        ("s.yaml", "b: {low: 2, high: 1}\n", "goes from 2 to 1"),
        ("s.yaml", "b: {low: 0, high: 1, log: True}\n", "begin above 0"),
        ("s.yaml", "b: {low: 1, high: 2, log: True, step: 1}\n", "none with log"),
        ("s.yaml", "b: {low: x, high: 2}\n", "must be numbers"),
        ("s.yaml", "", "names nothing to search for"),
        ("hyper.test", "a choice __import__('os').getcwd()\n", "is no list"),
        ("hyper.test", "a choice 5\n", "5 is no list"),
        ("hyper.test", "a choice 'abc'\n", "'abc' is no list"),
        ("hyper.test", "a uniform 0,1\n\na choice [1,2]\n", "line 3: a stands on line 1 too"),
        ("hyper.test", "a normal 0,1\n", "line 1: normal is no kind of range"),
        ("hyper.test", "a uniform 0\n", "takes 2 numbers"),
        ("hyper.test", "a quniform 0,nan,1\n", "takes 3 numbers"),
        ("hyper.test", "a quniform 0,1,0\n", "a step of 0"),
        ("hyper.test", "a quniform 1,2,8\n", "line 1: a from 1 to 2 holds no two multiples of 8 - "),
    ],
)
def test_what_cannot_be_tried_is_named(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told):
        read_space(tmp_path / name)


def test_values_are_checked_before_the_first_trial():
    with pytest.raises(InputError, match="search space: dropout_prob is 1.5, not float"):
        check_space([Parameter("dropout_prob", low=0.1, high=1.5)], "ml-100k", "SEAR", [], {})
    for key in ("transition_half_life", "text_match_half_life"):
        with pytest.raises(InputError, match=f"{key} has no effect before an epoch's validation"):
            check_space([Parameter(key, low=1.0, high=3.0)], "ml-100k", "SEAR", [], {})
    with pytest.raises(InputError, match="unknown key drop_out"):
        check_space([Parameter("drop_out", choices=(1, 2))], "ml-100k", "SEAR", [], {})


@pytest.mark.parametrize("key", ["seed", "valid_metric", "use_gpu", "data_path", "user_inter_num_interval", "topk"])
def test_only_hyper_parameters_are_tried(key):
    with pytest.raises(InputError, match=f"search space: {key} is no hyper-parameter"):
        check_space([Parameter(key, choices=(1, 2))], "ml-100k", "SEAR", [], {})


def test_whole_ends_of_a_key_that_holds_a_float_mean_all_between():
    space = [Parameter("weight_decay", low=0, high=1), Parameter("num_layers", low=1, high=3)]
    assert [parameter.whole for parameter in space] == [True, True]
    decay, layers = check_space(space, "ml-100k", "SEAR", [], {})
    assert not decay.whole and layers.whole


@pytest.mark.parametrize("model", sorted(path.stem for path in (PROJECT_ROOT / "config" / "tune").glob("*.yaml")))
def test_every_space_of_the_project_is_allowed(model):
    check_space(read_space(space_file(None, gather_settings("ml-100k", model))), "ml-100k", model, [], {})


def test_a_variant_has_the_space_of_its_class():
    assert "SEAR-tuned" in own_files("model")
    assert space_file(None, gather_settings("ml-100k", "SEAR-tuned")).name == "SEAR.yaml"
    with pytest.raises(InputError, match="there is no config/tune/Pop.yaml"):
        space_file(None, gather_settings("ml-100k", "Pop"))


def test_the_best_of_the_mean_over_seeds_wins(tmp_path):
    study = study_in(tmp_path)
    search(study, lambda values, seed, told: values["x"] + seed, seeds=(1, 3)).work()
    assert len(study.trials) == 6 and study.best_value == pytest.approx(study.best_params["x"] + 2)
    search(study_in(tmp_path), lambda *_: 1 / 0).work()  # the budget is the study's
    assert len(study.trials) == 6


def test_a_trial_that_lags_behind_is_pruned_and_a_mistake_fails_alone(tmp_path):
    study = study_in(tmp_path)

    def run(values, seed, told):
        number = len(study.trials) - 1
        if number == 5:
            raise InputError("heads do not divide")
        if number == 7:
            raise RuntimeError("out of memory")
        for epoch in range(5):
            told(epoch, 0.0 if number == 6 else 1.0 + number)
        return 1.0 + number

    search(study, run, trials=9).work()
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE"] * 5 + ["FAIL", "PRUNED", "FAIL", "COMPLETE"]
    assert study.trials[5].user_attrs["error"] == "heads do not divide"
    assert study.trials[7].user_attrs["error"] == "RuntimeError: out of memory"
    table = trials_table(study, SPACE, "score").numbers
    assert table["state"].tolist() == ["finished"] * 6 + ["failed", "pruned", "failed"]
    assert table["score"].isna().tolist() == [False] * 6 + [True] * 3


def test_an_interrupted_trial_is_taken_up_by_the_next_worker(tmp_path):
    study, tried = study_in(tmp_path), []

    def run(values, seed, told):
        tried.append(values)
        if len(tried) == 2:
            raise KeyboardInterrupt
        return values["x"]

    with pytest.raises(KeyboardInterrupt):
        search(study, run, trials=3).work()
    search(study_in(tmp_path), run, trials=3).work()
    assert tried[1] == tried[2] and len(tried) == 4
    assert [trial.state.name for trial in study_in(tmp_path).trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_search_that_stops_and_goes_on_proposes_what_it_would_have_without_the_stop(tmp_path):
    stopped, whole = [], []

    def run(values, seed, told):
        stopped.append(values)
        if len(stopped) == 3:
            raise KeyboardInterrupt
        return values["x"]

    with pytest.raises(KeyboardInterrupt):
        search(study_in(tmp_path / "stopped"), run, trials=12).work()
    search(study_in(tmp_path / "stopped"), run, trials=5).work()  # a budget that is used up, and then a larger one
    search(study_in(tmp_path / "stopped"), run, trials=12).work()

    def never_stopped(values, seed, told):
        whole.append(values)
        return values["x"]

    search(study_in(tmp_path / "whole"), never_stopped, trials=12).work()
    assert stopped[:2] + stopped[3:] == whole  # the third was tried twice
    assert len({values["x"] for values in whole}) == 12


def test_a_run_that_another_worker_holds_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("sear.runs.search.PAUSE", 0.0)
    study, tried = study_in(tmp_path), []

    def run(values, seed, told):
        tried.append(values)
        if len(tried) < 3:
            raise HeldError("the run is being worked on by another process - wait")
        return values["x"]

    search(study, run, trials=1).work()
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] and tried[0] == tried[2]


@pytest.fixture
def passes(monkeypatch):
    """A function that lets seconds pass on this process's own clock."""
    now = [0.0]
    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def running(study, worker, sign=0.0):
    """A trial of that worker, with its first value."""
    trial = study.ask()
    SPACE[0].suggest(trial)
    trial.set_user_attr("worker", worker)
    trial.set_user_attr("alive", sign)
    return trial


def test_a_worker_of_this_machine_is_gone_when_its_process_is(tmp_path, passes):
    study, watch, me = study_in(tmp_path), workers.Watch(), this_worker()
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    for worker in (me, me | {"started": me["started"] + 2}, me | {"pid": dead.pid}, ELSEWHERE | {"pid": dead.pid}):
        running(study, worker)  # the clock was set right by 2 seconds; a container may have our host's name
    for seconds, gone in ((0, [False, False, True, False]), (600, [False, False, True, True])):
        passes(seconds)
        assert [watch.is_gone(trial) for trial in study.trials] == gone


def test_a_worker_elsewhere_is_gone_when_its_sign_stays_whatever_time_it_tells(tmp_path, passes):
    study, watch = study_in(tmp_path), workers.Watch()
    trial = running(study, ELSEWHERE, time.time() - 600)  # its clock is ten minutes behind
    for beat in range(20):
        trial.set_user_attr("alive", time.time() - 600 + beat)
        assert not watch.is_gone(study.trials[0])
        passes(20)
    passes(110)
    assert watch.is_gone(study.trials[0])


def test_a_worker_elsewhere_is_unknown_until_a_sign_comes_while_one_looks(tmp_path, passes):
    study, watch = study_in(tmp_path), workers.Watch()
    trial = running(study, ELSEWHERE)
    running(study, this_worker())
    assert [watch.is_unknown(found) for found in study.trials] == [True, False]
    passes(3600)  # who looks once in an hour sees signs of workers that have gone since
    for sign, seconds, unknown in ((1.0, 0, True), (2.0, 5, False), (2.0, 60, True)):
        trial.set_user_attr("alive", sign)
        passes(seconds)
        assert watch.is_unknown(study.trials[0]) == unknown


def test_a_search_ends_when_no_trial_can_be_left_behind(tmp_path, monkeypatch, passes):
    study, tried = study_in(tmp_path), []
    running(study, ELSEWHERE)
    pauses = SimpleNamespace(sleep=passes, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("sear.runs.search.time", pauses)

    def run(values, seed, told):
        tried.append(values)
        return values["x"]

    search(study, run, trials=3).work()
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert tried[2]["x"] == study.trials[0].params["x"]


@pytest.mark.parametrize("together", [True, False])
def test_a_search_ends_when_the_processes_do_not_work_together_any_more(tmp_path, monkeypatch, together):
    monkeypatch.setattr(processes, "_group", processes._Group(0, 2, None, None))
    asked = []
    monkeypatch.setattr(processes, "_sent", asked.append)
    study, tried = study_in(tmp_path), []

    def run(values, seed, told):
        tried.append(values)
        if together:
            raise LostProcessError("another of the 2 processes has ended")
        processes._group.together = False
        raise OutOfMemoryError("train: not enough memory - lower train_batch_size")

    with pytest.raises(LostProcessError, match="another|start them all again"):
        search(study, run, trials=3).work()
    assert asked == [["is_one_of_many"]]
    assert len(tried) == 1 and study.trials[0].state.name == "FAIL"
    assert ("error" in study.trials[0].user_attrs) != together
    assert [trial.user_attrs.get(RETRY) for trial in study.trials] == ([None, 0] if together else [None])


def test_signs_of_life_outlast_an_error_of_the_storage(tmp_path, monkeypatch):
    monkeypatch.setattr("sear.runs.workers.BEAT", 0.01)
    study = study_in(tmp_path)
    trial, set_attribute, calls = study.ask(), study._storage.set_trial_user_attr, []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError("the server restarts")
        set_attribute(*arguments)

    monkeypatch.setattr(study._storage, "set_trial_user_attr", fail_once)
    with signs_of_life(trial):
        while len(calls) < 3:
            time.sleep(0.01)
    assert "alive" in study.trials[0].user_attrs


def test_a_worker_whose_trial_was_taken_up_drops_it_and_goes_on(tmp_path):
    study, tried = study_in(tmp_path), []

    def run(values, seed, told):
        tried.append(values)
        if len(tried) in (1, 2):
            study._storage.set_trial_state_values(study.trials[-1]._trial_id, optuna.trial.TrialState.FAIL)
        if len(tried) == 1:
            told(0, 1.0)
        return values["x"]

    search(study, run, trials=2).work()
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]


def test_two_workers_do_not_both_take_up_a_lost_trial(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "SILENCE", -1.0)  # gone at the first look
    study = study_in(tmp_path)
    running(study, ELSEWHERE)
    for worker in (study, study_in(tmp_path)):
        retry_lost_trials(worker, workers.Watch())
    assert [trial.user_attrs.get(RETRY) for trial in study.trials] == [None, 0]


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "SILENCE", -1.0)
    study = study_in(tmp_path)
    for _ in range(4):
        running(study, ELSEWHERE)
        retry_lost_trials(study, workers.Watch())
    assert [trial.user_attrs.get(RETRY) for trial in study.trials] == [None, 0, 1, None, 3]
    assert "killed 3 times" in study.trials[2].user_attrs["error"]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"valid_metric": "NDCG@10"}, r"another valid_metric \(MRR@10, now NDCG@10\) - take another --study"),
        ({"use_gpu": True, "results_path": "elsewhere"}, None),
        ({"seeds": [1, 2]}, r"another seed \(1, now 1,2\)"),
        ({"space": SPACE[:1]}, "another search space of kind .*now not set"),
        ({"space": [SPACE[0], Parameter("kind", choices=("a", None))]}, "another search space of kind"),
        ({"data": {"inter": "f00"}}, "another .inter file"),
        ({"encoder": "2" * 64}, "another text encoder"),
        ({"encoder": None}, None),  # its files are not on this machine
    ],
)
def test_a_study_takes_no_scores_of_other_settings(tmp_path, change, told):
    asked = {"valid_metric": "MRR@10", "x": 1, "seeds": [1], "space": SPACE, "data": {"inter": "abc"}}
    asked["encoder"] = "1" * 64

    def scores(seeds, space, data, encoder, **settings):
        return what_scores_depend_on(settings, seeds, space, data, encoder)

    study_in(tmp_path, scores=scores(**asked)).ask()
    if told is None:
        assert len(study_in(tmp_path, scores=scores(**asked | change)).trials) == 1
        return
    with pytest.raises(InputError, match=told):
        study_in(tmp_path, scores=scores(**asked | change))


def test_a_study_that_is_older_than_a_key_goes_on_where_its_usual_value_is_asked_for(tmp_path):
    study_in(tmp_path, scores={"valid_metric": "MRR@10"}).ask()
    asked = {"valid_metric": "MRR@10", "text_match": "null"}
    assert len(study_in(tmp_path, scores=asked, usual={"text_match": "null"}).trials) == 1
    with pytest.raises(InputError, match=r"another text_match \(not set, now \[1\]\)"):
        study_in(tmp_path, scores=asked | {"text_match": "[1]"}, usual={"text_match": "null"})


def test_a_storage_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--storage=.* cannot be opened"):
        open_study("s", str(tmp_path / "file" / "study.log"))
    with pytest.raises(InputError, match="--storage=nonsense://x cannot be opened"):
        open_study("s", "nonsense://x")


def test_no_password_is_shown():
    url = "postgresql+psycopg://me:p@ss/w:d@host:5432/db"
    assert without_password(f"sear tune --storage={url} --seed=1") == (
        "sear tune --storage=postgresql+psycopg://me:***@host:5432/db --seed=1"
    )
    assert without_password("'postgresql://host/db?user=me&password=secret&sslmode=require'") == (
        "'postgresql://host/db?user=me&password=***&sslmode=require'"
    )
    assert without_password("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"
    with pytest.raises(InputError, match=r"--storage=nonsense://me:\*\*\*@x cannot be opened") as told:
        open_study("s", "nonsense://me:secret@x")
    assert "secret" not in str(told.value)


WORKER = """
import sys, time
from pathlib import Path
from sear.runs import workers  # noqa: E402
from sear.runs.search import Budget, Search
from sear.runs.search_space import Parameter
from sear.runs.study import open_study
study = open_study("s", sys.argv[1])
def run(values, seed, told):
    while not Path(sys.argv[2]).exists():
        time.sleep(0.05)
    return values["x"]
Search(study, [Parameter("x", low=0.0, high=1.0)], [1], 1, run, Budget(int(sys.argv[3]))).work()
"""


def start(storage, gate, trials):
    """A worker whose trials end when the file `gate` is there."""
    command = [sys.executable, "-c", WORKER, storage, str(gate), str(trials)]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})


def share_a_study(storage, folder):
    """Five workers start in an empty storage: four finish 40 trials, the fifth is killed in the middle of one."""
    victim, *workers = [start(storage, gate, 40) for gate in (folder / "never", *[folder / "gate"] * 4)]
    study = open_study("s", storage)
    while not any(trial.params and trial.user_attrs["worker"]["pid"] == victim.pid for trial in study.trials):
        assert victim.poll() is None
        time.sleep(0.1)
    (folder / "gate").write_text("")
    victim.kill()
    victim.wait()
    assert [worker.wait(timeout=120) for worker in workers] == [0] * 4
    assert (
        start(storage, folder / "gate", 40).wait(timeout=120) == 0
    )  # the same command once more takes up what was left
    states = [trial.state.name for trial in study.trials]
    assert states.count("COMPLETE") == 40 and states.count("FAIL") >= 1
    assert not {"RUNNING", "WAITING"} & set(states)
    assert len([trial for trial in study.trials if RETRY in trial.user_attrs]) == 1


@pytest.mark.parametrize(
    "kind", [pytest.param("journal", marks=pytest.mark.slow), pytest.param("sqlite", marks=pytest.mark.long)]
)
def test_four_processes_share_a_study_and_a_killed_ones_trial_is_not_lost(tmp_path, kind):
    share_a_study(str(tmp_path / "study.log") if kind == "journal" else f"sqlite:///{tmp_path / 'study.db'}", tmp_path)


@pytest.fixture
def postgresql(tmp_path):
    """The URL of a PostgreSQL server of the test's own; skips where none can be started."""
    pytest.importorskip("psycopg", reason="needs psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("pg_ctl") or "/nowhere").parent]
    if not (found[-1] / "initdb").exists():
        pytest.skip("needs PostgreSQL's initdb and pg_ctl")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="sear-postgresql-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        if as_user:
            shutil.chown(folder, "postgres")
        make = [*as_user, found[-1] / "initdb", "-D", folder / "data", "-A", "trust", "-U", "sear"]
        control = [*as_user, found[-1] / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        try:
            subprocess.run(make, check=True, capture_output=True, cwd=folder)
            subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        except (OSError, LookupError, subprocess.CalledProcessError) as error:
            pytest.skip(f"PostgreSQL does not start here: {error}")
        yield f"postgresql+psycopg://sear@127.0.0.1:{port}/postgres"
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_a_study_in_postgresql_is_shared(postgresql, tmp_path):
    share_a_study(postgresql, tmp_path)


@pytest.mark.long
def test_a_run_that_is_found_finished_tells_its_validations_too(here):
    settings = {key: TOY[key] for key in ("MAX_ITEM_LIST_LENGTH", "use_gpu", "show_progress", "load_col")}
    settings |= {"results_path": str(here / "results"), "seed": 1}
    first, again = [], []
    score = best_score("tiny", "Pop", [], settings, lambda *row: first.append(row))
    assert score == best_score("tiny", "Pop", [], settings, lambda *row: again.append(row))
    assert first == again == [(0, score)]


def test_what_ends_a_search_is_told_also_where_its_storage_is_gone(tmp_path, monkeypatch):
    def ends(self):
        raise WriteError("the disk is full - free some space; then go on with: a run's own command")

    def is_gone(**_):
        raise RuntimeError("no connection")

    study = study_in(tmp_path)
    monkeypatch.setattr(study, "get_trials", is_gone)
    monkeypatch.setattr(tune, "_study", lambda *_: study)
    monkeypatch.setattr(Search, "work", ends)
    asked = SimpleNamespace(trials=1, hours=None, sampler_seed=None)
    request = SimpleNamespace(seeds=[1], config_files=[], overrides={})
    with pytest.raises(WriteError, match="free some space; then the same command goes on$"):
        tune._work(asked, request, gather_settings("ml-100k", "SASRec"), SPACE, "s", tmp_path, "sear tune")


def test_a_search_finds_the_data_set_that_recbole_brings(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tune, "_work", lambda *search: bool(tune._study(*search[:-1]).trials))
    places = [f"--results_path={tmp_path}", f"--data_path={tmp_path}"]
    assert main(["--dataset=ml-100k", "--model=SASRec", *places]) == 0
    assert "0 trials so far" in capsys.readouterr().out


@pytest.mark.long
def test_a_search_trains_reports_and_leaves_a_file_that_trains(tmp_path, monkeypatch, capsys, tiny_text):
    write_atomic_files(tmp_path, "tiny", random_histories())
    root = tiny_config_root(tmp_path)
    (root / "data" / "tiny.yaml").write_text(
        f"data_path: {tmp_path}\nuse_gpu: False\nshow_progress: False\nepochs: 2\n"
        "load_col: {inter: [user_id, item_id, rating, timestamp], item: [item_id, title, kind]}\n"
    )
    monkeypatch.setattr("sear.settings.gather.CONFIG_ROOT", root)
    (tmp_path / "space.yaml").write_text("dropout_prob: {low: 0.1, high: 0.5}\nn_heads: [1, 2]\n")
    words = ["--dataset=tiny", "--model=eSASRec", f"--space={tmp_path / 'space.yaml'}", "--sampler_seed=1"]
    words += [f"--results_path={tmp_path / 'results'}", "--hidden_size=8", "--n_layers=1", f"--config={tmp_path / 'c'}"]
    (tmp_path / "c").write_text("model: eSASRec\nMAX_ITEM_LIST_LENGTH: 8\nhidden_size: 16\nseed: 7\n")
    assert main([*words, "--trials=5", "--seed=1,2"]) == 0
    told = capsys.readouterr().out
    folder = tmp_path / "results" / "tune" / "tiny-eSASRec"
    command = "python custom_trainer.py --dataset=tiny --model=eSASRec --seed=1,2"
    assert f"train with the best values: {command} --config={folder / 'best.yaml'}" in told
    best = read_settings(folder / "best.yaml")[0]
    assert (best["MAX_ITEM_LIST_LENGTH"], best["hidden_size"]) == (8, 8) and not {"seed", "model"} & set(best)
    assert {"report.html", "trials.csv", "best.yaml", "history.svg", "slice-n_heads.svg"} <= {
        path.name for path in folder.iterdir()
    }
    runs = list((tmp_path / "results" / "tiny" / "eSASRec").glob("*/config.yaml"))
    assert 5 <= len(runs) <= 10  # a trial may come twice
    for run in runs:
        finished = (run.parent / "metrics.json").exists()
        assert (run.parent / "best.pth").exists() == finished and not (run.parent / "last.pth").exists()
    best = folder / "best.yaml"
    assert main([*words, "--trials=5", "--seed=1,2", "--dropout_prob=0.2"]) == 2
    assert "--dropout_prob is fixed, and the search space varies it" in capsys.readouterr().err
    assert main([*words, "--trials=5", "--seed=1,2", "--valid_metric=NDCG@10"]) == 2
    assert "was begun with another valid_metric (MRR@10, now NDCG@10)" in capsys.readouterr().err
    from sear import run_sear

    done = run_sear("tiny", "eSASRec", [best], seed=1)
    scores = [
        json.loads((run.parent / "metrics.json").read_text())["valid"]
        for run in runs
        if (run.parent / "metrics.json").exists()
    ]
    assert done["valid"] in scores
