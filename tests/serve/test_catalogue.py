import numpy as np

from sear.serve.catalogue import Catalogue

CATALOGUE = Catalogue(
    ["a", "b", "c", "d", "e"], ["Salz", "Crème brûlée", None, "Meersalz", "Straße nach Süden"], np.array([1, 2, 9, 5])
)


def test_case_and_accents_do_not_matter():
    assert CATALOGUE.search("CREME bru", 5) == ["b"]
    assert CATALOGUE.search("strasse süden", 5) == ["e"]


def test_titles_that_begin_with_the_words_come_first_then_the_popular_ones():
    assert CATALOGUE.search("salz", 5) == ["a", "d"]
    assert CATALOGUE.search("s", 2) == ["a", "e"]


def test_an_item_without_a_title_is_found_by_its_id():
    assert CATALOGUE.search("c", 1) == ["c"]
    assert CATALOGUE.title("c") is None and "c" in CATALOGUE and "z" not in CATALOGUE


def test_without_words_the_popular_items_come():
    assert CATALOGUE.search("  ", 2) == ["c", "d"]
