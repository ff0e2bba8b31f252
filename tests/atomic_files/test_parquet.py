"""A user's own tables in parquet."""

import datetime
import sys

import pytest

from tests.helpers.raw_dumps import convert, rows, write_lines

NAMES = ("--format=csv", "--user=who", "--item=what", "--time=when")


def test_parquet_gives_the_same_as_csv(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = {
        "who": [1, 1, None],
        "what": [2.0, None, 3.0],
        "when": [datetime.datetime(2024, 5, 1), datetime.datetime(2024, 5, 2), datetime.datetime(2024, 5, 3)],
        "stars": [None, 4.0, 5.0],
        "title": [["green", "tea"], None, ["cup"]],
    }
    (tmp_path / "raw").mkdir()
    parquet.write_table(pyarrow.table(table), tmp_path / "raw" / "events.parquet")
    options = (*NAMES, "--rating=stars", "--text=title", "--bad_lines=skip")
    assert convert(tmp_path, "mydata", tmp_path / "raw" / "events.parquet", *options) == 0
    assert rows(tmp_path, "mydata", "inter")[1:] == [["1", "2", "", "1714521600"]]
    assert rows(tmp_path, "mydata", "item")[1:] == [["2", "green tea"]]


@pytest.mark.parametrize("kind", ["date32", "date64"])
def test_days_in_parquet_are_their_first_second(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    days = pyarrow.array([datetime.date(2024, 5, 1), datetime.date(1969, 12, 31)], getattr(pyarrow, kind)())
    (tmp_path / "raw").mkdir()
    parquet.write_table(
        pyarrow.table({"who": ["a", "b"], "what": [1, 2], "when": days}), tmp_path / "raw" / "e.parquet"
    )
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert [row[2] for row in rows(tmp_path, "mydata", "inter")[1:]] == ["1714521600", "-86400"]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch, capsys):
    write_lines(tmp_path / "raw" / "events.parquet", ["PAR1"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "pip install 'pyarrow<22', or give a CSV" in capsys.readouterr().err


def test_a_damaged_page_of_a_parquet_file_is_told_with_the_file(tmp_path, capsys):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / "e.parquet"
    columns = {
        "who": [f"u{row}" for row in range(500)],
        "what": ["i"] * 500,
        "when": [1.0] * 500,
        "size": [2.0, None] * 250,
    }
    parquet.write_table(pyarrow.table(columns), path, compression="gzip")
    options = (*NAMES, "--text=size")
    assert convert(tmp_path, "mydata", path, *options) == 0
    assert rows(tmp_path, "mydata", "item")[1:] == [["i", "2"]]
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(40) + whole[100:])
    assert convert(tmp_path, "other", path, *options) == 2
    assert "e.parquet: its rows cannot be read (" in capsys.readouterr().err


@pytest.mark.parametrize("twice, code", [("who", 2), ("page", 0)])
def test_two_columns_of_one_name_end_nothing_where_they_are_not_asked_for(tmp_path, capsys, twice, code):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = [pyarrow.array(["a", "b"])] * 4
    table = pyarrow.Table.from_arrays(columns, names=["who", "what", twice, twice if code == 0 else "page"])
    (tmp_path / "raw").mkdir()
    parquet.write_table(table, tmp_path / "raw" / "e.parquet")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3]) == code
    assert code == 0 or "has the column 'who' more than once" in capsys.readouterr().err
