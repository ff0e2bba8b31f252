"""Text and prices made harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sear.atomic_files.plain_text import joined, one_line, plain_text, price


@given(st.text(alphabet="é日\t\n\r\x0b\x1c\x85\u2028<>&;a# \ud800"))
def test_text_is_always_one_line_that_can_be_written(text):
    clean = plain_text(text)
    assert clean == " ".join(clean.split()) and not set("\t\n\r\x00") & set(clean)
    assert len(clean.splitlines()) <= 1
    clean.encode("utf-8")


@pytest.mark.parametrize(
    "text, clean",
    [
        ("Tom &amp; Jerry &#39;s", "Tom & Jerry 's"),
        ("a <b>bold</b> claim", "a bold claim"),
        ("3 < 5 > 2", "3 < 5 > 2"),
        ("&lt;b&gt; is bold", "<b> is bold"),  # tags first, entities then
        ("R&D?a=1&copy=2 &amp;notit; &bogus;", "R&D?a=1&copy=2 &notit; &bogus;"),
        ("AVVA&#8482 liner &#38; &#x26;", "AVVA™ liner & &"),
        ("<Untitled>", "<Untitled>"),
        ("<i></i>", "<i></i>"),
        ("</span></span>", ""),
        ("vector<int> <br/> x", "vector<int> x"),
        ('"quoted', '"quoted'),
        ("half \ud83d", "half ?"),
        ("日本 語", "日本 語"),
        (None, ""),
        (1995, "1995"),
    ],
)
def test_entities_tags_and_broken_characters(text, clean):
    assert plain_text(text) == clean


def test_nested_lists_are_joined_and_each_part_stands_once():
    assert joined([["Beauty", "Make\tup"], ["Beauty", None, ""], "Face"]) == "Beauty Make up Face"


@pytest.mark.parametrize(
    "text, amount",
    [
        ("$12.99", "12.99"),
        (3.17, "3.17"),
        ("$5.99 - $14.99", "5.99"),
        ("from 14.99", "14.99"),
        ("$1,299.00", "1299.00"),
        (".a-box-inner{width:12px}", ""),
        ("—", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_prices_are_plain_numbers_or_nothing(text, amount):
    assert price(text) == amount


@pytest.mark.parametrize(
    "value, text", [(3.0, "3"), (float("nan"), ""), (2.5, "2.5"), (7, "7"), (None, ""), ("a\tb", "a b")]
)
def test_numbers_become_text_as_people_write_them(value, text):
    assert one_line(value) == text
