"""From a trained SEAR and its data to what a model folder holds (sear.runs.model_folder)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sear
from sear.data.dataset import SEARDataset
from sear.data.text_encoder import find_encoder
from sear.model.sear import SEAR
from sear.runs.model_folder import TEXT_MATCH, TrainedModel, UserHistories
from sear.runs.record import RunRecord

SETTINGS = (  # what the network is built by, and what scores depend on
    "streams", "hidden_size", "num_layers", "num_heads", "dropout_prob", "d_state", "d_conv", "expand", "aggregation",
    "initializer_range", "keep_dt_init", "rating_encoding", "text_whitening", "item_table", "cosine_scale",
    "repeat_bias", "text_match_half_life", "MAX_ITEM_LIST_LENGTH", "transition_half_life",
)  # fmt: skip
NOT_VERSIONS = ("cpu", "threads", "processes", "device", "commit", "earlier_commits")


def can_be_kept(model: object) -> bool:
    """Whether sear.recommend can use the model: SEAR under whatever name and settings, but no class of its own."""
    return type(model) is SEAR


@torch.no_grad()
def trained_model(
    model: SEAR, dataset: SEARDataset, record: RunRecord, validated: RunRecord | None = None
) -> TrainedModel:
    """What the model knows, with every user's whole history: what training held out is history in use.

    Args:
        model: with the weights, and the choices of a transition prior and a text match, that were tested.
        record: what metrics.json tells of the run.
        validated: the same of the run that says how good this one is, where every event trained.
    """
    was_training = model.training
    model.eval()
    projected = model.projected_texts().float() if "semantic" in model.stream_names else None
    model.train(was_training)
    text_VE = model.item_text_VE.cpu().numpy() if hasattr(model, "item_text_VE") else None
    ids = [str(token) for token in dataset.events.item_tokens[1:]]
    titles = [title if title != token else None for title, token in zip(dataset.texts.titles[1:], ids, strict=True)]
    return TrainedModel(
        about=_about(dataset, record, validated or record),
        settings={key: _plain(dataset.config[key]) for key in SETTINGS},
        weights=dict(model.state_dict()) | _text_match(model),
        projected_text=projected,
        item_ids=ids,
        titles=titles,
        training_counts=dataset.training_item_counts[1:],
        texts=lambda: text_VE,
        users=_users(dataset),
    )


def _text_match(model: SEAR) -> dict[str, Tensor]:
    found = {} if model.text_match is None else model.text_match.tensors()
    return {f"{TEXT_MATCH}{name}": tensor for name, tensor in found.items()}


def _about(dataset: SEARDataset, record: RunRecord, measured: RunRecord) -> dict[str, Any]:
    environment = record.environment or {}
    config, events = dataset.config, dataset.events
    texts = {"fields": dataset.texts.fields, "title": dataset.texts.title_field}
    return {
        "model": record.model,
        "dataset": record.dataset,
        "seed": record.seed,
        "commit": environment.get("commit"),
        "versions": {"sear": sear.__version__}
        | {name: value for name, value in environment.items() if name not in NOT_VERSIONS},
        "train_on": config["train_on"],
        "validated_by": record.validated_by,  # whose metrics these are, where every event trained
        "metrics": {"test": measured.test, "test_seen_filtered": measured.test_history_masked, "valid": measured.valid},
        "counts": {"users": dataset.user_num - 1, "items": dataset.item_num - 1, "events": len(events)},
        "texts": texts | _encoder(config["item_sem_embedding_model_path"]),
        "columns": {
            "user": dataset.uid_field,
            "item": dataset.iid_field,
            "rating": dataset.rating_field,
            "time": dataset.time_field,
        },
    }


def _encoder(path: str) -> dict[str, Any]:
    """The encoder's name, of a path only the last part, and what it is known by."""
    encoder = find_encoder(str(path))
    name = encoder.path if encoder.hub_name else Path(encoder.path).name
    return {"encoder": name, "identity": encoder.identities[0] if encoder.identities else None}


def _users(dataset: SEARDataset) -> UserHistories:
    """Everybody's events: of those with a number, then of those whom the k-core left out, on items that it kept."""
    parts = dataset.events, dataset.left_out_events()
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    return UserHistories(
        user_ids=[str(token) for part in parts for token in part.user_tokens[1:]],
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        item=np.concatenate([part.item for part in parts]).astype(np.int32),
        rating=np.concatenate([part.rating for part in parts]).astype(np.float32),
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
