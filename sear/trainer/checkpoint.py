"""Checkpoints as plain dictionaries: written aside and renamed, read with `weights_only=True`, and checked.

A file ends with the SHA-256 of all its other bytes, as the comment of the zip archive that `torch.save` writes: one
flipped bit anywhere is noticed, and `torch.load` alone still reads the file. Files of `sear-checkpoint-1` have none.
"""

import hashlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sear.errors import InputError, OtherDataError
from sear.files import require_file, write_aside

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import AbstractRecommender

FORMAT, EARLIER_FORMAT = "sear-checkpoint-2", "sear-checkpoint-1"
LAST = "-last.pth"  # how the last checkpoint of a plain script's trainer is named beside the best
MARK = b"SEAR-SHA256:"  # before the digest in an archive's comment
COMMENT_BYTES = len(MARK) + hashlib.sha256().digest_size
State = dict[str, Any]
KINDS = {  # what a checkpoint holds
    "model": str,
    "dataset": str,
    "catalogue": str | None,  # the events' hash
    "settings": dict | None,
    "epoch": int,
    "cur_step": int,
    "finished": bool,
    "best_epoch": int | None,
    "best_valid_score": float,
    "best_valid_result": dict | None,
    "history": list,
    "fit_seconds": float,
    "steps": int,
    "commits": list,
    "state_dict": dict,
    "other_parameter": dict | None,
    "text_sums": torch.Tensor | None,
}
KINDS_OF_LAST = KINDS | {"optimizer": dict, "scheduler": dict}
# in files of EARLIER_FORMAT
MISSING_BEFORE: dict[str, Any] = {"settings": None, "commits": [], "text_sums": None, "steps": 0}


def save_checkpoint(path: Path | str, state: State) -> None:
    """Write tensors, numbers, strings, lists and dicts; a reader sees the whole file or the one before it."""
    with write_aside(path) as aside:
        with open(aside, "wb") as file:  # a full disk is then told as such, which torch's own writer does not
            torch.save({**state, "format": FORMAT}, file)
        _append_digest(aside)


def load_checkpoint(path: Path | str, device: torch.device | str) -> State:
    """The dictionary of a checkpoint, its tensors on `device`.

    Raises:
        InputError: the file is missing, truncated, damaged or not ours.
    """
    try:
        checked = _digest_fits(require_file(Path(path)))
        if checked is False:
            raise InputError(f"{path} is damaged: its content does not match its checksum - restore it, or train anew")
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} is missing - name a run folder that holds it, or train anew") from None
    except InputError:
        raise
    except Exception as error:  # what torch raises over foreign bytes is anybody's guess
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} cannot be read ({reason}) - it is truncated or no checkpoint of SEAR; train anew"
        ) from None
    told = state.get("format") if isinstance(state, dict) else None
    if told == FORMAT and not checked:
        raise InputError(f"{path} is damaged: it has lost its checksum - restore it, or train anew")
    if told not in (FORMAT, EARLIER_FORMAT) or "state_dict" not in state:
        raise InputError(f"{path} is not a checkpoint of SEAR ({FORMAT}) - name one that SEAR wrote")
    return state if checked else MISSING_BEFORE | state


def _append_digest(path: Path) -> None:
    with open(path, "rb+") as file:
        file.seek(-2, os.SEEK_END)
        assert file.read() == b"\0\0", "the archive has a comment already"
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", COMMENT_BYTES))
        file.seek(0)
        digest = _digest(file, os.path.getsize(path))
        file.seek(0, os.SEEK_END)
        file.write(MARK + digest)


def _digest_fits(path: Path) -> bool | None:
    """Whether the file's content has the digest that stands at its end; None where none stands there."""
    with open(path, "rb") as file:
        length = max(0, os.path.getsize(path) - COMMENT_BYTES)
        file.seek(length)
        mark, told = file.read(len(MARK)), file.read()
        file.seek(0)
        return _digest(file, length) == told if mark == MARK else None


def _digest(file, length: int) -> bytes:
    digest = hashlib.sha256()
    while length > 0 and (block := file.read(min(length, 1 << 20))):
        digest.update(block)
        length -= len(block)
    return digest.digest()


def weights_digest(weights: State) -> str:
    """SHA-256 of a model's state dict: names, types, sizes and values."""
    digest = hashlib.sha256()
    for name, values in sorted(weights.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def text_sums(model: torch.nn.Module) -> torch.Tensor | None:
    """float32 (V-1,), one per real item: tells which frozen text embeddings a model learned with; None without texts.

    A sum per item, not a hash: the same encoder on another machine differs in the last digits, and does no harm.
    """
    text_VE = getattr(model, "item_text_VE", None)
    return None if text_VE is None else text_VE[1:].sum(dim=1)


class Checkpoints:
    """The two files that a trainer keeps of itself: the best epoch's weights, and the last epoch with all that going
    on needs.

    Attributes:
        model, dataset: names of the model's class and of the data set.
        best, last: where the files are.
        settings: those of the run that decide its result; a checkpoint must have been made with the same. None where
            nobody knows them, as in a plain script: then one of any settings is taken.
        usual: values of keys that a checkpoint may be too old to know.
        events_hash: of the data that a checkpoint must have been trained on (SEARDataset.events_hash); None
            until the data are read.
        commits: at which the epochs so far ran, as far as is known.
        began_with: digest of the model whose weights the training began with; None where it began from scratch.
    """

    def __init__(
        self,
        model: str,
        dataset: str,
        best: Path,
        last: Path,
        device: torch.device | str = "cpu",
        settings: Mapping[str, Any] | None = None,
    ):
        self.model, self.dataset, self.best, self.last, self.device = model, dataset, best, last, device
        self.settings = None if settings is None else dict(settings)
        self.usual: Mapping[str, Any] = {}
        self.events_hash: str | None = None
        self.commits: list[str] = []
        self.began_with: str | None = None

    def save(self, model: "AbstractRecommender", progress: State, learning: State, best_weights: State | None) -> None:
        """The best first: if the last is lost to a stop between the two, its epoch is run again, to the same end.

        Args:
            progress: what of KINDS the trainer knows.
            learning: the states of what learns beside the model, such as its optimizer: for the last checkpoint.
            best_weights: those of the best epoch; None where this epoch is not the best.
        """
        state = progress | {
            "model": self.model,
            "dataset": self.dataset,
            "catalogue": self.events_hash,
            "settings": self.settings,
            "commits": self.commits,
            "began_with": self.began_with,
            "state_dict": model.state_dict(),
            "other_parameter": model.other_parameter(),
            "text_sums": text_sums(model),
        }
        if best_weights is not None:
            save_checkpoint(self.best, state | {"state_dict": best_weights})
        save_checkpoint(self.last, state | learning)

    def check(self) -> None:
        """Read what an unfinished run left, before any work: the last epoch and the best one that belongs to it.

        Raises:
            InputError: a file is damaged or not this run's, or the best epoch's is missing.
        """
        if not self.last.exists():
            return
        last = self.read(self.last, KINDS_OF_LAST)
        if last["best_epoch"] is None and not self.best.exists():  # no epoch is validated yet
            return
        begin_anew = f"restore it, or delete it and {self.last.name}: then --resume trains the run from its start"
        try:
            best = self.read(self.best)
        except InputError as error:
            raise InputError(f"{str(error).partition(' - ')[0]} - {begin_anew}") from None
        known = last["epoch"] if last["best_epoch"] is None else last["best_epoch"]
        if best["epoch"] not in (known, last["epoch"] + 1):  # the latter is of a stop between the two files
            place = f"{self.best} is of epoch {best['epoch']}, and {self.last.name} knows {known} as the best one"
            raise InputError(f"{place} - {begin_anew}")

    def read(self, path: Path | str, kinds: Mapping[str, Any] = KINDS) -> State:
        """A checkpoint of this run, or of this model.

        Raises:
            InputError: as `load_checkpoint`; or a field is missing or of the wrong kind, or it is another model's,
                another run's, or of other data.
        """
        state = load_checkpoint(path, self.device)
        if "optimizer" in kinds and "optimizer" not in state:
            raise InputError(f"{path} holds no optimizer state - resume from the last checkpoint, not the best")
        for key, kind in kinds.items():
            if key not in state or not isinstance(state[key], kind) or (kind is int and isinstance(state[key], bool)):
                found = f"{key} is of type {type(state[key]).__name__}" if key in state else f"it has no {key}"
                raise InputError(f"{path} is no whole checkpoint ({found}) - restore it, or train anew")
        epochs = [row.get("epoch") if isinstance(row, dict) else None for row in state["history"]]
        if epochs != list(range(state["epoch"] + 1)):
            raise InputError(f"{path} is no whole checkpoint (epochs are missing in it) - restore it, or train anew")
        if state["model"] != self.model:
            raise InputError(f"{path} holds a {state['model']}, not a {self.model} - name another run")
        self._refuse_other_settings(path, state["settings"])
        if self.events_hash is not None and state["catalogue"] != self.events_hash:
            raise OtherDataError(f"{path} was trained on other events or items - restore the data, or train anew")
        return state

    def _refuse_other_settings(self, path: Path | str, theirs: Mapping[str, Any] | None) -> None:
        if self.settings is None or theirs is None:
            return
        for key in sorted({*self.settings, *theirs}):
            was, now = theirs.get(key, self.usual.get(key)), self.settings.get(key)
            if was != now:
                raise InputError(
                    f"{path} was trained with {key} {was!r}, and the run's config.yaml says {now!r}"
                    " - restore the file that is not this run's, or train anew"
                )

    def load_best(self, model: torch.nn.Module, path: Path | str | None = None) -> str:
        """Put the weights of the best epoch, or of another checkpoint, into the model; returns their digest."""
        path = path or self.best
        state = self.read(path)
        self.load_weights(model, path, state)
        return weights_digest(state["state_dict"])

    def refuse_untested(self, weights: str | None, best_epoch: int | None, valid: Mapping[str, Any] | None) -> None:
        """Read the best checkpoint of a finished run, before anything that takes long.

        Args:
            weights, best_epoch, valid: what metrics.json tells of it, `weights` None where an earlier SEAR wrote it.

        Raises:
            InputError: as `read`, or it is not the one that was tested, such as one of another epoch.
        """
        state = self.read(self.best)
        if weights is not None:
            same = weights == weights_digest(state["state_dict"])
        else:
            same = state["best_epoch"] == best_epoch and (state["best_valid_result"] or {}) == (valid or {})
        if not same:
            raise InputError(
                f"{self.best} (of epoch {state['epoch']}) is not the checkpoint that metrics.json tells of"
                " - restore the one that was tested, or train anew"
            )

    def adopt(self, theirs: "Checkpoints", model: "AbstractRecommender", apart: str) -> State:
        """Put the best weights of a run with the same training into the model; returns a checkpoint of this run's own.

        Args:
            model: it keeps what it has under names that begin with `apart`.

        Raises:
            InputError: as `read` and `load_weights`.
        """
        state = theirs.read(theirs.best)
        weights = {name: value for name, value in state["state_dict"].items() if not name.startswith(apart)}
        weights |= {name: value for name, value in model.state_dict().items() if name.startswith(apart)}
        self.load_weights(model, theirs.best, state | {"state_dict": weights})
        return state | {"settings": self.settings, "state_dict": weights, "text_sums": text_sums(model)}

    def load_last(self, path: Path | str, model: torch.nn.Module, learning: Mapping[str, Any]) -> State:
        """What a last checkpoint says of the training's progress, once the model and what learns have their states.

        A file named as a plain script's trainer names it makes its pair of files that of the training that goes on.
        """
        state = self.read(path, KINDS_OF_LAST)
        self.load_weights(model, path, state)
        for name, learner in learning.items():
            try:
                learner.load_state_dict(state[name])
            except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
                told = f"{path} does not fit this training's {name} ({error})"
                raise InputError(f"{told} - use the settings it was trained with") from None
        self.commits, self.began_with = state["commits"], state.get("began_with")
        if (name := str(path)).endswith(LAST):
            self.best, self.last = Path(name.removesuffix(LAST) + ".pth"), Path(name)
        return state

    def load_weights(self, model: "AbstractRecommender", path: Path | str, state: State) -> None:
        """Put a checkpoint's weights into a model.

        Raises:
            InputError: they are of other sizes, or were learned with other text embeddings.
        """
        mine, learned = text_sums(model), state["text_sums"]
        same_items = mine is not None and learned is not None and len(mine) == len(learned)
        if same_items and (count := int(((mine - learned).abs() > 1e-3).sum())):
            remedy = "restore the item texts and the encoder it was trained with, or train anew"
            raise OtherDataError(f"{path} was trained on other texts of {count} items - {remedy}")
        try:
            model.load_state_dict(state["state_dict"])
        except (RuntimeError, AttributeError, TypeError) as error:
            fault = (str(error).splitlines()[1:] or [str(error)])[0].strip()
            raise InputError(
                f"{path} does not fit this model ({fault}) - use the settings it was trained with"
            ) from None
        model.load_other_parameter(state["other_parameter"])
