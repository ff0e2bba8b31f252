"""sear.load: from a folder to a Recommender."""

from pathlib import Path

import torch

from sear.errors import InputError
from sear.recommend.recommender import Recommender
from sear.runs.model_folder import IN_RUN, is_model, read_model


def load(path: Path | str, device: str = "cpu") -> Recommender:
    """A trained model in use, read from a folder that `sear export` wrote or from a finished run's.

    Args:
        device: cpu, cuda or cuda:N.

    Raises:
        InputError: there is no model, a file of it is missing, changed or of a later SEAR, or the device is not there.
    """
    folder = model_folder(Path(path))
    if device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device is {device}, but torch finds no CUDA device - write cpu")
    model = read_model(folder)
    try:
        return Recommender(model, device)
    except (RuntimeError, KeyError, TypeError) as error:  # the digests fit: it was written so
        fault = " ".join(str(error).split())
        raise InputError(f"{folder} does not hold a whole model ({fault}) - export it again") from error


def model_folder(path: Path) -> Path:
    """The folder with model.json: `path`, or a run folder's own. Raises InputError where there is none."""
    if is_model(path):
        return path
    if is_model(path / IN_RUN):
        return path / IN_RUN
    if (path / "config.yaml").is_file():
        if not (path / "metrics.json").is_file():
            raise InputError(f"{path} is a run that did not finish - go on with --resume={path}")
        raise InputError(
            f"{path} holds no model for use: a run of an earlier SEAR, or of another model than SEAR"
            f" - make one of a SEAR with: sear export {path} FOLDER"
        )
    raise InputError(f"{path} holds no model - name a folder that `sear export` wrote, or a finished run's")
