"""`python -m tests.helpers.killed_run FOLDER MOMENT`: a run on the tiny data set that kills itself, like a power cut.

MOMENT: `first` in the first epoch; `best` after the first best.pth and before the first last.pth; `step` in the middle
of the second epoch; `write` in the middle of writing the second last.pth; `report` when only metrics.json is missing.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import TOY, fake_sentence_vectors, tiny_config_root


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, patch) -> None:
    """Put the kill in the place of what happens at that moment."""
    from sear.runs import training_run as run
    from sear.trainer import checkpoint, trainer

    steps, written = [], []
    step, save, torch_save = trainer.SEARTrainer._train_step, checkpoint.save_checkpoint, checkpoint.torch.save

    def counted_step(self, *arguments):
        steps.append(1)
        if len(steps) == {"first": 2, "step": 7}.get(moment):
            die()
        return step(self, *arguments)

    def counted_save(path, state):
        save(path, state)
        if moment == "best":
            die()

    def torn_save(state, file):
        torch_save(state, file)
        written.append("optimizer" in state)
        if moment == "write" and sum(written) == 2:
            file.truncate(file.tell() // 2)
            file.flush()
            die()

    patch.setattr(trainer.SEARTrainer, "_train_step", counted_step)
    patch.setattr(checkpoint, "save_checkpoint", counted_save)
    patch.setattr(checkpoint.torch, "save", torn_save)
    if moment == "report":
        patch.setattr(run, "write_metrics", die)


def interrupt_at_step(number: int, patch, stop=lambda: signal.raise_signal(signal.SIGINT)) -> None:
    """Ctrl-C, or another stop, before that training step, counted from 1; later steps go on as ever."""
    from sear.trainer.trainer import SEARTrainer

    step, steps = SEARTrainer._train_step, []

    def interrupted(self, *arguments):
        steps.append(1)
        if len(steps) == number:
            stop()
        return step(self, *arguments)

    patch.setattr(SEARTrainer, "_train_step", interrupted)


def run(folder: Path, **changes) -> dict:
    from sear.quick_start import run_sear

    settings = TOY | {"epochs": 3, "threads": 2, "results_path": str(folder / "results"), "train_batch_size": 64}
    return run_sear("tiny", **(settings | changes))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sear.settings.gather.CONFIG_ROOT", tiny_config_root(folder))
        patch.setattr("sear.data.text_cache.sentence_vectors", fake_sentence_vectors)
        arm(sys.argv[2], patch)
        run(folder)
