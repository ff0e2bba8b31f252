"""Text as dumps have it -> one clean line: no tabs, newlines, tags or HTML entities."""

import html
import re
from collections.abc import Callable
from html.entities import html5

ELEMENTS = (
    "a abbr b big blockquote br center code dd div dl dt em font h[1-6] hr i iframe img li ol p pre s script small "
    "span strike strong style sub sup table tbody td th tr tt u ul"
).replace(" ", "|")
# 2018 dumps hold <span class=...> in titles, </span> in categories; a title such as <Untitled> is none
TAG = re.compile(rf"</?(?:{ELEMENTS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
CLOSING_TAGS = re.compile(rf"\s*(?:</(?:{ELEMENTS})\s*>\s*)+", re.IGNORECASE)
# without its semicolon only a numeric one is sure to be meant: `AVVA&#8482 liner`, but `R&D`, `?a=1&copy=2`
ENTITY = re.compile(r"&(?:#\d{3,};?|#\d+;|#[xX][0-9a-fA-F]+;|([A-Za-z][A-Za-z0-9]*);)")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PRICE = re.compile(r"(?:from\s+)?\$?\s*((?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?)")


def plain_text(value: object) -> str:
    """One line of text without HTML: first its tags go, then its entities are resolved; "" for None.

    A text of nothing but tags keeps them, unless they are the closing ones that crawling left behind.
    """
    text = _text(value)
    if "<" in text:
        without = TAG.sub(" ", text)
        text = without if without.strip() or CLOSING_TAGS.fullmatch(text) else text
    return one_line(ENTITY.sub(_resolved, text) if "&" in text else text)


def one_line(value: object) -> str:
    """The value as text, every run of white space, line ends included, a single space; "" for None and NaN.

    A whole number is written without a point: 12.0 is what a column of integers with gaps makes of 12.
    """
    if isinstance(value, float):
        value = None if value != value else int(value) if value.is_integer() else value
    text = " ".join(CONTROL.sub(" ", _text(value)).split())
    # half of a surrogate pair, as cut-off JSON escapes leave it, cannot be written as UTF-8
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else str(value)
    except (RecursionError, ValueError):  # nested too deep, or a number of thousands of digits: no text
        return ""


def _resolved(entity: re.Match) -> str:
    if entity[1]:
        return html5.get(f"{entity[1]};", entity[0])
    return html.unescape(entity[0]) if len(entity[0]) < 16 else entity[0]


def joined(values: object, clean: Callable[[object], str] = plain_text) -> str:
    """Every text in a list, however nested, made clean, once, in order, joined by a space."""
    return " ".join(dict.fromkeys(filter(None, map(clean, _leaves(values)))))


def _leaves(values: object) -> list:
    """What is in a list, however deep, from left to right."""
    found, left = [], [values]
    while left:
        value = left.pop()
        if isinstance(value, (list, tuple)):
            left.extend(reversed(value))
        else:
            found.append(value)
    return found


def price(value: object) -> str:
    """A price without its sign; of a range (`$5.99 - $14.99`) the lower end; "" when it is no price at all.

    The published column is a float, so one number must do; 2018 dumps hold style sheets where a price was not found.
    """
    amount = PRICE.match(plain_text(value))
    return amount.group(1).replace(",", "") if amount else ""
