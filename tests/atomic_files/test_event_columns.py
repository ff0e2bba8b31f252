"""The compact event columns against plain Python over rows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sear.atomic_files import event_columns, odd_times
from sear.atomic_files.event_columns import EventColumns
from sear.atomic_files.write import number_texts


def filled(events):
    columns = EventColumns((1, 5))
    for line, event in enumerate(events, 1):
        columns.add(line, *event)
    return columns


def gathered(events):
    return filled(events).table()


@given(
    st.lists(
        st.tuples(st.sampled_from("uvw"), st.sampled_from("ab"), st.integers(0, 3), st.sampled_from([None, 1, 5.0])),
        min_size=1,
        max_size=30,
    )
)
def test_table_is_the_distinct_events_sorted_by_user_and_time_with_ties_in_file_order(events):
    table = gathered(events)
    distinct = list(dict.fromkeys(events))
    users = list(dict.fromkeys(user for user, *_ in events))
    expected = sorted(distinct, key=lambda event: (users.index(event[0]), event[2]))  # sorted() is stable
    found = [
        (table.user_tokens[user], table.item_tokens[item], time, None if math.isnan(rating) else rating)
        for user, item, time, rating in zip(table.user, table.item, table.time, table.rating, strict=True)
    ]
    assert found == expected
    assert table.repeats == len(events) - len(distinct)


def test_events_a_millisecond_apart_keep_their_order():
    table = gathered([("u", "a", 1588687728923, None), ("u", "b", 1588687728922, None)])
    assert [table.item_tokens[code] for code in table.item] == ["b", "a"]
    assert table.time.tolist() == [1588687728.922, 1588687728.923] and table.time_unit == "milliseconds"


@pytest.mark.parametrize("odd", [0, 3])
def test_one_odd_time_is_the_bad_one_wherever_it_stands(odd):
    events = [("u", item, 1588687728923 + line, None) for line, item in enumerate("abcd")]
    events[odd] = ("odd", "odd", 0, None)
    columns = filled(events)
    told = [(odd + 1, "time 0 is in seconds, where most lines have milliseconds")]
    assert list(columns.unlike_times()) == told
    table = columns.table()
    assert len(table.time) == 3 and table.time_unit == "milliseconds" and table.time.min() > 1e9
    assert table.user_tokens == ["u"] and "odd" not in table.item_tokens
    assert table.item_tokens == list(columns.item_codes)
    assert [table.item_tokens[code] for code in table.item] == [item for _, item, time, _ in events if time]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), max_size=20))
def test_number_texts_read_back_exactly(values):
    back = [float(text) if text else math.nan for text in number_texts(np.array(values, dtype=np.float64))]
    np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_it_does_not_matter_how_many_events_are_looked_at_at_a_time(monkeypatch, at_a_time):
    random = np.random.default_rng(0)
    events = [
        (f"u{a}", f"i{b}", int(c), 5.0) for a, b, c in zip(*random.integers(0, [[4], [3], [9]], (3, 300)), strict=True)
    ]
    events[7], events[80] = ("u1", "i1", 10**10, 1), ("u2", "i2", 2 * 10**10, 1)  # decades after the others
    whole, far = gathered(events), filled(events).far_times()
    monkeypatch.setattr(event_columns, "LOOKED_AT", at_a_time)
    monkeypatch.setattr(odd_times, "SLICE", at_a_time)
    in_parts = gathered(events)
    for name in ("user", "item", "time", "rating"):
        np.testing.assert_array_equal(getattr(in_parts, name), getattr(whole, name))
    assert in_parts.repeats == whole.repeats > 50 and in_parts.tied == whole.tied
    assert filled(events).far_times() == far and [line for _, line, _ in far] == [8, 81]
