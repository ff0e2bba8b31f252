"""Times of other years than the data's, and clocks that are not Unix's."""

import numpy as np
import pytest

from sear.atomic_files import odd_times
from sear.atomic_files.odd_times import YEAR, clocks_of

MAY_2024 = 1_714_521_600
OURS = MAY_2024 + 86_400.0 * np.arange(95)


def far_times(time, unit, users=9):
    """Of events of so many users by turns."""
    return odd_times.far_times(time, np.arange(len(time), dtype=np.int32) % users, unit)


@pytest.mark.parametrize("unit", [1, 1e3])
@pytest.mark.parametrize("time", [0, -1, -2_208_988_800, 4_102_444_800, 9_999, MAY_2024 - 5 * YEAR])
def test_a_placeholder_is_found_however_many_events_have_it(time, unit):
    for count in (5, 200) if time == MAY_2024 - 5 * YEAR else (2, 5, 200):
        (group,) = far_times(np.concatenate([OURS, np.full(count, float(time))]) * unit, unit)
        assert (group.count, group.row, group.time, group.alike) == (count, 95, time * unit, True)


@pytest.mark.parametrize("unit", [1, 1e3])
def test_an_early_day_of_few_users_is_a_placeholder_only_where_it_is_a_well_known_one(unit):
    early = np.concatenate([OURS, np.full(9, MAY_2024 - 5 * YEAR)])
    assert far_times(early * unit, unit, users=4) == [] and len(far_times(early * unit, unit, users=5)) == 1
    (group,) = far_times(np.concatenate([OURS - 20 * YEAR, np.full(2, 946_684_800.0)]) * unit, unit, users=1)
    assert group.alike and group.time == 946_684_800 * unit


def test_years_without_a_gap_and_a_second_source_of_events_are_nothing_odd():
    assert far_times(np.arange(0.0, 50 * YEAR, YEAR), 1) == []
    assert far_times(np.concatenate([OURS, OURS - 20 * YEAR]), 1) == []
    assert far_times(np.concatenate([OURS, OURS[:9] - 3 * YEAR]), 1) == []
    assert far_times(np.array([0.0, 0.0]), 1) == []


def test_times_that_do_not_count_are_no_group():
    assert far_times(np.concatenate([OURS, [np.nan] * 5]), 1) == []


@pytest.mark.parametrize(
    "time, clock",
    [
        ((MAY_2024 + 11_644_473_600) * 10**6, "microseconds since 1601"),
        ((MAY_2024 + 11_644_473_600) * 10**7, "100 ns since 1601"),
        ((MAY_2024 + 62_135_596_800) * 10**7, "100 ns since the year 1"),
        (MAY_2024 * 10, "tenths of a second"),
        (MAY_2024 * 100, "hundredths of a second"),
        (MAY_2024 + 2_208_988_800, "seconds since 1900"),
        (45_413, "days since 1900"),
        (739_373, "days since the year 0"),
        (2_460_432, "Julian days"),
        (MAY_2024 // 60, "minutes"),
    ],
)
def test_clocks_that_are_not_unixs_are_recognised(time, clock):
    found = [name for name, seconds in clocks_of(time, MAY_2024 - YEAR, MAY_2024 + YEAR)]
    assert [name.split(",")[0] for name in found] == [clock]
