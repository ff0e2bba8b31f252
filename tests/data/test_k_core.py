"""The k-core filter against a plain loop over rows."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sear.data.events import core_mask


def plain_core(events, user_interval, item_interval):
    rows = list(range(len(events)))
    while True:
        users, items = Counter(events[row][0] for row in rows), Counter(events[row][1] for row in rows)
        left = [
            row
            for row in rows
            if user_interval[0] <= users[events[row][0]] <= user_interval[1]
            and item_interval[0] <= items[events[row][1]] <= item_interval[1]
        ]
        if left == rows:
            return rows
        rows = left


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40),
    st.tuples(st.integers(0, 3), st.integers(2, 9)),
    st.tuples(st.integers(0, 3), st.integers(2, 9)),
)
def test_mask_equals_the_plain_loop(events, user_interval, item_interval):
    codes = np.array(events, dtype=np.int64).reshape(-1, 2)
    mask = core_mask(codes[:, 0], codes[:, 1], user_interval, item_interval)
    assert list(np.flatnonzero(mask)) == plain_core(events, user_interval, item_interval)


def test_one_lost_item_can_empty_everything():
    # user 0 has 2 events, but item 1 has only 1: dropping it leaves user 0 with 1, then item 0 with 1
    mask = core_mask(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2]), (2, np.inf), (2, np.inf))
    assert not mask.any()


def test_no_events_give_an_empty_mask():
    assert core_mask(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).shape == (0,)
