"""What a process learns of the others from its environment, and what is one process's case."""

import os

import pytest
import torch

from sear import processes
from sear.errors import InputError
from tests.helpers.ranks import environment


@pytest.fixture
def told(monkeypatch):
    """A function that tells this process what torchrun tells one of several."""

    def tell(rank, count, **others):
        for key, value in (environment(rank, count, 29500) | others).items():
            monkeypatch.setenv(key, value)

    return tell


def test_one_process_is_the_first_of_one(told, monkeypatch):
    for name in processes.TOLD:
        monkeypatch.delenv(name, raising=False)
    assert not processes.launched() and processes.launcher() == []
    with processes.joined() as leads, processes.together("anything"):
        assert leads and (processes.rank(), processes.size()) == (0, 1)
        assert processes.share("mine") == "mine" and processes.first_to_tell()
        assert processes.add_up(torch.ones(2)).tolist() == [1, 1]
        processes.note("name", "value")
        assert processes.noted("name") is None
    told(0, 2, WORLD_SIZE="1")
    assert not processes.launched()


def test_the_command_that_starts_as_many_again_names_processes_and_machines(told, monkeypatch):
    told(1, 2)
    assert processes.launched() and processes.launcher() == []  # they have not joined
    monkeypatch.setattr(processes, "_group", processes._Group(1, 2, None, None, None))
    assert processes.launcher() == ["torchrun", "--nproc_per_node=2"]
    told(1, 2, WORLD_SIZE="6", GROUP_WORLD_SIZE="3")
    assert processes.launcher() == ["torchrun", "--nnodes=3", "--nproc_per_node=2"]


@pytest.mark.parametrize("seen, own", [(None, "1"), ("4,7", "7"), ("GPU-a,GPU-b,GPU-c", "GPU-b"), ("", "")])
def test_each_process_of_a_machine_sees_a_gpu_of_its_own(told, monkeypatch, seen, own):
    told(1, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen or "")
    if seen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    processes._take_own_gpu()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == own


def test_too_few_gpus_are_told(told, monkeypatch):
    told(1, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(InputError, match="is 3, and each of 2 processes takes a GPU of its own - .*--nproc_per_node=1"):
        processes._take_own_gpu()
