"""Rows never hold a held-out event, cover every training position once, and waste little."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sear.data import history

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=8)
width = st.integers(1, 12)
window = width.flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length)))


def offsets_of(counts):
    return np.concatenate([[0], np.cumsum(counts)])


def pairs(rows, items, k):
    """Every (user, history, targets) that carries loss, as plain tuples in a list."""
    index = np.arange(len(rows))
    longest = int(rows.length.max(initial=1))
    at, real = history.positions(rows, index, longest)
    targets = history.future_targets(items, rows, index, longest, k)
    found = []
    for row in index:
        for position in range(longest):
            if targets[row, position, 0]:
                assert real[row, position]
                found.append((rows.user[row], tuple(items[at[row, : position + 1]]), tuple(targets[row, position])))
    return found


@settings(max_examples=60, deadline=None)
@given(lengths, window, st.integers(1, 5))
def test_no_row_or_label_holds_a_held_out_event_or_another_users(counts, window, k):
    max_length, stride = window
    offsets = offsets_of(counts)
    items = np.arange(1, offsets[-1] + 1)  # each event its own item, so an item names its event
    owner = np.repeat(np.arange(len(counts)), counts)
    allowed = np.concatenate([np.arange(n) < (n - 2 if n >= 4 else n) for n in counts])
    for rows in (history.window_rows(offsets, max_length, stride), history.prefix_rows(offsets, max_length)):
        for user, past, future in pairs(rows, items, k):
            events = np.array([item - 1 for item in past + future if item])
            assert (owner[events] == user).all()
            assert allowed[events].all()
            assert (np.diff(events) == 1).all()  # exact order, nothing skipped


@settings(max_examples=60, deadline=None)
@given(lengths, window)
def test_windows_carry_every_position_exactly_once(counts, window):
    max_length, stride = window
    offsets = offsets_of(counts)
    rows = history.window_rows(offsets, max_length, stride)
    items = np.arange(1, offsets[-1] + 1)
    last_inputs = sorted(past[-1] for _, past, _ in pairs(rows, items, 1))
    training = history.training_counts(offsets)
    assert last_inputs == [offsets[u] + t for u in range(len(counts)) for t in range(1, training[u])]


@settings(max_examples=60, deadline=None)
@given(lengths, width)
def test_windows_with_stride_one_are_the_prefixes(counts, max_length):
    offsets = offsets_of(counts)
    items = np.arange(1, offsets[-1] + 1)
    windows = pairs(history.window_rows(offsets, max_length, 1), items, 3)
    assert sorted(windows) == sorted(pairs(history.prefix_rows(offsets, max_length), items, 3))


def test_windows_of_a_long_history_end_at_strides_and_at_the_last_input():
    rows = history.window_rows(np.array([0, 12]), 4, 2)  # 10 training events, inputs 1..9
    assert rows.start.tolist() == [0, 2, 4, 5]
    assert rows.length.tolist() == [4, 4, 4, 4]
    assert rows.loss_count.tolist() == [4, 2, 2, 1]
    assert rows.train_end.tolist() == [10] * 4


def test_targets_stop_at_the_last_training_event():
    rows = history.prefix_rows(np.array([0, 6]), 10)  # training events 1..4
    targets = history.future_targets(np.arange(1, 7), rows, np.arange(3), 3, 4)
    assert targets[0, 0].tolist() == [2, 3, 4, 0]
    assert targets[2, 2].tolist() == [4, 0, 0, 0]
    assert targets[2, 0].tolist() == [0, 0, 0, 0]  # only the end of a prefix carries loss


def test_held_out_rows_predict_the_last_two_events():
    offsets = offsets_of([3, 4, 9])
    valid, test = history.held_out_rows(offsets, 5, 2), history.held_out_rows(offsets, 5, 1)
    assert valid.user.tolist() == test.user.tolist() == [1, 2]  # three events are too few to hold any out
    assert (valid.start + valid.length).tolist() == [3 + 2, 7 + 7]
    assert (test.start + test.length).tolist() == [3 + 3, 7 + 8]
    assert valid.length.tolist() == [2, 5]


@settings(max_examples=40, deadline=None)
@given(lengths, st.integers(1, 50), st.integers(0, 3))
def test_an_epoch_uses_every_row_once_and_is_a_function_of_seed_and_epoch(counts, batch_targets, epoch):
    rows = history.window_rows(offsets_of(counts), 10, 5)
    batches = history.epoch_batches(rows, batch_targets, 1, epoch)
    again = history.epoch_batches(rows, batch_targets, 1, epoch)
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    if len(rows):
        assert sorted(np.concatenate(batches)) == list(range(len(rows)))


def test_batches_hold_about_the_wanted_loss_positions_and_pad_under_five_percent():
    random = np.random.default_rng(0)
    counts = np.maximum(20, random.lognormal(4.3, 0.9, 943).astype(int))  # like the histories of ml-100k
    rows = history.window_rows(offsets_of(counts), 100, 50)
    batches = history.epoch_batches(rows, 2048, 2020, 0)
    losses = [rows.loss_count[index].sum() for index in batches]
    assert max(losses) < 2048 * 1.1 and min(losses) > 2048 * 0.9
    padded = sum(len(index) * rows.length[index].max() for index in batches)
    assert 1 - rows.length.sum() / padded < 0.05
    other = history.epoch_batches(rows, 2048, 2020, 1)
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(batches, other, strict=False))


def test_prefix_batches_mix_all_lengths():
    rows = history.prefix_rows(offsets_of([60, 60, 60]), 50)
    batches = history.epoch_batches(rows, 40, 1, 0, by_length=False)
    assert all(np.ptp(rows.length[index]) > 20 for index in batches)
