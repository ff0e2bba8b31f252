"""A SEAR that begins with the weights of an earlier one, trained on older data: items are matched by their ids."""

import logging

import numpy as np
import torch
from torch import Tensor

from sear.data.dataset import SEARDataset
from sear.errors import InputError
from sear.files import PROJECT_ROOT
from sear.model.network import SEARNetwork
from sear.runs.model_folder import TrainedModel, model_folder, read_model

logger = logging.getLogger("sear")
RIDGE = 1.0  # weight of the penalty where the vectors of new items are read off their texts
SIZES = (
    "streams", "hidden_size", "num_layers", "d_state", "d_conv", "expand", "aggregation", "rating_encoding",
    "text_whitening", "item_table", "cosine_scale", "repeat_bias",
)  # fmt: skip


@torch.no_grad()
def start_from(path: str, model: SEARNetwork, dataset: SEARDataset) -> None:
    """Give `model` the weights of the model at `path`; what belongs to items goes by their ids.

    Tables by item get a row for each item that both know. An item that is new has the row that its text suggests (a
    ridge regression from the texts to the old model's rows), or keeps its start where there are no texts. Vectors of
    ratings are matched by the rating's value.

    Raises:
        InputError: there is no model, or one with other settings.
    """
    folder = model_folder(PROJECT_ROOT / path)
    old = read_model(folder)
    for key in SIZES:
        new = dataset.config[key]
        if old.settings[key] != (list(new) if isinstance(new, tuple) else new):
            raise InputError(
                f"warm_start: {folder} has {key} {old.settings[key]}, and this run {new} - set {key} alike"
            )
    number = {token: place for place, token in enumerate(old.item_ids, start=1)}
    theirs = np.array([number.get(str(token), 0) for token in dataset.events.item_tokens])
    own = model.state_dict()
    for name, values in old.weights.items():
        if name == "rating_emb.values_R" or name.startswith("transition_prior."):
            continue  # these are of the data, not learned
        own[name].copy_(_matched(name, values, own, old, theirs, dataset))
    model.load_state_dict(own)
    known = int((theirs[1:] > 0).sum())
    logger.info(f"warm start from {folder}: {known:,} of {len(theirs) - 1:,} items are known")


def _matched(name: str, values: Tensor, own: dict, old: TrainedModel, theirs: np.ndarray, dataset) -> Tensor:
    items = len(old.item_ids) + 1
    if name in ("collaborative_emb.weight", "item_decoder.weight") and len(values) == items:
        return _item_rows(values.cpu(), own[name].cpu(), old, theirs, dataset)
    if name.startswith("rating_emb.") and values.shape != own[name].shape:
        return _rating_rows(
            values.cpu(), own[name].cpu(), old.weights["rating_emb.values_R"], own["rating_emb.values_R"]
        )
    if values.shape != own[name].shape:
        raise InputError(f"warm_start: {name} is {tuple(values.shape)} there and {tuple(own[name].shape)} here")
    return values


def _item_rows(values: Tensor, start: Tensor, old: TrainedModel, theirs: np.ndarray, dataset) -> Tensor:
    rows = torch.where(torch.from_numpy(theirs > 0)[:, None], values[theirs], start)
    new = np.flatnonzero(theirs[1:] == 0) + 1
    if len(new) and old.text_VE is not None:
        from sklearn.linear_model import Ridge

        trained = np.flatnonzero(old.training_counts) + 1
        reader = Ridge(alpha=RIDGE).fit(old.text_VE[trained], values[trained].numpy())
        rows[new] = torch.from_numpy(reader.predict(dataset.item_text_embedding()[new])).to(rows.dtype)
    rows[0] = start[0]  # padding
    return rows


def _rating_rows(values: Tensor, start: Tensor, theirs_R: Tensor, own_R: Tensor) -> Tensor:
    place = {float(value): row for row, value in enumerate(theirs_R)}
    known = [(row, place[float(value)]) for row, value in enumerate(own_R) if float(value) in place]
    rows = start.clone()
    for row, old_row in known:
        rows[row] = values[old_row]
    return rows
