"""A run from data to folder, killed and resumed, evaluated again, and with every kind of bad checkpoint."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from recbole.data import data_preparation
from recbole.data.dataset import SequentialDataset

from sear.configuration import build_config
from sear.dataset import SEARDataset
from sear.errors import HeldError, InputError
from sear.model import SEAR
from sear.quick_start import evaluate, resume
from sear.run import TrainingRun
from sear.run_log import RunLog
from sear.run_place import held
from sear.setting_rules import read_settings
from sear.trainer import SEARTrainer
from tests.conftest import TOY, fake_text_embedding, random_histories, tiny_config_root, write_atomic_files
from tests.killed_run import run

ROOT = Path(__file__).parent.parent


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_text):
    """A folder with the tiny data set, known by name."""
    write_atomic_files(tmp_path, "tiny", random_histories())
    monkeypatch.setattr("sear.settings.CONFIG_ROOT", tiny_config_root(tmp_path))
    return tmp_path


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


def test_a_run_leaves_all_that_it_promises_and_two_runs_agree_to_the_last_bit(here):
    first, second = run(here), run(here)
    folder = Path(first["run_folder"])
    assert folder.parts[-4:-1] == ("results", "tiny", "SEAR")
    names = "config.yaml metrics.json history.csv cases.csv.gz examples.json best.pth last.pth run.log"
    assert {path.name for path in folder.iterdir()} == set(names.split())
    assert without_clock(first) == without_clock(second)
    assert_same(everything_but_the_clock(folder), everything_but_the_clock(Path(second["run_folder"])))

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
    assert len(pd.read_csv(here / "results" / "summary.csv")) == 2


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """moment -> the folder of a run that was killed then; all killed at the same time."""
    processes = {}
    for moment in ("first", "best", "step", "write", "report"):
        folder = tmp_path_factory.mktemp(moment)
        write_atomic_files(folder, "tiny", random_histories())
        command = [sys.executable, "-m", "tests.killed_run", str(folder), moment]
        processes[moment] = (
            folder,
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT),
        )
    for moment, (_, process) in processes.items():
        output, _ = process.communicate(timeout=120)
        assert process.returncode == -9, f"{moment}: {output.decode()}"
    return {moment: folder for moment, (folder, _) in processes.items()}


@pytest.fixture(scope="module")
def unstopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unstopped")
    write_atomic_files(folder, "tiny", random_histories())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sear.settings.CONFIG_ROOT", tiny_config_root(folder))
        patch.setattr("sear.text_embedding.text_embedding", fake_text_embedding)
        return run(folder)


@pytest.mark.parametrize("moment", ["first", "best", "step", "write", "report"])
def test_a_killed_run_ends_as_if_it_had_never_been_stopped(killed, unstopped, moment, monkeypatch, tiny_text):
    monkeypatch.setattr("sear.settings.CONFIG_ROOT", tiny_config_root(killed[moment]))
    (folder,) = (killed[moment] / "results" / "tiny" / "SEAR").iterdir()
    assert not (folder / "metrics.json").exists()
    resumed = resume(folder)
    assert without_clock(resumed) == without_clock(unstopped)
    ours, theirs = (everything_but_the_clock(Path(run["run_folder"])) for run in (resumed, unstopped))
    assert_same(ours[:3], theirs[:3])
    assert not list(folder.glob(".*.tmp"))
    assert len(pd.read_csv(killed[moment] / "results" / "summary.csv")) == 1
    assert without_clock(resume(folder)) == without_clock(unstopped)  # a finished run is left as it is


def test_ctrl_c_leaves_a_resumable_run_and_says_how_to_go_on(here, monkeypatch, capsys):
    step, steps = SEARTrainer._train_step, []

    def interrupted(self, *arguments):
        steps.append(1)
        if len(steps) == 7:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(SEARTrainer, "_train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(here)
    told = re.search(r"python custom_trainer.py --resume=(\S+)", capsys.readouterr().out)
    assert resume(told.group(1))["epochs"] == 3


def test_a_run_holds_its_folder_before_anything_that_takes_long_and_leaves_none_if_that_fails(here, monkeypatch):
    seen = []

    def prepare(self):
        (folder,) = here.glob("**/results/**/config.yaml")
        with pytest.raises(HeldError), held(folder.parent):
            pass
        seen.append(folder)
        raise InputError("no item has any text")

    monkeypatch.setattr("sear.run.TrainingRun._prepare", prepare)
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


def test_a_run_goes_on_where_it_is_asked_to_and_says_so(here, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("sear.run.TrainingRun._report", stop)
        run(here)
    (config,) = (here / "results").rglob("config.yaml")
    assert read_settings(config)[0]["threads"] == 2
    assert resume(config.parent, {"threads": 1})["environment"]["threads"] == 1
    assert read_settings(config)[0]["threads"] == 1


def test_a_run_that_another_process_finished_meanwhile_is_left_as_it_is(here):
    folder = Path(run(here, epochs=1)["run_folder"])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(HeldError, match="finished by another process"), RunLog() as log:
        TrainingRun(build_config("tiny", overrides=TOY), folder).train(log)
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


def test_the_commit_is_the_one_that_a_run_began_with(here, monkeypatch):
    commits = iter(["first", "second"])
    monkeypatch.setattr("sear.run.environment", lambda _: {"device": "cpu", "commit": next(commits)})
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
        monkeypatch.setattr("sear.run.environment", lambda _: {"device": "cpu", "commit": commit})

    at("first")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("sear.run.TrainingRun._report", stop)
        run(here, epochs=1)
    (config,) = (here / "results").rglob("config.yaml")
    at("second")
    made = resume(config.parent)["environment"]
    assert (made["commit"], made["earlier_commits"]) == ("second", ["first"])


def test_a_finished_run_is_tested_again_without_training(here, capsys):
    done = run(here, mask_history=True)
    before = {path: path.read_bytes() for path in Path(done["run_folder"]).iterdir()}
    again = evaluate(done["run_folder"])
    assert again["test"] == done["test"]
    assert again["test_history_masked"] == done["test_history_masked"] != done["test"]
    assert done["test_history_masked"]["mrr@10"] >= done["test"]["mrr@10"]
    assert before == {path: path.read_bytes() for path in Path(done["run_folder"]).iterdir()}
    assert "target's training events" in capsys.readouterr().out


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
        other_texts.setattr("sear.text_embedding.text_embedding", lambda *a, **k: -fake_text_embedding(*a, **k))
        with pytest.raises(InputError, match="trained on other texts of 30 items - restore"):
            evaluate(folder)
    write_atomic_files(here, "tiny", random_histories(seed=5))
    with pytest.raises(InputError, match="trained on other events or another catalogue"):
        evaluate(folder)


def test_a_fault_in_the_data_leaves_no_run_folder(here):
    (here / "tiny" / "tiny.inter").write_text("user_id:token\n")
    with pytest.raises(InputError, match="no column 'item_id'"):
        run(here)
    assert not (here / "results").exists()


def test_a_catalogue_too_small_for_its_start_is_told_before_anything_is_encoded(here, monkeypatch):
    monkeypatch.setattr("sear.text_embedding.text_embedding", None)
    with pytest.raises(InputError, match="hidden_size is 64: 3 streams need 192 PCA components, but 30 items have"):
        run(here, hidden_size=64)


def test_a_plain_recbole_script_works(here, tiny_config, tmp_path):
    config = tiny_config(here)
    config["checkpoint_dir"] = str(tmp_path / "saved")
    dataset = SEARDataset(config)
    train_data, valid_data, test_data = data_preparation(config, dataset)
    model = SEAR(config, train_data.dataset).to(config["device"])
    trainer = SEARTrainer(config, model)
    best_score, best_result = trainer.fit(train_data, valid_data)
    assert best_result["mrr@10"] == best_score
    assert set(trainer.evaluate(test_data)) == {"hit@10", "ndcg@10", "mrr@10"}


def test_a_dataset_of_another_class_is_told_which_one_is_needed(here, tiny_config):
    other = SequentialDataset.__new__(SequentialDataset)
    with pytest.raises(InputError, match="SEAR needs a sear.dataset.SEARDataset, not a SequentialDataset"):
        SEAR(tiny_config(here), other)
    config = tiny_config(here)
    trainer = SEARTrainer(config, SEAR(config, SEARDataset(config)))
    for use in (trainer.fit, trainer.evaluate):
        with pytest.raises(InputError, match="SEARTrainer needs a sear.dataset.SEARDataset, not a SequentialDataset"):
            use(SimpleNamespace(_dataset=other))


def test_a_plain_script_resumes_with_the_best_of_its_first_session(here, tiny_config, tmp_path, monkeypatch):
    config = tiny_config(here, epochs=3)
    config["checkpoint_dir"] = str(tmp_path / "saved")
    train_data, valid_data, test_data = data_preparation(config, SEARDataset(config))
    scores = iter([0.9, 0.1, 0.1])
    monkeypatch.setattr(SEARTrainer, "_valid_epoch", lambda self, *_: ((s := next(scores)), {"mrr@10": s}))
    first = SEARTrainer(config, SEAR(config, train_data.dataset))
    first.on_epoch_end = lambda: monkeypatch.setattr(first, "finished", True)
    first.fit(train_data, valid_data)
    config["checkpoint_dir"] = str(tmp_path / "elsewhere")
    second = SEARTrainer(config, SEAR(config, train_data.dataset))
    second.resume_checkpoint(first.last_model_file)
    second.fit(train_data, valid_data)
    assert len(second.history) == 3 and second.best_epoch == 0
    assert second.evaluate(test_data) == first.evaluate(test_data)


def test_without_validation_the_newest_epoch_is_kept(here, tiny_config, tmp_path):
    config = tiny_config(here, epochs=2)
    config["checkpoint_dir"] = str(tmp_path / "saved")
    config["eval_step"] = 0  # RecBole's word for never
    train_data, valid_data, _ = data_preparation(config, SEARDataset(config))
    trainer = SEARTrainer(config, SEAR(config, train_data.dataset))
    trainer.fit(train_data, valid_data)
    assert torch.load(trainer.saved_model_file, weights_only=True)["epoch"] == 1


def test_early_stopping_waits_for_more_than_stopping_step_epochs(here, monkeypatch):
    scores = iter([0.1, 0.3, 0.2, 0.2, 0.2, 0.9])
    monkeypatch.setattr(SEARTrainer, "_valid_epoch", lambda self, *_: ((s := next(scores)), {"mrr@10": s}))
    done = run(here, epochs=6, stopping_step=2)
    assert (done["epochs"], done["best_epoch"]) == (5, 1)


def test_a_tie_is_no_improvement_and_best_is_always_a_validated_epoch(here, monkeypatch):
    scores = iter([0.3, 0.3, 0.3, 0.3])
    monkeypatch.setattr(SEARTrainer, "_valid_epoch", lambda self, *_: ((s := next(scores)), {"mrr@10": s}))
    done = run(here, epochs=8, eval_step=2, stopping_step=1)
    assert (done["epochs"], done["best_epoch"]) == (6, 1)
    assert torch.load(Path(done["run_folder"]) / "best.pth", weights_only=True)["epoch"] == 1


def test_mixed_precision_learns_nearly_the_same(here):
    exact, low = (run(here, epochs=1, dropout_prob=0.0, enable_amp=amp)["run_folder"] for amp in (False, True))
    losses = [pd.read_csv(Path(folder) / "history.csv")["loss"].item() for folder in (exact, low)]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.01)


def test_the_learning_rate_decays_every_epoch(here):
    folder = Path(run(here)["run_folder"])
    rates = pd.read_csv(folder / "history.csv")["lr"]
    assert rates.tolist() == pytest.approx([0.001, 0.001 * 0.96, 0.001 * 0.96**2])
