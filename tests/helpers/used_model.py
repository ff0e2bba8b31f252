"""Toy runs of SEAR that are then used, and their test cases as a user of the model would ask for them."""

from pathlib import Path

import pandas as pd

import sear
from tests.conftest import TOY

EVERYTHING: dict[str, dict] = {  # each setting that changes scores, in as few runs as may be
    "plain": {},
    "tied": {
        "item_table": "tied",
        "text_match": [0.5, 2.0],
        "repeat_bias": True,
        "ema_decay": 0.9,
        "rating_encoding": "value_centred",
    },
    "cosine": {"cosine_scale": 8.0, "text_whitening": 8, "rating_encoding": "centred", "aggregation": False},
    "prior": {"transition_prior": [0.5], "streams": ["collaborative", "rating"], "text_init": False},
}


def toy_run(folder: Path, **changes) -> Path:
    """The folder of a finished run on the data set `tiny` (see the fixture `here`)."""
    settings = TOY | {"epochs": 1, "threads": 1, "results_path": str(folder / "results"), "mask_history": True}
    return Path(sear.run_sear("tiny", **(settings | changes))["run_folder"])


def test_cases(recommender, run: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The run's cases.csv.gz, and every case's whole history before its target as a table of events."""
    cases = pd.read_csv(run / "cases.csv.gz", dtype={"user": str, "target": str})
    users, events = recommender._users, []
    for row, user in enumerate(users.user_ids):
        for at in range(users.offsets[row], users.offsets[row + 1] - 1):
            events.append((user, recommender.item_ids[users.item[at] - 1], users.rating[at]))
    history = pd.DataFrame(events, columns=["user_id", "item_id", "rating"])
    return cases, history[history.user_id.isin(cases.user)]
