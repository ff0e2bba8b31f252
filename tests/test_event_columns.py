"""The compact event columns against plain Python over rows."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sear.atomic_files.event_columns import EventColumns
from sear.atomic_files.write import number_texts


def gathered(events):
    columns = EventColumns((1, 5))
    for event in events:
        columns.add(*event)
    return columns.table()


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


@given(st.lists(st.floats(allow_nan=True, allow_infinity=False), max_size=20))
def test_number_texts_read_back_exactly(values):
    back = [float(text) if text else math.nan for text in number_texts(np.array(values, dtype=np.float64))]
    np.testing.assert_array_equal(back, values)
