"""CSV rows of a dump: a quotation mark left open costs its own line and no other."""

import pytest

from sear.atomic_files import csv_rows as csv_rows_module
from sear.atomic_files.bad_lines import BadLines
from sear.atomic_files.csv_rows import csv_rows
from sear.atomic_files.raw_lines import line_file
from sear.errors import InputError
from tests.helpers.raw_dumps import write_lines


def texts(path, bad_lines):
    return line_file(path).text_lines(bad_lines)


def read(tmp_path, *lines, width=2):
    """(rows, bad lines) of a file with these lines."""
    path, bad_lines = write_lines(tmp_path / "a.csv", lines), BadLines(skip=True)
    found = [fields for _, fields in csv_rows(path, texts(path, bad_lines), bad_lines, width=width)]
    return found, bad_lines.counts[path], bad_lines.first.get(path, "")


@pytest.mark.parametrize(
    "lines, rows, first",
    [
        (['a,"Tea', "b,Cup", "c,Pot"], [["b", "Cup"], ["c", "Pot"]], "line 1: no CSV (unexpected end of data, in"),
        (['a,"Tea', 'b,"Cup"', "c,Pot"], [["b", "Cup"], ["c", "Pot"]], "line 1: no CSV (',' expected after '\"', in"),
        (['a,"Tea', 'b,24",x'], [["b", '24"', "x"]], "line 1: 3 fields, with the text whose quotation mark opens here"),
        (["b,Cup", 'a,"Tea" green', "c,Pot"], [["b", "Cup"], ["c", "Pot"]], "line 2: no CSV (',' expected"),
    ],
)
def test_an_open_quotation_mark_costs_its_own_line_only(tmp_path, lines, rows, first):
    found, bad, told = read(tmp_path, *lines)
    assert (found, bad) == (rows, 1) and told.startswith(first)


def test_a_mark_that_opens_on_a_rows_second_line_is_told_with_that_line_and_both_are_counted(tmp_path):
    found, bad, told = read(tmp_path, '"two', 'lines","open', "b,Cup")
    assert (found, bad) == ([["b", "Cup"]], 2) and told.startswith("line 2: ")


def test_texts_over_several_lines_stay_whole_and_blank_lines_keep_the_count(tmp_path):
    assert read(tmp_path, 'a,"two', "", 'lines ""2"""', "", "b,Cup")[:2] == ([["a", 'two\nlines "2"'], ["b", "Cup"]], 0)
    with pytest.raises(InputError, match=r"a.csv, line 6: no CSV \(unexpected end of data, in the text whose"):
        path, bad_lines = write_lines(tmp_path / "a.csv", ['a,"two', "", 'lines"', "", "", 'b,"Cup']), BadLines()
        list(csv_rows(path, texts(path, bad_lines), bad_lines))


def test_a_text_takes_in_no_row_of_its_own(tmp_path):
    path, bad_lines = (
        write_lines(tmp_path / "a.csv", ['a,"Tea,1', "b,Cup,2", 'c,24",3', "d,Pot,4"]),
        BadLines(skip=True),
    )
    rows = csv_rows(path, texts(path, bad_lines), bad_lines, width=3, alone=lambda fields: fields[2].isdigit())
    assert [fields for _, fields in rows] == [["b", "Cup", "2"], ["c", '24"', "3"], ["d", "Pot", "4"]]
    assert bad_lines.first[path] == "line 1: the text whose quotation mark opens here takes in line 2, a row of its own"


def test_a_row_ends_after_so_many_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows_module, "LONGEST_RECORD", 3)
    assert read(tmp_path, 'a,"1', "2,", "3,", '4"')[1] == 1
