"""One conversion: find the dump, gather its events, write both files aside, and count what is in them."""

import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sear.atomic_files import amazon_files, csv_table, movielens
from sear.atomic_files.catalogue import published
from sear.atomic_files.event_columns import EventColumns, EventTable
from sear.atomic_files.raw_lines import BadLine, BadLines
from sear.atomic_files.source import Source
from sear.atomic_files.write import write_events, write_items
from sear.atomic_table import write_aside
from sear.errors import InputError
from sear.k_core import core_mask

FORMATS = ("amazon-2014", "amazon-2018", "amazon-2023", "movielens", "csv")
NO_LIMITS = (-np.inf, np.inf)


@dataclass(frozen=True)
class Options:
    """What the command line can ask for; see `python -m sear.atomic_files --help`."""

    out: Path = Path("dataset")
    format: str | None = None
    skip_bad_lines: bool = False
    no_text: bool = False
    rating_range: tuple[float, float] | None = None
    columns: csv_table.Columns = csv_table.Columns("", "", "")


@dataclass
class Report:
    """What was read and written. counts: users, items, interactions, for all events and for the 5-core."""

    source: Source
    event_path: Path
    item_path: Path | None
    all_counts: tuple[int, int, int]
    core_counts: tuple[int, int, int]
    notices: list[str] = field(default_factory=list)


def convert(name: str, raw: Path, options: Options) -> Report:
    """Write `out/FOLDER/FOLDER.inter` and `.item`; both appear only when both are whole.

    Raises:
        InputError: naming the file and line, or the option, at fault.
    """
    data_set = published(name)
    folder = data_set.folder if data_set else name
    if not re.fullmatch(r"\w[\w.-]*", folder):
        raise InputError(f"NAME {name!r} must be letters, digits, '_', '-' or '.': it names a folder")
    source, notices = find_source(name, raw, options)
    bad_lines = BadLines(options.skip_bad_lines)
    columns = gather_events(source, options, bad_lines)
    table = columns.table()
    target = options.out / folder / folder
    item_path = target.with_name(f"{folder}.item") if source.item_path else None
    report = Report(source, target.with_name(f"{folder}.inter"), item_path, *_counts(table), notices)
    with ExitStack() as stack:
        write_events(stack.enter_context(write_aside(report.event_path)), table, source.rating_range is not None)
        if item_path:
            aside = stack.enter_context(write_aside(item_path))
            rows = source.items(bad_lines)
            has_text, repeats = write_items(aside, source.item_columns, rows, columns.item_codes)
            notices += _text_notices(has_text, repeats, table)
    stale = target.with_name(f"{folder}.item")
    if item_path is None and stale.exists():
        stale.unlink()
        notices.append(f"removed {stale}, of an earlier conversion: without texts this one has none")
    notices += _event_notices(table) + bad_lines.notices()
    return report


def find_source(name: str, raw: Path, options: Options) -> tuple[Source, list[str]]:
    """The dump in `raw`, of the format asked for or, when none is, of the one its files betray; and notices."""
    if not raw.exists():
        raise InputError(f"RAW_DIR {raw} does not exist - unpack the dump there first (see dataset/README.md)")
    columns_given = options.columns != Options.columns
    if columns_given and options.format not in (None, "csv"):
        raise InputError(f"--user, --item, --time, --rating and --text are for --format=csv, not {options.format}")
    if options.format == "csv" or columns_given:
        return csv_table.find(raw, options.columns, options.no_text), []
    if not raw.is_dir():
        raise InputError(f"RAW_DIR {raw} is a file - give the folder it lies in (single files only with --format=csv)")
    if options.format in (None, "movielens"):
        source = movielens.find(raw, options.no_text)
        if source:
            return source, []
    if options.format != "movielens":
        found = amazon_files.find(raw, name, options.format, options.no_text)
        if found:
            return found
    wanted = f"dump of format {options.format}" if options.format else "dump of a known format"
    there = ", ".join(sorted(path.name for path in raw.iterdir())[:8]) or "nothing"
    raise InputError(f"{raw} holds no {wanted} (it holds {there}) - see dataset/README.md for the files' names")


def gather_events(source: Source, options: Options, bad_lines: BadLines) -> EventColumns:
    """Every event of the dump, checked. Raises InputError when there is none."""
    columns = EventColumns(options.rating_range or source.rating_range or NO_LIMITS)
    for line, user, item, time, rating in source.events(bad_lines):
        try:
            columns.add(user, item, time, rating)
        except BadLine as error:
            bad_lines.report(source.event_path, line, error)
    if not len(columns):
        raise InputError(f"{source.event_path} holds no events - is it the right file?" + "".join(bad_lines.notices()))
    return columns


def _counts(table: EventTable) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    core = core_mask(table.user, table.item)
    users, items = (len(np.unique(codes[core])) for codes in (table.user, table.item))
    return (len(table.user_tokens), len(table.item_tokens), len(table.user)), (users, items, int(core.sum()))


def _text_notices(has_text: np.ndarray, repeats: int, table: EventTable) -> list[str]:
    notices = []
    if not has_text.all():
        first = table.item_tokens[int(np.argmin(has_text))]
        missing = f"{np.count_nonzero(~has_text):,} of {len(has_text):,} items have no text"
        notices.append(f"{missing} (the first: {first}); their sentences will say so")
    if repeats:
        notices.append(f"{repeats:,} rows describe an item that an earlier row had described: the first counts")
    return notices


def _event_notices(table: EventTable) -> list[str]:
    missing = int(np.isnan(table.rating).sum())
    notices = [f"{table.repeats:,} exact repeats (same user, item, time and rating) counted once"]
    if missing:
        notices.append(f"{missing:,} of {len(table.rating):,} events have no rating: left empty, never invented")
    if table.time_unit != "seconds":
        notices.append(f"times are in {table.time_unit}: written as seconds")
    return notices
