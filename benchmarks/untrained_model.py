"""A model folder of any size with random weights, written in a second: what serves a model need not have trained it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import sear
from sear.files import BUNDLED
from sear.model.network import SEARNetwork
from sear.model.rating_encoding import encoder_of_values
from sear.runs.model_folder import TrainedModel, UserHistories, write_model
from sear.runs.run_model import SETTINGS
from sear.settings.rules import read_settings

TEXT_WIDTH = 768  # as all-mpnet-base-v2's
COLUMNS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}
METRICS = {"test": {}, "test_seen_filtered": None, "valid": {}}


def write_untrained(
    folder: Path, items: int, users: int, events: int = 20, seed: int = 0, titles: Sequence[str | None] = (), **changes
) -> Path:
    """Items i0, i1, … and users u0, u1, …, as an export writes them; returns the folder.

    Args:
        events: of each user, with ratings from 1 to 5.
        titles: of the first items; the others are called Product no. N.
        changes: keys of SEAR.yaml.
    """
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    settings = read_settings(BUNDLED / "config" / "model" / "SEAR.yaml")[0] | {"text_init": False} | changes
    settings = {key: settings.get(key) for key in SETTINGS} | {"MAX_ITEM_LIST_LENGTH": 100} | changes
    text_VE = random.standard_normal((items + 1, TEXT_WIDTH), dtype=np.float32)
    network = SEARNetwork().build(
        settings | {"device": "cpu", "mamba_kernel": "auto", "text_init": False}, items + 1, text_VE,
        lambda: encoder_of_values(settings["rating_encoding"], settings["hidden_size"], None),
    )  # fmt: skip
    with torch.no_grad():
        projected = network.projected_texts()
    offsets = np.arange(users + 1, dtype=np.int64) * events
    item = random.integers(1, items + 1, users * events, dtype=np.int32)
    rating = random.integers(1, 6, users * events).astype(np.float32)
    about = {
        "model": "SEAR", "dataset": "made-up", "seed": seed, "commit": None, "versions": {"sear": sear.__version__},
        "metrics": METRICS, "counts": {"users": users, "items": items, "events": len(item)}, "columns": COLUMNS,
        "texts": {"fields": ["title", "kind"], "title": "title", "encoder": "none", "identity": None},
    }  # fmt: skip
    named = [*titles, *(f"Product no. {number}" for number in range(len(titles), items))]
    ids = [f"i{number}" for number in range(items)]
    users_there = UserHistories([f"u{number}" for number in range(users)], offsets, item, rating)
    counts = np.bincount(item, minlength=items + 1)[1:]
    weights = dict(network.state_dict())
    model = TrainedModel(about, settings, weights, projected, ids, named, counts, lambda: text_VE, users_there)
    write_model(folder, model)
    return folder
