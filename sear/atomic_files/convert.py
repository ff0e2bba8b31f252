"""One conversion: find the dump, gather its events, write both files aside, and count what is in them."""

import filecmp
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sear.atomic_files import amazon_files, movielens, own_table
from sear.atomic_files.bad_lines import BadLine, BadLines
from sear.atomic_files.column_names import recognised
from sear.atomic_files.event_columns import EventColumns, EventTable
from sear.atomic_files.notices import cut_off_notices, event_notices, text_notices, value_notices
from sear.atomic_files.reading import AS_SHOWN, UNIX, Reading
from sear.atomic_files.replace_folder import replacement
from sear.atomic_files.source import Source
from sear.atomic_files.table_choice import are_parts, headless_hint, shortened, table_files
from sear.atomic_files.tables import DelimitedTable, open_table
from sear.atomic_files.values import Ratings, Times
from sear.atomic_files.write import write_events, write_items
from sear.data.events import core_mask
from sear.errors import InputError
from sear.files import PROJECT_ROOT, shown
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
    columns: own_table.Columns = own_table.Columns()
    overwrite: bool = False
    reading: Reading = AS_SHOWN


@dataclass
class Report:
    """What was read and written. counts: users, items, interactions, for all events and for the 5-core.

    time_span: of all events, in Unix seconds; None where the order of lines stands for the time.
    rated: whether any event has a rating.
    """

    source: Source
    event_path: Path
    item_path: Path | None
    all_counts: tuple[int, int, int]
    core_counts: tuple[int, int, int]
    time_span: tuple[float, float] | None
    rated: bool
    notices: list[str] = field(default_factory=list)


def convert(name: str, raw: Path, options: Options, check: Callable[[Report], None] = lambda report: None) -> Report:
    """Write `out/FOLDER/FOLDER.inter` and `.item`; both appear only when both are whole, and replace nothing else.

    check: called when all is known and nothing is changed yet; what it raises leaves everything as it was.

    Raises:
        InputError: naming the file and line, or the option, at fault.
    """
    data_set = asked_for(name)
    folder = data_set.folder if data_set else name
    if not re.fullmatch(r"\w[\w.-]*", folder):
        raise InputError(f"NAME {name!r} must be letters, digits, '_', '-' or '.': it names a folder - choose another")
    options.reading.check()
    source = find_source(name, raw, options)
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
    notices = source.notices + value_notices(source, columns)
    table = columns.table()
    span = None if source.by_line else (float(table.time.min()), float(table.time.max()))
    rated = source.rating_range is not None and not bool(np.isnan(table.rating).all())
    report = Report(source, event_path, item_path if source.item_path else None, *_counts(table), span, rated, notices)
    with replacement(event_path.parent) as new:
        write_events(new.place / event_path.name, table, source.rating_range is not None)
        written = [event_path]
        if source.item_path:
            rows = source.items(bad_lines)
            found = write_items(new.place / item_path.name, source.item_columns, rows, columns.item_codes)
            notices += text_notices(source, table, *found)
            written.append(item_path)
        changed = [path for path in written if not _same(path, new.place / path.name)]
        if not options.overwrite:
            _refuse_other_content(changed)
        check(report)
        if changed or stale:
            new.commit()
    if stale:
        notices.append(f"removed {shown(item_path)}: without texts there is none")
    notices += event_notices(source, table) + bad_lines.notices() + cut_off_notices(bad_lines)
    return report


def _same(path: Path, aside: Path) -> bool:
    return path.exists() and filecmp.cmp(path, aside, shallow=False)


def _require_family(name: str, raw: Path, source: Source) -> None:
    """A published name stays with its own kind of dump, so that no config reads what it does not expect."""
    data_set = asked_for(name)
    if data_set and not source.format.startswith(data_set.family):
        raise InputError(
            f"{name} is a published data set of {data_set.family}, and {raw} holds {source.format} files - choose"
            " another NAME"
        )


def _refuse_other_content(changed: list[Path]) -> None:
    for path in changed:
        if path.exists():
            raise InputError(
                f"{shown(path)} is there already and differs from what this conversion would write; nothing was changed"
                " - move it away, choose another --out, or replace it with --overwrite"
            )


def find_source(name: str, raw: Path, options: Options) -> Source:
    """The dump in `raw`, of the format asked for or, when none is, of the one that its files betray."""
    if not raw.exists():
        raise InputError(f"RAW_DIR {raw} does not exist - unpack the dump there first (see dataset/README.md)")
    reading = options.reading
    columns_given = options.columns != own_table.Columns() or reading.columns
    if columns_given and options.format not in (None, "csv"):
        raise InputError(
            f"--user, --item, --time, --rating, --text and --columns are for --format=csv, not {options.format}"
        )
    texts_alone = options.columns == own_table.Columns(text=options.columns.text, text_item=options.columns.text_item)
    if options.format == "csv" or reading.columns or not texts_alone:
        return own_table.find(raw, options.columns, options.no_text, reading)
    if not raw.is_dir():
        raise InputError(f"RAW_DIR {raw} is a file - give the folder it lies in (single files only with --format=csv)")
    found = _named_by_header(raw, options) if columns_given else None
    if not found and options.format in (None, "movielens"):
        found = movielens.find(raw, options.no_text, reading)
    if not found and options.format != "movielens":
        found = amazon_files.find(raw, name, options.format, options.no_text, reading)
    if not found and options.format is None:
        found = _named_by_header(raw, options)
    if found:
        return found
    wanted = f"dump of format {options.format}" if options.format else "dump of a known format"
    there = ", ".join(sorted(path.name for path in raw.iterdir())[:8]) or "nothing"
    raise InputError(f"{raw} holds no {wanted} (it holds {there}) - see dataset/README.md for the files' names")


def _named_by_header(raw: Path, options: Options) -> Source | None:
    """The table of one's own whose columns say by their names what they hold, or all its parts; None without tables.

    Raises:
        InputError: there are tables, and which columns are to be read is not clear.
    """
    described = []
    usable = []
    for path in table_files(raw):
        try:
            table = open_table(path, options.reading)
        except InputError as error:
            described.append((str(error), ""))
            continue
        roles = recognised(table.columns)
        if {"user", "item", "time"} <= set(roles):
            usable.append((table, roles))
        if isinstance(table, DelimitedTable) and table.looks_headless():
            described.append((f"{path} has no header", headless_hint(table)))
        elif table.columns:
            named = {role: shlex.quote(column) for role, column in roles.items()}
            advice = " ".join(f"--{role}={named.get(role, '…')}" for role in ("user", "item", "time", "rating"))
            told = shortened(table.columns)
            described.append(
                (f"{path} has {told}", f"say which columns are which: --format=csv {advice} (without what it has not)")
            )
    if usable and are_parts([table for table, _ in usable]) and all(roles == usable[0][1] for _, roles in usable):
        table, roles = usable[0]
        user, item, time, rating = (roles.get(role, "") for role in ("user", "item", "time", "rating"))
        columns = replace(options.columns, user=user, item=item, time=time, rating=rating)
        source = own_table.find(raw, columns, options.no_text, options.reading)
        told = ", ".join(f"{role}={column}" for role, column in roles.items())
        others = [name for name in table.columns if name not in (*roles.values(), *options.columns.text)]
        unread = f"; not read: {', '.join(others[:8])} (texts with --text=…)" if others else ""
        source.notices.insert(0, f"columns by their names: {told}{unread}")
        return source
    if not described:
        return None
    told, advice = described[0] if len(described) == 1 else ("; ".join(text for text, _ in described)[:600], "")
    advice = advice or "say which table and columns are meant: --format=csv --user=… --item=… --time=… --rating=…"
    if len(described) == 1 and not described[0][1]:
        raise InputError(told)
    raise InputError(f"{raw} holds no dump of Amazon or MovieLens: {told} - {advice}")


def gather_events(source: Source, options: Options, bad_lines: BadLines) -> EventColumns:
    """Every event of the dump, checked. Raises InputError when there is none."""
    lawful = options.rating_range or source.rating_range or NO_LIMITS
    ratings = Ratings(lawful, options.rating_range is not None, options.reading)
    columns = EventColumns(lawful, ratings, Times(options.reading))
    for line, user, item, time, rating in source.events(bad_lines):
        try:
            columns.add(line, user, item, time, rating)
        except BadLine as error:
            bad_lines.report(*source.place(line), error)
    bad_lines.settle()
    if not len(columns):
        skipped = "".join(f" ({notice})" for notice in bad_lines.notices())
        raise InputError(f"{source.event_path} holds no events{skipped} - give the file with the events")
    if not source.by_line:
        _check_times(source, columns, options.reading, bad_lines)
    return columns


def _check_times(source: Source, columns: EventColumns, reading: Reading, bad_lines: BadLines) -> None:
    if 0 < columns.clocks < len(columns):
        raise InputError(
            f"{source.event_path}: the second column of --time has times of day in {columns.clocks:,} events and"
            f" something else in {len(columns) - columns.clocks:,} - write it in one way"
        )
    found = columns.digit_dates() if not reading.date_format else None
    if found:
        line, time, dates = found
        path, number = source.place(line)
        formats = " or ".join(f"--date_format={form}" for form in dates.formats[:3])
        raise InputError(
            f"{path}, line {number}: time {time:.0f} and most others read like dates, not like seconds - say so with"
            f" {formats}, or --date_format={UNIX} if they are Unix times"
        )
    for line, reason in columns.unlike_times():
        remedy = "write all times in one unit, and remove lines whose time is not known (0, -1, 9999-12-31)"
        bad_lines.report(*source.place(line), BadLine(reason, remedy))
    bad_lines.settle()


def _counts(table: EventTable) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    core = core_mask(table.user, table.item)
    users, items = (len(np.unique(codes[core])) for codes in (table.user, table.item))
    return (len(table.user_tokens), len(table.item_tokens), len(table.user)), (users, items, int(core.sum()))
