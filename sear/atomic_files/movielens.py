"""MovieLens dumps: `ratings.dat` (1M, 10M), `u.data` (100K), `ratings.csv` (20M, 25M, 32M, latest)."""

import re
from collections.abc import Iterator
from pathlib import Path

from sear.atomic_files.plain_text import plain_text
from sear.atomic_files.raw_lines import BadLine, BadLines, csv_rows, decode, raw_lines
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
NO_GENRE = "(no genres listed)"
# The flags of u.item, in order (u.genre of the same dump).
GENRES_100K = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical "
    "Mystery Romance Sci-Fi Thriller War Western"
).split()


def find(folder: Path, no_text: bool) -> Source | None:
    """The MovieLens dump in `folder`, None where there is none. Raises InputError when only the movies are missing."""
    for event_name, item_name, separator in LAYOUTS:
        event_path = existing(folder, event_name)
        if event_path is not None:
            item_path = require_text_file(existing(folder, item_name), item_name, folder, no_text)
            return _source(event_path, item_path, separator)
    return None


def _source(event_path: Path, item_path: Path | None, separator: str) -> Source:
    genre = "class" if separator == "\t" else "genre"  # as RecBole's ml-100k and ml-1m have it
    columns = {"movie_title": "token_seq", "release_year": "token", genre: "token_seq"}
    movie = _movie_100k if separator == "\t" else _movie
    return Source(
        "movielens",
        event_path,
        item_path,
        columns,
        RATING_RANGE,
        lambda bad_lines: _events(event_path, separator, bad_lines),
        lambda bad_lines: _items(item_path, "|" if separator == "\t" else separator, movie, bad_lines),
    )


def _events(path: Path, separator: str, bad_lines: BadLines) -> Iterator[Event]:
    for line, fields in _rows(path, separator, bad_lines):
        if len(fields) == 4:
            user, item, rating, time = fields
            yield line, user, item, time, rating or None
        else:
            bad_lines.report(path, line, f"{len(fields)} fields where user, movie, rating and time are expected")


def _items(path: Path, separator: str, movie, bad_lines: BadLines) -> Iterator[ItemRow]:
    for line, fields in _rows(path, separator, bad_lines):
        try:
            yield movie(fields)
        except BadLine as error:
            bad_lines.report(path, line, error)


def _rows(path: Path, separator: str, bad_lines: BadLines) -> Iterator[tuple[int, list[str]]]:
    if separator != ",":
        for line, text in raw_lines(path):
            yield line, decode(text).rstrip("\r\n").split(separator)
        return
    wanted = CSV_HEADERS[path.name.removesuffix(".gz")]
    rows = csv_rows(path, bad_lines, width=len(wanted), alone=lambda _: True)  # no title spans lines
    _, header = next(rows, (0, []))
    if header and header != wanted:
        raise InputError(
            f"{path}, line 1: {','.join(header)} where MovieLens has {','.join(wanted)} - mend it, or read the table as"
            " your own with --format=csv --user=… --item=… --time=…"
        )
    yield from rows


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
