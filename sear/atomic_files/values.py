"""Texts and numbers of a dump -> ratings and Unix times; what they may be called and how they may be written."""

import functools
import math
import re
import shlex
from collections import Counter
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from reprlib import repr as shortened
from typing import Any

from sear.atomic_files.bad_lines import BadLine
from sear.atomic_files.reading import AS_SHOWN, UNIX, Reading

MISSING = frozenset(
    ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "(null)", "#null!", "nil", "none", "\\n", "-", "--", "?", ".")
    + ("unrated", "not rated", "no rating", "unknown", "undefined", "missing")
)
TRUTH = {"true": 1.0, "t": 1.0, "yes": 1.0, "y": 1.0, "false": 0.0, "f": 0.0, "no": 0.0, "n": 0.0}  # t, f: PostgreSQL
# ratings that are no numbers, what they are, and how to write them
OTHER_RATINGS = tuple(
    (re.compile(pattern, re.ASCII | re.DOTALL), what, remedy)
    for pattern, what, remedy in (
        (
            r"[\d.,]+\s*(?:/|of|out of)\s*[\d.,]+",
            "one out of a highest",
            "write the first number alone, and state the scale with --rating_range=LOW,HIGH",
        ),
        (
            r"[\d.,]+\s*%",
            "a percentage",
            "write the number alone, and state the scale: --rating_range=0,100",
        ),
        (r"[\u2605\u2606\u2b50\u2729\u272d*\ufe0f\s]+", "a row of stars", "write how many are filled"),
        (r"[\d.,]+", "one written in another way", "write it with a point before its decimals and no other sign"),
        (r"\D*\d+(?:[.,]\d+)?\D*", "one with something beside it", "write the number alone"),
    )
)
LONGEST_RATING = 100  # characters that are looked at
LARGEST_RATING = 3.4e38  # as a 32-bit float, which models read
LARGEST_TIME = 1e20
DAY = re.compile(
    r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})"
    r"(?:(?:T|\s+)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?",
    re.IGNORECASE | re.ASCII,
)
FILL_IN = "give each event its time"
DIGITS = {"Y": 4, "j": 3}  # of a directive; two of all others
ZONE = re.compile(r"(?:[a-z]|:\d\d.*[+-][\d:]+)\Z", re.IGNORECASE | re.ASCII)  # of a text that DAY is
TIME_OF_DAY = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}(?:[.,]\d+)?))?(?:\s*([AP])M)?", re.ASCII | re.IGNORECASE)
# without a + only with decimals, for ids such as 12e4 may be hexadecimal
SCIENTIFIC = re.compile(r"[-+]?\d(?:(?:[.,]\d+)?[eE]\+|[.,]\d+[eE])\d+", re.ASCII)
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
DATE_FORMATS = (
    *(f"{day}{clock}" for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%d.%m.%y")
      for clock in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M:%S")),
    *("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%m %d, %Y", "%b %d, %Y %H:%M:%S"),
    *("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%d %b %Y, %H:%M"),
    *("%Y-%m-%d %I:%M %p", "%d/%m/%y", "%m/%d/%y", "%d/%m/%y %H:%M", "%m/%d/%y %H:%M"),
    *("%d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT", "%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d-%H.%M.%S"),
    *("%Y-%m", "%H:%M:%S %d.%m.%Y", "%Y年%m月%d日", "%y/%m/%d", "%Y-%m-%d %I:%M:%S %p", "%Y%m%dT%H%M%S"),
)  # fmt: skip


class Ratings:
    """Ratings as numbers, NaN where there is none; `found` counts what is worth a notice.

    lawful: the lowest and the highest; stated: whether the user has given them.
    """

    def __init__(self, lawful: tuple[float, float], stated: bool = False, reading: Reading = AS_SHOWN):
        self.low, self.high = lawful
        self.stated, self.decimal = stated, reading.decimal
        self.missing = MISSING | {word.strip().lower() for word in reading.missing}
        self.missing_numbers = {number for number in map(_number, reading.missing) if number is not None}
        self.found: Counter[str] = Counter()
        self._known: dict[str, tuple[float, str]] = {}  # texts met before

    def __call__(self, value: Any) -> float:
        """Raises BadLine for what is neither a lawful rating nor a word for none."""
        if type(value) is str:
            number, kind = self._known.get(value) or self._remembered(value)
        elif value is None:
            return math.nan
        elif type(value) is float and self.low <= value <= self.high and not self.missing_numbers:
            return value
        else:
            number, kind = self._parsed(value)
        if kind:
            self.found[kind] += 1
        return number

    def _remembered(self, text: str) -> tuple[float, str]:
        parsed = self._parsed(text)
        if len(self._known) < 10_000:
            self._known[text] = parsed
        return parsed

    def _parsed(self, value: Any) -> tuple[float, str]:
        """The number, and the kind of notice that it asks for."""
        text = value.strip().lower() if isinstance(value, str) else ""
        if isinstance(value, str) and text in self.missing:
            return math.nan, ""
        if isinstance(value, bool) or text in TRUTH:
            number, kind = TRUTH[text] if text else float(value), "truth"
            if not self.stated:
                return number, kind
        else:
            number, kind = _rating(value, text, self.decimal), "number"
        if number != number or number in self.missing_numbers:
            return math.nan, ""
        if self.low <= number <= self.high and abs(number) < LARGEST_RATING:
            return number, kind
        if number == -1:
            return math.nan, "minus one"
        if abs(number) >= LARGEST_RATING:
            raise BadLine(f"rating {shown(value)} is too large for 32 bits", "give the ratings on another scale")
        scale = f"{self.low:g}..{self.high:g} (--rating_range=LOW,HIGH states another scale)"
        reason = f"rating {shown(value)} is outside {scale}"
        # One rating does not tell the ends of its scale, so that an example is all that can be given.
        scale = "--rating_range=LOWEST,HIGHEST of your scale, for example --rating_range"
        if number < self.low:
            none = f", --missing={shlex.quote(shown(value))} if it means none" if kind == "number" else ""
            raise BadLine(f"{reason}, below it", f"if it is a rating: {scale}={number:g},{self.high:g}{none}")
        highest = 10.0 ** math.ceil(math.log10(max(number, 10)))
        raise BadLine(reason, f"if they are ratings: {scale}={min(self.low, 0):g},{highest:g}")


def _rating(value: Any, text: str, decimal: str) -> float:
    if isinstance(value, str):
        number = _number(text, decimal)
        if number is None:
            if DECIMAL_COMMA.fullmatch(text):
                raise BadLine(f"rating {shortened(value)} is no number", "--decimal=, reads decimal commas")
            for pattern, what, remedy in OTHER_RATINGS:
                if pattern.fullmatch(text[:LONGEST_RATING]):
                    raise BadLine(f"rating {shortened(value)} is no number but {what}", remedy)
            remedy = (
                f"write ratings as numbers, or if it means that there is none: --missing={shlex.quote(shown(value))}"
            )
            raise BadLine(f"rating {shortened(value)} is no number", remedy)
        return number
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadLine(f"rating {shortened(value)} is no number") from None


def _number(text: str, decimal: str = ".") -> float | None:
    """The number that a text is, None where it is none; 1_000 is none, though Python's float takes it."""
    if "_" in text:
        return None
    if decimal == ",":
        text = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    try:
        return float(text)
    except ValueError:
        return None


def shown(value: Any) -> str:
    """A value as an option would have it, not too long."""
    text = str(value) if isinstance(value, (str, int, float, Decimal)) else shortened(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


class Times:
    """Times as numbers in the unit of the file (dates in seconds); `found` counts what is worth a notice."""

    def __init__(self, reading: Reading = AS_SHOWN):
        self.format, self.decimal = reading.date_format, reading.decimal
        self._digits = _digit_runs(self.format)
        self.found: Counter[str] = Counter()

    def __call__(self, value: Any) -> float:
        """Raises BadLine for what is no time."""
        kind = type(value)
        if (kind is int or kind is float) and self.format in ("", UNIX):
            return _finite(value, value)
        if kind is str:
            if not self.format and len(value) < 16 and value.isdigit() and value.isascii():
                return float(value)  # nearly all there are
            return self._of_text(value.strip(), value)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
        if isinstance(value, date):  # parquet has columns of days
            return datetime(value.year, value.month, value.day, tzinfo=timezone.utc).timestamp()
        if value is None:
            raise BadLine("no time", fill_in=FILL_IN)
        if isinstance(value, (bool, time, timedelta)):
            raise BadLine(f"time {shortened(value)} is no point in time")
        if isinstance(value, (int, float, Decimal)):
            if self.format in ("", UNIX):
                return _finite(value, value)
            return self._of_text(str(int(value) if value == value and int(value) == value else value), value)
        raise BadLine(f"time {shortened(value)} is no number and no date")

    def ordered(self, first: Any, second: Any) -> tuple[float, float, bool]:
        """(time, what decides between equal times, whether that is the seconds of a time of day) of two columns."""
        clock = _seconds_of_day(second)
        if clock is not None:
            return self(first), clock, True
        try:
            return self(first), float(second) if _is_plain(second) else self(second), False
        except BadLine as error:
            comma = isinstance(second, str) and DECIMAL_COMMA.fullmatch(second.strip())  # its own remedy is right
            if not comma and self.reads(first):
                raise BadLine(
                    f"{error}, and no time of day like 14:30:00", "write both into one column, as 2024-05-01 14:30:00"
                ) from None
            raise

    def reads(self, value: Any) -> bool:
        """Whether the value is a time."""
        try:
            self(value)
        except BadLine:
            return False
        return True

    def _of_text(self, text: str, value: Any) -> float:
        if self.format not in ("", UNIX):
            return self._formatted(text)
        number = _number(text, self.decimal)
        if number is not None:
            if "e" in text.lower() and SCIENTIFIC.fullmatch(text):
                self.found["scientific"] += 1
            return _finite(number, value)
        if text.lower() in MISSING:
            raise BadLine("no time" if not text else f"no time ({shortened(text)})", fill_in=FILL_IN)
        seconds = iso_seconds(text)
        if seconds is None:
            option = "say how dates are written with --date_format, for example --date_format='%d.%m.%Y %H:%M'"
            if DECIMAL_COMMA.fullmatch(text):
                option = "--decimal=, reads decimal commas"
            reason = f"time {shortened(value)} is no number and no date like 2024-05-01"
            raise BadLine(reason, option, formats=date_formats(text))
        self.found["date"] += 1
        if ":" not in text:
            self.found["day"] += 1
        elif ZONE.search(text):
            self.found["zone"] += 1
        return seconds

    def _formatted(self, text: str) -> float:
        try:
            found = datetime.strptime(_with_zeros(text, self._digits), self.format)
            return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
        except (ValueError, re.error, OverflowError, IndexError):
            if text.lower() in MISSING:
                raise BadLine("no time", fill_in=FILL_IN) from None
            reason = f"time {shortened(text)} is not written as {self.format!r} says"
            raise BadLine(reason, formats=date_formats(text)) from None


def _finite(number: float | Decimal, value: Any) -> float:
    try:
        number = float(number)
    except (ValueError, OverflowError):
        raise BadLine(f"time {shortened(value)} is no number") from None
    if not math.isfinite(number):
        raise BadLine(f"time {shortened(value)} is not finite")
    if abs(number) > LARGEST_TIME:
        raise BadLine(f"time {shortened(value)} is none that a clock shows")
    return number


def _is_plain(value: Any) -> bool:
    """Whether this is a number that no --date_format is for: what decides between equal days."""
    if isinstance(value, str):
        return len(value) < 20 and value.strip().isdecimal()
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _seconds_of_day(value: Any) -> float | None:
    """Seconds since midnight of 14:30, 2:30:01.5 pm or a time of day of parquet; None for anything else."""
    if isinstance(value, time):
        return 3600 * value.hour + 60 * value.minute + value.second + value.microsecond / 1e6
    found = TIME_OF_DAY.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        return None
    hour, minute, second = int(found[1]), int(found[2]), float((found[3] or "0").replace(",", "."))
    if found[4]:
        hour = hour % 12 + 12 * (found[4] in "pP") if 1 <= hour <= 12 else 24
    return 3600 * hour + 60 * minute + second if hour < 24 and minute < 60 and second < 61 else None


def _digit_runs(form: str) -> list[int]:
    """How many digits stand for each run of directives such as %d%m%Y, 0 where one stands alone or takes any number."""
    runs = re.findall(r"((?:%[YmdHIMSyj])+)(%f)?", form)
    return [0 if fraction or len(run) == 2 else sum(DIGITS.get(of, 2) for of in run[1::2]) for run, fraction in runs]


def _with_zeros(text: str, digits: list[int]) -> str:
    """The text with the zeros that runs of digits begin with, and whole numbers lose: 1052024 is 01052024.

    strptime would take 10 for the day.
    """
    if not any(digits) or len(re.findall(r"\d+", text)) != len(digits):
        return text
    left = iter(digits)
    return re.sub(r"\d+", lambda run: run[0].zfill(next(left)), text)


def iso_seconds(text: str) -> float | None:
    """Unix seconds of 2024-05-01, 2024/05/01 12:30 or 2024-05-01T12:30:00.5Z; UTC where no zone is given."""
    found = DAY.fullmatch(text)
    if not found:
        return None
    year, _, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        clock = int(hour or 0), int(minute or 0), int(second or 0)
        start = datetime(int(year), int(month), int(day), *clock, tzinfo=timezone.utc)
    except ValueError:
        return None
    seconds = start.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)
    if zone and zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        seconds -= (60 if zone[0] == "+" else -60) * (60 * int(digits[:2]) + int(digits[2:] or 0))
    return seconds


@functools.lru_cache(1_000)
def date_formats(text: str) -> tuple[str, ...]:
    """All usual ways of writing dates that this text may be."""
    found = []
    for form in DATE_FORMATS:
        try:
            datetime.strptime(text, form)
        except ValueError:
            continue
        found.append(form)
    return tuple(found)
