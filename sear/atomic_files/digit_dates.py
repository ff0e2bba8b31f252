"""Times that are digits of a date, such as 20240501 or 31122024, and would be taken for seconds."""

from dataclasses import dataclass

import numpy as np

YEARS = (1900, 2101)
FUTURE = 2e9  # seconds: 2033, before which ten digits may well be Unix times
ENOUGH = 100_000  # events that are looked at


@dataclass(frozen=True)
class Found:
    """row: of the first such time; formats: those of --date_format that read most of the times."""

    row: int
    formats: tuple[str, ...]


def dates_in_digits(time: np.ndarray) -> Found | None:
    """How the times (float64 (events,)) would be read as dates, where more than half of them can be.

    Small whole numbers may be dates by chance, but hardly half of them.
    """
    time = time[:ENOUGH]
    whole = np.floor(time) == time
    shares, rows = {}, {}
    for form, lawful in _lawful(np.where(whole, time, -1.0)).items():
        shares[form], rows[form] = np.count_nonzero(lawful), int(np.argmax(lawful))
    most = max(shares.values())
    if 2 * most <= len(time):
        return None
    formats = tuple(form for form, count in shares.items() if count == most)
    return Found(min(rows[form] for form in formats), formats)


def _lawful(time: np.ndarray) -> dict[str, np.ndarray]:
    """For each format, bool (events,): which times it reads."""
    found = {}
    for clock, after in (("", 1), ("%H%M", 10**4), ("%H%M%S", 10**6), ("%H%M%S%f", 10**9)):
        day, of_day = np.divmod(time, after)
        of_day = of_day * 10**6 // after  # hhmmss
        known = (of_day < 240_000) & (of_day // 100 % 100 < 60) & (of_day % 100 < 60)
        found[f"%Y%m%d{clock}"] = known & _date(day // 10_000, day // 100 % 100, day % 100)
        found[f"%d%m%Y{clock}"] = known & _date(day % 10_000, day // 10_000 % 100, day // 1_000_000)
        found[f"%m%d%Y{clock}"] = known & _date(day % 10_000, day // 1_000_000, day // 10_000 % 100)
    found["%Y%m%d%H"] = _date(time // 10**6, time // 10**4 % 100, time // 100 % 100) & (time % 100 < 24)
    six = (time >= 100_000) & (time < 1_000_000)
    found["%y%m%d"] = six & _date(1900 + time // 10_000, time // 100 % 100, time % 100)
    found["%d%m%y"] = six & _date(1900 + time % 100, time // 100 % 100, time // 10_000)
    for clock, after in (("%H%M", 10**4), ("%H%M%S", 10**6)):
        day, of_day = np.divmod(time, after)
        later = (of_day * 10**6 // after < 240_000) & (time >= FUTURE)
        found[f"%y%m%d{clock}"] = (
            later
            & (day >= 100_000)
            & (day < 1_000_000)
            & _date(2000 + day // 10_000 % 100, day // 100 % 100, day % 100)
        )
    found["%Y%m"] = _date(time // 100, time % 100, np.ones_like(time))
    found["%Y"] = _date(time, np.ones_like(time), np.ones_like(time))
    return found


def _date(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    return (year >= YEARS[0]) & (year < YEARS[1]) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
