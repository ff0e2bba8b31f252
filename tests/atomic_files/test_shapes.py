"""Tables as programs write them: compressed, separated, quoted, split in parts, without header, without times."""

import bz2
import gzip
import lzma
import zipfile
from time import perf_counter

import pytest

from sear.atomic_files.dialect import dialect_of
from tests.helpers.raw_dumps import convert, rows, write_lines

NAMES = ("--format=csv", "--user=user", "--item=item", "--time=time")
LINES = ["user,item,time", "u0,i0,1300000000", "u1,i1,1300000060"]
EVENTS = [["u0", "i0", "1300000000"], ["u1", "i1", "1300000060"]]
DATA = "".join(f"{line}\n" for line in LINES).encode()


def events(folder, name="mydata"):
    return rows(folder, name, "inter")[1:]


def zipped(*names):
    def pack(data):
        from io import BytesIO

        file = BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, data)
        return file.getvalue()

    return pack


def zstd(data):
    return pytest.importorskip("zstandard").compress(data)


@pytest.mark.parametrize(
    "name, pack",
    [
        ("e.csv.bz2", bz2.compress),
        ("E.CSV.GZ", gzip.compress),
        ("e.csv.xz", lzma.compress),
        ("e.csv.bz2", lambda data: bz2.compress(data[:50]) + bz2.compress(data[50:])),
        ("e.csv.xz", lambda data: lzma.compress(data[:50]) + bytes(4) + lzma.compress(data[50:])),
        ("e.csv.zip", zipped("e.csv")),
        ("e.csv", zipped("__MACOSX/", "e.csv")),
        ("e.csv.zst", zstd),
        ("e.Csv", bytes),
        ("e.dat", bytes),
        ("part-00000", bytes),
        ("e.csv", lambda data: data.replace(b"\n", b"\r")),
        ("e.csv", lambda data: data.replace(b"\n", b"\r\r\n")),
        ("e.csv", lambda data: data.replace(b",", b"|")),
        ("e.csv", lambda data: data.replace(b",", b"::")),
        ("e.csv", lambda data: data.replace(b",", b"||")),
        ("e.csv", lambda data: b"sep=;\n" + data.replace(b",", b";")),
        ("e.csv", lambda data: data.replace(b",", b" ")),
        ("e.csv", lambda data: data.replace(b",", b"^")),
        ("e.csv", lambda data: data.replace(b",", b"\x01")),
        ("e.csv", lambda data: data.replace(b",", b", ")),
        ("e.csv", lambda data: data.replace(b",", b", ").replace(b"i0", b'"i0"')),
        (
            "e.csv",
            lambda data: (
                b"\n\n" + data.replace(b",", b";").replace(b"item", b"item;a, b, c, d, e").replace(b";13", b";x;13")
            ),
        ),
    ],
)
def test_whatever_a_table_is_packed_in_or_separated_by_it_is_read(tmp_path, name, pack):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_bytes(pack(DATA))
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert events(tmp_path) == EVENTS


@pytest.mark.parametrize(
    "name, data, told",
    [
        ("e.csv.zip", zipped("a.csv", "b.csv")(DATA), "holds 2 files (a.csv, b.csv) - unpack it"),
        ("e.xlsx", zipped("xl/workbook.xml")(b""), "is an Excel workbook - export it as CSV"),
        ("e.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Excel or Office file"),
        ("e.csv", b"SQLite format 3\x00", "is an SQLite database"),
        ("e.csv", b"\x80\x04\x95abc", "is a Python pickle"),
        ("e.csv", b"<!DOCTYPE html><html>", "is a web page"),
        ("e.csv", b"\x1f\x9d\x90", "is a file of Unix compress"),
        ("e.sql", b"INSERT INTO e VALUES (1,2,3);", "no table there, only e.sql - where one is a table, give it as"),
        ("e.json", b'{\n "user": 1,\n "item": 2\n}\n', "has not one object a line - write it so (jq -c . FILE)"),
        ("e.csv", bytes(257) + b"ustar", "is a tar archive"),
        ("e.csv.gz", gzip.compress(gzip.compress(DATA, mtime=0), mtime=0), "there is a gzip file in it, packed twice"),
        ("e.csv.bz2", bz2.compress(DATA)[:-5], "cut short or damaged"),
        ("e.csv.xz", lzma.compress(DATA)[:-5], "cut short or damaged"),
        ("e.csv.bz2", bz2.compress(DATA) + b"C" + bz2.compress(DATA)[1:], "cut short or damaged"),
        ("e.csv.xz", lzma.compress(DATA) + b"more", "cut short or damaged"),
        ("e.csv.zip", zipped("e.csv")(DATA)[:-5], "cut short or damaged"),
        ("e.json", b'[{"user": 1}]', "is one JSON array, not one object a line"),
        ("e.csv", b"INSERT INTO e VALUES (1,2,3);", "e.csv holds SQL, no table - load it into a database"),
        ("e.csv", b"@relation e\n@attribute user string\n", "e.csv is an ARFF file"),
        ("e.csv", DATA.replace(b"time\n", b"time\n----+----+----\n"), "its line 2 is a rule, '----+----+----', as"),
        ("e.csv", DATA.replace(b",", b";").replace(b";", b",", 2), "header is separated by ',', the lines by ';'"),
        ("e.csv", DATA.replace(b",", b"^|"), "e.csv has '|item' for item: write one sign between fields"),
        ("e.csv", b"user  item  time\nu0   i0   1300000000   x\n", "4 fields where the header has 3 - fields may hold"),
        ("e.csv", b"aaabbbccc\nu01i021300\n", "is not known here, or columns have a fixed width: write commas, tabs"),
        ("e.inter", b"user_id:token\titem_id:token\n1\t2\n", "e.inter is an atomic file already"),
    ],
)
def test_what_is_no_table_is_named_for_what_it_is(tmp_path, capsys, name, data, told):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_bytes(data)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and error.isprintable() is False or error[:-1].isprintable()


def test_a_zstd_file_cut_short_is_noticed_and_its_package_named_where_it_is_missing(tmp_path, capsys, monkeypatch):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "e.csv.zst").write_bytes(zstd(DATA * 1000)[:-8])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "cut short or damaged" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "pip install zstandard" in capsys.readouterr().err


def test_a_huge_line_is_refused_in_little_memory(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    with gzip.open(tmp_path / "raw" / "e.csv.gz", "wb") as file:
        for _ in range(40):
            file.write(b"x" * (1 << 20))
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "e.csv.gz, line 1: longer than 16 MiB" in capsys.readouterr().err


def test_a_tab_separated_dump_knows_no_quoting(tmp_path):
    lines = ["user\ttime\titem\tartist"]
    lines += [
        f"u\t{1_300_000_000 + row}\ti{row}\t{('Abba', chr(34) + 'Weird Al' + chr(34) + ' Yankovic')[row % 2]}"
        for row in range(6)
    ]
    write_lines(tmp_path / "raw" / "e.tsv", lines)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=artist") == 0
    assert len(events(tmp_path)) == 6
    assert rows(tmp_path, "mydata", "item")[2] == ["i1", '"""Weird Al"" Yankovic"']


def test_a_quotation_mark_that_nothing_closes_is_a_character_where_tabs_separate(tmp_path):
    write_lines(
        tmp_path / "raw" / "e.tsv", ["user\titem\ttime\ttitle", 'u\ti\t1\t"Heroes', "u\tj\t2\tx", 'u\tk\t3\t"y']
    )
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 0
    assert len(events(tmp_path)) == 3


def test_a_tab_separated_file_with_csv_quoting_keeps_it(tmp_path):
    write_lines(
        tmp_path / "raw" / "e.tsv", ["user\titem\ttime\ttitle", 'u\ti\t1\t"say ""hi"""', 'u\tj\t2\t"tab\there"']
    )
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 0
    assert [row[1] for row in rows(tmp_path, "mydata", "item")[1:]] == ['say "hi"', "tab here"]


def test_backslashes_before_quotation_marks_and_mysqls_null_are_understood(tmp_path):
    title = r'"Real \"J. P\" life"'
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,time,stars,title", rf"u,i0,1,\N,{title}", rf"u,i1,2,4,{title}"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--rating=stars", "--text=title") == 0
    assert [row[2] for row in events(tmp_path)] == ["", "4"]
    assert rows(tmp_path, "mydata", "item")[1][1] == 'Real "J. P" life'


@pytest.mark.parametrize("text", ['"' + '\\"' * 2_000 + "x", '"' + "," * 4_000 + '"x'])
def test_how_texts_are_quoted_is_seen_in_a_time_in_proportion_to_their_length(text):
    begin = perf_counter()
    assert dialect_of(["user,item,title"], [f"u,i,{text}"] * 100).quoting == "csv"
    assert perf_counter() - begin < 2  # a hundred lines took 4 and 20 seconds


def test_how_texts_are_quoted_can_be_said(tmp_path, capsys):
    lines = ["user,item,time,title", 'u,i0,1,"Heroes" live', *(f'u,i{row},{row},"Heroes" live' for row in range(2, 9))]
    write_lines(tmp_path / "raw" / "e.csv", lines)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    told = capsys.readouterr().err
    assert "line 2 and 7 of the 7 lines after it: no CSV" in told and "--quoting=none" in told and "skip" not in told
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--quoting=none") == 0
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--quoting=some") == 2


def test_rows_names_of_r_and_a_last_comma_are_no_columns(tmp_path):
    write_lines(
        tmp_path / "raw" / "e.csv", ['"user" "item" "time"', '"1" "u0" "i0" 1300000000', '"2" "u1" "i1" 1300000060']
    )
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert events(tmp_path) == EVENTS
    write_lines(tmp_path / "raw" / "e.csv", [LINES[0], *(f"{line}," for line in LINES[1:])])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0  # equal, so nothing was replaced


@pytest.mark.parametrize(
    "lines, told",
    [
        (["user,item,time", "5,17,1300000000,4", "5,18,1300000060,3"], "4 fields where the header has 3 - give each"),
        (["# made on Monday", *LINES], "stand below other lines: remove those above them"),
        (["user:item:time", "u0:i0:1300000000"], "what separates them in e.csv is not known here"),
        ([], "e.csv is empty"),
    ],
)
def test_a_header_that_does_not_fit_its_lines_shifts_no_column(tmp_path, capsys, lines, told):
    write_lines(tmp_path / "raw" / "e.csv", lines)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert told in capsys.readouterr().err


def test_parts_of_one_table_are_read_together_and_a_bad_line_is_named_in_its_part(tmp_path, capsys):
    for part, user in enumerate("uvw"):
        write_lines(
            tmp_path / "raw" / f"part-0000{part}.csv", [LINES[0], f"{user},i,1300000000", f"{user},j,1300000060"]
        )
    (tmp_path / "raw" / "_SUCCESS").touch()
    for options in (NAMES, ()):
        assert convert(tmp_path, "mydata", tmp_path / "raw", *options) == 0
        assert [row[0] for row in events(tmp_path)] == list("uuvvww")
        assert "3 parts of one table" in capsys.readouterr().out
    write_lines(tmp_path / "raw" / "part-00001.csv", [LINES[0], "v,i,1300000000", "v,j,noon"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "part-00001.csv, line 3: time 'noon'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name, data, told",
    [
        ("part-2.csv", b"w,k,1300000000\n", "part-2.csv has no header"),
        ("part-2.csv", b"User,Item,Time\nw,k,1300000000\n", "part-2.csv has User, Item, Time"),
        (
            "part-2.csv.gz",
            gzip.compress(DATA, mtime=0)[:-9],
            "part-2.csv.gz, after line 0: compressed stream cut short",
        ),
    ],
)
def test_a_part_that_cannot_be_read_like_the_others_is_an_error(tmp_path, capsys, name, data, told):
    for part in (0, 1):
        write_lines(tmp_path / "raw" / f"part-{part}.csv", [LINES[0], f"u{part},i,1300000000"])
    (tmp_path / "raw" / name).write_bytes(data)
    for options in (NAMES, ()):
        assert convert(tmp_path, "mydata", tmp_path / "raw", *options) == 2
        error = capsys.readouterr().err
        assert told in error and (not options or "by its name it is a part of the same table as part-0.csv" in error)


def test_a_numbered_table_of_other_columns_is_no_part_and_is_named(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "table1.csv", LINES)
    write_lines(tmp_path / "raw" / "table2.csv", ["item,title", "i0,Cup"])
    for options in ((), ("--text=title",), (*NAMES, "--no-text", "--overwrite")):
        assert convert(tmp_path, "mydata", tmp_path / "raw", *options) == 0
        told = "NOT READ: table2.csv has item, title: other columns than table1.csv has"
        assert (told in capsys.readouterr().out) == ("--text=title" not in options)
        assert events(tmp_path) == EVENTS


def test_parts_may_have_their_columns_in_any_order_and_json_lines_may_leave_some_out(tmp_path):
    write_lines(tmp_path / "raw" / "part-0.csv", LINES[:2])
    write_lines(tmp_path / "raw" / "part-1.csv.gz", ["item,time,user", "i1,1300000060,u1"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    write_lines(tmp_path / "json" / "part-0.json", ['{"user": "u0", "item": "i0", "time": 1300000000, "page": 3}'])
    write_lines(tmp_path / "json" / "part-1.json", ['{"user": "u1", "item": "i1", "time": 1300000060}'])
    assert convert(tmp_path, "other", tmp_path / "json", *NAMES) == 0
    assert events(tmp_path) == EVENTS == events(tmp_path, "other")


def test_whatever_else_lies_in_the_folder_is_named(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "e.csv", LINES)
    write_lines(tmp_path / "raw" / "more" / "e.csv", LINES)
    (tmp_path / "raw" / "later.csv.gz").write_bytes(gzip.compress(DATA, mtime=0)[:-9])
    (tmp_path / "raw" / "e.sql").touch()
    (tmp_path / "raw" / "none.csv").touch()
    write_lines(tmp_path / "raw" / "rest.csv", ["u2,i2,1300000120"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    told = capsys.readouterr().out
    assert "later.csv.gz, after line 0: compressed stream cut short" in told and "NOT READ: " in told
    assert "not read, there too: e.sql, more/" in told and "NOT READ: none.csv is empty" in told
    assert "NOT READ: rest.csv has no header, its first line is u2, i2, 1300000120, and as many fields as e.csv" in told
    write_lines(tmp_path / "raw" / "e.csv", ["item,title", "i0,Cup"])
    (tmp_path / "raw" / "rest.csv").unlink()
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "cut short or damaged" in (told := capsys.readouterr().err) and "mend what cannot be read there" in told


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_within_the_table_is_named_and_no_event(tmp_path, capsys, mark):
    write_lines(tmp_path / "raw" / "e.csv", [*LINES[:2], mark + LINES[0], LINES[2]])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "e.csv, line 3: the header once more, as files put together have it" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3], "--time=line_order", "--bad_lines=skip") == 0
    assert [row[0] for row in events(tmp_path)] == ["u0", "u1"]


def test_part_10_comes_after_part_2(tmp_path):
    for part, user in ((2, "u"), (10, "v")):
        write_lines(tmp_path / "raw" / f"part-{part}.csv", ["user,item", f"{user},i"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3]) == 0
    assert events(tmp_path) == [["u", "i", "2"], ["v", "i", "4"]]  # without times the order of the lines counts


def test_a_table_without_a_header_needs_columns_and_says_so(tmp_path, capsys):
    lines = [f"{user}\t2010-10-1{item}T23:55:27Z\t30.2\t-97.7\t{item}" for user in (0, 1) for item in range(3)]
    write_lines(tmp_path / "raw" / "checkins.txt", lines)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    told = capsys.readouterr().err
    assert "checkins.txt has no header" in told and "--columns=user,item,rating,time,_" in told
    assert convert(tmp_path, "mydata", tmp_path / "raw", "--columns=user,time,_,item") == 2
    assert "lines have 5 fields, separated by tabs, and --columns names 4" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", "--columns=user,time,_,_,item") == 0
    assert events(tmp_path)[0] == ["0", "0", "1286754927"]


def test_double_bars_separate_and_lines_that_nothing_known_separates_say_so(tmp_path, capsys):
    for sign in ("||", "::", "§"):
        write_lines(tmp_path / "raw" / "e.txt", [line.replace(",", sign) for line in LINES[1:]])
        done = convert(tmp_path, "mydata", tmp_path / "raw", "--columns=user,item,time")
        assert done == (2 if sign == "§" else 0)
    assert (
        "its lines are one field each, and --columns names 3 - what separates fields is not" in capsys.readouterr().err
    )


def test_columns_beside_a_header_are_refused(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "e.csv", ["who,what,when", *LINES[1:]])
    assert convert(tmp_path, "mydata", tmp_path / "raw", "--columns=user,item,time") == 2
    assert "e.csv, line 1: who,what,when looks like a header" in capsys.readouterr().err


def test_the_texts_of_a_table_without_header_may_stand_in_one_that_has_a_header(tmp_path):
    write_lines(tmp_path / "raw" / "e.txt", ["u0 i0 1300000000", "u1 i1 1300000060"])
    write_lines(tmp_path / "raw" / "titles.csv", ["item,title", "i0,Cup", "i1,Pot"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", "--columns=user,item,time", "--text=title") == 0
    assert events(tmp_path) == EVENTS and rows(tmp_path, "mydata", "item")[2] == ["i1", "Pot"]


@pytest.mark.parametrize(
    "lines, options",
    [(["1 1", "1 2", "2 1"], ["--columns=user,item"]), (["user,item", "1,1", "1,2", "2,1"], NAMES[:3])],
)
def test_without_times_the_order_of_the_lines_counts_and_that_is_said(tmp_path, capsys, lines, options):
    write_lines(tmp_path / "raw" / "e.txt", lines)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *options) == 0
    assert [row[:2] for row in events(tmp_path)] == [["1", "1"], ["1", "2"], ["2", "1"]]
    told = capsys.readouterr().out
    assert "the order of the lines stands for it" in told and "The events are from" not in told


LONG = [f"{'9' * 5_000}{row:02}" for row in range(30)]  # more digits than int() takes


@pytest.mark.parametrize(
    "items, told",
    [(range(30), True), (range(30, 0, -1), True), ([9, 10, 2, 4] * 8, False), (LONG, True)],
    ids=["up", "down", "mixed", "long"],
)
def test_lines_in_the_order_of_their_items_are_in_none_of_time(tmp_path, capsys, items, told):
    write_lines(tmp_path / "raw" / "e.txt", [f"1 {item}" for item in items])
    assert convert(tmp_path, "mydata", tmp_path / "raw", "--columns=user,item") == 0
    assert (
        "SORTED BY THEIR ITEMS' IDS: then the order of the lines is none of time" in capsys.readouterr().out
    ) == told


@pytest.mark.parametrize("name, value", [("time", "7"), ("bought", "2024-05-01"), ("at", "1400000000")])
def test_times_that_are_there_are_not_overlooked(tmp_path, capsys, name, value):
    write_lines(tmp_path / "raw" / "e.csv", [f"user,item,{name}", f"1,1,{value}"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3]) == 2
    assert f"--time is missing, and the column {name!r} looks like times" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3], "--time=line_order") == 0


def test_a_second_column_decides_between_equal_times(tmp_path):
    write_lines(tmp_path / "raw" / "e.csv", ["user;item;ms;day", "s;i0;500;2016-05-09", "s;i1;49;2016-05-09"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3], "--time=day,ms") == 0
    assert [row[1] for row in events(tmp_path)] == ["i1", "i0"]
    write_lines(tmp_path / "raw" / "e.csv", ["user;item;hour;day", "s;i0;10:30;2016-05-09", "s;i1;09:00:01;2016-05-09"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3], "--time=day,hour", "--overwrite") == 0
    assert [row[1:] for row in events(tmp_path)] == [["i1", "1462784401"], ["i0", "1462789800"]]


@pytest.mark.parametrize(
    "days, clocks, options, last",
    [
        (["20240501", "20240502"], ["235000", "93000"], ["--date_format=%Y%m%d"], 1714608000),
        (["20240501", "20240502"], ["11:50 PM", "12:05 am"], ["--date_format=%Y%m%d"], 1714608300),
        (["1714521600000", "1714608000000"], ["23:50", "00:05"], [], 1714608300),
        (["1714607400", "1714608300"], ["23:50", "00:05"], [], 1714608300),  # the first is a time of day too
    ],
)
def test_a_day_and_a_time_of_day_make_one_time_in_any_unit(tmp_path, days, clocks, options, last):
    lines = [f"u,i{row},{day},{clock}" for row, (day, clock) in enumerate(zip(days, clocks, strict=True))]
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,day,clock", *reversed(lines)])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3], "--time=day,clock", *options) == 0
    assert [row[1] for row in events(tmp_path)] == ["i0", "i1"] and events(tmp_path)[1][2] == str(last)


@pytest.mark.parametrize("zones, told", [((3, 4), False), ((3, 4, 5), True)])
def test_times_of_day_that_are_not_added_are_told(tmp_path, capsys, zones, told):
    lines = [f"u{zone},i,2024-05-01T00:00+0{zone}:00,10:30" for zone in zones]
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,day,clock", *lines])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3], "--time=day,clock") == 0
    assert ("the times of day in the second column of --time only put" in capsys.readouterr().out) == told
    assert events(tmp_path)[0][2] == str(1_714_510_800 if told else 1_714_510_800 + 37_800)


@pytest.mark.parametrize(
    "day, clocks, told",
    [
        ("20240501", ["23:50", "00:05"], "--date_format=%Y%m%d"),
        ("2024-05-01", ["23:50", "300"], "has times of day in 1 events and something else in 1"),
        ("2024-05-01", ["23h50", "300"], "time '23h50' is no number and no date like 2024-05-01, and no time of day"),
    ],
)
def test_times_of_day_do_not_hide_what_the_days_are(tmp_path, capsys, day, clocks, told):
    write_lines(tmp_path / "raw" / "e.csv", ["user,item,day,clock", *(f"u,i,{day},{clock}" for clock in clocks)])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES[:3], "--time=day,clock") == 2
    assert told in capsys.readouterr().err


def test_json_lines_and_python_literals_are_tables(tmp_path):
    write_lines(tmp_path / "raw" / "e.json", ['{"user": "u0", "item": 7, "time": "2018-07-01 22:09:11"}'])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert events(tmp_path) == [["u0", "7", "1530482951"]]
    write_lines(tmp_path / "raw" / "e.json", ["{u'user': u'u0', u'item': u'7', u'time': u'2018-07-01 22:09:11'}"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0


def test_the_item_may_have_another_name_in_the_table_of_texts(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "ratings.csv", ["user,movieID,time", "75,3,1162160236"])
    write_lines(tmp_path / "raw" / "movies.csv", ["id,title", "3,Grumpy Old Men"])
    options = ("--format=csv", "--user=user", "--item=movieID", "--time=time", "--text=title")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *options) == 2
    assert "say how with --text_item=COLUMN" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", *options, "--text_item=id") == 0
    assert rows(tmp_path, "mydata", "item")[1] == ["3", "Grumpy Old Men"]


def test_a_name_in_another_case_is_offered(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "e.csv", ["User,Item,time", "u,i,1"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "case counts: user is User, item is Item" in capsys.readouterr().err


@pytest.mark.parametrize("header", ["user_id,item_id", "item,user"])
def test_a_first_line_of_names_is_no_event_whatever_the_columns_are_called(tmp_path, capsys, header):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "e.csv").write_text(f"{header}\nbob,lamp\namy,desk\n")
    options = ["--format=csv", "--columns=user,item", "--time=line_order"]
    assert convert(tmp_path, "mydata", tmp_path / "raw", *options) == 2
    assert f"line 1: {header} looks like a header" in capsys.readouterr().err
