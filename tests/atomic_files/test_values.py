"""Ratings and times as others write them; values that have lost their meaning; advice that keeps the data."""

import datetime
import decimal

import pytest

from sear.atomic_files.bad_lines import BadLine
from sear.atomic_files.reading import Reading
from sear.atomic_files.values import Times, iso_seconds
from tests.helpers.raw_dumps import convert, rows, write_lines

NAMES = ("--format=csv", "--user=user", "--item=item", "--time=time")
RATED = (*NAMES, "--rating=rating")


def write_events(tmp_path, times=None, ratings=None, users=None, delimiter=","):
    count = len(times or ratings or users)
    columns = [
        users or ["u"] * count,
        [f"i{row}" for row in range(count)],
        times or [str(1_300_000_000 + row) for row in range(count)],
        ratings or ["4"] * count,
    ]
    lines = [delimiter.join(map(str, fields)) for fields in zip(*columns, strict=True)]
    return write_lines(tmp_path / "raw" / "e.csv", [delimiter.join(("user", "item", "time", "rating")), *lines])


@pytest.mark.parametrize(
    "word", ["NA", "N/A", r"\N", "null", "NULL", "(null)", "None", "nan", "unknown", "-", "?", "", "-1", "-1.0"]
)
def test_a_missing_rating_by_any_of_its_names_leaves_the_event_unrated(tmp_path, word):
    write_events(tmp_path, ratings=["4", word, "4", word])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED) == 0
    assert [row[2] for row in rows(tmp_path, "mydata", "inter")[1:]] == ["4", "", "4", ""]


def test_other_words_for_no_rating_can_be_stated_numbers_too(tmp_path, capsys):
    write_events(tmp_path, ratings=["4", "0", "keine", "0"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED) == 2
    assert "--missing=0" in (told := capsys.readouterr().err) and "--bad_lines" not in told
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED, "--missing=0,KEINE") == 0
    assert [row[2] for row in rows(tmp_path, "mydata", "inter")[1:]] == ["4", "", "", ""]


@pytest.mark.parametrize("words", [["true", "False"], ["t", "f"], ["Yes", "No"], ["y", "N"]])
def test_true_and_false_are_one_and_zero(tmp_path, capsys, words):
    write_events(tmp_path, ratings=words)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED) == 0
    assert [row[2] for row in rows(tmp_path, "mydata", "inter")[1:]] == ["1", "0"]
    assert "ratings are true and false: written as 1 and 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "times, ratings, told, option",
    [
        (None, ["4,5"] * 3, "rating '4,5' is no number", "--decimal=,"),
        (["1300000000,5"] * 3, None, "no date like 2024-05-01", "--decimal=,"),
        (["31.12.2023"] * 3, None, "no date like 2024-05-01", "--date_format='%d.%m.%Y'"),
        (["12/31/2023 10:00"] * 3, None, "no date like", "--date_format='%m/%d/%Y %H:%M'"),
        (["Tue Apr 03 18:00:09 +0000 2012"] * 3, None, "no date like", "--date_format='%a %b %d %H:%M:%S %z %Y'"),
        (None, ["good"] * 3, "rating 'good' is no number", "write ratings as numbers, or if it means that"),
        (None, ["4 stars"] * 3, "rating '4 stars' is no number but one with something beside it", "the number alone"),
        (None, ["$4"] * 3, "rating '$4' is no number but one with something beside it", "write the number alone"),
        (None, ["4/5"] * 3, "rating '4/5' is no number but one out of a highest", "write the first number alone"),
        (None, ["4 of 5"] * 3, "rating '4 of 5' is no number but one out of a highest", "write the first number alone"),
        (None, ["80 %"] * 3, "rating '80 %' is no number but a percentage", "write the number alone, and state the"),
        (None, ["★★☆"] * 3, "rating '★★☆' is no number but a row of stars", "write how many are filled"),
        (
            None,
            ["1.234,5"] * 3,
            "rating '1.234,5' is no number but one written in another way",
            "write it with a point",
        ),
        (None, ["80", "9", "80"], "rating 80 is outside 0.5..5", "--rating_range=0,100"),
        (None, ["0", "0", "-7"], "rating 0 is outside 0.5..5", "--rating_range=0,5, --missing=0 if it means"),
    ],
)
def test_where_most_lines_fail_alike_the_option_is_named_that_reads_them(
    tmp_path, capsys, times, ratings, told, option
):
    write_events(tmp_path, times, ratings, delimiter=";")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED) == 2
    error = capsys.readouterr().err
    assert "e.csv, line 2 and 2 of the 2 lines after it: " in error and told in error and option in error
    assert "--bad_lines" not in error
    assert "--missing" not in error or "--missing" in option or "good" in error
    said = [option.replace("'", "")] if option.startswith("--") and "missing" not in option else []
    assert not said or convert(tmp_path, "mydata", tmp_path / "raw", *RATED, *said) == 0


def test_leaving_lines_out_is_advised_only_where_they_are_few_and_shouted_where_they_are_not(tmp_path, capsys):
    write_events(tmp_path, ratings=["4"] * 50 + ["good"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED) == 2
    assert "leave such lines out with --bad_lines=skip" in capsys.readouterr().err
    write_events(tmp_path, ratings=["4"] * 5 + ["good", "5", "good"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED, "--bad_lines=skip") == 0
    assert "2 bad lines left out" in (told := capsys.readouterr().out) and "THAT IS 22% OF ITS LINES" in told


def test_many_lines_without_an_id_may_be_left_out(tmp_path, capsys):
    write_events(tmp_path, users=["", "u", " ", "u"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    told = "no user id - leave such lines out with --bad_lines=skip, or give each guest an id of their own"
    assert f"line 2 and 1 of the 3 lines after it: {told}" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--bad_lines=skip") == 0
    assert "OF ITS LINES: to keep such lines, give each guest an id" in capsys.readouterr().out


def test_of_a_scale_that_is_not_known_no_end_is_named_but_as_an_example(tmp_path, capsys):
    write_events(tmp_path, ratings=["9", "0", "10"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED) == 2
    told = "--rating_range=LOWEST,HIGHEST of your scale, for example --rating_range=0,10\n"
    assert capsys.readouterr().err.endswith(told)


@pytest.mark.parametrize("others, odd", [(3, 2), (200, 1)])
def test_a_date_format_is_named_only_where_most_lines_have_it(tmp_path, capsys, others, odd):
    write_events(tmp_path, times=["2023-12-31"] * others + ["31.12.2023"] * odd)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    told = capsys.readouterr().err
    assert "other lines have their dates written otherwise: write all in one way" in told
    assert "--date_format" not in told and ("--bad_lines=skip" in told) == (odd == 1)


def test_a_date_format_that_another_line_rules_out_is_not_named(tmp_path, capsys):
    write_events(tmp_path, times=["05/01/2023 10:00 PM", "12/31/2023 10:00 PM", "05/01/2023 10:00 PM"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert capsys.readouterr().err.endswith(" - --date_format='%m/%d/%Y %I:%M %p' reads it\n")


def test_a_decimal_comma_in_the_second_column_of_times_has_its_option_named():
    with pytest.raises(BadLine) as found:
        Times().ordered("45028", "0,900694")
    assert found.value.option == "--decimal=, reads decimal commas"
    assert Times(Reading(decimal=",")).ordered("45028", "0,900694") == (45028, 0.900694, False)


def test_a_rating_that_no_model_can_hold_is_a_bad_one(tmp_path, capsys):
    write_events(tmp_path, ratings=["1e39"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED, "--rating_range=0,1e40") == 2
    assert "rating 1e39 is too large for 32 bits" in capsys.readouterr().err


@pytest.mark.parametrize("time", ["1e39", "-1e39", "1_300_000_000", "٣٤ "])
def test_a_time_that_no_clock_shows_is_a_bad_one(tmp_path, time):
    with pytest.raises(BadLine) if time != "٣٤ " else pytest.MonkeyPatch.context():
        Times()(time)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2024-05-01", 1_714_521_600),
        ("2024/5/1", 1_714_521_600),
        ("2024-05-01 00:00:02 UTC", 1_714_521_602),
        ("2024-05-01T02:00:00.25+02:00", 1_714_521_600.25),
        ("2024-05-01T02:00:00+0200", 1_714_521_600),
        ("2024-04-30 19:00-05", 1_714_521_600),
        ("2024-02-30", None),
        ("2024-05/01", None),
        ("2024-05-01 10:00 EST", None),
    ],
)
def test_iso_dates_are_read_the_same_on_every_python(text, seconds):
    assert iso_seconds(text) == seconds


@pytest.mark.parametrize(
    "digits, form",
    [("31122023", "%d%m%Y"), ("12312023", "%m%d%Y"), ("20231231", "%Y%m%d"), ("231231", "%y%m%d"), ("2023", "%Y")]
    + [("20231231000000000", "%Y%m%d%H%M%S%f"), ("2312310000", "%y%m%d%H%M"), ("231231000000", "%y%m%d%H%M%S")],
)
def test_digits_that_are_dates_in_any_order_are_not_taken_for_seconds(tmp_path, capsys, digits, form):
    write_events(tmp_path, times=[digits] * 3)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert f"e.csv, line 2: time {digits} and most others read like dates" in (told := capsys.readouterr().err)
    assert f"--date_format={form}" in told
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, f"--date_format={form}") == 0
    assert rows(tmp_path, "mydata", "inter")[1][2] in ("1703980800", "1672531200")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--date_format=unix", "--overwrite") == 0


def test_a_placeholder_in_another_unit_says_what_to_do(tmp_path, capsys):
    write_events(tmp_path, times=["1300000000000", "1300000000001", "1300000000002", "-1", "-1"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    told = capsys.readouterr().err
    assert "time -1 is in seconds, where most lines have milliseconds - write all times in one unit, and remove" in told


@pytest.mark.parametrize(
    "text, form, seconds",
    [
        ("1052024", "%d%m%Y", 1714521600),
        ("11052024", "%d%m%Y", 1715385600),
        ("1052024 1:30", "%d%m%Y %H:%M", 1714527000),
        ("70101", "%y%m%d", 1167609600),
        ("20240501013000", "%Y%m%d%H%M%S", 1714527000),
        ("2024050113000", "%Y%m%d%H%M%S", None),  # which digit it lacks cannot be known
        ("2024511", "%Y%m%d", None),
        ("1/5/2024", "%d/%m/%Y", 1714521600),
        ("20240501013000250", "%Y%m%d%H%M%S%f", 1714527000.25),
    ],
)
def test_digits_that_lost_their_first_zero_are_the_same_date(text, form, seconds):
    times = Times(Reading(date_format=form))
    if seconds is None:
        with pytest.raises(BadLine, match="is not written as"):
            times(text)
    else:
        assert times(text) == seconds


def test_a_date_format_that_does_not_fit_says_which_would(tmp_path, capsys):
    write_events(tmp_path, times=["31.12.2023"] * 3)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--date_format=%Y-%m") == 2
    assert "--date_format='%d.%m.%Y' reads it" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--date_format=dmy") == 2
    assert "has no %" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"users": ["7.65612E+16"] * 3}, "1 user id in scientific notation (the first: 7.65612E+16)"),
        ({"users": ["7.6E16", "7e16", "u"]}, "1 user id in scientific notation (the first: 7.6E16)"),
        ({"users": ["#####", "u", "u"]}, "1 event of the user '#####': is that one user, or a word for none?"),
        ({"users": [" u", "u", "v"]}, "1 user id with blanks around (the first: ' u'), kept as they are; 1 of"),
        ({"users": ["\ufeffu", "u", "v"]}, "1 user id with blanks around (the first: '\\ufeffu')"),
        (
            {"times": ["1300000000", "0", "1300000002", "0"]},
            "2 events (50.0%) at 0, 1970-01-01, years away from all others (the first: e.csv, line 3): if",
        ),
        ({"users": ["2-Mar", "MARCH1", "Sep-01"]}, "2 user ids such as 2-Mar: did a spreadsheet make a date of"),
        ({"users": ["u", "#REF!", "u"]}, "1 event of the user '#REF!': is that one user, or a word for none?"),
        ({"users": ["u", "NULL", "NULL"]}, "2 events of the user 'NULL': is that one user, or a word for none?"),
        ({"users": ["12.0", "u", "v"]}, "1 user id such as 12.0"),
        ({"times": ["1.30E+09"] * 3}, "3 times in scientific notation"),
        (
            {"times": ["1300000000", "1300000001", "1300000002", "13"]},
            "1 event (25.0%) decades away from all others (the first: e.csv, line 5, 1970-01-01)",
        ),
        ({"users": ["7", "007", "8"]}, "1 user id unlike another one in case, zeros in front, .0"),
        ({"users": ["Ann", "ann", "8.0", "8"]}, "2 user ids unlike another one in case, zeros in front, .0"),
        ({"users": ["caf\u00e9", "cafe\u0301", "u"]}, "1 user id unlike another one in case, zeros"),
        ({"users": ["'u'", "u", "v"]}, "1 user id between quotation marks (the first: 'u'), kept as they are"),
        (
            {"users": [*map(str, range(100)), *["x"] * 20]},
            "20 of 120 events are of the user 'x': is that one user, or a",
        ),
        ({"times": ["2024-05-01", "2024-05-01 10:00"]}, "1 of 2 dates have no time of day: they count as the first"),
        ({"times": ["2024-05-01T10:00Z", "2024-05-01 10:00"]}, "1 of 2 dates have no time zone, where others have"),
        ({"times": ["86400", "86401", "86402"]}, "MOST EVENTS ARE BEFORE 1991 (half of them by 1970-01-02)"),
        (
            {"times": ["13350000000000000"]},
            "do the times count microseconds since 1601, as Chrome does (20",
        ),
        ({"times": ["45413.5"]}, "? - format the column as 2024-05-01 12:30 in the spreadsheet; their order is right"),
        ({"times": ["2150-01-01"]}, "MOST EVENTS ARE IN THE FUTURE (half of them from 2150-01-01 on): are the"),
        ({"times": ["1300000000"] * 2}, "2 of 2 events share user and time with another: the"),
        ({"times": ["1300000009", "1300000008", "1300000008"]}, "the file runs backwards, newest events first"),
    ],
)
def test_values_that_lost_their_meaning_get_a_notice(tmp_path, capsys, changes, told):
    write_events(tmp_path, **changes)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert told in capsys.readouterr().out


def test_many_ratings_of_0_may_mean_none(tmp_path, capsys):
    write_events(tmp_path, ratings=["0", "0", "5"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED, "--rating_range=0,10") == 0
    assert "2 of 3 events are rated 0: if that means none, say so with --missing=0" in capsys.readouterr().out


def test_sound_values_get_no_notice(tmp_path, capsys):
    write_events(tmp_path, users=["u", "v", "w"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED) == 0
    told = capsys.readouterr().out
    assert [line for line in told.split("\n") if line.startswith("- ")] == [
        "- 0 exact repeats (same user, item, time and rating) counted once"
    ]


def test_a_last_line_without_line_break_is_told(tmp_path, capsys):
    path = write_events(tmp_path, users=["u", "v"])
    path.write_bytes(path.read_bytes()[:-1])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert "e.csv: its last line (3) has no line break: if the file was cut off" in capsys.readouterr().out


def test_a_carriage_return_inside_an_id_is_refused_whatever_the_file(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "e.json", [r'{"user": "a\rb", "item": "i", "time": 1}'])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "user id 'a\\rb' cannot be written to an atomic file" in capsys.readouterr().err


def test_columns_of_every_type_of_parquet_are_read_as_what_they_are_or_refused(tmp_path, capsys):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "raw").mkdir()
    good = {
        "user": pyarrow.array([decimal.Decimal("76561198000000001"), decimal.Decimal(2)], pyarrow.decimal128(20, 0)),
        "item": pyarrow.array([b"a", b"\xc3\xa9"], pyarrow.binary()),
        "time": pyarrow.array(["2024-05-01", "2024-05-02"]),
        "rating": [True, False],
    }
    bad = {
        "user": [{"id": 1}, {"id": 2}],
        "item": [True, False],
        "time": [datetime.timedelta(1)] * 2,
        "rating": [[1], [2]],
    }
    parquet.write_table(pyarrow.table(good), tmp_path / "raw" / "e.parquet")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *RATED) == 0
    assert rows(tmp_path, "mydata", "inter")[1:] == [
        ["76561198000000001", "a", "1", "1714521600"],
        ["2", "é", "0", "1714608000"],
    ]
    for name, values in bad.items():
        parquet.write_table(pyarrow.table(good | {name: values}), tmp_path / "raw" / "e.parquet")
        assert convert(tmp_path, "other", tmp_path / "raw", *RATED) == 2
        assert f"e.parquet: column {name!r} is of type " in capsys.readouterr().err


def test_floats_above_2_to_the_53_have_lost_digits_and_that_is_said(tmp_path, capsys):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "raw").mkdir()
    table = {"user": [7.6561198e16, 1.0], "item": ["i", "j"], "time": [1.0, 2.0]}
    parquet.write_table(pyarrow.table(table), tmp_path / "raw" / "e.parquet")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert "1 event with an id that is a decimal number above 2^53" in capsys.readouterr().out
    table["user"] = pyarrow.array([2.0**25, 1.0], pyarrow.float32())
    parquet.write_table(pyarrow.table(table), tmp_path / "raw" / "e.parquet")
    assert convert(tmp_path, "other", tmp_path / "raw", *NAMES) == 0
    assert "1 event with an id that is a decimal number above 2^24" in capsys.readouterr().out


def test_whole_numbers_of_any_length_keep_their_digits_in_json(tmp_path):
    numbers = [2**63, 2**64 + 1, 12345678901234567890123]
    lines = [f'{{"user": {number}, "item": "i", "time": 1300000000}}' for number in numbers]
    write_lines(tmp_path / "raw" / "e.json", lines)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert [row[0] for row in rows(tmp_path, "mydata", "inter")[1:]] == [str(number) for number in numbers]


def test_reading_options_that_cannot_be_followed_are_refused(tmp_path, capsys):
    write_events(tmp_path, users=["u"])
    for option in ("--decimal=x", "--columns=a,a", "--columns=_,_"):
        assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, option) == 2
        assert option.split("=")[0] in capsys.readouterr().err
    assert Reading().check() is None
