"""Users and items with enough events, found over and over until nothing more falls away (SEAR's method: Protocol)."""

import numpy as np

Interval = tuple[float, float]


def core_mask(
    user_codes: np.ndarray,
    item_codes: np.ndarray,
    user_interval: Interval = (5, np.inf),
    item_interval: Interval = (5, np.inf),
) -> np.ndarray:
    """bool (events,): the events left when every user and item has a number of events inside its interval.

    Codes are integers from 0; both ends of an interval are allowed numbers. Each round counts users and items
    together and only then drops events, as RecBole does: with an upper bound the order would change the result.
    """
    kept = np.arange(len(user_codes))
    users, items = np.asarray(user_codes), np.asarray(item_codes)
    while len(kept):
        lawful = _within(np.bincount(users), user_interval)[users] & _within(np.bincount(items), item_interval)[items]
        if lawful.all():
            break
        kept, users, items = kept[lawful], users[lawful], items[lawful]
    mask = np.zeros(len(user_codes), dtype=bool)
    mask[kept] = True
    return mask


def _within(counts: np.ndarray, interval: Interval) -> np.ndarray:
    low, high = interval
    return (counts >= low) & (counts <= high)
