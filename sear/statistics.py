"""What a data set looks like before and after its filter: `python -m sear.statistics NAME`."""

# ruff: noqa: E402
from sear.console import end_when_stopped

if __name__ == "__main__":  # before the imports, of which some turn Ctrl-C into errors of their own
    end_when_stopped()

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tabulate import tabulate

from sear.console import say, show_what_can_be_shown
from sear.data.events import day, rating_column, read_event_table
from sear.files import PROJECT_ROOT
from sear.program import Parser, obey
from sear.settings.checks import require_data_files
from sear.settings.gather import Settings, gather_settings
from sear.settings.published import published

QUANTILES = ((0, "least"), (0.25, "25 %"), (0.5, "median"), (0.75, "75 %"), (0.95, "95 %"), (1, "most"))
MOST_RATING_VALUES = 12  # more different ratings than this are counted by whole stars
FIVE_CORE: dict[str, str | None] = {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[5,inf)"}
FIVE_CORE |= {"val_interval": None, "rm_dup_inter": None}


def statistics_table(name: str, data_path: Path | str | None = None) -> pd.DataFrame:
    """One row per number, as text; a column for all events, one for those that train, one for the published.

    Args:
        name: a data set of config/data, by either of its names.
        data_path: the folder above the data set's own (default: as configured).

    Raises:
        InputError: the data set or one of its files is missing or faulty, or nothing is left after the filter.
    """
    dataset = _training_data(name, data_path)
    names = user, item, time, rating = (
        dataset.uid_field,
        dataset.iid_field,
        dataset.time_field,
        rating_column(dataset.config["load_col"], dataset.rating_field),
    )
    table = read_event_table(dataset.texts.path.with_suffix(".inter"), *names)
    users, items = (table[field].cat.codes.to_numpy() for field in (user, item))
    ratings = table[rating].to_numpy(np.float32) if rating in table else None
    events = users, items, table[time].to_numpy(), ratings
    kept_ratings = dataset.events.rating if rating in table else None
    kept = dataset.events.user, dataset.events.item, dataset.events.time, kept_ratings
    values = np.zeros(0) if ratings is None else np.unique(ratings[~np.isnan(ratings)])
    texts = _item_texts(dataset), "load_col names none" if dataset.texts.types else "no .item file"
    tokens = table[item].cat.categories[np.unique(items)]
    columns = {
        "all events": _numbers(*events, len(tokens), values) | _missing_text(tokens, *texts),
        _filter_name(dataset.config): _numbers(*kept, dataset.item_num - 1, values)
        | _missing_text(dataset.field2id_token[item][1:], *texts),
    }
    data_set = published(dataset.dataset_name)
    if data_set:
        columns["published"] = _counts(data_set.users, data_set.items, data_set.interactions)
    return pd.DataFrame(columns).fillna("").reindex(list(columns["all events"]))


def _training_data(name: str, data_path: Path | str | None):
    """The SEARDataset that training has, but for texts that are not there: so the numbers are those of training."""
    overrides = {} if data_path is None else {"data_path": str(data_path)}
    settings = gather_settings(name, "SEAR", (), overrides)
    folder = PROJECT_ROOT / settings.get("data_path") / settings.dataset
    shipped = settings.dataset == "ml-100k" and data_path is None and not (folder / "ml-100k.inter").is_file()
    if not shipped:  # inside RecBole
        _require_events(settings, folder, overrides)
    from sear.data.dataset import SEARDataset
    from sear.settings.recbole_config import build_config

    return SEARDataset(build_config(name, "SEAR", overrides))


def _require_events(settings: Settings, folder: Path, overrides: dict) -> None:
    """Raises InputError where there are no events; where only the texts are missing, overrides do without them."""
    load_col = settings.get("load_col") or {}
    if not (folder / f"{settings.dataset}.inter").is_file():
        require_data_files(settings, folder)
    if "item" in load_col and not (folder / f"{settings.dataset}.item").is_file():
        overrides["load_col"] = {suffix: names for suffix, names in load_col.items() if suffix != "item"}
        overrides |= {"streams": ["collaborative", "rating"], "text_init": False}


def _filter_name(config) -> str:
    return "after 5-core" if all(config[key] == value for key, value in FIVE_CORE.items()) else "after filter"


def _counts(users: int, items: int, interactions: int) -> dict[str, str]:
    return {
        "users": f"{users:,}",
        "items": f"{items:,}",
        "interactions": f"{interactions:,}",
        "sparsity": f"{1 - interactions / (users * items):.4%}",
        "events per user": f"{interactions / users:.2f}",
        "events per item": f"{interactions / items:.2f}",
    }


def _numbers(
    user: np.ndarray, item: np.ndarray, time: np.ndarray, rating: np.ndarray | None, items: int, values: np.ndarray
) -> dict[str, str]:
    """Numbers of the events themselves; `items` is how many items there are, `values` the ratings with a row."""
    length = np.bincount(user)
    length = length[length > 0]
    found = _counts(len(length), items, len(user))
    for share, label in QUANTILES:
        found[f"history length, {label}"] = f"{np.quantile(length, share):g}"
    found |= {"first event": day(time.min()), "last event": day(time.max())}
    found["without rating"] = "all (no column)" if rating is None else f"{np.isnan(rating).mean():.2%}"
    return found | (_histogram(rating, values) if rating is not None and len(values) else {})


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


def _item_texts(dataset) -> pd.DataFrame | None:
    """The columns that are told of by item id, the first row of each; None for a data set without any."""
    if not dataset.texts.fields:
        return None
    dataset.texts.require_columns()
    return dataset.texts.table.drop_duplicates(dataset.iid_field).set_index(dataset.iid_field)


def _missing_text(tokens: np.ndarray, texts: pd.DataFrame | None, why_none: str) -> dict[str, str]:
    """Share of these items without each text field, and without any."""
    if texts is None:
        return {"items without any text": f"all ({why_none})"}
    told = texts.reindex(tokens)
    missing = told.isna() | told.map(lambda text: isinstance(text, str) and not text.strip())
    shares = {f"items without {name}": f"{missing[name].mean():.2%}" for name in missing}
    return shares | {"items without any text": f"{missing.all(axis=1).mean():.2%}"}


def main(arguments: list[str] | None = None, prog: str = "python -m sear.statistics") -> int:
    """Print the table; 0 when done, 2 when the user has something to mend."""
    show_what_can_be_shown()
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("name", metavar="NAME", help="a data set of config/data")
    parser.add_argument(
        "--data_path",
        help="the folder above the data set's own, counted from the project's root (default: as configured)",
    )
    asked = parser.parse_args(arguments)
    return obey(lambda: say(_printed(statistics_table(asked.name, asked.data_path))))


def _printed(table: pd.DataFrame) -> str:
    columns = "left", *("right",) * table.shape[1]
    return tabulate(table, headers="keys", tablefmt="github", disable_numparse=True, colalign=columns)


if __name__ == "__main__":
    sys.exit(main())
