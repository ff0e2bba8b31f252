"""MovieLens dumps in their three layouts."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from sear.atomic_files.movielens import GENRES_100K, title_and_year
from tests.helpers.raw_dumps import convert, rows, write_lines

INTER_HEADER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]


def test_dat_files_become_recboles_ml_1m(tmp_path):
    raw = tmp_path / "raw"
    write_lines(raw / "ratings.dat", ["2::30::4::978300760", "1::7::5::978300019", "2::7::3::978300700"])
    movies = [
        "7::Postino, Il (The Postman) (1994)::Drama|Romance",
        "30::Café au lait (1993)::Comedy",
        "9::Unseen (1990)::War",
    ]
    write_lines(raw / "movies.dat", movies, encoding="latin-1")
    write_lines(raw / "users.dat", ["1::F::1::10::48067"])
    assert convert(tmp_path, "ml-1m", raw) == 0
    assert rows(tmp_path, "ml-1m", "inter") == [
        INTER_HEADER,
        ["2", "7", "3", "978300700"],
        ["2", "30", "4", "978300760"],
        ["1", "7", "5", "978300019"],
    ]
    assert rows(tmp_path, "ml-1m", "item") == [
        ["item_id:token", "movie_title:token_seq", "release_year:token", "genre:token_seq"],
        ["7", "Postino, Il (The Postman)", "1994", "Drama Romance"],
        ["30", "Café au lait", "1993", "Comedy"],
    ]


def test_csv_files_keep_commas_and_quotes_in_titles(tmp_path):
    raw = tmp_path / "raw"
    write_lines(raw / "ratings.csv", ["userId,movieId,rating,timestamp", "1,11,4.5,964982703"])
    movies = ["movieId,title,genres", '11,"American ""President"", The (1995)",Comedy|Drama', "12,X,(no genres listed)"]
    write_lines(raw / "movies.csv", movies)
    assert convert(tmp_path, "ml-latest-small", raw) == 0
    assert rows(tmp_path, "ml-latest-small", "inter")[1] == ["1", "11", "4.5", "964982703"]
    assert rows(tmp_path, "ml-latest-small", "item")[1] == ["11", 'American "President", The', "1995", "Comedy Drama"]


def test_the_header_of_ratings_csv_decides_by_name_in_whatever_order(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "ratings.csv", ["movieId,userId,rating,timestamp", "1,11,4.5,964982703"])
    assert convert(tmp_path, "mine", tmp_path / "raw", "--no-text") == 0
    assert rows(tmp_path, "mine", "inter")[1] == ["11", "1", "4.5", "964982703"]


@pytest.mark.parametrize("separator", ["::", ";", "\t", ", "])
def test_what_separates_the_columns_of_a_csv_is_seen(tmp_path, separator):
    for name, lines in {
        "ratings.csv": ["userId,movieId,rating,timestamp", "1,11,4.5,964982703"],
        "movies.csv": ["movieId,title,genres", "11,Heat (1995),Drama"],
    }.items():
        write_lines(tmp_path / "raw" / name, [line.replace(",", separator) for line in lines])
    assert convert(tmp_path, "films", tmp_path / "raw") == 0
    assert rows(tmp_path, "films", "item")[1:] == [["11", "Heat", "1995", "Drama"]]


def test_another_table_called_ratings_csv_is_read_by_the_names_that_are_clear_or_refused(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "ratings.csv", ["movie,stars,when,person", "1,5,964982703,11"])
    assert convert(tmp_path, "mine", tmp_path / "raw") == 2
    told = capsys.readouterr().err
    assert (
        "ratings.csv has movie, stars, when, person - say which columns are which: --format=csv --user=… --item=movie"
        in told
    )
    write_lines(tmp_path / "raw" / "ratings.csv", ["movie,stars,time,user", "1,5,964982703,11"])
    assert convert(tmp_path, "mine", tmp_path / "raw") == 0
    assert rows(tmp_path, "mine", "inter")[1] == ["11", "1", "5", "964982703"]
    assert "columns by their names: item=movie, rating=stars, time=time, user=user" in capsys.readouterr().out


@pytest.fixture
def ml_100k():
    return Path(find_spec("recbole").submodule_search_locations[0], "dataset_example", "ml-100k")


def test_ml_100k_gives_the_published_statistics(tmp_path, ml_100k, capsys):
    raw = tmp_path / "raw"
    raw.mkdir()
    with open(ml_100k / "ml-100k.inter") as ready, open(raw / "u.data", "w") as dump:
        next(ready)
        shutil.copyfileobj(ready, dump)
    flags = "|".join("1" if genre in ("Comedy", "War") else "0" for genre in GENRES_100K)
    write_lines(raw / "u.item", [f"242|Kolya (1996)|24-Jan-1997||http://x|{flags}"], encoding="latin-1")
    assert convert(tmp_path, "ml-100k", raw) == 0
    told = capsys.readouterr().out
    assert "| after 5-core |     943 |   1,349 |         99,287 |" in told
    assert "After 5-core it equals the published statistics." in told
    assert "1,681 of 1,682 items have no text" in told
    assert f"To train on it: python custom_trainer.py --dataset=ml-100k --data_path={tmp_path / 'dataset'}/" in told
    header = ["item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"]
    assert rows(tmp_path, "ml-100k", "item") == [header, ["242", "Kolya", "1996", "Comedy War"]]


@pytest.mark.parametrize(
    "text, title, year",
    [
        ("Toy Story (1995)", "Toy Story", "1995"),
        ("Seven (Se7en) (1995)", "Seven (Se7en)", "1995"),
        ("Land Before Time III: The Time of the Great Giving (1995) (V)", None, ""),
        ("Office, The (2001-2003)", "Office, The", "2001"),
        ("2001: A Space Odyssey", "2001: A Space Odyssey", ""),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", "2009"),
        ("unknown", "unknown", ""),
    ],
)
def test_only_a_year_in_the_last_brackets_is_the_release_year(text, title, year):
    assert title_and_year(text) == (title or text, year)
