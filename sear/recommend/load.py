"""sear.load: from a folder to a Recommender."""

from pathlib import Path

import torch

from sear.errors import InputError
from sear.recommend.recommender import Recommender
from sear.runs.model_folder import model_folder, read_model


def load(path: Path | str, device: str = "cpu", encoder: Path | str | None = None) -> Recommender:
    """A trained model in use, read from a folder that `sear export` wrote or from a finished run's.

    `path` may also be a file of one line that names such a folder, as `newest` beside the runs of a model.

    Args:
        device: cpu, cuda or cuda:N.
        encoder: folder of the text encoder, which only new items need, where it lies in another place than directly in
            the project's root; or its name at the hub.

    Raises:
        InputError: there is no model, a file of it is missing, changed or of a later SEAR, or the device is not there.
    """
    folder = model_folder(Path(path))
    if device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device is {device}, but torch finds no CUDA device - write cpu")
    model = read_model(folder)
    try:
        return Recommender(model, device, None if encoder is None else str(encoder))
    except (RuntimeError, KeyError, TypeError) as error:  # the digests fit: it was written so
        fault = " ".join(str(error).split())
        raise InputError(f"{folder} does not hold a whole model ({fault}) - export it again") from error
