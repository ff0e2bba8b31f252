"""The model that answers, where its folder is, and whether a newer one has taken that place."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sear.errors import InputError
from sear.recommend.load import load
from sear.recommend.recommender import Recommender
from sear.runs.model_folder import model_folder
from sear.serve.titled_items import TitledItems

Fingerprint = tuple[Any, ...]


@dataclass
class ServedModel:
    """One loaded model, with its items. generation: 1 for the first one, one more for each reload."""

    recommender: Recommender
    generation: int
    items: TitledItems = field(init=False)

    def __post_init__(self):
        self.read_items()

    def read_items(self) -> None:
        """Know the items anew, after some were added."""
        model = self.recommender
        self.items = TitledItems(model.item_ids, model.titles, model.popularity)


class LiveModel:
    """The model that answers now. Only the model's own thread works with `now`; a reload is one assignment to it.

    Args:
        folder: a model's folder, a symbolic link to one, or a file whose one line names one (counted from that file).
    """

    def __init__(self, folder: Path | str, device: str = "cpu", encoder: str | None = None):
        self.folder, self._device, self._encoder = Path(folder), device, encoder
        self._tried = fingerprint(self.folder)
        self._added: list[pd.DataFrame] = []
        self.now = ServedModel(load(self.folder, device, encoder), 1)

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
        recommender = load(self.folder, self._device, self._encoder)
        add_unknown(recommender, self._added)
        recommender.warm_up()
        return ServedModel(recommender, self.now.generation + 1)

    def take(self, newer: ServedModel) -> None:
        """From now on `newer` answers."""
        self.now = newer

    def add_items(self, table: pd.DataFrame, vectors: np.ndarray) -> None:
        """Make new items recommendable, here and in later models that do not know them. Not while one is loaded."""
        self.now.recommender.add_items(table, vectors)
        self._added.append(table)
        self.now.read_items()

    @property
    def added(self) -> int:
        return sum(map(len, self._added))


def add_unknown(recommender: Recommender, tables: list[pd.DataFrame]) -> None:
    """Add those items of the tables that the model does not know; those that it cannot take are told and left out."""
    known, fields = set(recommender.item_ids), set(recommender.text_fields)
    new = [table[[item_id not in known for item_id in table["item_id"]]] for table in tables]
    fitting = [table for table in new if fields & set(table.columns)]
    added, fault = sum(map(len, fitting)), f"none of the text columns {', '.join(sorted(fields))}"
    try:
        if added:
            recommender.add_items(pd.concat(fitting, ignore_index=True))
    except InputError as error:
        added, fault = 0, str(error)
    if left_out := sum(map(len, new)) - added:
        say(f"{left_out} items that were added here are not in the newer model: {fault}")


def fingerprint(place: Path) -> Fingerprint:
    """Changes when another folder is pointed at, or when the files in it are replaced."""
    folder = model_folder(place)
    files = sorted((entry.name, entry.stat()) for entry in os.scandir(folder) if entry.is_file())
    return (os.path.realpath(folder), *((name, found.st_size, found.st_mtime_ns) for name, found in files))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
