"""Processes that train together and do not all come to the end: who says what, and how the run goes on."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from sear.trainer.trainer import SEARTrainer
from tests.campaigns.kills import content, ends
from tests.helpers import toy_command
from tests.helpers.ranks import Ranks


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The results of one process, this one: its children have then imported everything, and compiled."""
    folder = toy_command.make(tmp_path_factory.mktemp("alone"))
    assert toy_command.obey(folder) == 0
    return ends(folder / "results")


@pytest.fixture
def folder(tmp_path, warm):
    return toy_command.make(tmp_path)


def run_folder(folder):
    (found,) = folder.glob("results/tiny/SEAR/*/")
    return found


def acting_at_step(number, act, *words):
    """What each process does: the command, and `act(rank)` before that training step."""

    def work(rank):
        step, steps = SEARTrainer._train_step, []

        def acting(self, *arguments):
            steps.append(1)
            if len(steps) == number:
                act(rank)
            return step(self, *arguments)

        SEARTrainer._train_step = acting
        sys.exit(toy_command.obey(*words))

    return work


def die(victim):
    return lambda rank: rank == victim and signal.raise_signal(signal.SIGKILL)


@pytest.mark.parametrize("victim", [0, 2])
def test_a_process_that_dies_ends_the_others_with_one_line(folder, victim):
    ranks = Ranks(3, acting_at_step(20, die(victim), folder))
    codes = ranks.wait()
    assert codes[victim] == -signal.SIGKILL and all(code == 2 for code in codes if code != codes[victim])
    (line,) = ranks.errors()
    command = f"torchrun --nproc_per_node=3 custom_trainer.py --resume={run_folder(folder)}"
    assert re.fullmatch(f"error: another of the 3 processes has ended, so they all end; (then )?go on with: {command}", line)


def test_sigterm_to_all_is_told_once_and_the_run_goes_on(folder):
    ranks = Ranks(2, acting_at_step(20, lambda rank: signal.raise_signal(signal.SIGTERM), folder))
    assert set(ranks.wait()) <= {143, 2}
    (line,) = ranks.errors()
    assert line == f"stopped; go on with: torchrun --nproc_per_node=2 custom_trainer.py --resume={run_folder(folder)}"
