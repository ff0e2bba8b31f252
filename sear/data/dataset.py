"""SEARDataset: a RecBole sequential dataset that keeps every history once, flat, and cuts rows out per batch.

RecBole's own SequentialDataset stores one padded row per prefix and field; here `events` holds the events once, sorted
by user and exact time, and `__getitem__`, which RecBole's loaders and helpers call with row numbers, cuts the padded
lists out. So RecBole's loaders, trainers and sequential models work on it too, these on prefixes.
"""

import copy
import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType

import sear.recbole_compat  # noqa: F401
from sear import processes
from sear.data import history
from sear.data.events import (
    Events,
    Numbers,
    Tokens,
    core_events,
    count_interval,
    rating_column,
    read_event_table,
    sort_events,
)
from sear.data.item_texts import ItemTexts, Make
from sear.data.kept_arrays import kept_arrays
from sear.errors import InputError
from sear.files import known_sha256, require_unchanged
from sear.settings.checks import HELD_OUT, LAST_EVENT_ONLY, WRITE_EVAL_ARGS, is_leave_one_out

KEPT_FROM = 1 << 26  # bytes of an event file, some two million events, that takes longer to read than arrays to map


class SEARDataset(SequentialDataset):
    """Histories of a RecBole data set, leak-free, in exact time order.

    After `build()` (RecBole's `data_preparation` calls it) the three parts share one flat history and differ only in
    their `rows`.

    Attributes:
        events: all events, sorted by user and exact time (sear.data.events.Events); the parts share them.
        texts: what is told of the items (sear.data.item_texts.ItemTexts).
        part: 0 for the training part, 1 validation, 2 test; None before `build()`.
        rows: sear.data.history.Rows of this part; None before `build()`.

    Raises:
        InputError: an atomic file or a setting is at fault; the message names file, line or key, and the remedy.
    """

    events: Events
    texts: ItemTexts
    part: int | None = None
    rows: history.Rows | None = None
    _inter_feat: Interaction | pd.DataFrame | None = None
    _source: tuple[str, dict] | None = None  # where arrays are kept: hash of the file, and what makes events of it

    def _from_scratch(self) -> None:
        self._get_preset()
        self._get_field_from_config()
        self.rating_field = self.config["RATING_FIELD"]
        self.user_feat = self.item_feat = None
        self.feat_name_list = ["inter_feat"]
        if self.benchmark_filename_list is not None:
            raise InputError("benchmark_filename: ready-made splits are not supported - remove the key")
        folder, load_col = Path(self.dataset_path), self.config["load_col"] or {}
        encoder, device = self.config["item_sem_embedding_model_path"], str(self.config["device"])
        self.texts = ItemTexts(folder / f"{self.dataset_name}.item", self.iid_field, load_col, encoder, device)
        self.events = self._find_events(folder / f"{self.dataset_name}.inter")
        self.events.hold_out = self.config["train_on"] != "all"
        self.texts.item_tokens = self.events.item_tokens
        self.texts.keep = None if self._source is None else self._kept
        self._set_tokens(self.uid_field, self.events.user_tokens)
        self._set_tokens(self.iid_field, self.events.item_tokens)
        self.inter_feat = Interaction({self.uid_field: torch.from_numpy(self.events.user), **self._columns})
        self._set_fields()

    def _find_events(self, path: Path) -> Events:
        """The events of a `.inter` file that are left after the filters, checked and sorted; those of a large file, or
        for several processes, are read once and then kept as arrays that processes share.
        """
        if path.is_file() and (path.stat().st_size >= KEPT_FROM or processes.size() > 1):
            keys = ("val_interval", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval")
            what = {"columns": self._event_columns} | {key: self.config[key] for key in keys}
            if self.config["item_inter_num_interval"] is None:
                what["listed"] = known_sha256(self.texts.path)
            self._source = known_sha256(path), what
        found = self._kept("events", {}, lambda: self._read_events(path))
        events = Events.from_arrays(found)
        if "hash" in found:
            self.events_hash = found["hash"].tobytes().decode()
        if not events.has_rating:
            why = "has no column" if self._event_columns[-1] else "is read without the column"
            self.logger.info(f"{path} {why} {self.rating_field!r}: every event counts as unrated")
        return events

    def _kept(self, kind: str, what: dict, make: Make) -> Mapping[str, np.ndarray]:
        """Arrays that follow from the events and from `what`: made, or mapped from files where such are kept."""
        if self._source is None:
            return make()
        source, events = self._source
        what = {"arrays": kind, "events": events} | what
        return kept_arrays(self.texts.cache_folder, self.dataset_name, source, what, make)

    def _read_events(self, path: Path) -> Mapping[str, np.ndarray]:
        names = self._event_columns
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
        del table
        if self.config["item_inter_num_interval"] is None:  # then, as in RecBole, items that nobody has met count too
            known = set(events.item_tokens)
            unmet = [token for token in self.texts.listed_items if token not in known]
            events.item_tokens = Tokens.of([*events.item_tokens, *unmet])
        if self._source is None:
            return events.arrays()
        require_unchanged(path, self._source[0])  # else these arrays would be kept as those of another file
        return events.arrays() | {"hash": np.frombuffer(_events_hash(events).encode(), np.uint8)}

    @property
    def _event_columns(self) -> tuple[str, str, str, str | None]:
        rating = rating_column(self.config["load_col"], self.rating_field)
        return self.uid_field, self.iid_field, self.time_field, rating

    def left_out_events(self) -> Events:
        """The events of the users whom the filters left out, on items that they kept; for use after training.

        The `.inter` file is read once more. Users are numbered anew, items as in `events`; a user may have none.
        """
        names = self._event_columns
        table = read_event_table(self.texts.path.with_suffix(".inter"), *names)
        unknown = ~table[self.uid_field].isin(list(self.field2token_id[self.uid_field]))
        before = self._inter_feat
        events = sort_events(self._filter_by_value(table[unknown]), *names)
        self._inter_feat = before
        numbers = pd.Series(dict(self.field2token_id[self.iid_field])).reindex(list(events.item_tokens)).fillna(0)
        item = numbers.to_numpy(np.int64)[events.item]
        kept = item > 0
        user, rating, time = (column[kept] for column in (events.user, events.rating, events.time))
        item_tokens = self.events.item_tokens
        return Events(user, item[kept], rating, time, events.user_tokens, item_tokens, events.has_rating)

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

    def _set_tokens(self, field: str, tokens: Tokens) -> None:
        self.field2id_token[field] = tokens
        self.field2token_id[field] = Numbers(tokens)

    @property
    def _columns(self) -> dict[str, torch.Tensor]:
        """What an event holds besides its user, (events,) each: views of `events`."""
        events = self.events
        columns = {self.iid_field: events.item, self.rating_field: events.rating, self.time_field: events.time}
        return {field: torch.from_numpy(values) for field, values in columns.items()}

    @property
    def inter_feat(self):
        """All events; of a part, as RecBole's helpers take it, each row's user and the event its history leads to."""
        if self._inter_feat is None and self.rows is not None:
            target = torch.from_numpy(self.rows.start + self.rows.length)
            columns = {field: values[target] for field, values in self._columns.items()}
            self._inter_feat = Interaction({self.uid_field: torch.from_numpy(self.rows.user + 1), **columns})
        return self._inter_feat

    @inter_feat.setter
    def inter_feat(self, feature) -> None:
        self._inter_feat = feature

    def _set_fields(self) -> None:
        kinds = {self.rating_field: FeatureType.FLOAT, self.time_field: FeatureType.FLOAT}
        for field in (self.uid_field, *self._columns):
            kind = kinds.get(field, FeatureType.TOKEN)
            self.set_field_property(field, kind, FeatureSource.INTERACTION, 1)
            if field != self.uid_field:
                list_field = field + self.config["LIST_SUFFIX"]
                setattr(self, f"{field}_list_field", list_field)
                list_kind = FeatureType.FLOAT_SEQ if kind == FeatureType.FLOAT else FeatureType.TOKEN_SEQ
                self.set_field_property(list_field, list_kind, FeatureSource.INTERACTION, self.max_item_list_len)
        self.set_field_property(self.item_list_length_field, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)

    def _change_feat_format(self) -> None:
        """Nothing to change: the events are an Interaction from the start, and no row is stored."""

    def build(self) -> list["SEARDataset"]:
        """Training, validation and test parts: leave-one-out by exact time (the method's Protocol).

        With `train_on: all` every event trains, and the two other parts are empty.
        """
        if not is_leave_one_out(self.config["eval_args"]):
            raise InputError(f"eval_args is {self.config['eval_args']}, {HELD_OUT} - {WRITE_EVAL_ARGS}")
        length, hold_out = self.max_item_list_len, self.events.hold_out
        if train_rows(self.config) == "prefixes":
            train = self._rows(history.prefix_rows, length, hold_out)
        else:
            train = self._rows(
                history.window_rows, length, self.config["window_stride"] or max(1, length // 2), hold_out
            )
        held_out = [
            self._rows(history.held_out_rows, length, back) if hold_out else history.no_rows() for back in (2, 1)
        ]
        parts = [train, *held_out]
        if not len(train) or (hold_out and not len(parts[1])):
            least = history.MIN_EVENTS_TO_HOLD_OUT
            raise InputError(f"{self.dataset_name}: no user has {least} events - nothing to test; add events")
        return [self._part(number, rows) for number, rows in enumerate(parts)]

    def _rows(self, cut: Callable[..., history.Rows], *sizes: int) -> history.Rows:
        def make() -> dict[str, np.ndarray]:
            return dict(vars(cut(self.events.offsets, *sizes)))

        return history.Rows(**self._kept(cut.__name__, {"sizes": sizes}, make))

    def _part(self, number: int, rows: history.Rows) -> "SEARDataset":
        part = copy.copy(self)
        part.part, part.rows, part.inter_feat = number, rows, None
        return part

    def __len__(self) -> int:
        return len(self.events) if self.rows is None else len(self.rows)

    def __getitem__(self, index, join: bool = True) -> Interaction:
        """The rows with these numbers, right-padded with 0 to MAX_ITEM_LIST_LENGTH, or to the longest (`trim_padding`).

        Returns:
            Interaction of user_id (B,), item_id (B,) the event after the last, item_id_list (B, L), rating_list
            (B, L) NaN = none, item_length (B,) and, for training rows, target_id_list (B, L, soft_label_length);
            with `repeat_bias` also history_items (B, H), the distinct items from the user's first event to the row's
            last, 0 where one comes again, and earlier_events (B,), how many of these events precede the row's own.
        """
        if self.rows is None:
            return super().__getitem__(index, join)
        index = np.atleast_1d(np.arange(len(self.rows))[index])
        length, width = self.rows.length[index], self.padded_length(index)
        at, real = map(torch.from_numpy, history.positions(self.rows, index, width))
        target = torch.from_numpy(self.rows.start[index] + length)
        batch = {self.uid_field: torch.from_numpy(self.rows.user[index] + 1)}
        columns = self._columns
        for field in (self.iid_field, self.rating_field, *self._other_list_fields):
            values = columns[field]
            batch[field] = values[target]
            batch[field + self.config["LIST_SUFFIX"]] = values[at].masked_fill_(~real, 0)
        batch[self.item_list_length_field] = torch.from_numpy(length)
        if self.rows.loss_count[index[0]] and self.config["soft_label_length"]:
            k = self.config["soft_label_length"]
            items = self.events.item
            batch["target_id_list"] = torch.from_numpy(history.future_targets(items, self.rows, index, width, k))
        if self.config["repeat_bias"]:
            first, start = self.events.offsets[self.rows.user[index]], self.rows.start[index]
            items = history.whole_histories(self.first_meetings, first, start + length)
            batch[history.HISTORY_ITEMS] = torch.from_numpy(items)
            batch[history.EARLIER_EVENTS] = torch.from_numpy(start - first)
        return Interaction(batch)

    def inter_matrix(self, form: str = "coo", value_field: str | None = None):
        """Sparse (users, items): all events, or those of this part, of which training has many to a row.

        Args:
            form: "coo" or "csr".
            value_field: whose values the matrix holds, such as the rating's (NaN = none); None: ones.
        """
        chosen = np.arange(len(self.events))
        if self.rows is not None and self.rows.loss_count.any():
            chosen = np.flatnonzero(self.events.training & np.isin(self.events.user, self.rows.user + 1))
        elif self.rows is not None:
            chosen = self.rows.start + self.rows.length
        columns = {self.uid_field: torch.from_numpy(self.events.user), **self._columns}
        events = Interaction({field: values[torch.from_numpy(chosen)] for field, values in columns.items()})
        return self._create_sparse_matrix(events, self.uid_field, self.iid_field, form, value_field)

    def padded_length(self, index: np.ndarray) -> int:
        """L of the batch of these rows."""
        return int(self._part_rows.length[index].max()) if self.config["trim_padding"] else self.max_item_list_len

    @property
    def _other_list_fields(self) -> tuple[str, ...]:
        """RecBole's time-aware models read the padded times; SEAR does not."""
        return () if self.config["soft_label_length"] else (self.time_field,)

    @property
    def _part_rows(self) -> history.Rows:
        """`rows`, for what only a part can tell."""
        assert self.rows is not None, "only a part that build() makes has rows"
        return self.rows

    def epoch_batches(self, seed: int, epoch: int) -> list[np.ndarray]:
        """Row numbers of each training batch of an epoch, a function of (seed, epoch) alone."""
        by_length = bool(self.config["trim_padding"])
        return history.epoch_batches(self._part_rows, self.config["train_batch_size"], seed, epoch, by_length)

    def targets(self, index: np.ndarray) -> torch.Tensor:
        """int64 (B,): the item after the last event of each row."""
        rows = self._part_rows
        return torch.from_numpy(self.events.item[rows.start[index] + rows.length[index]])

    def full_history(self, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Every event before the rows' targets, uncapped: all items flat, and each row's begin and end (B,) in them."""
        rows = self._part_rows
        first, end = self.events.offsets[rows.user[index]], rows.start[index] + rows.length[index]
        return torch.from_numpy(self.events.item), torch.from_numpy(first), torch.from_numpy(end)

    def item_text_embedding(self) -> np.ndarray:
        """float32 (V, E): what SEAR knows of the items' texts; a subclass may give vectors of any origin instead."""
        return self.texts.embedding

    @cached_property
    def first_meetings(self) -> np.ndarray:
        """int64 (events,): the items where their user meets them for the first time, else 0."""

        def make() -> dict[str, np.ndarray]:
            return {"items": history.first_meetings(self.events.user, self.events.item)}

        return self._kept("first meetings", {}, make)["items"]

    @cached_property
    def training_item_counts(self) -> np.ndarray:
        """int64 (V,): how often each item occurs among all training events."""
        events = self.events
        held_out = history.held_out_events(events.offsets, events.hold_out)
        whole, out = (np.bincount(items, minlength=self.item_num) for items in (events.item, events.item[held_out]))
        return whole - out

    @cached_property
    def next_item_counts(self) -> np.ndarray:
        """int64 (V,): the same without each user's first event, which no training position has as its next item."""
        first = self.events.offsets[:-1][np.diff(self.events.offsets) > 0]
        return self.training_item_counts - np.bincount(self.events.item[first], minlength=self.item_num)

    @cached_property
    def statistics(self) -> dict[str, float]:
        """Users, items and interactions without the padding rows, and what follows from them."""
        users, items, events = self.user_num - 1, self.item_num - 1, len(self.events)
        return {
            "users": users,
            "items": items,
            "interactions": events,
            "sparsity": 1 - events / users / items,
            "avg_interactions_per_user": events / users,
            "avg_interactions_per_item": events / items,
        }

    @cached_property
    def events_hash(self) -> str:
        """SHA-256 of the item ids and of all events in their order: a checkpoint fits only what it was trained on."""
        return _events_hash(self.events)


def _events_hash(events: Events) -> str:
    digest = hashlib.sha256("\n".join(events.item_tokens).encode())
    for column in (events.user, events.item, events.rating):
        digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()


def train_rows(config) -> str:
    """ "windows" or "prefixes": what the config asks for, or else what its model learns from.

    Raises:
        InputError: windows for a model that would learn from one position in a hundred.
    """
    learns_from = getattr(config.model_class, "train_rows", "prefixes")  # RecBole's own models have no such attribute
    asked = config["train_rows"] or learns_from
    if asked not in ("windows", "prefixes"):
        raise InputError(f"train_rows is {asked!r} - write windows or prefixes")
    if asked == "windows" and learns_from != "windows":
        raise InputError(f"train_rows is windows, but {config['model']} {LAST_EVENT_ONLY} - write prefixes")
    return asked


def require_sear_dataset(dataset, who: str) -> None:
    """Raises InputError where `who` is handed a dataset of another class."""
    if not hasattr(dataset, "events"):
        raise InputError(
            f"{who} needs a sear.dataset.SEARDataset, not a {type(dataset).__name__} - "
            "build it with: from sear.dataset import SEARDataset; dataset = SEARDataset(config)"
        )
