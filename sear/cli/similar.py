"""sear similar MODEL --items=IDS [--k=10] [--by=table|texts|both] [--out=FILE]"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sear.console import show_what_can_be_shown, stopped_in_order
from sear.errors import InputError
from sear.program import Parser, obey


def parser(prog: str = "sear similar") -> argparse.ArgumentParser:
    made = Parser(prog=prog, description="The items most like the ones asked for.")
    made.add_argument("model", metavar="MODEL", help="a finished run's folder, or one that `sear export` wrote")
    made.add_argument("--items", metavar="IDS", help="a file with one id a line, or ids between commas (default: all)")
    made.add_argument("--k", type=int, default=10, help="similar items of each (default: %(default)s)")
    made.add_argument("--by", default="table", help="table (bought by alike users), texts, or both (default: table)")
    made.add_argument(
        "--out", type=Path, metavar="FILE", help=".csv, .parquet or .jsonl (default: CSV on the terminal)"
    )
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
    return made


def main(arguments: Sequence[str] | None = None, prog: str = "sear similar") -> int:
    """Write similar items; 0 when done, 2 when the user has something to mend."""
    show_what_can_be_shown()
    asked = parser(prog).parse_args(arguments)
    return obey(lambda: _similar(asked))


def _similar(asked: argparse.Namespace) -> None:
    from sear.recommend.load import load
    from sear.recommend.tables import read_ids, read_table, table_file

    with stopped_in_order(), table_file(asked.out) as write:
        recommender = load(asked.model, encoder=asked.encoder)
        if asked.new_items:
            recommender.add_items(read_table(asked.new_items))
        items = recommender.item_ids if asked.items is None else read_ids(asked.items, "item_id")
        if not items:
            raise InputError(f"--items={asked.items} names no item - name at least one")
        for first in range(0, len(items), 1024):
            part = items[first : first + 1024]
            write(recommender.similar_items(part, asked.k, by=asked.by, with_titles=asked.titles))
