"""Every fault of a dump is named with file and line, and nothing half-written is left."""

import gzip

import pytest

from tests.helpers.raw_dumps import convert, json_lines, review, rows, snapshot, write_lines, write_toys

GOOD = review("A1", "B1", 1405296000)


@pytest.fixture
def refused(tmp_path, capsys):
    """Converts tmp_path/raw, expects a refusal of one line that leaves no file behind, and returns that line."""

    def run(name="Toys", *options):
        assert convert(tmp_path, name, tmp_path / "raw", *options) == 2
        assert not [path for path in (tmp_path / "dataset").rglob("*") if path.is_file()]
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1
        return told

    return run


@pytest.mark.parametrize(
    "line, reason",
    [
        ('{"reviewerID": "A1", "asin"', "neither a JSON object nor a Python literal"),
        (json_lines([GOOD | {"reviewerID": ""}])[0], "no user id"),
        (json_lines([GOOD | {"asin": None}])[0], "no item id"),
        (json_lines([GOOD | {"asin": "B\t1"}])[0], "item id 'B\\t1' cannot be written"),
        (json_lines([GOOD | {"asin": "[PAD]"}])[0], "item id '[PAD]' cannot be written"),
        (json_lines([GOOD | {"asin": "B\x001"}])[0], "item id 'B\\x001' cannot be written"),
        (json_lines([GOOD | {"reviewerID": 7}])[0], "user id 7 is no text"),
        (json_lines([GOOD | {"asin": ["B1"]}])[0], "item id ['B1'] is no text"),
        (json_lines([GOOD | {"asin": "\ud83d"}])[0], "item id '\\ud83d' cannot be written"),
        (json_lines([{"reviewerID": "A1", "asin": "B1"}])[0], "no time"),
        (json_lines([GOOD | {"unixReviewTime": 10**400}])[0], "is no number"),
        (json_lines([GOOD | {"overall": 10**400}])[0], "is no number"),
        (json_lines([GOOD | {"unixReviewTime": "noon"}])[0], "time 'noon' is no number"),
        (json_lines([GOOD | {"unixReviewTime": "inf"}])[0], "time 'inf' is not finite"),
        (
            json_lines([GOOD | {"unixReviewTime": 1405296000000}])[0],
            "is in milliseconds, where most lines have seconds",
        ),
        (json_lines([GOOD | {"overall": 6.0}])[0], "rating 6.0 is outside 1..5 (--rating_range=LOW,HIGH"),
        (json_lines([GOOD | {"overall": "good"}])[0], "rating 'good' is no number"),
    ],
)
def test_a_bad_line_is_named_or_on_demand_skipped_and_counted(tmp_path, refused, capsys, line, reason):
    write_toys(tmp_path, [*json_lines([GOOD]), "", line, *json_lines([review("A2", "B1", 1405296001)])])
    told = refused()
    assert f"{tmp_path / 'raw' / 'Toys.json'}, line 3: " in told and reason in told and "--bad_lines=skip" in told
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--bad_lines=skip") == 0
    assert [row[0] for row in rows(tmp_path, "Toys", "inter")[1:]] == ["A1", "A2"]
    told = capsys.readouterr().out
    assert "Toys.json: 1 bad line left out (the first, line 3: " in told and reason in told


def test_another_scale_of_ratings_can_be_stated(tmp_path):
    write_toys(tmp_path, json_lines([GOOD | {"overall": 9.5}]))
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--rating_range=0,10") == 0
    assert rows(tmp_path, "Toys", "inter")[1][2] == "9.5"


@pytest.mark.parametrize("name", ["Toys.json", "meta_Toys.json"])
def test_a_truncated_gzip_file_is_named(tmp_path, refused, name):
    write_toys(tmp_path, json_lines([GOOD] * 50))
    path = tmp_path / "raw" / name
    whole = gzip.compress(path.read_bytes())
    path.write_bytes(whole[:-12])
    told = refused()
    assert f"{path}, after line " in told and "cut short or damaged" in told and "fetch it again" in told
    path.write_bytes(whole[:20] + b"\x00" * 9 + whole[29:])
    assert "cut short or damaged" in refused()


def test_a_bad_product_line_is_named_after_the_events_were_read(tmp_path, refused):
    write_toys(tmp_path, json_lines([GOOD]))
    write_lines(tmp_path / "raw" / "meta_Toys.json", ["{'asin': 'B1', 'title': 'Kite'}", "<html>"])
    assert "meta_Toys.json, line 2: neither" in refused()
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--bad_lines=skip") == 0


def test_missing_texts_are_an_error_unless_none_are_asked_for(tmp_path, refused, capsys):
    write_toys(tmp_path, json_lines([GOOD]))
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 0
    (tmp_path / "raw" / "meta_Toys.json").unlink()
    before = snapshot(tmp_path)
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text") == 2
    assert "Toys.item is there already, and without texts there would be none - move it" in capsys.readouterr().err
    assert snapshot(tmp_path) == before
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text", "--overwrite") == 0
    told = capsys.readouterr().out
    assert "removed" in told and "Toys.item: without texts there is none" in told and "item: [" not in told
    (tmp_path / "dataset" / "Toys" / "Toys.inter").unlink()
    assert "has no meta_Toys.json(l)[.gz], the items' texts" in refused()
    write_lines(tmp_path / "raw" / "ratings.dat", ["1::2::3::4"])
    assert "has no movies.dat, the items' texts" in refused("ml-1m")


@pytest.mark.parametrize("meta", [{"asin": "B1", "title": " ", "categories": []}, {"asin": "b1", "title": "Kite"}])
def test_products_that_tell_nothing_of_any_item_are_refused_with_a_remedy(tmp_path, refused, meta):
    write_toys(tmp_path, json_lines([GOOD]), [meta])
    told = refused()
    assert "meta_Toys.json has no text for any item of" in told and "--no-text" in told
    assert not (tmp_path / "dataset").exists()
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text") == 0


def test_one_odd_time_on_the_first_line_condemns_no_other(tmp_path, capsys):
    fields = {"user_id": "A", "parent_asin": "B", "rating": 5.0}
    times = [0, 1588687728921, 1588687728923]
    write_lines(tmp_path / "raw" / "Toys.jsonl", json_lines([fields | {"timestamp": time} for time in times]))
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text") == 2
    told = "Toys.jsonl, line 1: time 0 is in seconds, where most lines have milliseconds"
    assert told in capsys.readouterr().err
    assert convert(tmp_path, "Toys", tmp_path / "raw", "--no-text", "--bad_lines=skip") == 0
    assert [row[3] for row in rows(tmp_path, "Toys", "inter")[1:]] == ["1588687728.921", "1588687728.923"]
    assert "1 bad line left out (the first, line 1: time 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, told", [("5", "no LOW,HIGH"), ("a,b", "no LOW,HIGH"), ("5,1", "does not rise"), ("0,inf", "not finite")]
)
def test_a_rating_range_is_two_rising_numbers(tmp_path, capsys, text, told):
    with pytest.raises(SystemExit, match="2"):
        convert(tmp_path, "Toys", tmp_path / "raw", f"--rating_range={text}")
    assert told in capsys.readouterr().err


def test_wrong_places_and_names_are_told(tmp_path, refused):
    assert "does not exist - unpack the dump there" in refused()
    (tmp_path / "raw").mkdir()
    assert "(it holds nothing)" in refused()
    write_lines(tmp_path / "raw" / "notes.doc", ["?"])
    assert "holds no dump of a known format (it holds notes.doc)" in refused()
    assert "holds no dump of format movielens" in refused("Toys", "--format=movielens")
    assert "must be letters, digits" in refused("../Toys")
    write_toys(tmp_path, [])
    assert "Toys.json holds no events" in refused()
    assert "are for --format=csv, not amazon-2018" in refused("Toys", "--format=amazon-2018", "--user=u")


def test_an_empty_core_is_said_and_all_events_are_still_written(tmp_path, capsys):
    write_toys(tmp_path, json_lines([GOOD]))
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 0
    assert "Nothing is left after 5-core: lower user_inter_num_interval" in capsys.readouterr().out
    assert len(rows(tmp_path, "Toys", "inter")) == 2


@pytest.mark.parametrize("name, options", [("beauty", []), ("games", ["--format=csv"]), ("ml-1m", ["--format=csv"])])
def test_a_published_name_takes_no_dump_of_another_kind(tmp_path, refused, name, options):
    write_lines(tmp_path / "raw" / "ratings.csv", ["userId,movieId,rating,timestamp", "1,2,3,x"])
    if options:
        options = [*options, "--user=userId", "--item=movieId", "--time=timestamp"]
    told = refused(name, *(options or ["--no-text"]))
    assert f"{name} is a published data set of " in told and "choose another NAME" in told
