"""The model that answers, where its folder is, and whether a newer one has taken that place."""

import os
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sear.errors import InputError
from sear.recommend.load import load
from sear.recommend.recommender import Recommender
from sear.runs.model_folder import model_folder
from sear.serve.catalogue import Catalogue

Fingerprint = tuple[Any, ...]


@dataclass
class ServedModel:
    """One loaded model, with its items and users. generation: 1 for the first one, one more for each reload."""

    recommender: Recommender
    generation: int
    catalogue: Catalogue = field(init=False)
    users: frozenset[str] | None = field(init=False)

    def __post_init__(self):
        self.read_catalogue()
        users = self.recommender.user_ids
        self.users = None if users is None else frozenset(users)

    def read_catalogue(self) -> None:
        """Know the items anew, after some were added."""
        model = self.recommender
        self.catalogue = Catalogue(model.item_ids, model.titles, model.popularity)


class LiveModel:
    """The model that answers now. Only the model's own thread works with `now`; a reload is one assignment to it.

    Args:
        folder: a model's folder, a symbolic link to one, or a file whose one line names one (counted from that file).
    """

    def __init__(self, folder: Path | str, device: str = "cpu"):
        self.folder, self._device = Path(folder), device
        self._tried = fingerprint(self.folder)
        self._added: list[pd.DataFrame] = []
        self._lock = threading.Lock()  # of what was added, which a reload reads from another thread
        self.now = ServedModel(load_whole(self.folder, device), 1)

    def has_newer(self) -> bool:
        """Whether another model lies in its place since the last look. A failed load is not tried twice."""
        try:
            found = fingerprint(self.folder)
        except (InputError, OSError):
            return False  # between two models
        changed = found != self._tried
        self._tried = found
        return changed

    def load_newer(self) -> ServedModel:
        """The newer model, warm, with the items that were added here; `now` stays as it is. May take seconds."""
        recommender = load_whole(self.folder, self._device)
        with self._lock:
            added = list(self._added)
        add_unknown(recommender, added)
        warm_up(recommender)
        return ServedModel(recommender, self.now.generation + 1)

    def take(self, newer: ServedModel) -> None:
        """From now on `newer` answers; with what was added while it was loaded."""
        if add_unknown(newer.recommender, self._added):
            newer.read_catalogue()
        self.now = newer

    def add_items(self, table: pd.DataFrame, vectors: np.ndarray | None) -> None:
        """Make new items recommendable, here and in later models that do not know them."""
        self.now.recommender.add_items(table, vectors)
        with self._lock:
            self._added.append(table)
        self.now.read_catalogue()

    @property
    def added(self) -> int:
        return sum(map(len, self._added))


def load_whole(folder: Path, device: str) -> Recommender:
    """The model with its texts, so that a file that is missing or changed is told before anybody is answered."""
    recommender = load(folder, device)
    recommender.read_texts()
    return recommender


def add_unknown(recommender: Recommender, tables: list[pd.DataFrame]) -> bool:
    """Add those items of the tables that the model does not know; whether there were any."""
    if not tables:
        return False
    table, known = pd.concat(tables, ignore_index=True), set(recommender.item_ids)
    new = table[[item_id not in known for item_id in table["item_id"]]]
    if len(new):
        recommender.add_items(new)
    return bool(len(new))


def fingerprint(place: Path) -> Fingerprint:
    """Changes when another folder is pointed at, or when the files in it are replaced."""
    folder = model_folder(place)
    files = sorted((entry.name, entry.stat()) for entry in os.scandir(folder) if entry.is_file())
    return (os.path.realpath(folder), *((name, found.st_size, found.st_mtime_ns) for name, found in files))


def warm_up(recommender: Recommender) -> None:
    """Answer once of each kind, so that kernels are compiled and memory is there before the first client asks."""
    items = list(recommender.item_ids)
    k = min(10, len(items))
    for length in (1, 3, 50):
        recommender.recommend(history=(items * length)[:length], k=k, filter_seen=False)
    table = pd.DataFrame({"user_id": ["a", "a", "b"], "item_id": [items[0], items[-1], items[0]]})
    recommender.recommend(history=table, k=k, filter_seen=False)
    session = recommender.session(items[:1])
    session.add(items[-1])
    session.recommend(k=k, filter_seen=False)
    recommender.similar_items(items[:1], k=1)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
