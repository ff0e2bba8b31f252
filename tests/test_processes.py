"""What a process learns of the others from its environment, and what is one process's case."""

import os
import socket
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.distributed import TCPStore

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
    monkeypatch.setattr(processes, "_group", processes._Group(1, 2, None, None))
    assert processes.launcher() == ["torchrun", "--nproc_per_node=2"]
    told(1, 2, WORLD_SIZE="6", GROUP_WORLD_SIZE="3", TORCHELASTIC_MAX_RESTARTS="5")
    first = "--master_addr=127.0.0.1 --master_port=29500"
    command = f"torchrun --nnodes=3 --node_rank=NUMBER {first} --nproc_per_node=2".split()
    assert processes.launcher() == command
    assert processes.launcher(with_restarts=True) == [*command, "--max-restarts=5"]


def test_one_process_of_torchruns_is_told_what_the_one_before_it_has_noted(told, monkeypatch):
    ended = []
    monkeypatch.setattr(processes, "_end_with_launcher", lambda: ended.append(1))
    kept = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun's
    told(0, 2, WORLD_SIZE="1", MASTER_PORT=str(kept.port), TORCHELASTIC_RUN_ID="1")
    for found in (None, "a folder"):
        with processes.joined() as leads:
            assert leads and processes.size() == 1 and processes.noted("run") == found
            processes.note("run", "a folder")
    assert processes.noted("run") is None and len(ended) == 2  # it ends with torchrun, too


def test_tensors_travel_as_they_are_and_only_the_rest_is_pickled(monkeypatch):
    words, tensors = [], []
    state = {"group": {"lr": 0.1, 3: [torch.rand(400, 300).T, torch.arange(5)]}, "mask": torch.tensor([True, False])}
    monkeypatch.setattr(processes, "_group", processes._Group(0, 2, None, None))
    monkeypatch.setattr(processes, "_sent", lambda value: words.append(value))
    monkeypatch.setattr(processes, "spread", tensors.extend)
    assert processes.share(state) is state
    assert len(words[0]) < 1000 and all(tensor.is_contiguous() for tensor in tensors)

    def arrive(mine):
        for own, theirs in zip(mine, tensors, strict=True):
            own.copy_(theirs)

    monkeypatch.setattr(processes, "_group", processes._Group(1, 2, None, None))
    monkeypatch.setattr(processes, "_sent", lambda value: words[0])
    monkeypatch.setattr(processes, "spread", arrive)
    torch.testing.assert_close(processes.share(), state, rtol=0, atol=0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have not all of the options")
def test_the_system_watches_every_connection_to_another_process():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        processes._watch_connections()
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"
        idle, interval, count, unanswered = (one.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n in names)
        assert idle + interval * count == unanswered // 1000 == processes.SILENCE.total_seconds()


@pytest.mark.parametrize(
    "environment, tells",
    [
        ({"GROUP_RANK": "0"}, [0]),  # torchrun is gone
        ({"GROUP_RANK": "1"}, [0]),  # and so is the first machine
        ({"GROUP_RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": "False"}, [1]),  # the first process is gone
        ({"GROUP_RANK": "1", "TORCHELASTIC_USE_AGENT_STORE": "False"}, [0]),
    ],
)
def test_one_process_of_each_machine_tells_what_happened_where_the_store_is_gone(told, monkeypatch, environment, tells):
    def is_gone(*_):
        raise RuntimeError("Connection reset by peer")

    store = SimpleNamespace(add=is_gone)
    found = []
    for local in range(3):
        told(local, 3, **environment)
        monkeypatch.setattr(processes, "_group", processes._Group(local + 4, 8, store, None))
        found += [local] if processes.first_to_tell() else []
    assert found == tells


@pytest.mark.parametrize("seen, own", [(None, "1"), ("4,7", "7"), ("GPU-a,GPU-b,GPU-c", "GPU-b"), ("", "")])
def test_each_process_of_a_machine_sees_a_gpu_of_its_own(told, monkeypatch, seen, own):
    told(1, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen or "")
    if seen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    processes._take_own_gpu()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == own


def test_too_few_gpus_are_told_to_those_who_use_them(told, monkeypatch):
    processes.require_own_gpu()
    told(1, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(processes, "_no_own_gpu", "")
    processes._take_own_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    with pytest.raises(InputError, match="is 3, and each of 2 processes takes a GPU of its own - .*--nproc_per_node=1"):
        processes.require_own_gpu()
