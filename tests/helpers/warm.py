"""Imported by the process that tests.helpers.ranks forks: a toy training, which loads all that is compiled."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported: a thread would not be there in a fork

import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from tqdm import tqdm

from tests.helpers import ranks, toy_command  # noqa: F401

tqdm.monitor_interval = 0  # else a thread holds tqdm's lock now and then, and a fork would keep it for ever

with tempfile.TemporaryDirectory() as place, open(os.devnull, "w") as nowhere:
    with redirect_stdout(nowhere), redirect_stderr(nowhere):
        toy_command.obey(toy_command.make(Path(place), epochs=1))
