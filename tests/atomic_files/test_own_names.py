"""Tables given without options: a header decides by its names; by position only Amazon's own ids are read."""

import pytest

from sear.atomic_files.column_names import recognised
from tests.helpers.raw_dumps import convert, json_lines, rows, write_lines

EVENTS = [("u0", "i0", 1, 1300000000), ("u0", "i1", 2, 1300000060), ("u1", "i0", 3, 1300000000)]
EXPECTED = [["u0", "i0", "1", "1300000000"], ["u0", "i1", "2", "1300000060"], ["u1", "i0", "3", "1300000000"]]


@pytest.mark.parametrize(
    "header, order",
    [
        ("user_id,item_id,rating,timestamp", (0, 1, 2, 3)),
        ("item_id,user_id,rating,timestamp", (1, 0, 2, 3)),
        ("timestamp,rating,asin,user_id", (3, 2, 1, 0)),
        ("ProductId,Score,UserId,Time", (1, 2, 0, 3)),
        ("overall,reviewerID,asin,unixReviewTime", (2, 0, 1, 3)),
    ],
)
@pytest.mark.parametrize("file", ["mydata.csv", "ratings_mydata.csv", "ratings.csv"])
def test_a_header_decides_by_name_whatever_its_order_and_the_files_name(tmp_path, header, order, file):
    write_lines(
        tmp_path / "raw" / file, [header, *(",".join(str(event[place]) for place in order) for event in EVENTS)]
    )
    assert convert(tmp_path, "mydata", tmp_path / "raw", "--no-text") == 0
    assert rows(tmp_path, "mydata", "inter")[1:] == EXPECTED


def test_a_headless_table_that_is_not_amazons_is_never_read_by_position(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "mydata.csv", [",".join(map(str, event)) for event in EVENTS])
    assert convert(tmp_path, "mydata", tmp_path / "raw", "--no-text") == 2
    assert "--columns=user,item,rating,time" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", "--columns=user,item,rating,time") == 0
    assert rows(tmp_path, "mydata", "inter")[1:] == EXPECTED


@pytest.mark.parametrize("name", ["Tools.csv", "ratings_Tools.csv"])
@pytest.mark.parametrize("first", ["user", "item"])
def test_amazons_ids_tell_users_from_items_whatever_the_files_name(tmp_path, capsys, name, first):
    ids = ["A2SUAM1J3GNN3B", "0000013714"][:: 1 if first == "user" else -1]
    write_lines(tmp_path / "raw" / name, [",".join([*ids, "5.0", "1405296000"])])
    assert convert(tmp_path, "Tools", tmp_path / "raw", "--no-text") == 0
    assert rows(tmp_path, "Tools", "inter")[1][:2] == ["A2SUAM1J3GNN3B", "0000013714"]
    other = "amazon-2018" if first == "user" else "amazon-2014"
    assert convert(tmp_path, "Tools", tmp_path / "raw", "--no-text", f"--format={other}") == 2
    assert "by their looks" in capsys.readouterr().err


def test_json_lines_of_somebody_elses_are_no_amazon_dump(tmp_path, capsys):
    reviews = [{"user_id": "u1", "business_id": "b0", "stars": 4.0, "date": "2018-07-01 22:09:11"}]
    write_lines(tmp_path / "raw" / "yelp_academic_dataset_review.json", json_lines(reviews))
    write_lines(
        tmp_path / "raw" / "yelp_academic_dataset_business.json", json_lines([{"business_id": "b0", "name": "x"}])
    )
    assert convert(tmp_path, "yelp", tmp_path / "raw", "--no-text") == 0
    assert rows(tmp_path, "yelp", "inter")[1] == ["u1", "b0", "4", "1530482951"]
    assert "columns by their names: user=user_id, item=business_id" in capsys.readouterr().out


def test_several_tables_that_would_do_are_refused(tmp_path, capsys):
    for name in ("a.csv", "b.csv"):
        write_lines(tmp_path / "raw" / name, ["user,item,time", "u,i,1"])
    assert convert(tmp_path, "mydata", tmp_path / "raw") == 2
    assert "say which table and columns are meant: --format=csv" in capsys.readouterr().err


def test_a_header_that_no_amazon_dump_has_is_refused_for_that_format(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "Tools.csv", ["user_id,item_id,rating,timestamp", "u,i,1,2"])
    assert convert(tmp_path, "Tools", tmp_path / "raw", "--no-text", "--format=amazon-2018") == 2
    assert "its header is none of Amazon's dumps" in capsys.readouterr().err


def test_texts_can_be_asked_for_of_columns_known_by_name(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "events.csv", ["user_id,item_id,timestamp", "u,i,1300000000"])
    write_lines(tmp_path / "raw" / "items.csv", ["item_id,title", "i,Cup"])
    assert convert(tmp_path, "own", tmp_path / "raw", "--text=title") == 0
    assert rows(tmp_path, "own", "item")[1] == ["i", "Cup"]


def test_a_header_of_any_length_is_refused_in_a_short_line_that_ends_in_what_to_do(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "own.csv", [",".join(["rating" + "(" * 70_000, *(f"c{n}" for n in range(9_000))])])
    assert convert(tmp_path, "own", tmp_path / "raw") == 2
    told = capsys.readouterr().err
    assert len(told) < 2_000 and told.count("\n") == 1 and "--format=csv --user=… --item=…" in told


def test_a_header_over_amazons_ids_decides_by_name_too(tmp_path):
    lines = [f"A{user}X,B{item},{1_400_000_000 + item},4" for user in range(5) for item in range(4)]
    write_lines(tmp_path / "raw" / "own.csv", ["user_id,item_id,timestamp,rating", *lines])
    assert convert(tmp_path, "own", tmp_path / "raw") == 0
    assert rows(tmp_path, "own", "inter")[1] == ["A0X", "B0", "4", "1400000000"]


def test_a_column_is_not_known_by_the_latin_letters_of_its_name_alone():
    assert recognised(["user_id", "item_id", "item_类别", "time"]) == {
        "user": "user_id",
        "item": "item_id",
        "time": "time",
    }
