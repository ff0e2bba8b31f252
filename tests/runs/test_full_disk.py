"""A disk that is full at any write: one line that says so, and a run that then goes on to the same end."""

import errno
import json
import logging
import os
from pathlib import Path

import pytest
import torch

from sear import files
from sear.cli.main import main
from sear.errors import WriteError
from sear.files import write_aside, writing
from sear.quick_start import resume, run_sear
from sear.runs.log import RunLog
from sear.settings.rules import dump_yaml
from sear.trainer.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import TOY

FULL = OSError(errno.ENOSPC, "No space left on device")


def full_at(number: int, patch) -> list:
    """Let the write of that number fail, counted from 1, when its bytes are to be on the disk; returns the writes."""
    seen, fsync = [], os.fsync

    def counted(descriptor):
        seen.append(os.readlink(f"/proc/self/fd/{descriptor}") if os.path.isdir("/proc/self/fd") else descriptor)
        if len(seen) == number:
            raise FULL
        fsync(descriptor)

    patch.setattr(files.os, "fsync", counted)
    return seen


def everything(run_folder: Path) -> tuple:
    """What a run leaves, without what clocks and memory say."""
    metrics = json.loads((run_folder / "metrics.json").read_text())
    kept = {key: value for key, value in metrics.items() if key not in ("seconds", "peak_memory_mb")}
    best = load_checkpoint(run_folder / "best.pth", "cpu")
    return kept, (run_folder / "cases.csv.gz").read_bytes(), {key: best[key] for key in ("epoch", "best_valid_result")}


@pytest.mark.long
def test_a_full_disk_at_any_write_is_one_line_and_costs_nothing(here, monkeypatch):
    asked = TOY | {"results_path": str(here / "results"), "threads": 1}
    with monkeypatch.context() as patch:
        writes = full_at(0, patch)
        whole = everything(Path(run_sear("tiny", "Pop", **asked)["run_folder"]))
    assert len(writes) >= 7  # config, both checkpoints, history, cases, examples, summary, metrics
    for number in range(1, len(writes) + 1):
        before = set(here.glob("results/tiny/Pop/*"))
        with monkeypatch.context() as patch, pytest.raises(WriteError) as error:
            full_at(number, patch)
            run_sear("tiny", "Pop", **asked)
        told = str(error.value)
        assert "cannot be written (No space left on device) - free some space there" in told and "\n" not in told
        left = set(here.glob("results/tiny/Pop/*")) - before
        assert not list(here.glob("results/**/.*.tmp"))
        if number == 1:  # nothing is begun
            assert not left
            continue
        (folder,) = left
        assert told.endswith(f"then go on with: python custom_trainer.py --resume={folder}")
        resume(folder)
        assert everything(folder) == whole


@pytest.mark.long
def test_a_grid_ends_at_a_full_disk_and_says_how_it_goes_on(here, monkeypatch, capsys):
    (here / "toy.yaml").write_text(dump_yaml(TOY))
    words = ["--dataset=tiny", "--model=Pop,ItemKNN", f"--config={here}/toy.yaml", f"--results_path={here}/results"]
    with monkeypatch.context() as patch:
        full_at(3, patch)
        assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: run 1 of 2: tiny, Pop, seed 1: ")
    assert line.endswith("free some space there; then the same command goes on from here")
    assert main(words) == 0 and len(list(here.glob("results/tiny/*/*/metrics.json"))) == 2


def test_what_torch_makes_of_a_full_disk_is_told_as_one(tmp_path, monkeypatch):
    def full(state, file):
        try:
            raise FULL
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 768 vs 662")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        WriteError, match="best.pth cannot be written .No space left on device. - free some space there"
    ):
        save_checkpoint(tmp_path / "best.pth", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, told",
    [
        ("EDQUOT", "free some of your quota"),
        ("EROFS", "choose another place"),
        ("EACCES", "give yourself the rights, or choose another place"),
        ("EIO", "mend it, or choose another place"),
    ],
)
def test_what_else_the_machine_refuses_has_its_remedy(tmp_path, name, told):
    error = OSError(getattr(errno, name), "no")
    with pytest.raises(WriteError, match=f"a.csv cannot be written .no. - {told}$"), write_aside(tmp_path / "a.csv"):
        raise error


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(WriteError, match="a file stands where a folder should be"), write_aside(tmp_path / "results/a"):
        pass


def test_an_error_about_another_file_is_not_taken_for_one_of_writing(tmp_path):
    with pytest.raises(PermissionError), writing(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "no", "/elsewhere/model.safetensors")


def test_a_log_without_space_ends_no_run(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with RunLog() as log:
        log.write_to(tmp_path / "train.log")
        log._file.close()
        log._file = open("/dev/full", "a", encoding="utf-8")
        log.emit(logging.LogRecord("sear", logging.INFO, __file__, 1, "a line", None, None))
