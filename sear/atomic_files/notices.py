"""What is worth saying about the events and texts of a conversion."""

import numpy as np

from sear.atomic_files.event_columns import EventTable
from sear.atomic_files.raw_lines import counted
from sear.atomic_files.source import Source
from sear.errors import InputError


def text_notices(source: Source, table: EventTable, has_text: np.ndarray, differing: int) -> list[str]:
    """Items without text and rows that contradict; has_text, differing: as `write_items` gives them.

    Raises:
        InputError: no item has any text.
    """
    if not has_text.any():
        raise InputError(
            f"{source.item_path} has no text for any item of {source.event_path} - give the file with the same item"
            " ids, or do without texts with --no-text"
        )
    notices = []
    if not has_text.all():
        first = table.item_tokens[int(np.argmin(has_text))]
        missing = f"{np.count_nonzero(~has_text):,} of {len(has_text):,} items have no text"
        notices.append(f"{missing} (the first: {first}); their sentences will say so")
    if differing:
        told = f"{counted(differing, 'row')} with another text than an earlier row of the same item"
        notices.append(f"{told}: the first of each field counts")
    return notices


def event_notices(source: Source, table: EventTable) -> list[str]:
    """Repeats, missing ratings, another unit of time."""
    missing = int(np.isnan(table.rating).sum())
    notices = [f"{counted(table.repeats, 'exact repeat')} (same user, item, time and rating) counted once"]
    if source.rating_range is None:
        notices.append("without a rating column: every event counts as unrated")
    elif missing:
        notices.append(f"{missing:,} of {len(table.rating):,} events have no rating: left empty, never invented")
    if table.time_unit != "seconds":
        notices.append(f"times are in {table.time_unit}: written as seconds")
    return notices
