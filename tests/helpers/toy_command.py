"""The command line on the tiny data set in a folder: `python -m tests.helpers.toy_command FOLDER WORDS…`.

KILL=RANK:STEP in the environment: that process kills itself before that training step, counted from 1, unless torchrun
has started it anew.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import TOY, fake_sentence_vectors, random_histories, tiny_config_root, write_atomic_files

ROOT = Path(__file__).parent.parent.parent
MODULE = "tests.helpers.toy_command"


def make(folder: Path, **settings) -> Path:
    """The data set, and the settings of all its runs; returns the folder."""
    write_atomic_files(folder, "tiny", random_histories())
    tiny_config_root(folder)
    told = TOY | {"threads": 1, "epochs": 3, "train_batch_size": 64, "results_path": str(folder / "results")}
    (folder / "toy.yaml").write_text(json.dumps(told | settings), encoding="utf-8")
    return folder


@contextmanager
def on_the_tiny_data(folder: Path) -> Iterator[None]:
    """In the block its name is known, and no encoder is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sear.settings.gather.CONFIG_ROOT", folder / "config")
        patch.setattr("sear.data.text_cache.sentence_vectors", fake_sentence_vectors)
        yield


def obey(folder: Path, *words: str) -> int:
    """The exit code of the command line."""
    from sear.cli.main import main

    resumed = any(word.startswith(("--resume", "--evaluate", "--help")) for word in words)
    with on_the_tiny_data(folder):
        return main([*([] if resumed else ["--dataset=tiny", f"--config={folder}/toy.yaml"]), *words])


def before_step(number: int, act: Callable[[], object]) -> None:
    """Do something before that training step of this process, counted from 1."""
    from sear.trainer.trainer import SEARTrainer

    step, steps = SEARTrainer._train_step, []

    def acting(self, *arguments):
        steps.append(1)
        if len(steps) == number:
            act()
        return step(self, *arguments)

    SEARTrainer._train_step = acting


if __name__ == "__main__":
    rank, _, step = os.environ.get("KILL", "").partition(":")
    if rank == os.environ.get("RANK", "0") and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        before_step(int(step), lambda: os.kill(os.getpid(), signal.SIGKILL))
    sys.exit(obey(Path(sys.argv[1]), *sys.argv[2:]))
