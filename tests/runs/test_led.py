"""One command of several processes: who says what, what one of them does when another dies, and how the run goes on."""

import re
import shutil
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from sear import processes
from sear.errors import InputError
from sear.runs import follower, training_run
from tests.campaigns.kills import content, ends
from tests.helpers import toy_command
from tests.helpers.ranks import Command, Ranks, kill


@pytest.fixture
def folder(tmp_path):
    return toy_command.make(tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Where one process trained."""
    folder = toy_command.make(tmp_path_factory.mktemp("alone"))
    Ranks(1, Command(folder)).made()
    return run_folder(folder)


def run_folder(folder):
    (found,) = folder.glob("results/tiny/SEAR/*/")
    return found


def terminate(rank):
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.long
@pytest.mark.parametrize("victim", [0, 2])
def test_a_process_that_dies_ends_the_others_with_one_line(folder, victim):
    ranks = Ranks(3, Command(folder, step=20, act=partial(kill, victim)))
    assert ranks.wait() == [-signal.SIGKILL if rank == victim else 2 for rank in range(3)]
    (line,) = ranks.errors()
    going_on = f"torchrun --nproc_per_node=3 custom_trainer.py --resume={run_folder(folder)}"
    assert line == f"error: another of the 3 processes has ended, so they all end; go on with: {going_on}"


def test_sigterm_to_all_is_told_once_with_how_to_go_on(folder):
    ranks = Ranks(2, Command(folder, step=20, act=terminate))
    assert set(ranks.wait()) <= {143, 2}
    (line,) = ranks.errors()
    assert line == f"stopped; go on with: torchrun --nproc_per_node=2 custom_trainer.py --resume={run_folder(folder)}"


@pytest.mark.long
@pytest.mark.parametrize("words", [(), ("--loss_type=sampled", "--sample_size=5", "--ema_decay=0.9")])
def test_processes_started_anew_go_on_where_those_before_them_stopped(folder, tmp_path_factory, words):
    unstopped = toy_command.make(tmp_path_factory.mktemp("unstopped"))
    Ranks(3, Command(unstopped, words)).made()
    killed = Ranks(3, Command(folder, words, step=20, act=partial(kill, 1)))
    assert killed.wait()[1] == -signal.SIGKILL
    assert not (run_folder(folder) / "metrics.json").exists()
    again = Ranks(3, Command(folder, words), killed.kept)  # the same command, as with torchrun's --max-restarts
    again.made()
    assert "going on after epoch 0" in again.said("out")[0]
    assert ends(folder / "results") == ends(unstopped / "results")


@pytest.mark.long
@pytest.mark.parametrize("before, after", [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_to_the_same_end_but_for_rounding(folder, alone, before, after):
    killed = Ranks(before, Command(folder, step=20, act=partial(kill, 0)))
    assert killed.wait()[0] == -signal.SIGKILL
    Ranks(after, Command(folder, (f"--resume={run_folder(folder)}",))).made()
    found, wanted = (content(place / "history.csv") for place in (run_folder(folder), alone))
    losses = [[float(row["loss"]) for row in rows] for rows in (found, wanted)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name in ("cases.csv.gz", "examples.json"):
        assert (run_folder(folder) / name).read_bytes() == (alone / name).read_bytes()


def test_a_mistake_is_told_once_and_help_is_printed_once(folder):
    ranks = Ranks(2, Command(folder, ("--dropout_prob=2",)))
    assert ranks.wait() == [2, 2]
    (line,) = ranks.errors()
    assert line.startswith("error: command line: dropout_prob is 2, not float")
    asked = Ranks(2, Command(folder, ("--help",)))
    asked.made()
    assert "custom_trainer.py" in asked.said("out")[0] and not asked.said("out")[1]


def test_what_goes_on_is_the_whole_grid_or_search():
    process = follower.Follower()
    process.goes_on_with("torchrun custom_trainer.py --resume=RUN")
    assert process.going_on == "go on with: torchrun custom_trainer.py --resume=RUN"
    process.is_one_of_many()
    process.goes_on_with("torchrun custom_trainer.py --resume=RUN")
    assert process.going_on == "the same command goes on"


def test_too_few_gpus_are_told_before_anything_is_read_but_not_to_processes_on_the_cpu(monkeypatch):
    monkeypatch.setattr(processes, "_no_own_gpu", "CUDA_VISIBLE_DEVICES is 0, and each of 2 processes takes a GPU")
    settings = {
        "model": "SASRec",
        "device": torch.device("cuda"),
        "loss_type": "CE",
        "seed": 1,
        "reproducibility": True,
    }
    with pytest.raises(InputError, match="each of 2 processes takes a GPU"):
        training_run.prepare(settings, None)
    with pytest.raises(KeyError):  # it goes on to the data
        training_run.prepare(settings | {"device": torch.device("cpu")}, None)


@dataclass
class OtherData(Command):
    """As if process 1 were on a machine with other data."""

    def __call__(self, rank):
        there, other = follower.config_from_settings, {"data_path": f"{self.folder}/other"} if rank else {}
        follower.config_from_settings = lambda settings, place: there(settings | other, place)
        super().__call__(rank)


def test_a_process_with_other_data_is_named(folder):
    other = Path(shutil.copytree(folder / "tiny", folder / "other" / "tiny")) / "tiny.inter"
    other.write_text("\n".join(other.read_text().splitlines()[:-1]))
    ranks = Ranks(2, OtherData(folder))
    assert ranks.wait() == [2, 2]
    (line,) = ranks.errors()
    assert re.match(r"error: process 1 of 2, on \S+: \S+/other/tiny holds other events or items than the first", line)
    assert not list(folder.glob("results/**/metrics.json"))


@pytest.mark.long
def test_a_grid_is_led_too_and_the_first_process_alone_counts(folder):
    ranks = Ranks(2, Command(folder, ("--model=Pop,SASRec", "--seed=1,2", "--epochs=1")))
    ranks.made()
    assert "4 of 4 runs are finished" in ranks.said("out")[0] and not ranks.said("out")[1]
    tested = Ranks(2, Command(folder, (f"--evaluate={next(folder.glob('results/tiny/SASRec/*/'))}",)))
    tested.made()
    assert "hit@10" in tested.said("out")[0]


class Search(Command):
    """A hyper-parameter search, each trial of which all processes train."""

    def __call__(self, rank):
        from sear.cli.tune import main

        with toy_command.on_the_tiny_data(self.folder):
            sys.exit(main(["--dataset=tiny", f"--config={self.folder}/toy.yaml", "--epochs=1", *self.words]))


@pytest.mark.long
def test_a_search_is_led_too(folder):
    pytest.importorskip("optuna")
    (folder / "space.yaml").write_text("learning_rate: [0.001, 0.01]\n")
    ranks = Ranks(2, Search(folder, ("--model=SASRec", "--trials=2", f"--space={folder}/space.yaml")))
    ranks.made()
    assert "best.yaml" in ranks.said("out")[0] and not ranks.said("out")[1]
    assert list(folder.glob("results/tiny/SASRec/*/metrics.json"))
