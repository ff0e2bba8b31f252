"""python -m sear.atomic_files NAME RAW_DIR: the command line of the converter."""

import argparse
import math
import sys
from pathlib import Path

from sear.atomic_files.convert import FORMATS, Options, convert
from sear.atomic_files.csv_table import Columns
from sear.atomic_files.outcome import outcome
from sear.errors import InputError
from sear.settings.published import DATA_SETS


def parser(prog: str = "python -m sear.atomic_files") -> argparse.ArgumentParser:
    """The options, with their help."""
    names = ", ".join(data_set.name for data_set in DATA_SETS)
    made = argparse.ArgumentParser(
        prog=prog,
        description="Convert a raw dump to RecBole's atomic files (.inter, .item) and compare it with the published "
        "statistics. Every event is written; 5-core is applied when training.",
        epilog=f"Your own data: {prog} mydata RAW_DIR --format=csv --user=USER --item=ITEM "
        "--time=TIME --rating=RATING --text=title,brand",
    )
    made.add_argument("name", metavar="NAME", help=f"{names}, an Amazon category, or a name of your own")
    made.add_argument("raw", metavar="RAW_DIR", type=Path, help="the folder with the dump's files, gzip'd or not")
    made.add_argument(
        "--out",
        type=Path,
        default=Options.out,
        help="where NAME's folder is made, counted from where you are (default: dataset/ of the project)",
    )
    made.add_argument("--format", choices=FORMATS, help="default: guessed from the files")
    made.add_argument(
        "--bad_lines", choices=("error", "skip"), default="error", help="skip: leave bad lines out and count them"
    )
    made.add_argument("--no-text", "--no_text", action="store_true", help="do without the items' texts")
    made.add_argument("--overwrite", action="store_true", help="replace files of this name that hold something else")
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
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no LOW,HIGH - for example 1,5") from None
    if not math.isfinite(low + high):
        raise argparse.ArgumentTypeError(f"{text!r} is not finite - write two numbers, for example 1,5")
    if not low < high:
        raise argparse.ArgumentTypeError(f"{text!r} does not rise - write the lower first, for example 1,5")
    return low, high


def main(arguments: list[str] | None = None, prog: str = "python -m sear.atomic_files") -> int:
    """Convert, report; 0 when done, 2 when the user has something to mend."""
    asked = parser(prog).parse_args(arguments)
    text = tuple(name.strip() for name in asked.text.split(",") if name.strip())
    options = Options(
        asked.out,
        asked.format,
        asked.bad_lines == "skip",
        asked.no_text,
        asked.rating_range,
        Columns(asked.user, asked.item, asked.time, asked.rating, text),
        asked.overwrite,
    )
    try:
        report = convert(asked.name, asked.raw, options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # no permission, no space, a file where a folder should be
        print(f"error: {error.filename or asked.out}: {error.strerror} - mend it, or choose another", file=sys.stderr)
        return 2
    print(outcome(asked.name, report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
