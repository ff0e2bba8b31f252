"""Exact time order of events, over random files."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from sear.data.events import sort_events

EPOCH = 881250000  # float32 holds only every 64th second here
EVENT = st.tuples(st.sampled_from("abc"), st.sampled_from("wxyz"), st.integers(EPOCH, EPOCH + 40), st.integers(1, 5))


@given(st.lists(EVENT, min_size=1, max_size=40))
def test_events_keep_exact_time_order_and_ties_keep_file_order(listed):
    table = pd.DataFrame(listed, columns=["user", "item", "time", "rating"]).astype({"time": float, "rating": float})
    events = sort_events(table.astype({"user": "category", "item": "category"}), "user", "item", "time", "rating")
    users = list(dict.fromkeys(user for user, *_ in listed))
    wanted = [event for user in users for event in sorted((e for e in listed if e[0] == user), key=lambda e: e[2])]
    found = zip(
        events.user_tokens[events.user], events.item_tokens[events.item], events.time, events.rating, strict=True
    )
    assert list(found) == wanted  # sorted() is stable, so ties stand as in the file
    assert [events.offsets[n + 1] - events.offsets[n] for n in range(len(users))] == [
        sum(user == name for user, *_ in listed) for name in users
    ]
