"""Rows cut out of flat histories: training windows and prefixes, their targets, and the batches of an epoch.

All users' events lie in one flat sequence, user after user, each in exact time order; `offsets[u]` is where user u's
begin. A row is a pointer into it, so memory grows with the events and not with events x MAX_ITEM_LIST_LENGTH. Pure
functions on numpy arrays (SEAR's method: Training rows and Protocol).
"""

from dataclasses import dataclass

import numpy as np

HISTORY_ITEMS = "history_items"  # field of a batch: the items of each row's user up to the row's end
EARLIER_EVENTS = "earlier_events"  # field of a batch: how many of them come before the row's own events
MIN_EVENTS_TO_HOLD_OUT = 4  # users with fewer events only train (as RecBole's leave-one-out over prefixes)


@dataclass(frozen=True)
class Rows:
    """Row r is events start[r] .. start[r] + length[r] - 1 of user[r]; all fields int64 (rows,).

    The last `loss_count` positions carry the loss; `train_end` is one past the user's last training event: the flat
    sequence is never read from there on to make a target.
    """

    user: np.ndarray
    start: np.ndarray
    length: np.ndarray
    loss_count: np.ndarray
    train_end: np.ndarray

    def __len__(self) -> int:
        return len(self.user)


def training_counts(offsets: np.ndarray, hold_out: bool = True) -> np.ndarray:
    """m of each user: how many of the first events train; the last two of users with four or more are held out.

    Args:
        hold_out: False: every event trains.

    >>> training_counts(np.array([0, 3, 8])).tolist()  # three events, too few to hold any out, and five
    [3, 3]
    """
    counts = np.diff(offsets)
    return np.where(counts >= MIN_EVENTS_TO_HOLD_OUT, counts - 2, counts) if hold_out else counts


def held_out_events(offsets: np.ndarray, hold_out: bool = True) -> np.ndarray:
    """int64: the numbers of the events that do not train."""
    last = offsets[1:][training_counts(offsets, hold_out) < np.diff(offsets)]
    return np.concatenate([last - 2, last - 1])


def is_training(offsets: np.ndarray, hold_out: bool = True) -> np.ndarray:
    """bool (events,): which events train."""
    counts = np.diff(offsets)
    return np.arange(offsets[-1]) < np.repeat(offsets[:-1] + training_counts(offsets, hold_out), counts)


def window_rows(offsets: np.ndarray, max_length: int, stride: int, hold_out: bool = True) -> Rows:
    """Windows that carry every position 1..m-1 of every user exactly once.

    Window 0 is the first max_length inputs; each later one ends `stride` further on, or at the last input.
    """
    assert 1 <= stride <= max_length, "a longer stride would leave positions out"
    counts = training_counts(offsets, hold_out)
    inputs = np.maximum(counts - 1, 0)  # the last training event is never an input
    later = -(-np.maximum(inputs - max_length, 0) // stride)
    windows = np.where(inputs > 0, 1 + later, 0)
    user = np.repeat(np.arange(len(inputs)), windows)
    number = np.arange(len(user)) - np.repeat(np.cumsum(windows) - windows, windows)
    end = np.minimum(max_length + number * stride, inputs[user])
    covered = np.where(number == 0, 0, np.minimum(max_length + (number - 1) * stride, inputs[user]))
    start = np.maximum(end - max_length, 0)
    return _rows(offsets, counts, user, start, end - start, end - covered)


def prefix_rows(offsets: np.ndarray, max_length: int, hold_out: bool = True) -> Rows:
    """Every position 1..m-1 as a row of its own, loss at its end: the published layout."""
    counts = training_counts(offsets, hold_out)
    inputs = np.maximum(counts - 1, 0)
    user = np.repeat(np.arange(len(inputs)), inputs)
    end = np.arange(len(user)) - np.repeat(np.cumsum(inputs) - inputs, inputs) + 1
    start = np.maximum(end - max_length, 0)
    return _rows(offsets, counts, user, start, end - start, np.ones_like(end))


def held_out_rows(offsets: np.ndarray, max_length: int, back: int) -> Rows:
    """One row per user with a held-out event: back=1 the test event (the last), back=2 the validation event.

    The history is everything before the target, at most max_length events; the target is event start + length.
    """
    counts = np.diff(offsets)
    user = np.flatnonzero(counts >= MIN_EVENTS_TO_HOLD_OUT)
    end = counts[user] - back
    start = np.maximum(end - max_length, 0)
    return _rows(offsets, training_counts(offsets), user, start, end - start, np.zeros_like(end))


def no_rows() -> Rows:
    """Where every event trains, nothing is held out."""
    return Rows(*(np.zeros(0, dtype=np.int64) for _ in range(5)))


def _rows(offsets, training, user, start, length, loss_count) -> Rows:
    """Rows by places inside each user's events; `training`: m of each user. All int64 arrays."""
    base = offsets[user]
    return Rows(user, base + start, length, loss_count, base + training[user])


def positions(rows: Rows, index: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat positions (B, width) of the rows' events and whether each is one; beyond the length position 0, False."""
    steps = np.arange(width)
    real = steps < rows.length[index][:, None]
    return np.where(real, rows.start[index][:, None] + steps, 0), real


def future_targets(items: np.ndarray, rows: Rows, index: np.ndarray, width: int, k: int) -> np.ndarray:
    """The next k items after each position that carries loss: int64 (B, width, k), 0 = none.

    The window of targets ends at the user's last training event, always.
    """
    length, start = rows.length[index][:, None], rows.start[index][:, None]
    steps = np.arange(width)
    carries = (steps < length) & (steps >= length - rows.loss_count[index][:, None])
    after = (start + steps)[:, :, None] + np.arange(1, k + 1)
    exists = carries[:, :, None] & (after < rows.train_end[index][:, None, None])
    return np.where(exists, items[np.where(exists, after, 0)], 0)


def epoch_batches(rows: Rows, batch_targets: int, seed: int, epoch: int, by_length: bool = True) -> list[np.ndarray]:
    """Row numbers of an epoch's batches: whole rows, about `batch_targets` loss positions in each, in random order.

    A function of (seed, epoch) alone. With `by_length` a batch holds rows of similar length, so little is padded.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(rows))
    if by_length:
        jitter = 1 + 0.04 * random.random(len(rows))  # neighbours change from epoch to epoch
        order = order[np.argsort((rows.length * jitter)[order], kind="stable")]
    loss_count = rows.loss_count[order]
    total = int(loss_count.sum())
    batches = max(1, round(total / batch_targets))
    middle = np.cumsum(loss_count) - loss_count / 2
    cuts = np.searchsorted(middle, np.arange(1, batches) * (total / batches))
    parts = [part for part in np.split(order, cuts) if len(part)]
    return [parts[i] for i in random.permutation(len(parts))]


def first_meetings(user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The items (events,) where their user meets them for the first time, 0 where an item comes again.

    >>> first_meetings(np.array([1, 1, 1, 2]), np.array([5, 6, 5, 5])).tolist()
    [5, 6, 0, 5]
    """
    _, first = np.unique(user * (item.max(initial=0) + 1) + item, return_index=True)
    met = np.zeros_like(item)
    met[first] = item[first]
    return met


def whole_histories(events: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Events first .. end-1 of each row, right-padded with 0: (B, H), H the longest."""
    steps = np.arange((end - first).max(initial=0))
    real = steps < (end - first)[:, None]
    return np.where(real, events[np.where(real, first[:, None] + steps, 0)], 0)
