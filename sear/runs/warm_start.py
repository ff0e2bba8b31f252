"""A SEAR that begins with the weights of an earlier one, trained on older data: items are matched by their ids."""

import logging

import numpy as np
import torch
from recbole.config import Config
from torch import Tensor

from sear.data.dataset import SEARDataset
from sear.data.text_encoder import find_encoder
from sear.errors import InputError
from sear.files import PROJECT_ROOT, shown
from sear.model.network import SEARNetwork
from sear.model.text_map import TextMap
from sear.runs.model_folder import (
    IN_RUN,
    PRIOR,
    TEXT_MATCH,
    TrainedModel,
    is_model,
    model_folder,
    read_about,
    read_model,
)

logger = logging.getLogger("sear")
SIZES = (
    "streams", "hidden_size", "num_layers", "num_heads", "d_state", "d_conv", "expand", "aggregation",
    "rating_encoding", "text_whitening", "item_table", "cosine_scale", "repeat_bias",
)  # fmt: skip


def earlier_model(config: Config) -> TrainedModel | None:
    """The model that `warm_start` names; None where it names none.

    Raises:
        InputError: there is no model, one with other settings or of another text encoder, or one that was trained on
            the events that this run holds out.
    """
    if not config["warm_start"]:
        return None
    folder = model_folder(PROJECT_ROOT / config["warm_start"])
    old = read_model(folder)
    for key in SIZES:
        new = config[key]
        if old.settings[key] != (list(new) if isinstance(new, tuple) else new):
            raise InputError(
                f"warm_start: {folder} has {key} {old.settings[key]}, and this run {new} - set {key} alike"
            )
    known, asked = old.about["texts"]["identity"], str(config["item_sem_embedding_model_path"])
    if old.text_VE is not None and known and known not in (find_encoder(asked).identities or (known,)):
        told = f"{folder} reads texts by another encoder ({old.about['texts']['encoder']}) than {asked}"
        raise InputError(f"warm_start: {told} - set item_sem_embedding_model_path to that one")
    if config["train_on"] != "all" and old.about.get("train_on") == "all":
        raise InputError(
            f"warm_start: {folder} was trained on every event, so those held out would not be new to it"
            " - name a run that held events out, or set train_on: all"
        )
    logger.info(f"warm start from {folder}")
    return old


def digest_of_start(path: str) -> str | None:
    """What the model that `warm_start` names is known by; None where it is gone or cannot be read."""
    try:
        return read_about(model_folder(PROJECT_ROOT / path))["digest"]
    except InputError:
        return None


def validated_start(path: str) -> str | None:
    """What a run that holds events out begins with, where one on every event begins with `path`.

    It is `path` itself if that held events out, too. Otherwise the run that validated it: its training events have
    grown since, and what is held out now it has never seen. None where that run is gone.
    """
    folder = model_folder(PROJECT_ROOT / path)
    about = read_about(folder)
    if about.get("train_on") != "all":
        return path
    run = folder.parent.parent / str(about.get("validated_by"))
    if is_model(run / IN_RUN):
        return shown(run)
    logger.info(f"{folder} was trained on every event, and the run that validated it is not beside it: from scratch")
    return None


@torch.no_grad()
def start_from(old: TrainedModel, model: SEARNetwork, dataset: SEARDataset) -> None:
    """Give `model` the weights of an earlier one; what belongs to items goes by their ids.

    Tables by item get a row for each item that both know. An item that is new has the row that its text suggests
    (sear.model.text_map), or keeps its start where there are no texts. Vectors of ratings are matched by the rating's
    value.

    Raises:
        InputError: its texts, or weights, are of another width.
    """
    if old.text_VE is not None and old.text_VE.shape[1] != (width := dataset.item_text_embedding().shape[1]):
        told = f"the earlier model's text embeddings are {old.text_VE.shape[1]} wide, those of this run {width}"
        raise InputError(f"warm_start: {told} - take the same encoder")
    number = {token: place for place, token in enumerate(old.item_ids, start=1)}
    theirs = np.array([number.get(str(token), 0) for token in dataset.events.item_tokens])
    own = model.state_dict()
    for name, values in old.weights.items():
        if name == "rating_emb.values_R" or name.startswith((PRIOR, TEXT_MATCH)):
            continue  # these are of the data, not learned
        own[name].copy_(_matched(name, values, own, old, theirs, dataset))
    model.load_state_dict(own)
    known = int((theirs[1:] > 0).sum())
    logger.info(f"warm start: {known:,} of {len(theirs) - 1:,} items are known")


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
        text_map = TextMap(old.text_VE[1:], values[1:].numpy(), old.training_counts.astype(np.float64))
        rows[new] = torch.from_numpy(text_map(dataset.item_text_embedding()[new])).to(rows.dtype)
    rows[0] = start[0]  # padding
    return rows


def _rating_rows(values: Tensor, start: Tensor, theirs_R: Tensor, own_R: Tensor) -> Tensor:
    place = {float(value): row for row, value in enumerate(theirs_R)}
    known = [(row, place[float(value)]) for row, value in enumerate(own_R) if float(value) in place]
    rows = start.clone()
    for row, old_row in known:
        rows[row] = values[old_row]
    return rows
