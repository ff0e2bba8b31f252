"""Checkpoints as plain dictionaries: written aside and renamed, read with `weights_only=True`, and checked."""

from pathlib import Path
from typing import Any

import torch

from sear.atomic_table import write_aside
from sear.errors import InputError

FORMAT = "sear-checkpoint-1"


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
