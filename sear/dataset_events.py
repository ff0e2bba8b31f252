"""How a SEARDataset comes by its events: read, filtered, sorted, and numbered."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

from sear.atomic_table import read_atomic, read_header
from sear.errors import InputError
from sear.events import core_events, count_interval, rating_column, read_event_table, sort_events


class DatasetEvents:
    """The half of SEARDataset that reads `.inter`."""

    def _load_events(self) -> None:
        self.rating_field = self.config["RATING_FIELD"]
        rating = rating_column(self.config["load_col"], self.rating_field)
        names = (self.uid_field, self.iid_field, self.time_field, rating)
        path = Path(self.dataset_path) / f"{self.dataset_name}.inter"
        table = self._filter_by_value(read_event_table(path, *names))
        intervals = [
            count_interval(self.config[key], key) for key in ("user_inter_num_interval", "item_inter_num_interval")
        ]
        table = core_events(table, self.uid_field, self.iid_field, *intervals)
        if table.empty:
            raise InputError(
                f"{path}: no event is left after filtering - lower user_inter_num_interval and item_inter_num_interval"
            )
        events = sort_events(table, *names)
        if not events.has_rating:
            why = "has no column" if rating else "is read without the column"
            self.logger.info(f"{path} {why} {self.rating_field!r}: every event counts as unrated")
        self.offsets, self.has_rating = events.offsets, events.has_rating
        self._set_tokens(self.uid_field, events.user_tokens)
        self._set_tokens(self.iid_field, self._with_cold_items(events.item_tokens))
        self.inter_feat = Interaction(
            {
                self.uid_field: torch.from_numpy(events.user),
                self.iid_field: torch.from_numpy(events.item),
                self.rating_field: torch.from_numpy(events.rating),
                self.time_field: torch.from_numpy(events.time),
            }
        )

    def _filter_by_value(self, table: pd.DataFrame) -> pd.DataFrame:
        """RecBole's own `rm_dup_inter` and `val_interval`, where the config asks for them."""
        if self.config["rm_dup_inter"] is None and self.config["val_interval"] is None:
            return table
        unread = [name for name in self.config["val_interval"] or {} if name not in table]
        if unread:
            raise InputError(f"val_interval names {unread[0]}, which no event has - remove it, or add it to load_col")
        for name in table:
            kind = FeatureType.TOKEN if name in (self.uid_field, self.iid_field) else FeatureType.FLOAT
            self.set_field_property(name, kind, FeatureSource.INTERACTION, 1)
        self.inter_feat = table.copy()
        self._remove_duplication()
        self._filter_by_field_value()
        return self.inter_feat.sort_index()

    def _with_cold_items(self, tokens: np.ndarray) -> np.ndarray:
        """Without an item filter the catalogue also holds items that nobody has met yet, as in RecBole."""
        if self.config["item_inter_num_interval"] is not None or not self.item_path.is_file():
            return tokens
        if self.iid_field not in read_header(self.item_path):
            return tokens
        known = set(tokens)
        listed = read_atomic(self.item_path, [self.iid_field], exact=[self.iid_field])[self.iid_field]
        return np.concatenate([tokens, [token for token in dict.fromkeys(listed) if token not in known]]).astype(object)

    def _set_tokens(self, field: str, tokens: np.ndarray) -> None:
        self.field2id_token[field] = tokens
        self.field2token_id[field] = {token: number for number, token in enumerate(tokens)}
