"""Which of a folder's files are an Amazon dump: category, edition, format, products."""

import pytest

from sear.settings.published import asked_for
from tests.helpers.raw_dumps import convert, json_lines, review, rows, write_lines


def test_the_5_core_file_is_read_before_the_others_and_that_is_said(tmp_path, capsys):
    raw = tmp_path / "raw"
    for name, item in (("Pet_Supplies_5.json", "core"), ("Pet_Supplies.json.gz", "all")):
        write_lines(raw / name, json_lines([review("A1", item, 1)]))
    write_lines(raw / "Pet_Supplies.csv", ["bare,A1,5.0,1"])
    write_lines(raw / "meta_Pet_Supplies.json", json_lines([{"asin": "core", "title": "Bowl"}]))
    assert convert(tmp_path, "supplies", raw) == 0
    assert rows(tmp_path, "Amazon_Pet_Supplies", "inter")[1][1] == "core"
    assert "ignored: Pet_Supplies.json.gz, Pet_Supplies.csv" in capsys.readouterr().out
    assert convert(tmp_path, "supplies", raw, "--format=amazon-2023") == 2


def test_of_several_categories_the_one_called_by_name_is_taken(tmp_path, capsys):
    for category in ("Books", "Toys"):
        write_lines(tmp_path / "raw" / f"{category}.json", json_lines([review("A1", category, 1)]))
    assert convert(tmp_path, "Amazon_Toys", tmp_path / "raw", "--no-text") == 0
    assert rows(tmp_path, "Amazon_Toys", "inter")[1][1] == "Toys"
    assert convert(tmp_path, "mine", tmp_path / "raw", "--no-text") == 2
    assert convert(tmp_path, "games", tmp_path / "raw", "--no-text") == 2
    told = capsys.readouterr().err
    assert "several categories (Books, Toys)" in told and "not of Video_Games" in told


@pytest.mark.parametrize(
    "name, folder",
    [
        ("Video_Games", "Amazon_Video_Games"),
        ("amazon-video-games", "Amazon_Video_Games"),
        ("GAMES", "Amazon_Video_Games"),
        ("Amazon_Beauty", "amazon-beauty"),
        ("ML-1M", "ml-1m"),
        ("All_Beauty", None),
        ("Games_2023", None),
        ("Amazon", None),
    ],
)
def test_a_published_data_set_answers_to_its_category_and_no_other(name, folder):
    found = asked_for(name)
    assert (found and found.folder) == folder


def test_whether_a_file_is_compressed_is_told_by_its_bytes(tmp_path):
    lines = json_lines([review("A1", "B1", 1)])
    write_lines(tmp_path / "raw" / "Toys.json", lines, compress=True)
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text") == 0
    write_lines(tmp_path / "raw" / "Toys.json", ["\ufeff" + lines[0]])
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text") == 0


@pytest.mark.parametrize(
    "name", ["Toys_and_Games", "amazon-toys-and-games", "TOYS AND GAMES".replace(" ", "."), "toys_and_games_2018"]
)
def test_the_category_that_name_names_goes_before_the_only_one_with_products(tmp_path, capsys, name):
    for category in ("Books", "Toys_and_Games"):
        write_lines(tmp_path / "raw" / f"{category}.json", json_lines([review("A1", category, 1)]))
    write_lines(tmp_path / "raw" / "meta_Books.json", json_lines([{"asin": "Books", "title": "Emma"}]))
    assert convert(tmp_path, name, tmp_path / "raw") == 2
    assert "has no meta_Toys_and_Games.json" in capsys.readouterr().err
    assert convert(tmp_path, name, tmp_path / "raw", "--no-text") == 0
    assert rows(tmp_path, name, "inter")[1][1] == "Toys_and_Games"
    assert convert(tmp_path, "mine", tmp_path / "raw") == 0  # a name of one's own
    assert rows(tmp_path, "mine", "inter")[1][1] == "Books"


@pytest.mark.parametrize("suffix, title", [("json", "old"), ("jsonl", "new")])
def test_the_product_file_is_that_of_the_reviews_year(tmp_path, suffix, title):
    names = dict(json=("reviewerID", "asin", "unixReviewTime"), jsonl=("user_id", "parent_asin", "timestamp"))[suffix]
    write_lines(tmp_path / "raw" / f"Toys.{suffix}", json_lines([dict(zip(names, ("A1", "B1", 1), strict=True))]))
    write_lines(tmp_path / "raw" / "meta_Toys.json", json_lines([{"asin": "B1", "title": "old"}]))
    write_lines(tmp_path / "raw" / "meta_Toys.jsonl.gz", json_lines([{"parent_asin": "B1", "title": "new"}]))
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 0
    assert rows(tmp_path, "Toys", "item")[1][1] == title


@pytest.mark.parametrize("file, format_name", [("Tools.csv", "amazon-2014"), ("ratings_Tools.csv", "amazon-2018")])
def test_a_format_asked_for_is_how_the_file_is_read(tmp_path, file, format_name):
    fields = ["A1", "B1"] if format_name == "amazon-2014" else ["B1", "A1"]
    write_lines(tmp_path / "raw" / file, [",".join([*fields, "5.0", "1405296000"])])
    assert convert(tmp_path, "Tools", tmp_path / "raw", "--no-text", f"--format={format_name}") == 0
    assert rows(tmp_path, "Tools", "inter")[1:] == [["A1", "B1", "5", "1405296000"]]


def test_of_several_files_the_one_that_looks_like_the_format_asked_for_is_read(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "Toys.json", json_lines([review("A1", "json", 1)]))
    write_lines(tmp_path / "raw" / "Toys.jsonl.gz", json_lines([review("A1", "jsonl", 1)]))
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text", "--format=amazon-2018") == 0
    (tmp_path / "raw" / "Toys.json").unlink()
    assert rows(tmp_path, "Toys", "inter")[1][1] == "json"
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text", "--format=amazon-2018", "--overwrite") == 0
    assert rows(tmp_path, "Toys", "inter")[1][1] == "jsonl"


def test_categories_without_latin_letters_are_not_one(tmp_path):
    for category in ("音乐", "图书", "книги"):
        write_lines(tmp_path / "raw" / f"{category}.json", json_lines([review("A1", category, 1)]))
    assert convert(tmp_path, "图书", tmp_path / "raw", "--no-text") == 0
    assert rows(tmp_path, "图书", "inter")[1][1] == "图书"
