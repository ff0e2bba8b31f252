"""Amazon dumps of the three years in their true formats."""

import pytest

from sear.atomic_files.amazon import item_texts, record
from sear.atomic_files.bad_lines import BadLine
from tests.helpers.raw_dumps import convert, full_core, json_lines, review, rows, write_lines

ITEM_HEADER = ["item_id:token", "title:token_seq", "categories:token_seq", "brand:token", "price:float"]


def test_2014_python_literals_and_missing_ratings(tmp_path, capsys):
    raw = tmp_path / "raw"
    reviews = [review("A2", "B1", 1405296000, None), review("A1", "B1", 1405296000, 3.0, helpful=[2, 3])]
    write_lines(raw / "reviews_Beauty_5.json.gz", json_lines(reviews))
    meta = [
        "{'asin': 'B1', 'title': \"Women's &quot;Bright&quot;\", 'price': 3.17, 'imUrl': 'http://x', 'brand': 'Versace'"
        ", 'salesRank': {'Beauty': 402875}, 'categories': [['Beauty', 'Makeup'], ['Beauty', 'Hair &amp; Skin']]}",
        "{'asin': 'B0', 'title': 'never reviewed', 'categories': [['Beauty']]}",
    ]
    write_lines(raw / "meta_Beauty.json.gz", meta)
    assert convert(tmp_path, "beauty", raw) == 0
    assert rows(tmp_path, "amazon-beauty", "inter")[1:] == [
        ["A2", "B1", "", "1405296000"],
        ["A1", "B1", "3", "1405296000"],
    ]
    assert rows(tmp_path, "amazon-beauty", "item") == [
        ITEM_HEADER,
        ["B1", 'Women\'s "Bright"', "Beauty Makeup Hair & Skin", "Versace", "3.17"],
    ]
    told = capsys.readouterr().out
    assert "1 of 2 events have no rating: left empty, never invented" in told
    assert "DIFFERS FROM the published" in told


def test_2018_reviews_with_style_votes_and_repeats(tmp_path, capsys):
    raw = tmp_path / "raw"
    events = full_core(lambda user, item, time: review(user, item, time, style={"Size:": " L"}, vote="1,234"))
    other_rating, exact_repeat = dict(events[0], overall=1.0), dict(events[0], reviewText="typed twice")
    write_lines(raw / "Video_Games.json.gz", json_lines([*events, other_rating, exact_repeat]))
    meta = [
        {
            "asin": "I0",
            "title": 'A\tB\n<span class="x">C</span>',
            "category": ["Games", "</span></span>", "PC &amp; Mac"],
        },
        {
            "asin": "I1",
            "title": "var aPageStart = (new Date()).getTime();",
            "brand": "\n\n by Sega ",
            "price": "$12.99",
        },
        {"asin": "I2", "title": "Chess", "price": ".a-box-inner{background-color:#fff}", "description": ["long"] * 9},
        {"asin": "I2", "title": "Chess", "price": "$5.00", "also_buy": ["I0"]},
        {"asin": "I2", "title": "Draughts", "price": "$5.00"},
    ]
    write_lines(raw / "meta_Video_Games.json.gz", json_lines(meta))
    assert convert(tmp_path, "games", raw) == 0
    written = rows(tmp_path, "Amazon_Video_Games", "inter")[1:]
    assert len(written) == 26 and sum(row[:2] == ["U0", "I0"] for row in written) == 2
    assert rows(tmp_path, "Amazon_Video_Games", "item")[1:] == [
        ["I0", "A B C", "Games PC & Mac", "", ""],
        ["I1", "", "", "by Sega", "12.99"],
        ["I2", "Chess", "", "", "5.00"],
    ]
    told = capsys.readouterr().out
    assert "1 exact repeat (" in told
    assert "2 of 5 items have no text (the first: I3)" in told
    assert "1 row with another text than an earlier row of the same item: the first of each field counts" in told
    assert "| after 5-core |       5 |       5 |             26 |" in told


def test_2023_milliseconds_parent_asin_and_brand_among_the_details(tmp_path, capsys):
    raw = tmp_path / "raw"
    fields = {"title": "of the review", "text": "x", "images": [], "asin": "variant", "verified_purchase": True}
    times = (1588687728923, 1588687728921)
    reviews = [fields | {"user_id": "AG", "parent_asin": "B0", "timestamp": time, "rating": 4.0} for time in times]
    write_lines(raw / "Toys_and_Games.jsonl.gz", json_lines(reviews))
    meta = {"parent_asin": "B0", "title": "Kite", "store": "Shop", "categories": ["Toys", "Kites"], "price": 9.5}
    write_lines(raw / "meta_Toys_and_Games.jsonl.gz", json_lines([meta | {"details": {"Brand": "Prism"}}]))
    assert convert(tmp_path, "Toys_and_Games", raw) == 0
    assert [row[3] for row in rows(tmp_path, "Toys_and_Games", "inter")[1:]] == ["1588687728.921", "1588687728.923"]
    assert rows(tmp_path, "Toys_and_Games", "item")[1] == ["B0", "Kite", "Toys Kites", "Prism", "9.5"]
    assert "times are in milliseconds: written as seconds" in capsys.readouterr().out


@pytest.mark.parametrize(
    "file, lines",
    [
        ("ratings_Tools.csv", ["A1,B1,5.0,1405296000"]),  # 2014: user first
        ("Tools.csv", ["B1,A1,5.0,1405296000"]),  # 2018: item first
        ("Tools.csv.gz", ["user_id,parent_asin,rating,timestamp", "A1,B1,5.0,1405296000000"]),  # 2023: a header
    ],
)
def test_each_years_bare_ratings_have_their_own_column_order(tmp_path, file, lines):
    write_lines(tmp_path / "raw" / file, lines)
    assert convert(tmp_path, "Tools", tmp_path / "raw", "--no-text") == 0
    assert rows(tmp_path, "Tools", "inter")[1:] == [["A1", "B1", "5", "1405296000"]]


def test_another_edition_than_the_published_is_said(tmp_path, capsys):
    raw = tmp_path / "raw"
    write_lines(raw / "Beauty.jsonl", json_lines([{"user_id": "A", "parent_asin": "B", "timestamp": 1, "rating": 5}]))
    assert convert(tmp_path, "Beauty", raw, "--no-text") == 0
    told = capsys.readouterr().out
    assert "those are of another edition, amazon-2014, and this is amazon-2023 (Beauty.jsonl); not comparable" in told
    assert "--config=FILE:\nload_col:\n  inter: [user_id, item_id, rating, timestamp]\nstreams: [coll" in told
    assert f"--dataset=beauty --data_path={tmp_path / 'dataset'}/" in told


def test_a_record_is_parsed_but_never_run():
    assert record(b"{'a': [1, None, True]}\n") == {"a": [1, None, True]}
    assert record(b'{"a": NaN, "b": "\\ud83d"}\n')["b"] == "\ud83d"
    for line in (b"{'a': __import__('os').getcwd()}", b"[1]", b"7", b"{'a':", b"{" * 50_000, b"\xff{}"):
        with pytest.raises(BadLine):
            record(line)


def test_the_store_stands_in_for_a_missing_brand():
    assert item_texts({"title": None, "store": "Shop", "details": {}, "categories": []}) == ["", "", "Shop", ""]


def test_details_may_be_json_text():
    assert item_texts({"title": "Kite", "details": '{"Brand": "Prism"}', "store": "Shop"})[2] == "Prism"
    assert item_texts({"title": "Kite", "details": "{", "store": "Shop"})[2] == "Shop"
