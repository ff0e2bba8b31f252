"""What a data set looks like before and after its filter: `python -m sear.statistics NAME`."""

import argparse
import importlib.util
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
from tabulate import tabulate

from sear.atomic_files.catalogue import published
from sear.atomic_table import read_atomic
from sear.errors import InputError
from sear.events import core_events, count_interval, read_event_table
from sear.setting_checks import require_data_files
from sear.settings import PROJECT_ROOT, Settings, gather_settings

QUANTILES = ((0, "least"), (0.25, "25 %"), (0.5, "median"), (0.75, "75 %"), (0.95, "95 %"), (1, "most"))
MOST_RATING_VALUES = 12  # more different ratings than this are counted by whole stars


def statistics_table(name: str, data_path: Path | str | None = None) -> pd.DataFrame:
    """One row per figure, as text; a column for all events, one for those kept by the filter, one for the published.

    Args:
        name: a data set of config/data, by either of its names.
        data_path: the folder above the data set's own (default: as configured).

    Raises:
        InputError: the data set or one of its files is missing or faulty, or nothing is left after the filter.
    """
    settings = gather_settings(name, "SEAR")
    folder = _folder(settings, data_path)
    user, item, time, rating = (settings.get(f"{field}_FIELD") for field in ("USER_ID", "ITEM_ID", "TIME", "RATING"))
    path = folder / f"{settings.dataset}.inter"
    if not path.is_file():
        require_data_files(settings, folder)
    table = read_event_table(path, user, item, time, rating)
    intervals = [settings.get(f"{kind}_inter_num_interval") for kind in ("user", "item")]
    kept = core_events(table, user, item, *map(count_interval, intervals, ("user interval", "item interval")))
    if kept.empty:
        raise InputError(
            f"{path}: no event is left after filtering - lower user_inter_num_interval and item_inter_num_interval"
        )
    texts = _item_texts(folder / f"{settings.dataset}.item", settings, item)
    values = np.unique(table[rating].dropna()) if rating in table else np.zeros(0)
    columns = {
        "all events": _figures(table, user, item, time, rating, values) | _missing_text(table, item, texts),
        _filter_name(intervals): _figures(kept, user, item, time, rating, values) | _missing_text(kept, item, texts),
    }
    data_set = published(settings.dataset)
    if data_set:
        counts = {"users": data_set.users, "items": data_set.items, "interactions": data_set.interactions}
        columns["published"] = _counts(**counts)
    return pd.DataFrame(columns).fillna("").reindex(list(columns["all events"]))


def _folder(settings: Settings, data_path: Path | str | None) -> Path:
    if data_path is None and settings.dataset == "ml-100k":  # it ships inside RecBole, which reads it there
        return Path(importlib.util.find_spec("recbole").submodule_search_locations[0], "dataset_example", "ml-100k")
    return PROJECT_ROOT / (data_path or settings.get("data_path")) / settings.dataset


def _filter_name(intervals: list[str | None]) -> str:
    return "after 5-core" if intervals == ["[5,inf)", "[5,inf)"] else "after filter"


def _counts(users: int, items: int, interactions: int) -> dict[str, str]:
    return {
        "users": f"{users:,}",
        "items": f"{items:,}",
        "interactions": f"{interactions:,}",
        "sparsity": f"{1 - interactions / (users * items):.4%}",
        "events per user": f"{interactions / users:.2f}",
        "events per item": f"{interactions / items:.2f}",
    }


def _figures(table: pd.DataFrame, user: str, item: str, time: str, rating: str, values: np.ndarray) -> dict[str, str]:
    """Figures of the events themselves; `values` are the ratings that get a row."""
    length, popularity = (np.bincount(table[name].cat.codes.to_numpy()) for name in (user, item))
    length, popularity = length[length > 0], popularity[popularity > 0]
    figures = _counts(len(length), len(popularity), len(table))
    for share, label in QUANTILES:
        figures[f"history length, {label}"] = f"{np.quantile(length, share):g}"
    times = table[time].to_numpy()
    figures |= {"first event": _day(times.min()), "last event": _day(times.max())}
    figures["without rating"] = f"{table[rating].isna().mean():.2%}" if rating in table else "all (no column)"
    return figures | (_histogram(table[rating].to_numpy(), values) if len(values) else {})


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"


def _histogram(ratings: np.ndarray, values: np.ndarray) -> dict[str, str]:
    """Share of each rating among the events that have one."""
    if len(values) > MOST_RATING_VALUES:
        ratings, values = np.floor(ratings), np.unique(np.floor(values))
    rated = np.count_nonzero(~np.isnan(ratings))
    counts = [np.count_nonzero(ratings == value) for value in values]
    return {
        f"rating {value:g}": f"{count:,} ({count / rated:.1%})" if rated else "0"
        for value, count in zip(values, counts, strict=True)
    }


def _item_texts(path: Path, settings: Settings, item: str) -> pd.DataFrame | None:
    """The text columns by item id, None for a data set that is configured without any."""
    listed = (settings.get("load_col") or {}).get("item")
    if not listed or not path.is_file():
        return None
    return read_atomic(path, [item, *(name for name in listed if name != item)]).drop_duplicates(item).set_index(item)


def _missing_text(table: pd.DataFrame, item: str, texts: pd.DataFrame | None) -> dict[str, str]:
    """Share of items without each text field, and without any."""
    if texts is None:
        return {"items without any text": "all (no .item file)"}
    tokens = table[item].cat.categories[np.unique(table[item].cat.codes)]
    told = texts.reindex(tokens)
    missing = told.isna() | (told == "")
    shares = {f"items without {name}": f"{missing[name].mean():.2%}" for name in missing}
    return shares | {"items without any text": f"{missing.all(axis=1).mean():.2%}"}


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 when done, 2 when the user has something to mend."""
    parser = argparse.ArgumentParser(prog="python -m sear.statistics", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="a data set of config/data")
    parser.add_argument("--data_path", help="the folder above the data set's own (default: as configured)")
    asked = parser.parse_args(arguments)
    try:
        table = statistics_table(asked.name, asked.data_path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        tabulate(
            table,
            headers="keys",
            tablefmt="github",
            disable_numparse=True,
            colalign=("left", *("right",) * table.shape[1]),
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
