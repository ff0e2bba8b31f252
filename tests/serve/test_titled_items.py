import numpy as np

from sear.serve.titled_items import TitledItems

ITEMS = TitledItems(
    ["a", "b", "c", "d", "e"], ["Salz", "Crème brûlée", None, "Meersalz", "Straße nach Süden"], np.array([1, 2, 9, 5])
)


def test_case_and_accents_do_not_matter():
    assert ITEMS.search("CREME bru", 5) == ["b"]
    assert ITEMS.search("strasse süden", 5) == ["e"]


def test_titles_that_begin_with_the_words_come_first_then_the_popular_ones():
    assert ITEMS.search("salz", 5) == ["a", "d"]
    assert ITEMS.search("s", 2) == ["a", "e"]


def test_an_item_without_a_title_is_found_by_its_id():
    assert ITEMS.search("c", 1) == ["c"]
    assert ITEMS.title("c") is None and "c" in ITEMS and "z" not in ITEMS


def test_without_words_the_popular_items_come():
    assert ITEMS.search("  ", 2) == ["c", "d"]
