"""Text as dumps have it -> one clean line: no tabs, newlines, tags or HTML entities."""

import html
import re

TAG = re.compile(r"</?[a-zA-Z][^<>]*>")  # 2018 dumps hold <span class=...> in titles, </span> in categories
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PRICE = re.compile(r"(?:from\s+)?\$?\s*((?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?)")


def plain_text(value: object) -> str:
    """One line of text; "" for None. Every run of white space, line ends included, becomes a single space."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else str(value)
    if "&" in text:
        text = html.unescape(text)
    if "<" in text:
        text = TAG.sub(" ", text)
    text = " ".join(CONTROL.sub(" ", text).split())
    # half of a surrogate pair, as cut-off JSON escapes leave it, cannot be written as UTF-8
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def joined(values: object) -> str:
    """Every text in a list, however nested, once, in order, joined by a space."""
    return " ".join(dict.fromkeys(filter(None, map(plain_text, _leaves(values)))))


def _leaves(values: object) -> list:
    if not isinstance(values, (list, tuple)):
        return [values]
    return [leaf for value in values for leaf in _leaves(value)]


def price(value: object) -> str:
    """A price without its sign; of a range (`$5.99 - $14.99`) the lower end; "" when it is no price at all.

    The published column is a float, so one number must do; 2018 dumps hold style sheets where a price was not found.
    """
    amount = PRICE.match(plain_text(value))
    return amount.group(1).replace(",", "") if amount else ""
