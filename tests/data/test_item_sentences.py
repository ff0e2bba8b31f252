"""Items as sentences: what is told of whom, and what is missing."""

import pandas as pd
import pytest

from sear.data.atomic_table import read_atomic
from sear.data.item_texts import OPENING, item_sentences
from sear.errors import InputError


def told(item_table, item_tokens, text_fields=("title",)):
    sentences = item_sentences(item_table, ["[PAD]", *item_tokens], "item_id", list(text_fields))
    assert all(sentence.startswith(OPENING) for sentence in sentences)
    return [sentence.removeprefix(OPENING) for sentence in sentences]


def table(**columns):
    return pd.DataFrame(columns)


def test_fields_come_in_the_order_asked_for():
    items = table(item_id=["b", "a"], title=["Bee", "Ant"], year=["1999", "2001"])
    assert told(items, ["a", "b"], ["year", "title"])[1:] == [
        "*year*: 2001; *title*: Ant",
        "*year*: 1999; *title*: Bee",
    ]


def test_padding_tells_only_missing_values_even_if_an_item_bears_its_name():
    items = table(item_id=["[PAD]", "a"], title=["trap", "Ant"], year=["0", ""])
    assert told(items, ["a"], ["title", "year"])[0] == "*title*: N/A; *year*: N/A"


def test_missing_blank_and_unlisted_texts_read_not_available():
    items = table(item_id=["a", "b"], title=["", "  "])
    assert told(items, ["a", "b", "unlisted"]) == ["*title*: N/A"] * 4


def test_a_data_set_without_item_file_has_sentences_all_the_same():
    assert told(None, ["a"]) == ["*title*: N/A"] * 2
    assert told(None, ["a"], []) == ["N/A"] * 2


def test_a_value_is_cut_after_200_characters():
    items = table(item_id=["a", "b"], title=["é" * 201, "x" * 200])
    assert told(items, ["a", "b"])[1:] == ["*title*: " + "é" * 200, "*title*: " + "x" * 200]


def test_numbers_read_as_people_write_them():
    items = table(item_id=["a", "b", "c"], price=[1995.0, 12.99, float("nan")])
    assert told(items, ["a", "b", "c"], ["price"])[1:] == ["*price*: 1995", "*price*: 12.99", "*price*: N/A"]


def test_texts_are_told_as_the_file_has_them(tmp_path):
    path = tmp_path / "odd.item"
    lines = ["item_id:token\ttitle:token_seq", 'NA\t"Half  open', "nan\tNA", '"q"\tnull', "😀 1\t𝔘 – ; *x*: y"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert told(read_atomic(path), ["NA", "nan", '"q"', "😀 1"])[1:] == [
        '*title*: "Half  open',
        "*title*: NA",
        "*title*: null",
        "*title*: 𝔘 – ; *x*: y",
    ]


def test_of_rows_that_differ_the_first_counts_and_one_line_says_so(caplog):
    items = table(item_id=["b", "a", "a", "a", "c", "c"], title=["Bee", "Ant", "Ant", "Wasp", "Cow", "Calf"])
    items.attrs["path"] = "dataset/x/x.item"
    with caplog.at_level("INFO", "sear"):
        assert told(items, ["b", "a"])[1:] == ["*title*: Bee", "*title*: Ant"]
    assert caplog.messages == [
        "dataset/x/x.item: 1 item has rows that differ (the first: 'a'): the first row of each counts"
    ]


def test_rows_repeated_word_for_word_and_rows_of_items_that_do_not_occur_are_passed_over_in_silence(caplog):
    items = table(item_id=["a", "a", "c", "c"], title=["Ant", "Ant", "Cow", "Calf"])
    with caplog.at_level("INFO", "sear"):
        assert told(items, ["a"])[1:] == ["*title*: Ant"]
    assert not caplog.messages


def test_a_text_field_the_file_lacks_is_an_error_naming_the_columns():
    with pytest.raises(InputError, match="no column 'brand' .*item_id, title"):
        told(table(item_id=["a"], title=["Ant"]), ["a"], ["title", "brand"])


def test_category_columns_are_read_like_texts():
    items = table(item_id=pd.Categorical(["a", "b"]), title=pd.Categorical(["Ant", ""]))
    assert told(items, ["b", "a"])[1:] == ["*title*: N/A", "*title*: Ant"]
