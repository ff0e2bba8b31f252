"""sear recommend MODEL [--k=10] [--out=FILE] [--users=IDS] [--history=FILE] [--items=IDS] …"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sear.console import say, show_what_can_be_shown, stopped_in_order
from sear.errors import InputError
from sear.program import Parser, obey

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {"user": "user_id", "item": "item_id", "rating": "rating", "time": "timestamp"}


def parser(prog: str = "sear recommend") -> argparse.ArgumentParser:
    made = Parser(prog=prog, description="The best items of every user, or of those asked for.")
    made.add_argument("model", metavar="MODEL", help="a finished run's folder, or one that `sear export` wrote")
    made.add_argument("--k", type=int, default=10, help="items per user (default: %(default)s)")
    made.add_argument(
        "--out", type=Path, metavar="FILE", help=".csv, .parquet or .jsonl (default: CSV on the terminal)"
    )
    made.add_argument("--users", metavar="IDS", help="a file with one id a line, or ids between commas (default: all)")
    made.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help=".csv, .parquet or .inter of user_id, item_id and, if known, rating and timestamp: whole histories of new "
        "users, or in place of those the model knows",
    )
    for role, name in COLUMNS.items():
        made.add_argument(f"--{role}", metavar="COLUMN", help=f"the history's column in place of {name}")
    made.add_argument("--items", metavar="IDS", help="recommend only these, given as for --users (default: all)")
    made.add_argument("--exclude", metavar="IDS", help="recommend none of these")
    made.add_argument("--keep_seen", action="store_true", help="also recommend what a user's history holds")
    made.add_argument(
        "--new_items",
        type=Path,
        metavar="FILE",
        help=".csv, .parquet or .item of item_id and text columns: items that were never sold compete too",
    )
    made.add_argument(
        "--encoder",
        metavar="FOLDER",
        help="folder of the text encoder (default: where the training's lies in this project)",
    )
    made.add_argument("--titles", action="store_true", help="write titles too")
    made.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    return made


def main(arguments: Sequence[str] | None = None, prog: str = "sear recommend") -> int:
    """Write recommendations; 0 when done, 2 when the user has something to mend, 130 or 143 when stopped."""
    show_what_can_be_shown()
    asked = parser(prog).parse_args(arguments)
    return obey(lambda: say(_recommend(asked), sys.stderr))


def _recommend(asked: argparse.Namespace) -> str:
    from tqdm import tqdm

    from sear.recommend.load import load
    from sear.recommend.tables import read_table, table_file

    with stopped_in_order(), table_file(asked.out) as write:
        recommender = load(asked.model, asked.device, asked.encoder)
        if asked.new_items:
            recommender.add_items(read_table(asked.new_items))
        count, tables = recommender.recommend_batches(
            _ids(asked.users, "user_id"),
            items=_ids(asked.items, "item_id"),
            exclude=_ids(asked.exclude, "item_id"),
            history=_history(asked),
            k=asked.k,
            filter_seen=not asked.keep_seen,
            with_titles=asked.titles,
        )
        popular = skipped = 0
        with tqdm(total=count, desc="recommend", unit="user", disable=None) as bar:
            for table in tables:
                write(table)
                popular += table.loc[table.source == "popularity", "user_id"].nunique()
                skipped = table.attrs["unknown_items"]
                bar.update(table.user_id.nunique())
    lines = [f"{count:,} users" + (f", {popular:,} of them without a known event: popular items" if popular else "")]
    lines += [f"{skipped:,} events of {asked.history} skipped: the model does not know their items"] * bool(skipped)
    lines += [f"written to {asked.out}"] * (asked.out is not None)
    return "\n".join(lines)


def _history(asked: argparse.Namespace) -> "pd.DataFrame | None":
    from sear.recommend.tables import read_table

    own = {name: getattr(asked, role) for role, name in COLUMNS.items() if getattr(asked, role)}
    if asked.history is None:
        if own:
            raise InputError("--user, --item, --rating and --time name columns of a history - give --history=FILE too")
        return None
    table = read_table(asked.history)
    missing = [column for column in own.values() if column not in table]
    if missing:
        raise InputError(
            f"{asked.history} has no column {missing[0]} (it has: {', '.join(map(str, table))}) - name another"
        )
    return table[[name for name in table if name not in own]].assign(**{name: table[own[name]] for name in own})


def _ids(words: str | None, column: str) -> list[str] | None:
    from sear.recommend.tables import read_ids

    return None if words is None else read_ids(words, column)
