"""What a run says of itself: the command that makes it again, its memory, and that nobody else works in its folder."""

import platform
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sear.cli.arguments import parse
from sear.errors import HeldError, InputError
from sear.runs.command import command_of
from sear.runs.find import settings_hash
from sear.runs.lock import held
from sear.runs.machine import PeakMemory
from sear.settings.recbole_config import build_config, config_from_settings, effective_settings, overrides_of
from tests.helpers.config_folder import copy_config, data_folder

ROOT = Path(__file__).parent.parent.parent


def command_of_config(config):
    names = {"dataset": config["dataset"], "model": config["model_name"], "seed": config["seed"]}
    return command_of(**names, ablate=config["ablate"], overrides=overrides_of(config))


def rebuilt(command):
    program, script, *words = shlex.split(command)
    assert (program, script) == ("python", "custom_trainer.py")
    asked = parse(words)
    (dataset,), (model,), (seed,) = asked.datasets, asked.models, asked.seeds
    return build_config(dataset, model, asked.overrides | {"seed": seed})


@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ("SEAR", {}),
        ("SEAR", {"seed": 7, "topk": [5, 10], "streams": ["semantic", "rating"], "learning_rate": 1e-5}),
        ("SEAR", {"item_sem_embedding_model_path": "it's; a: 'path' # here", "window_stride": 7}),
        ("SEAR", {"item_sem_embedding_model_path": "1", "user_inter_num_interval": "[7,inf)"}),
        ("SEAR", {"item_inter_num_interval": None, "clip_grad_norm": {"max_norm": 5}}),
        ("SASRec", {"n_heads": 4, "hidden_act": "relu"}),
        ("NARM", {"embedding_size": 16}),
        ("FPMC", {"epochs": 3}),
        ("Pop", {}),
    ],
)
def test_the_command_makes_the_same_settings_again(model, overrides):
    config = build_config("ml-100k", model, overrides)
    command = command_of_config(config)
    assert settings_hash(effective_settings(rebuilt(command))) == settings_hash(effective_settings(config))
    assert len(shlex.split(command)) == 2 + len({"dataset", "model", "seed", *overrides})


def test_a_plain_command_tells_names_and_seed_alone_and_no_place_or_device():
    config = build_config("ml-100k", overrides={"use_gpu": False, "show_progress": False, "results_path": "elsewhere"})
    assert command_of_config(config) == "python custom_trainer.py --dataset=ml-100k --model=SEAR --seed=2020"


def test_the_command_of_an_ablation_names_the_part():
    config = build_config("ml-100k", overrides={"ablate": "semantic", "seed": 3})
    told = "python custom_trainer.py --dataset=ml-100k --model=SEAR --ablate=semantic --seed=3"
    assert command_of_config(config) == told
    assert command_of_config(config_from_settings(effective_settings(config))) == told


def test_a_data_set_that_is_described_no_more_has_no_command(tmp_path, monkeypatch):
    root = copy_config(tmp_path, monkeypatch)
    (root / "data" / "herbs.yaml").write_text("load_col: ~\n")
    config = build_config("herbs", overrides={"data_path": data_folder(tmp_path, "herbs")})
    assert f"--data_path={tmp_path}" in command_of_config(config)
    (root / "data" / "herbs.yaml").unlink()
    assert command_of_config(config) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone forgets a peak")
def test_a_runs_peak_memory_is_not_that_of_an_earlier_run():
    def peak(megabytes):
        memory = PeakMemory()
        np.ones(megabytes << 17).sum()
        return memory.values()

    large, small = peak(300), peak(1)
    assert large["peak_memory_since"] == small["peak_memory_since"] == "run"
    assert 250 < large["peak_memory_mb"] - small["peak_memory_mb"] < 350


@pytest.mark.long
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone keeps what is freed")
def test_many_small_pieces_of_an_earlier_run_are_no_memory_of_this_one():
    code = """
from sear.runs.machine import PeakMemory
kept = []
pieces = [bytearray(100_000) for _ in range(3000)]
kept.append(bytearray(100_000))  # above them, so that the heap cannot shrink from its end
before = PeakMemory().values()["peak_memory_mb"]
del pieces
after = PeakMemory().values()["peak_memory_mb"]
print(before - after)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert float(done.stdout) > 250


def test_where_no_peak_can_be_forgotten_the_figure_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("sear.runs.machine.CLEAR_REFS", tmp_path / "none" / "clear_refs")
    figures = PeakMemory().values()
    assert figures["peak_memory_since"] == "process" and figures["peak_memory_mb"] > 50


def test_a_run_folder_is_worked_on_by_one_process_at_a_time(tmp_path):
    code = f"""
from pathlib import Path
from sear.runs.lock import held
with held(Path({str(tmp_path)!r})):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="is being worked on by another process - wait"), held(tmp_path):
            pass
        other.kill()
    with held(tmp_path):  # a killed process holds nothing
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs fcntl")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_that_was_given_up_between_opening_and_locking_is_not_taken(tmp_path, monkeypatch, replaced):
    import fcntl

    flock, lock = fcntl.flock, tmp_path / ".lock"

    def late(file, how):
        lock.unlink()  # by the process that held it
        if replaced:
            lock.touch()  # by a third one
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(HeldError, match="another process"), held(tmp_path):
        pass
    with pytest.raises(HeldError, match="taken back"), held(tmp_path / "gone"):
        pass
