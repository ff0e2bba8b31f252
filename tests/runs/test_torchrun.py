"""torchrun itself: on one machine, with a process that dies and restarts, and on two "machines"."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import machines
from tests.campaigns.kills import ends
from tests.helpers import toy_command
from tests.helpers.ranks import Command, Ranks

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
SECONDS = 240


def told(**environment):
    """What Popen is given, besides the words."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return pipes | {"cwd": toy_command.ROOT, "env": os.environ | {"OMP_NUM_THREADS": "1"} | environment}


def losses(folder):
    (path,) = folder.glob("results/tiny/*/*/history.csv")
    with open(path, encoding="utf-8", newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def processes_in(folder):
    """The processes whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in path.read_bytes().decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.long  # tests/runs/test_led.py starts processes anew without torchrun
@pytest.mark.parametrize("count", [1, 2])
def test_torchrun_starts_all_anew_and_they_end_as_if_nobody_had_died(tmp_path, tmp_path_factory, count):
    unstopped = toy_command.make(tmp_path_factory.mktemp("unstopped"))
    Ranks(count, Command(unstopped)).made()
    folder = toy_command.make(tmp_path)
    options = ["--standalone", f"--nproc_per_node={count}", "--max-restarts=1"]
    command = [*TORCHRUN, *options, "-m", toy_command.MODULE, str(folder)]
    done = subprocess.run(command, timeout=SECONDS, **told(KILL=f"{count - 1}:20"))
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 0" in done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) <= 1  # torchrun may have been faster to stop the one that is left
    assert ends(folder / "results") == ends(unstopped / "results")
    assert not processes_in(folder)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a process that its parent has died")
def test_a_torchrun_that_is_killed_leaves_no_process_behind(tmp_path):
    folder = toy_command.make(tmp_path, epochs=200, stopping_step=200)
    command = [*TORCHRUN, "--standalone", "--nproc_per_node=2", "-m", toy_command.MODULE, str(folder)]
    process = subprocess.Popen(command, **told())
    for line in process.stdout:
        if line.startswith("epoch   1"):
            break
    process.kill()
    _, said = process.communicate(timeout=SECONDS)  # until the last of its processes has closed what it writes to
    assert [line for line in said.splitlines() if line.startswith("stopped")] != []
    end = time.monotonic() + 60
    while processes_in(folder) and time.monotonic() < end:
        time.sleep(0.1)
    assert not processes_in(folder)


@pytest.mark.long
def test_two_machines_train_what_one_process_trains(tmp_path, tmp_path_factory):
    if fault := machines.fault():
        pytest.skip(fault)
    alone = toy_command.make(tmp_path_factory.mktemp("alone"))
    Ranks(1, Command(alone)).made()
    folder = toy_command.make(tmp_path)
    with machines.two_machines() as found:
        started = []
        for number, machine in enumerate(found):
            options = ["--nnodes=2", f"--node_rank={number}", "--nproc_per_node=1"]
            options += [f"--master_addr={found[0].address}", "--master_port=29511"]
            command = machine.command([*TORCHRUN, *options, "-m", toy_command.MODULE, str(folder)])
            started.append(subprocess.Popen(command, **told()))
        said = [process.communicate(timeout=SECONDS) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert "written to" in said[0][0] and not said[1][0]
    assert losses(folder) == pytest.approx(losses(alone), rel=1e-4)
    (found,), (wanted,) = (place.glob("results/tiny/*/*/cases.csv.gz") for place in (folder, alone))
    assert found.read_bytes() == wanted.read_bytes()


WAITS = """
import time
from datetime import timedelta
from sear import processes
processes.SILENCE = timedelta(seconds=10)
with processes.joined() as leads:
    print("joined", flush=True)
    if leads:
        time.sleep(600)
    with processes.lost_is_told():
        list(processes.asked())
"""


@pytest.mark.long
def test_a_machine_that_vanishes_is_missed_by_one_that_waits_for_it():
    if fault := machines.fault():
        pytest.skip(fault)
    with machines.two_machines() as found:
        started = []
        for number, machine in enumerate(found):
            place = {"RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": found[0].address, "MASTER_PORT": "29512"}
            command = machine.command([sys.executable, "-c", WAITS])
            started.append(subprocess.Popen(command, **told(**place)))
        assert [process.stdout.readline() for process in started] == ["joined\n"] * 2
        cable = ["ip", "-n", found[0].name, "link", "set", found[0].interface, "down"]
        subprocess.run(cable, check=True)
        try:
            _, said = started[1].communicate(timeout=60)
        finally:
            for process in started:
                process.kill()
                process.wait()
    assert "LostProcessError: another of the 2 processes has ended" in said


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_processes_with_a_gpu_each_train_what_one_gpu_trains(tmp_path, tmp_path_factory):
    folders = []
    for count in (1, 2):
        folders.append(toy_command.make(tmp_path_factory.mktemp("gpu"), use_gpu=True, dropout_prob=0.0))
        options = ["--standalone", f"--nproc_per_node={count}", "-m", toy_command.MODULE, str(folders[-1])]
        done = subprocess.run([*TORCHRUN, *options], timeout=SECONDS, **told())
        assert done.returncode == 0 and "device: cuda" in done.stdout, done.stderr
    assert losses(folders[1]) == pytest.approx(losses(folders[0]), rel=1e-4)
