"""Which models there are: ours, and those of RecBole's sequential ones that a SEARDataset can feed."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sear.errors import InputError

OWN_MODELS = {  # class name -> its module; a name that RecBole has too means ours
    "SEAR": "sear.model.sear",
    "SASRec": "sear.model.causal",
    "GRU4Rec": "sear.model.causal",
    "Mamba4Rec": "sear.model.causal",
    "eSASRec": "sear.model.esasrec",
    "BSARec": "sear.model.bsarec",
    "BERT4Rec": "sear.model.bert4rec",
    "EASE": "sear.model.ease",
    "ItemKNN": "sear.model.counting",
    "Pop": "sear.model.counting",
    "SequentialRules": "sear.model.sequential_rules",
}
COUNTING_MODELS = ("EASE", "ItemKNN", "Pop", "SequentialRules")  # learn nothing by gradient, and have no user vectors
FEATURES = "learns from item features, which a SEARDataset gives as sentences only"
GRAPH = "learns from a knowledge graph's embeddings, which a SEARDataset has not"
CANDIDATES = "scores given candidates, and cannot rank all items at once"
UNFED_MODELS = {  # RecBole's sequential models that cannot run here -> why
    "DIEN": CANDIDATES,
    "DIN": CANDIDATES,
    "FDSA": FEATURES,
    "FEARec": "looks up the stored rows of all histories, which a SEARDataset cuts out per batch",
    "GRU4RecF": FEATURES,
    "GRU4RecKG": GRAPH,
    "KSR": GRAPH,
    "S3Rec": FEATURES,
    "SASRecF": FEATURES,
}


@cache
def recbole_models() -> tuple[str, ...]:
    """RecBole's sequential models, less UNFED_MODELS, found without importing RecBole."""
    root = recbole_root()
    names = sorted(path.stem for path in (root / "properties" / "model").glob("*.yaml"))
    there = (n for n in names if (root / "model" / "sequential_recommender" / f"{n.lower()}.py").is_file())
    return tuple(name for name in there if name not in UNFED_MODELS)


def recbole_root() -> Path:
    """RecBole's folder, found without importing it. Raises InputError where it is not installed."""
    found = importlib.util.find_spec("recbole")
    if found is None or found.submodule_search_locations is None:
        raise InputError("RecBole is not installed - run: pip install --no-deps recbole==1.2.1")
    return Path(found.submodule_search_locations[0])


STREAMS = ("semantic", "collaborative", "rating")
TIED_STREAMS = STREAMS[:2]  # those that have a vector per item
SETTINGS: dict[str, dict[str, Any]] = {  # part -> the settings without it
    "aggregation": {"aggregation": False},
    "text_init": {"text_init": False},
    "soft_labels": {"soft_label_length": 1},
}
PARTS = (*STREAMS, *SETTINGS)


def settings_without(part: str, streams: Sequence[str]) -> dict[str, Any]:
    """The settings that take `part` out of a SEAR with these streams; those of an unknown part are empty."""
    if part in STREAMS:
        matching = {"text_match": None} if part == "semantic" else {}
        return {"streams": [name for name in streams if name != part]} | matching
    return SETTINGS.get(part, {})
