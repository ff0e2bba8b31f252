"""One conversion: find the dump, gather its events, write both files aside, and count what is in them."""

import filecmp
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sear.atomic_files import amazon_files, csv_table, movielens
from sear.atomic_files.event_columns import EventColumns, EventTable
from sear.atomic_files.notices import event_notices, text_notices
from sear.atomic_files.raw_lines import BadLine, BadLines
from sear.atomic_files.source import Source
from sear.atomic_files.write import write_events, write_items
from sear.data.events import core_mask
from sear.errors import InputError
from sear.files import PROJECT_ROOT, shown, write_aside
from sear.settings.published import asked_for

FORMATS = ("amazon-2014", "amazon-2018", "amazon-2023", "movielens", "csv")
NO_LIMITS = (-np.inf, np.inf)


@dataclass(frozen=True)
class Options:
    """What the command line can ask for; see `python -m sear.atomic_files --help`."""

    out: Path = PROJECT_ROOT / "dataset"
    format: str | None = None
    skip_bad_lines: bool = False
    no_text: bool = False
    rating_range: tuple[float, float] | None = None
    columns: csv_table.Columns = csv_table.Columns("", "", "")
    overwrite: bool = False


@dataclass
class Report:
    """What was read and written. counts: users, items, interactions, for all events and for the 5-core.

    time_span: of all events, in Unix seconds.
    """

    source: Source
    event_path: Path
    item_path: Path | None
    all_counts: tuple[int, int, int]
    core_counts: tuple[int, int, int]
    time_span: tuple[float, float]
    notices: list[str] = field(default_factory=list)


def convert(name: str, raw: Path, options: Options) -> Report:
    """Write `out/FOLDER/FOLDER.inter` and `.item`; both appear only when both are whole, and replace nothing else.

    Raises:
        InputError: naming the file and line, or the option, at fault.
    """
    data_set = asked_for(name)
    folder = data_set.folder if data_set else name
    if not re.fullmatch(r"\w[\w.-]*", folder):
        raise InputError(f"NAME {name!r} must be letters, digits, '_', '-' or '.': it names a folder - choose another")
    source, notices = find_source(name, raw, options)
    _require_family(name, raw, source)
    event_path, item_path = (options.out / folder / f"{folder}.{suffix}" for suffix in ("inter", "item"))
    stale = source.item_path is None and item_path.exists()
    if stale and not options.overwrite:
        raise InputError(
            f"{shown(item_path)} is there already, and without texts there would be none - move it away, or have it"
            " removed with --overwrite"
        )
    bad_lines = BadLines(options.skip_bad_lines)
    columns = gather_events(source, options, bad_lines)
    table = columns.table()
    span = float(table.time.min()), float(table.time.max())
    report = Report(source, event_path, item_path if source.item_path else None, *_counts(table), span, notices)
    with _new_folder(event_path.parent), ExitStack() as stack:
        asides = {event_path: stack.enter_context(write_aside(event_path))}
        write_events(asides[event_path], table, source.rating_range is not None)
        if source.item_path:
            asides[item_path] = stack.enter_context(write_aside(item_path))
            rows = source.items(bad_lines)
            written = write_items(asides[item_path], source.item_columns, rows, columns.item_codes)
            notices += text_notices(source, table, *written)
        if not options.overwrite:
            _refuse_other_content(asides)
    if stale:
        item_path.unlink()
        notices.append(f"removed {shown(item_path)}: without texts there is none")
    notices += event_notices(source, table) + bad_lines.notices()
    return report


def _require_family(name: str, raw: Path, source: Source) -> None:
    """A published name stays with its own kind of dump, so that no config reads what it does not expect."""
    data_set = asked_for(name)
    if data_set and not source.format.startswith(data_set.family):
        raise InputError(
            f"{name} is a published data set of {data_set.family}, and {raw} holds {source.format} files - choose"
            " another NAME"
        )


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Where the block fails, the folder and those above it go again unless they were there or hold something."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):
                path.rmdir()
        raise


def _refuse_other_content(asides: dict[Path, Path]) -> None:
    for path, aside in asides.items():
        if path.exists() and not filecmp.cmp(path, aside, shallow=False):
            raise InputError(
                f"{shown(path)} is there already and differs from what this conversion would write; nothing was changed"
                " - move it away, choose another --out, or replace it with --overwrite"
            )


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
            columns.add(line, user, item, time, rating)
        except BadLine as error:
            bad_lines.report(source.event_path, line, error)
    if not len(columns):
        skipped = "".join(f" ({notice})" for notice in bad_lines.notices())
        raise InputError(f"{source.event_path} holds no events{skipped} - give the file with the events")
    date = columns.compact_date()
    if date:
        raise InputError(
            f"{source.event_path}, line {date[0]}: time {date[1]:.0f} and most others read like dates, not like seconds"
            " - write them with hyphens, such as 2024-05-01, or as Unix seconds"
        )
    for line, reason in columns.unlike_times():
        bad_lines.report(source.event_path, line, reason)
    return columns


def _counts(table: EventTable) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    core = core_mask(table.user, table.item)
    users, items = (len(np.unique(codes[core])) for codes in (table.user, table.item))
    return (len(table.user_tokens), len(table.item_tokens), len(table.user)), (users, items, int(core.sum()))
