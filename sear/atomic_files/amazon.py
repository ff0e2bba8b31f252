"""Amazon review dumps of 2014, 2018 and 2023: JSON lines, Python literals (most of 2014) or, for bare ratings, CSV."""

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from sear.atomic_files.plain_text import joined, plain_text, price
from sear.atomic_files.raw_lines import BadLine, BadLines, csv_rows, raw_lines
from sear.atomic_files.source import Event, ItemRow, Source

ITEM_COLUMNS = {"title": "token_seq", "categories": "token_seq", "brand": "token", "price": "float"}
RATING_RANGE = (1.0, 5.0)
UNPARSED_PAGE = "getTime"  # 2018: where the crawler failed, the title is a piece of the page's script


@dataclass(frozen=True)
class Dump:
    """Field names of one year's dump, and the order of its headless CSV."""

    user: str
    item: str
    time: str
    rating: str
    csv_columns: tuple[str, str, str, str]


_OLD = ("reviewerID", "asin", "unixReviewTime", "overall")
DUMPS = {
    "amazon-2014": Dump(*_OLD, csv_columns=("user", "item", "rating", "time")),
    "amazon-2018": Dump(*_OLD, csv_columns=("item", "user", "rating", "time")),
    "amazon-2023": Dump(
        "user_id", "parent_asin", "timestamp", "rating", csv_columns=("user", "item", "rating", "time")
    ),
}


def source(format_name: str, review_path: Path, meta_path: Path | None) -> Source:
    """The dump of this format in these two files."""
    dump = DUMPS[format_name]
    read = _csv_events if ".csv" in review_path.suffixes else _json_events
    return Source(
        format_name,
        review_path,
        meta_path,
        ITEM_COLUMNS,
        RATING_RANGE,
        lambda bad_lines: read(review_path, dump, bad_lines),
        lambda bad_lines: _items(meta_path, dump, bad_lines),
    )


def _json_events(path: Path, dump: Dump, bad_lines: BadLines) -> Iterator[Event]:
    user, item, time, rating = dump.user, dump.item, dump.time, dump.rating
    for line, text in raw_lines(path):
        try:
            review = record(text)
        except BadLine as error:
            bad_lines.report(path, line, error)
            continue
        yield line, review.get(user), review.get(item), review.get(time), review.get(rating)


def _csv_events(path: Path, dump: Dump, bad_lines: BadLines) -> Iterator[Event]:
    user, item, time, rating = (dump.csv_columns.index(name) for name in ("user", "item", "time", "rating"))
    names = (dump.user, dump.item, dump.time, dump.rating)
    for line, fields in csv_rows(path, bad_lines, width=4, alone=lambda _: True):
        if line == 1 and set(names) <= set(fields):  # 2023 alone has a header
            user, item, time, rating = (fields.index(name) for name in names)
        elif len(fields) < 4:
            expected = ", ".join(dump.csv_columns)
            bad_lines.report(path, line, f"{len(fields)} fields where {expected} are expected")
        else:
            yield line, fields[user], fields[item], fields[time], fields[rating] or None


def _items(path: Path, dump: Dump, bad_lines: BadLines) -> Iterator[ItemRow]:
    for line, text in raw_lines(path):
        try:
            product = record(text)
        except BadLine as error:
            bad_lines.report(path, line, error)
            continue
        yield product.get(dump.item), item_texts(product)


def item_texts(product: dict) -> list[str]:
    """title, categories, brand and price of a product of any year, in the order of ITEM_COLUMNS."""
    title = plain_text(product.get("title"))
    details = product.get("details")
    if isinstance(details, str) and details.startswith("{"):  # some copies of 2023's dump hold it as JSON text
        with suppress(BadLine):
            details = record(details.encode("utf-8", "replace"))
    brand = product.get("brand")
    if not brand and isinstance(details, dict):  # 2023 keeps it among the details; the store is the next best
        brand = details.get("Brand")
    return [
        "" if UNPARSED_PAGE in title else title,
        joined(product.get("categories") or product.get("category") or []),
        plain_text(brand or product.get("store")),
        price(product.get("price")),
    ]


def record(line: bytes) -> dict:
    """One line's object: JSON (2018, 2023, some of 2014) or a Python literal (most of 2014), never evaluated.

    Raises:
        BadLine: it is neither.
    """
    for parse in (orjson.loads, json.loads, _literal):  # json takes what orjson refuses: NaN, lone surrogates
        try:
            value = parse(line)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
        break
    raise BadLine("neither a JSON object nor a Python literal of one")


def _literal(line: bytes) -> object:
    return ast.literal_eval(line.decode("utf-8").strip())
