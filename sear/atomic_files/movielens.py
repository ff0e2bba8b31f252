"""MovieLens dumps: `ratings.dat` (1M, 10M), `u.data` (100K), `ratings.csv` (20M, 25M, 32M, latest)."""

import re
from collections.abc import Iterator
from pathlib import Path

from sear.atomic_files.bad_lines import BadLine, BadLines
from sear.atomic_files.csv_rows import csv_rows, split_rows
from sear.atomic_files.dialect import dialect_of
from sear.atomic_files.plain_text import plain_text
from sear.atomic_files.raw_lines import LineFile, line_file
from sear.atomic_files.reading import AS_SHOWN, Reading
from sear.atomic_files.source import Event, ItemRow, Source, existing, require_text_file
from sear.errors import InputError

# event file, item file, separator
LAYOUTS = (("ratings.dat", "movies.dat", "::"), ("u.data", "u.item", "\t"), ("ratings.csv", "movies.csv", ","))
CSV_HEADERS = {
    "ratings.csv": ["userId", "movieId", "rating", "timestamp"],
    "movies.csv": ["movieId", "title", "genres"],
}
RATING_RANGE = (0.5, 5.0)
TITLE_AND_YEAR = re.compile(r"(.*\S)\s*\((\d{4})[^()]*\)")  # "(2006-2007)" for series; only the last brackets count
OTHER_TABLE = "if it is another table, name its columns: --columns=user,item,rating,time"
NO_GENRE = "(no genres listed)"
# The flags of u.item, in order (u.genre of the same dump).
GENRES_100K = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical "
    "Mystery Romance Sci-Fi Thriller War Western"
).split()


def find(folder: Path, no_text: bool, reading: Reading = AS_SHOWN) -> Source | None:
    """The MovieLens dump in `folder`, None where there is none. Raises InputError when only the movies are missing."""
    for event_name, item_name, separator in LAYOUTS:
        event_path = existing(folder, event_name)
        if event_path is None:
            continue
        events = line_file(event_path, reading.encoding)
        if separator == "," and not _has_header(events, event_name):
            continue  # somebody's own table
        item_path = require_text_file(existing(folder, item_name), item_name, folder, no_text)
        items = line_file(item_path, reading.encoding) if item_path else None
        if items and separator == "," and not _has_header(items, item_name):
            header, expected = ",".join(_header(items))[:80] or "nothing", ",".join(CSV_HEADERS[item_name])
            raise InputError(
                f"{item_path}, line 1: {header} where MovieLens has {expected}"
                " - mend it, or read the tables as your own with --format=csv --user=… --item=… --time=…"
            )
        return _source(events, items, separator)
    return None


def _source(events: LineFile, items: LineFile | None, separator: str) -> Source:
    genre = "class" if separator == "\t" else "genre"  # as RecBole's ml-100k and ml-1m have it
    columns = {"movie_title": "token_seq", "release_year": "token", genre: "token_seq"}
    movie = _movie_100k if separator == "\t" else _movie
    return Source(
        "movielens",
        events.path,
        items.path if items else None,
        columns,
        RATING_RANGE,
        lambda bad_lines: _events(events, separator, bad_lines),
        lambda bad_lines: _items(items or events, "|" if separator == "\t" else separator, movie, bad_lines),
        [f"{lines.path.name}: {lines.encoding.told}" for lines in (events, items) if lines and lines.encoding.told],
    )


def _events(lines: LineFile, separator: str, bad_lines: BadLines) -> Iterator[Event]:
    for line, fields in _rows(lines, separator, CSV_HEADERS["ratings.csv"], bad_lines):
        if len(fields) == 4:
            user, item, rating, time = fields
            yield line, user, item, time, rating
        else:
            reason = f"{len(fields)} fields where user, movie, rating and time are expected"
            bad_lines.report(lines.path, line, BadLine(reason, OTHER_TABLE))


def _items(lines: LineFile, separator: str, movie, bad_lines: BadLines) -> Iterator[ItemRow]:
    for line, fields in _rows(lines, separator, CSV_HEADERS["movies.csv"], bad_lines):
        try:
            yield movie(fields)
        except BadLine as error:
            bad_lines.report(lines.path, line, error)


def _has_header(lines: LineFile, name: str) -> bool:
    """Whether the columns of MovieLens stand in the header, in whatever order."""
    return sorted(_header(lines)) == sorted(CSV_HEADERS[name])


def _header(lines: LineFile) -> list[str]:
    return dialect_of(lines.first[:1], ()).fields(lines.first[0]) if lines.first else []


def _rows(lines: LineFile, separator: str, names: list[str], bad_lines: BadLines) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) below the header; those of a CSV in the order of `names`."""
    texts = lines.text_lines(bad_lines)
    if separator != ",":
        yield from split_rows(texts, separator)
        return
    header = _header(lines)
    dialect = dialect_of(lines.first[:1], ())
    places = [header.index(name) for name in names]
    if dialect.quoting == "none":
        rows = split_rows(texts, dialect.delimiter)
    else:  # no title spans lines
        rows = csv_rows(
            lines.path, texts, bad_lines, dialect.delimiter, len(names), lambda _: True, spaced=dialect.spaced
        )
    next(rows, None)
    for line, fields in rows:
        yield line, [fields[place] for place in places] if len(fields) == len(names) else fields


def _movie(fields: list[str]) -> ItemRow:
    if len(fields) != 3:
        raise BadLine(f"{len(fields)} fields where movie, title and genres are expected")
    item, title, genres = fields
    return item, [*title_and_year(title), "" if genres == NO_GENRE else plain_text(genres.replace("|", " "))]


def _movie_100k(fields: list[str]) -> ItemRow:
    if len(fields) != 5 + len(GENRES_100K):
        raise BadLine(f"{len(fields)} fields where {5 + len(GENRES_100K)} are expected")
    genres = [genre for genre, flag in zip(GENRES_100K, fields[5:], strict=True) if flag == "1"]
    return fields[0], [*title_and_year(fields[1]), " ".join(genres)]


def title_and_year(text: str) -> tuple[str, str]:
    """`Seven (Se7en) (1995)` -> `Seven (Se7en)`, `1995`; without a year in the last brackets, the whole text and ""."""
    text = plain_text(text)
    found = TITLE_AND_YEAR.fullmatch(text)
    return (found.group(1), found.group(2)) if found else (text, "")
