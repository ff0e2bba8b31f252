"""The command line of the converter: its options, and one line for whatever goes wrong.

What takes long to import is imported where it is used, so that the program can be stopped from its first moment.
"""

import argparse
import errno
import math
from pathlib import Path

from sear.console import refuse, say, show_what_can_be_shown, stopped, stopped_in_order
from sear.errors import InputError
from sear.program import Parser

PROGRAM = "python -m sear.atomic_files"


def parser(prog: str = PROGRAM) -> argparse.ArgumentParser:
    """The options, with their help."""
    from sear.atomic_files.convert import FORMATS, Options
    from sear.settings.published import DATA_SETS

    names = ", ".join(data_set.name for data_set in DATA_SETS)
    made = Parser(
        prog=prog,
        description="Convert a raw dump to RecBole's atomic files (.inter, .item) and compare it with the published "
        "statistics. Every event is written; 5-core is applied when training.",
        epilog=f"Your own data: {prog} mydata RAW_DIR --format=csv --user=USER --item=ITEM "
        "--time=TIME --rating=RATING --text=title,brand --write_config",
    )
    add = made.add_argument
    add("name", metavar="NAME", help=f"{names}, an Amazon category, or a name of your own")
    add(
        "raw",
        metavar="RAW_DIR",
        type=Path,
        help="the folder with the dump's files, plain or .gz, .bz2, .xz, .zst, .zip",
    )
    add(
        "--out",
        type=Path,
        default=Options.out,
        help="where NAME's folder is made, counted from where you are (default: dataset/ of the project)",
    )
    add(
        "--format",
        choices=FORMATS,
        help="default: guessed from the files; csv: a table of your own (also parquet, JSON lines)",
    )
    add("--bad_lines", choices=("error", "skip"), default="error", help="skip: leave bad lines out and count them")
    add("--no-text", "--no_text", action="store_true", help="do without the items' texts")
    add("--overwrite", action="store_true", help="replace files of this name that hold something else")
    add(
        "--write_config",
        "--write-config",
        nargs="?",
        const="",
        metavar="FILE",
        help="write the YAML to train on it, to config/data/NAME.yaml or FILE, with the streams that the data allow",
    )
    add("--rating_range", type=_range, metavar="LOW,HIGH", help="lawful ratings (default: 1,5 for Amazon, else 0.5,5)")
    add(
        "--encoding",
        default="",
        help="of text files, such as cp1252, cp1251, gb18030 (default: as the file shows, told)",
    )
    _add_columns(made.add_argument_group("tables of your own (--format=csv)"))
    _add_values(made.add_argument_group("how values are written"))
    return made


def _add_columns(group) -> None:
    for option in ("user", "item", "rating"):
        group.add_argument(f"--{option}", metavar="COLUMN", default="", help=f"the {option} column")
    group.add_argument(
        "--time",
        metavar="COLUMN",
        default="",
        help="the time column; two: a day and a time of day (DATE,TIME), or a time and a number that decides between "
        "equal ones; line_order where there is none",
    )
    group.add_argument("--text", metavar="COLUMN,...", default="", help="the items' text columns, in sentence order")
    group.add_argument(
        "--text_item", metavar="COLUMN", default="", help="what the table of texts calls the item, where that differs"
    )
    group.add_argument(
        "--columns",
        metavar="NAME,...",
        default="",
        help="the columns of a table without a header, in order: user,item,rating,time (_ for those not needed)",
    )


def _add_values(group) -> None:
    group.add_argument("--decimal", default=".", metavar="SIGN", help="before decimals: . (default) or ,")
    group.add_argument(
        "--date_format",
        default="",
        metavar="FORMAT",
        help="of times, as in '%%d.%%m.%%Y %%H:%%M' (UTC unless it has %%z); unix: numbers are Unix times, whatever "
        "they look like (default: Unix times in any unit, or dates like 2024-05-01 12:30)",
    )
    group.add_argument(
        "--missing",
        default="",
        metavar="WORD,...",
        help="what else stands for no rating, such as 0 (always: nothing, NA, N/A, NaN, NULL, None, \\N, -, ?; and -1 "
        "where it is outside the scale)",
    )
    group.add_argument(
        "--quoting",
        default="",
        metavar="HOW",
        help="csv: marks inside a quoted text are doubled; backslash: they have a backslash; none: marks are "
        "characters like others (default: as the file shows)",
    )


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


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _options(asked: argparse.Namespace):
    from sear.atomic_files.convert import Options
    from sear.atomic_files.own_table import Columns
    from sear.atomic_files.reading import Reading

    reading = Reading(
        asked.encoding,
        tuple(name.strip() for name in asked.columns.split(",")) if asked.columns else (),
        asked.decimal,
        asked.date_format,
        _words(asked.missing),
        asked.quoting,
    )
    columns = Columns(asked.user, asked.item, asked.time, asked.rating, _words(asked.text), asked.text_item)
    skip = asked.bad_lines == "skip"
    return Options(asked.out, asked.format, skip, asked.no_text, asked.rating_range, columns, asked.overwrite, reading)


def main(arguments: list[str] | None = None, prog: str = PROGRAM) -> int:
    """Convert, report; 0 when done, 2 when the user has something to mend, 130 or 143 when stopped."""
    show_what_can_be_shown()
    asked = None
    try:
        asked = parser(prog).parse_args(arguments)
        told = _converted(asked)
    except InputError as error:
        return _refused(str(error))
    except OSError as error:  # no permission, no space, a file where a folder should be
        return _refused(_machine_fault(error, asked.out if asked else Path()))
    except MemoryError:
        return _refused("out of memory: the ids and events do not fit - use a machine with more, or a part of the data")
    except KeyboardInterrupt as stop:
        return stopped(type(stop)("stopped: the data set's files are whole, the old ones or the new"))
    return _say(told)


def _converted(asked: argparse.Namespace) -> str:
    from sear.atomic_files.config_file import config_path, require_own_config, write_config
    from sear.atomic_files.convert import Report, convert
    from sear.atomic_files.outcome import outcome

    config = config_path(asked.name, asked.write_config) if asked.write_config is not None else None
    options = _options(asked)

    def check(report: Report) -> None:
        if config and not options.overwrite:
            require_own_config(config, report.event_path.parent.name, report)

    with stopped_in_order():
        report = convert(asked.name, asked.raw, options, check)
    told = write_config(config, report.event_path.parent.name, report) if config else ""
    return outcome(asked.name, report, told)


def _refused(message: str) -> int:
    from sear.atomic_files.bad_lines import one_line

    return refuse(one_line(message))


def _machine_fault(error: OSError, out: Path) -> str:
    """What the machine refuses, with the place that the user knows and what to do."""
    place = Path(str(error.filename)) if error.filename else out
    if any(part.startswith(".") and part.endswith((".tmp", ".commit")) for part in place.parts):
        place = out  # the folder aside is nothing that the user knows
    remedy = {
        errno.ENOSPC: "free some space, or write elsewhere with --out; nothing was changed",
        errno.EDQUOT: "free some space, or write elsewhere with --out; nothing was changed",
        errno.EACCES: "give yourself the rights, or choose another place",
        errno.EPERM: "give yourself the rights, or choose another place",
        errno.EROFS: "write elsewhere with --out",
    }.get(error.errno or 0, "mend it, or choose another")
    return f"{place}: {error.strerror or error} - {remedy}"


def _say(told: str) -> int:
    """Print what came of it."""
    try:
        say(told)
    except OSError as error:
        return _refused(f"the report could not be printed: {error.strerror} - the files were written")
    return 0
