"""Amazon review dumps of 2014, 2018 and 2023: JSON lines, Python literals (most of 2014) or, for bare ratings, CSV."""

import ast
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import orjson

from sear.atomic_files.bad_lines import BadLine, BadLines
from sear.atomic_files.encoding import HINT
from sear.atomic_files.plain_text import joined, plain_text, price
from sear.atomic_files.raw_lines import LineFile
from sear.atomic_files.source import Event, ItemRow, Source

ITEM_COLUMNS = {"title": "token_seq", "categories": "token_seq", "brand": "token", "price": "float"}
RATING_RANGE = (1.0, 5.0)
UNPARSED_PAGE = "getTime"  # 2018: where the crawler failed, the title is a piece of the page's script
MOST_OF_64_BITS = 2.0**63
LONGEST_LITERAL = 1 << 22  # bytes; a literal's syntax tree takes a hundred times as much


@dataclass(frozen=True)
class Dump:
    """Field names of one year's dump, and the order of its headless CSV."""

    user: str
    item: str
    time: str
    rating: str
    csv_columns: tuple[str, str, str, str]

    @property
    def names(self) -> tuple[str, str, str, str]:
        return self.user, self.item, self.time, self.rating


_OLD = ("reviewerID", "asin", "unixReviewTime", "overall")
DUMPS = {
    "amazon-2014": Dump(*_OLD, csv_columns=("user", "item", "rating", "time")),
    "amazon-2018": Dump(*_OLD, csv_columns=("item", "user", "rating", "time")),
    "amazon-2023": Dump(
        "user_id", "parent_asin", "timestamp", "rating", csv_columns=("user", "item", "rating", "time")
    ),
}

Rows = Callable[[BadLines], Iterator[tuple[int, list]]]  # user, item, time, rating of every line


def source(format_name: str, reviews: LineFile, meta: LineFile | None, rows: Rows | None = None) -> Source:
    """The dump of this format in these two files; rows: the events of bare ratings, which are no JSON."""
    dump = DUMPS[format_name]

    def events(bad_lines: BadLines) -> Iterator[Event]:
        if rows is None:
            return _json_events(reviews, dump, bad_lines)
        return ((line, user, item, time, rating) for line, (user, item, time, rating) in rows(bad_lines))

    return Source(
        format_name,
        reviews.path,
        meta.path if meta else None,
        ITEM_COLUMNS,
        RATING_RANGE,
        events,
        lambda bad_lines: _items(meta, dump, bad_lines) if meta else iter(()),
    )


def _json_events(reviews: LineFile, dump: Dump, bad_lines: BadLines) -> Iterator[Event]:
    user, item, time, rating = dump.names
    for line, review in json_records(reviews, bad_lines):
        yield line, review.get(user), review.get(item), review.get(time), review.get(rating)


def _items(meta: LineFile, dump: Dump, bad_lines: BadLines) -> Iterator[ItemRow]:
    for _, product in json_records(meta, bad_lines):
        yield product.get(dump.item), item_texts(product)


def json_records(lines: LineFile, bad_lines: BadLines) -> Iterator[tuple[int, dict]]:
    """(line number, object) of every line; lines that hold none go to `bad_lines`."""
    recode = "" if lines.codec in ("utf-8", "utf-8-sig") else lines.codec
    for number, line in lines.byte_lines(bad_lines):
        try:
            yield number, record(line.decode(recode).encode() if recode else line)
        except BadLine as error:
            bad_lines.report(lines.path, number, error)
        except UnicodeDecodeError as error:
            bad_lines.report(lines.path, number, BadLine(f"not {recode} ({error.reason})", HINT))


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
            return _exact(value, line) if parse is orjson.loads else value
        break
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8, as JSON is (byte 0x{line[error.start]:02x} at {error.start + 1})", HINT) from None
    raise BadLine("neither a JSON object nor a Python literal of one")


def _exact(found: dict, line: bytes) -> dict:
    """The object with whole numbers of more than 64 bits as they are written, of which orjson makes decimal ones."""
    if any(type(value) is float and abs(value) >= MOST_OF_64_BITS for value in found.values()):
        with suppress(ValueError, RecursionError):
            return json.loads(line)
    return found


def _literal(line: bytes) -> object:
    if len(line) > LONGEST_LITERAL:
        raise ValueError("too long")
    return ast.literal_eval(line.decode("utf-8").strip())
