"""Which of a folder's files are an Amazon dump, of which year and category."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sear.atomic_files import amazon
from sear.atomic_files.raw_lines import line_file
from sear.atomic_files.reading import Reading
from sear.atomic_files.source import Source, require_text_file
from sear.atomic_files.tables import DelimitedTable, JsonTable, open_table
from sear.errors import InputError
from sear.settings.published import asked_for, plain_name

PACKED = r"(?P<packed>\.(?:gz|bz2|xz|zst|zip))?"
META = re.compile(rf"meta_(?P<category>.+)\.(?P<suffix>jsonl?){PACKED}", re.IGNORECASE)
REVIEWS = re.compile(
    rf"(?!meta_)(?P<prefix>reviews_|ratings_)?(?P<category>.+?)(?P<core>_5)?\.(?P<suffix>json|jsonl|csv){PACKED}",
    re.IGNORECASE,
)
USER_ID, ITEM_ID = re.compile(r"#?A[0-9A-Z]+|#oc-.+"), re.compile(r"B[0-9A-Z]+|\d{9}[\dX]")
MOST_ALIKE = 0.9  # of the first lines


@dataclass(frozen=True)
class ReviewFile:
    """format: as its content, or where that says nothing its name, betrays it; "" for no Amazon dump.

    order: what a CSV's header calls user, item, time and rating, () where it has none; rank: the lowest is read;
    fault: why it cannot be read.
    """

    path: Path
    category: str
    format: str
    rank: int
    order: tuple[str, ...] = ()
    headless: bool = False
    fault: InputError | None = None


def find(folder: Path, name: str, format_name: str | None, no_text: bool, reading: Reading) -> Source | None:
    """The dump for data set `name`; None when the folder holds none.

    Of several files of one category the 5-core is read first (the same events are left after 5-core), then all
    reviews, then the bare ratings; plain before compressed. `format_name` is how they are read whatever their names
    betray, but those that look like it come first.

    Raises:
        InputError: the category or the product file is missing, the folder holds several categories and none
            is called `name`, or a headless CSV does not show which column holds what.
    """
    files = list(_review_files(folder, reading))
    likely = [file for file in files if file.format and format_name in (None, file.format)]
    if not likely and not (files and format_name):
        return None
    likely = likely or files
    category = _category(name, folder, *(sorted({file.category for file in group}) for group in (files, likely)))
    files = [file for file in files if file.category == category]
    files.sort(key=lambda file: (not file.format or format_name not in (None, file.format), file.rank))
    chosen = replace(files[0], format=format_name or files[0].format)
    if chosen.fault:
        raise chosen.fault
    if not chosen.format:
        return None
    meta = require_text_file(
        _meta_path(folder, category, chosen.format), f"meta_{category}.json(l)[.gz]", folder, no_text
    )
    source = _source(chosen, files[0].format, meta, reading)
    if files[1:]:
        source.notices.insert(0, f"ignored: {', '.join(file.path.name for file in files[1:])}")
    return source


def _source(file: ReviewFile, looks_like: str, meta_path: Path | None, reading: Reading) -> Source:
    meta = line_file(meta_path, reading.encoding) if meta_path else None
    if not file.path.name.lower().partition(".csv")[1]:
        reviews = line_file(file.path, reading.encoding)
        found = amazon.source(file.format, reviews, meta)
        told = [reviews, meta]
    else:
        names = file.order
        if not file.headless and not names:
            raise InputError(
                f"{file.path}: its header is none of Amazon's dumps - leave --format out, or say which columns are"
                " which: --format=csv --user=… --item=… --time=… --rating=…"
            )
        if file.headless:
            names = amazon.DUMPS[file.format].csv_columns
            _refuse_swapped(file, names, looks_like)
            reading = replace(reading, columns=names)
            names = ("user", "item", "time", "rating")
        table = open_table(file.path, reading, names)
        assert isinstance(table, DelimitedTable)
        found = amazon.source(
            file.format, table.lines, meta, lambda bad_lines: table.rows(names, bad_lines, (names[2], _any_text))
        )
        told = [table.lines, meta]
    found.notices += [f"{lines.path.name}: {lines.encoding.told}" for lines in told if lines and lines.encoding.told]
    return found


def _any_text(_: str) -> bool:
    return True  # no field of such a file spans lines


def _refuse_swapped(file: ReviewFile, names: tuple[str, ...], looks_like: str) -> None:
    """A format that was asked for must not take the users of a headless file for its items."""
    if looks_like and set(names[:2]) == {"user", "item"} and amazon.DUMPS[looks_like].csv_columns != names:
        raise InputError(
            f"{file.path}: by their looks (A… and B…) its columns are {','.join(amazon.DUMPS[looks_like].csv_columns)},"
            f" and {file.format} has {','.join(names)} - leave --format out, or name the columns with --columns"
        )


def _review_files(folder: Path, reading: Reading) -> Iterator[ReviewFile]:
    for path in sorted(folder.iterdir()):
        found = REVIEWS.fullmatch(path.name)
        if not found or not path.is_file():
            continue
        suffix = found["suffix"].lower()
        rank = 4 * (suffix == "csv") + 2 * (found["core"] is None) + (found["packed"] is not None)
        file = ReviewFile(path, found["category"], "", rank)
        by_name = "amazon-2023" if suffix == "jsonl" else "amazon-2014" if found["prefix"] else "amazon-2018"
        try:
            yield _seen_csv(file, reading) if suffix == "csv" else _seen_json(file, by_name, reading)
        except InputError as error:  # told when it is this file that is read
            yield replace(file, format=by_name if suffix != "csv" else "", fault=error)


def _seen_json(file: ReviewFile, by_name: str, reading: Reading) -> ReviewFile:
    """The file with its format: by the fields of its first objects; of 2014 and 2018, which have the same, by name."""
    old = by_name if by_name != "amazon-2023" else "amazon-2018"
    table = open_table(file.path, reading)
    if isinstance(table, DelimitedTable):
        return replace(file, format="" if table.columns else by_name)
    keys = set(table.columns) if isinstance(table, JsonTable) else set()
    new = amazon.DUMPS["amazon-2023"]
    if {new.user, new.item} <= keys or {new.user, new.time} <= keys:
        return replace(file, format="amazon-2023")
    known = keys & {"reviewerID", "asin", "unixReviewTime"}
    return replace(file, format=old if known or not keys else "")


def _seen_csv(file: ReviewFile, reading: Reading) -> ReviewFile:
    """The file with its format: by its header, or by the looks of its ids where it has none."""
    table = open_table(file.path, replace(reading, columns=()))
    if not isinstance(table, DelimitedTable):
        return file
    columns = [name.strip() for name in table.columns]
    for name in ("amazon-2023", "amazon-2018"):
        dump = amazon.DUMPS[name]
        for item in {dump.item, "asin"}:
            names = (dump.user, item, dump.time, dump.rating)
            if set(names) <= set(columns):
                return replace(file, format=name, order=names)
    headless = table.looks_headless() or not columns
    rows = [columns, *table.first_rows()]
    if len(columns) != 4 or not headless:
        return replace(file, headless=headless)
    orders = [(0, 1, "amazon-2014"), (1, 0, "amazon-2018")]
    fits = {name: _share(rows, user, USER_ID) * _share(rows, item, ITEM_ID) for user, item, name in orders}
    best = max(fits, key=fits.__getitem__)
    alike = fits[best] >= MOST_ALIKE
    return replace(file, format=best if alike else "", headless=True)


def _share(rows: list[list[str]], place: int, pattern: re.Pattern) -> float:
    return sum(len(row) == 4 and pattern.fullmatch(row[place]) is not None for row in rows) / len(rows)


def _category(name: str, folder: Path, categories: list[str], likely: list[str]) -> str:
    """The category that NAME names; without one, the only one of `likely`."""
    data_set = asked_for(name)
    if data_set and data_set.category:
        if data_set.category in categories:
            return data_set.category
        found = ", ".join(categories)
        raise InputError(
            f"{folder} holds reviews of {found}, not of {data_set.category} - fetch those, or choose a NAME other than"
            f" {name}"
        )
    undated = re.sub(r"[_-](2014|2018|2023)$", "", name)
    for asked in (name, undated):
        named = [category for category in categories if plain_name(category) == plain_name(asked)]
        if len(named) == 1:
            return named[0]
    described = [category for category in likely if _meta_path(folder, category, "")]
    likely = described or likely  # a stray .json beside the dump is no category
    if len(likely) > 1:
        raise InputError(f"{folder} holds several categories ({', '.join(categories)}) - give one of them as NAME")
    return likely[0]


def _meta_path(folder: Path, category: str, format_name: str) -> Path | None:
    """The category's product file: 2023's is .jsonl, the others' .json; any other where there is no such one."""
    usual = "jsonl" if format_name == "amazon-2023" else "json"
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    found = [(match, path) for path in files if (match := META.fullmatch(path.name)) and match["category"] == category]
    found.sort(key=lambda pair: (pair[0]["suffix"].lower() != usual, pair[0]["packed"] is not None))
    return found[0][1] if found else None
