"""Checkpoints as plain dictionaries: written aside and renamed, read with `weights_only=True`, and checked."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from sear.errors import InputError
from sear.files import write_aside

FORMAT = "sear-checkpoint-1"
LAST = "-last.pth"  # how the last checkpoint of a plain script's trainer is named beside the best


def save_checkpoint(path: Path | str, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings, lists and dicts; a reader sees the whole file or the one before it."""
    with write_aside(path) as aside:
        torch.save({"format": FORMAT, **state}, aside)


def load_checkpoint(path: Path | str, device: torch.device | str, catalogue: str | None = None) -> dict[str, Any]:
    """The dictionary of a checkpoint, its tensors on `device`.

    Args:
        catalogue: hash of the data it must have been trained on (SEARDataset.catalogue_hash).

    Raises:
        InputError: the file is missing, truncated, not ours, or of another catalogue.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} is missing - name a run folder that holds it, or train anew") from None
    except Exception as error:  # what torch raises over foreign bytes is anybody's guess
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} cannot be read ({reason}) - it is truncated or no checkpoint of SEAR; train anew"
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT or "state_dict" not in state:
        raise InputError(f"{path} is not a checkpoint of SEAR ({FORMAT}) - name one that SEAR wrote")
    if catalogue is not None and state.get("catalogue") != catalogue:
        raise InputError(
            f"{path} was trained on other events or another catalogue of items - restore the data, or train anew"
        )
    return state


def text_sums(model: torch.nn.Module) -> torch.Tensor | None:
    """float32 (V-1,), one per real item: tells which frozen text embeddings a model learned with; None without texts.

    A sum per item, not a hash: the same encoder on another machine differs in the last digits, and does no harm.
    """
    text_VE = getattr(model, "item_text_VE", None)
    return None if text_VE is None else text_VE[1:].sum(dim=1)


def load_weights(model: torch.nn.Module, name: str, path: Path | str, state: dict[str, Any]) -> None:
    """Put a checkpoint's weights into a model of the class `name`.

    Raises:
        InputError: they are another model's, of other sizes, or were learned with other text embeddings.
    """
    if state["model"] != name:
        raise InputError(f"{path} holds a {state['model']}, not a {name} - name another run")
    mine, learned = text_sums(model), state.get("text_sums")
    same_catalogue = mine is not None and learned is not None and len(mine) == len(learned)
    if same_catalogue and (count := int(((mine - learned).abs() > 1e-3).sum())):
        remedy = "restore the item texts and the encoder it was trained with, or train anew"
        raise InputError(f"{path} was trained on other texts of {count} items - {remedy}")
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        fault = str(error).splitlines()[1].strip()
        raise InputError(f"{path} does not fit this model ({fault}) - use the settings it was trained with") from None
    model.load_other_parameter(state["other_parameter"])


class Checkpoints:
    """What a trainer keeps of itself: the best epoch's weights, and the last epoch with all that going on needs."""

    commits: list[str] = []  # that the epochs so far ran at, as far as is known

    def set_checkpoints(self, best: Path, last: Path) -> None:
        self.saved_model_file, self.last_model_file = str(best), str(last)

    def state(self, epoch: int) -> dict:
        """What both checkpoints hold; plain values and tensors only."""
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "catalogue": self.catalogue,
            "epoch": epoch,
            "cur_step": self.cur_step,
            "finished": self.finished,
            "best_epoch": self.best_epoch,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": dict(self.best_valid_result) if self.best_valid_result else None,
            "history": self.history,
            "fit_seconds": self.fit_seconds,
            "commits": self.commits,
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "text_sums": text_sums(self.model),
        }

    def _save(self, epoch: int, improved: bool) -> None:
        """The best first: if the last is lost to a stop between the two, its epoch is run again, to the same end."""
        state = self.state(epoch)
        if improved:
            weights = self.averaged.over(state["state_dict"]) if self.averaged else state["state_dict"]
            save_checkpoint(self.saved_model_file, state | {"state_dict": weights})
        going_on = {"optimizer": self.optimizer.state_dict(), "scheduler": self.scheduler.state_dict()}
        going_on["steps"] = self.steps
        if self.averaged:
            going_on["averaged"] = self.averaged.state_dict()
        save_checkpoint(self.last_model_file, state | going_on)

    def resume_checkpoint(self, resume_file) -> None:
        """Go on after the epoch of a last checkpoint. Raises InputError where the file is not one."""
        state = load_checkpoint(resume_file, self.device, self.catalogue)
        if "optimizer" not in state:
            raise InputError(f"{resume_file} holds no optimizer state - resume from the last checkpoint, not the best")
        self._load_weights(resume_file, state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.steps = state.get("steps", 0)  # missing in older checkpoints
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.start_epoch, self.cur_step, self.finished = state["epoch"] + 1, state["cur_step"], state["finished"]
        self.best_valid_score, self.best_epoch = state["best_valid_score"], state["best_epoch"]
        result = state["best_valid_result"]
        self.best_valid_result = OrderedDict(result) if result else None
        self.history, self.fit_seconds = state["history"], state["fit_seconds"]
        self.commits = state.get("commits", [])  # missing in older checkpoints
        if (name := str(resume_file)).endswith(LAST):  # one of our own names: go on with that pair of files
            self.set_checkpoints(Path(name.removesuffix(LAST) + ".pth"), Path(name))

    def load_best(self, path=None) -> None:
        """Put the weights of the best epoch, or of another checkpoint, into the model."""
        path = path or self.saved_model_file
        self._load_weights(path, load_checkpoint(path, self.device, self.catalogue))

    def _load_weights(self, path, state: dict) -> None:
        load_weights(self.model, self.config["model"], path, state)
