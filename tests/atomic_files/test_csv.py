"""A user's own tables."""

import re
import shlex

import pytest
import yaml

from sear.atomic_files.__main__ import main, parser
from sear.data.atomic_table import read_header
from sear.files import PROJECT_ROOT
from tests.helpers.config_folder import copy_config
from tests.helpers.raw_dumps import convert, full_core, rows, write_lines

README = PROJECT_ROOT / "README.md"
NAMES = ("--format=csv", "--user=who", "--item=what", "--time=when")


def test_one_table_with_everything(tmp_path, capsys):
    table = [
        "who,title,what,stars,when,brand",
        'ann,"Tea, green",12,4.5,2024-05-01T00:00:02Z,',
        'ann,"Tea, green",12,,2024-05-01,Leaf',
        'bob,"two\nlines",7,3,2024-05-01 02:00:00+02:00,"Q"',
    ]
    write_lines(tmp_path / "raw" / "events.csv", table)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--rating=stars", "--text=title,brand") == 0
    assert rows(tmp_path, "mydata", "inter") == [
        ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
        ["ann", "12", "", "1714521600"],
        ["ann", "12", "4.5", "1714521602"],
        ["bob", "7", "3", "1714521600"],
    ]
    assert rows(tmp_path, "mydata", "item") == [
        ["item_id:token", "title:token_seq", "brand:token_seq"],
        ["12", "Tea, green", "Leaf"],
        ["7", "two lines", "Q"],
    ]
    told = capsys.readouterr().out
    assert "another text" not in told  # a field that was empty is filled from a later row
    config = yaml.safe_load(told.partition("config/data/mydata.yaml:\n")[2])
    assert config == {
        "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "title", "brand"]},
        "user_inter_num_interval": "[5,inf)",
        "item_inter_num_interval": "[5,inf)",
        "data_path": f"{tmp_path / 'dataset'}/",
    }


def test_texts_in_a_second_table_and_no_ratings(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "events.tsv.gz", ["who\twhat\twhen", "ann\t12\t5", "ann\t13\t1.25"])
    write_lines(tmp_path / "raw" / "items.csv", ["what;title", "13;Cup", "12;Tea", "12;Tea again", "99;never met"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 0
    header, *events = rows(tmp_path, "mydata", "inter")
    assert header == ["user_id:token", "item_id:token", "timestamp:float"]
    assert events == [["ann", "13", "1.25"], ["ann", "12", "5"]]
    assert rows(tmp_path, "mydata", "item")[1:] == [["13", "Cup"], ["12", "Tea"]]
    assert "inter: [user_id, item_id, timestamp]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, told",
    [
        (["--format=csv", "--user=who"], "--item=COLUMN is missing: --format=csv needs --user, --item and --time"),
        (
            ["--user=who", "--item=what", "--time=day"],
            "no CSV or parquet table has the columns who, what, day (a.csv has",
        ),
        (
            ["--user=who", "--item=who", "--time=when"],
            "name 'who' twice - give each a column of its own",
        ),
        ([*NAMES, "--text=title"], "no CSV or parquet table has the columns what, title"),
        ([*NAMES, "--text=a:b"], "names must differ, hold no ':', tab or line break and not be item_id"),
        (["--user=who", "--item=who", "--time=when"], "--user, --item, --time and --rating name 'who' twice"),
        ([*NAMES, "--rating=when"], "name 'when' twice - give each a column of its own"),
        ([*NAMES, "--rating=stars"], "a.csv, line 3: 3 fields where the header has 4"),
        ([*NAMES, "--rating=stars", "--bad_lines=skip", "--rating_range=7,9"], "a.csv holds no events"),
    ],
)
def test_faults_of_a_table_are_told(tmp_path, capsys, options, told):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when,stars", "ann,12,1,5", "ann,12,1"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *options) == 2
    assert told in capsys.readouterr().err


def test_odd_column_names_survive_into_the_config(tmp_path, capsys):
    names = ["yes", "a #1", "it's [x]", "null", "1.5", "größe"]
    write_lines(tmp_path / "raw" / "a.csv", [",".join(["who,what,when", *names]), "ann,12,1" + ",Tea" * len(names)])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, f"--text={','.join(names)}") == 0
    printed = capsys.readouterr().out.partition("config/data/mydata.yaml:\n")[2]
    assert yaml.safe_load(printed)["load_col"]["item"] == ["item_id", *names]
    assert list(read_header(tmp_path / "dataset" / "mydata" / "mydata.item")) == ["item_id", *names]


def test_the_readmes_own_data_command_ends_in_a_data_set_that_trains(tmp_path, monkeypatch):
    from sear.data.dataset import SEARDataset
    from sear.settings.recbole_config import build_config

    command = re.search(r"^python -m sear\.atomic_files (mydata my_folder .*)$", README.read_text("utf-8"), re.M)[1]
    events = full_core(lambda user, item, time: f"{user},{item},{time},{1 + time % 5},{item} of a kind,")
    header = "customer,product,bought_at,stars,title,brand"
    write_lines(tmp_path / "my_folder" / "orders.csv", [header, *events])
    monkeypatch.chdir(tmp_path)
    written = copy_config(tmp_path, monkeypatch) / "data" / "mydata.yaml"
    assert main([*shlex.split(command), "--out=made"]) == 0  # relative to where the user is
    assert written.is_file()
    dataset = SEARDataset(build_config("mydata"))
    assert (dataset.statistics["users"], dataset.statistics["interactions"]) == (5, 25)
    sentence = dataset.texts.sentences[dataset.token2id("item_id", "I3")]
    assert sentence.endswith("*title*: I3 of a kind; *brand*: N/A")
    assert len(dataset.build()) == 3


def test_files_land_in_the_projects_own_folder_wherever_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parser().parse_args(["mydata", "raw"]).out == PROJECT_ROOT / "dataset"


def test_two_tables_with_the_same_columns_are_refused(tmp_path, capsys):
    for name in ("a.csv", "b.csv"):
        write_lines(tmp_path / "raw" / name, ["who,what,when", "ann,12,1"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "a.csv, b.csv all have the columns who, what, when" in capsys.readouterr().err


def test_a_stray_carriage_return_is_a_bad_line_not_a_crash(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when", "ann,12,1", "an\rn,12,1", "bob,12,2"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "a.csv, line 3: no CSV (new-line character" in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--bad_lines=skip") == 0
    assert [row[0] for row in rows(tmp_path, "mydata", "inter")[1:]] == ["ann", "bob"]


def test_a_long_text_in_another_column_does_no_harm(tmp_path):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when,page", "ann,12,1," + "x" * 200_000])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0


def test_a_short_line_of_a_table_with_everything_is_counted_once(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when,title", "ann,12,1,Tea", "", "ann"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title", "--bad_lines=skip") == 0
    assert "1 bad line left out (the first, line 4: 1 field where" in capsys.readouterr().out


@pytest.mark.parametrize("title, last", [('"Pot"', "Pot"), ('24"', '24"')])
def test_a_quotation_mark_left_open_swallows_no_event(tmp_path, capsys, title, last):
    events = ["who,title,what,when", 'ann,"Tea,12,1', "bob,Cup,13,2", f"cid,{title},14,2024-05-01"]
    write_lines(tmp_path / "raw" / "a.csv", events)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 2
    assert "a.csv, line 2: " in capsys.readouterr().err
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title", "--bad_lines=skip") == 0
    assert [row[0] for row in rows(tmp_path, "mydata", "inter")[1:]] == ["bob", "cid"]
    assert [row[1] for row in rows(tmp_path, "mydata", "item")[1:]] == ["Cup", last]
    assert "a.csv: 1 bad line left out (the first, line 2: " in capsys.readouterr().out


def test_a_column_asked_for_must_stand_once_in_the_header(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when,what,x,x", "ann,12,1,13,,"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "a.csv: the header has the column 'what' more than once" in capsys.readouterr().err


def test_html_in_ones_own_texts_is_not_touched(tmp_path):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when,title", "ann,12,1,a <b> &amp;  b", "ann,13,1,<i></i>"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 0
    assert [row[1] for row in rows(tmp_path, "mydata", "item")[1:]] == ["a <b> &amp; b", "<i></i>"]


@pytest.mark.parametrize(
    "times", [["20240501", "20240502"], ["20240501123000", "0", "20240502000000"], ["202405011230"]]
)
def test_dates_without_hyphens_are_not_taken_for_seconds(tmp_path, capsys, times):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when", *(f"ann,12,{time}" for time in times)])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    told = f"a.csv, line 2: time {times[0]} and most others read like dates, not like seconds - say so with --date"
    assert told in capsys.readouterr().err


def test_the_time_span_of_the_events_is_told(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when", "ann,12,1714521600000", "bob,12,1400000000000"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert "The events are from 2014-05-13 to 2024-05-01." in capsys.readouterr().out


def test_a_text_file_beside_the_table_may_hold_anything(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "a.csv", ["who,what,when", "ann,12,1"])
    write_lines(tmp_path / "raw" / "notes.txt", ['"We" sold', "tea"])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    (tmp_path / "raw" / "a.csv").unlink()
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "notes.txt has We, sold" in capsys.readouterr().err
