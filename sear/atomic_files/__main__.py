"""python -m sear.atomic_files NAME RAW_DIR: the command line of the converter."""

import argparse
import sys
from pathlib import Path

from tabulate import tabulate

from sear.atomic_files.catalogue import DATA_SETS, published
from sear.atomic_files.convert import FORMATS, Options, Report, convert
from sear.atomic_files.csv_table import Columns
from sear.errors import InputError


def parser() -> argparse.ArgumentParser:
    """The options, with their help."""
    names = ", ".join(data_set.name for data_set in DATA_SETS)
    made = argparse.ArgumentParser(
        prog="python -m sear.atomic_files",
        description="Convert a raw dump to RecBole's atomic files (.inter, .item) and compare it with the published "
        "statistics. Every event is written; 5-core is applied when training.",
        epilog="Your own data: python -m sear.atomic_files mydata RAW_DIR --format=csv --user=USER --item=ITEM "
        "--time=TIME --rating=RATING --text=title,brand",
    )
    made.add_argument("name", metavar="NAME", help=f"{names}, an Amazon category, or a name of your own")
    made.add_argument("raw", metavar="RAW_DIR", type=Path, help="the folder with the dump's files, gzip'd or not")
    made.add_argument(
        "--out", type=Path, default=Path("dataset"), help="where NAME's folder is made (default: dataset/)"
    )
    made.add_argument("--format", choices=FORMATS, help="default: guessed from the files")
    made.add_argument(
        "--bad_lines", choices=("error", "skip"), default="error", help="skip: leave bad lines out and count them"
    )
    made.add_argument("--no-text", "--no_text", action="store_true", help="do without the items' texts")
    made.add_argument(
        "--rating_range", type=_range, metavar="LOW,HIGH", help="lawful ratings (default: 1,5 for Amazon, else 0.5,5)"
    )
    for option in ("user", "item", "time", "rating"):
        made.add_argument(f"--{option}", metavar="COLUMN", default="", help=f"csv: the {option} column")
    made.add_argument(
        "--text", metavar="COLUMN,...", default="", help="csv: the items' text columns, in sentence order"
    )
    return made


def _range(text: str) -> tuple[float, float]:
    low, high = (float(part) for part in text.split(","))
    return low, high


def main(arguments: list[str] | None = None) -> int:
    """Convert, report; 0 when done, 2 when the user has something to mend."""
    asked = parser().parse_args(arguments)
    text = tuple(name.strip() for name in asked.text.split(",") if name.strip())
    options = Options(
        asked.out,
        asked.format,
        asked.bad_lines == "skip",
        asked.no_text,
        asked.rating_range,
        Columns(asked.user, asked.item, asked.time, asked.rating, text),
    )
    try:
        report = convert(asked.name, asked.raw, options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report_text(asked.name, report))
    return 0


def report_text(name: str, report: Report) -> str:
    """What was read and written, the notices, and the statistics before and after 5-core beside the published."""
    source = report.source
    files = " and ".join(str(path) for path in (source.event_path, source.item_path) if path)
    lines = [f"{name}: read {source.format} from {files}", *(f"- {notice}" for notice in report.notices)]
    rows = [("all events", *report.all_counts), ("after 5-core", *report.core_counts)]
    data_set = published(name)
    if data_set:
        rows.append(("published", data_set.users, data_set.items, data_set.interactions))
    rows = [(label, *(f"{count:,}" for count in counts), _sparsity(*counts)) for label, *counts in rows]
    headers = ("", "users", "items", "interactions", "sparsity")
    lines.append(tabulate(rows, headers, "github", colalign=("left", "right", "right", "right", "right")))
    if not report.core_counts[2]:
        lines.append(
            "Nothing is left after 5-core: lower user_inter_num_interval and item_inter_num_interval to train."
        )
    if data_set:
        same = report.core_counts == (data_set.users, data_set.items, data_set.interactions)
        lines.append(f"After 5-core it {'equals' if same else 'DIFFERS FROM'} the published statistics.")
    else:
        lines.append("Nothing is published about this data set to compare with.")
    lines.append(f"wrote {' and '.join(str(path) for path in (report.event_path, report.item_path) if path)}")
    if not data_set:
        lines += [f"To train on it, write this into config/data/{name}.yaml:", *data_yaml(report)]
    return "\n".join(lines)


def data_yaml(report: Report) -> list[str]:
    """Lines of a config/data file that reads what was written."""
    rating = [] if report.source.rating_range is None else ["rating"]
    lines = ["load_col:", f"  inter: [{', '.join(['user_id', 'item_id', *rating, 'timestamp'])}]"]
    if report.item_path:
        lines.append(f"  item: [{', '.join(['item_id', *report.source.item_columns])}]")
    else:
        lines += ["streams: [collaborative, rating]", "text_init: False"]  # SEAR without texts
    lines += [f'{kind}_inter_num_interval: "[5,inf)"' for kind in ("user", "item")]
    data_path = report.event_path.parent.parent
    return lines if data_path == Path("dataset") else [*lines, f"data_path: {data_path.resolve()}/"]


def _sparsity(users: int, items: int, interactions: int) -> str:
    return f"{1 - interactions / (users * items):.4%}" if interactions else "-"


if __name__ == "__main__":
    sys.exit(main())
