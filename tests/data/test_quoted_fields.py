"""CSV quoting in .item files is undone where it is quoting, and only there."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sear.atomic_files.plain_text import plain_text
from sear.atomic_files.write import write_items
from sear.data.atomic_table import quoted, read_atomic, unquoted
from sear.errors import InputError

HEADER = "item_id:token\ttitle:token_seq\tbrand:token\tprice:float"


def read(tmp_path, *records, header=HEADER, end="\n", suffix="item"):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(end.join([header, *records, ""]).encode())
    return read_atomic(path)


@pytest.mark.parametrize(
    "text, told",
    [
        ('"24"" brush"', '24" brush'),
        ('"Salt"', "Salt"),
        ('""', ""),
        ('"""Salt"""', '"Salt"'),
        ('"a\tb\r\nc"', "a b c"),
        ('"Half open', None),
        ('"Heroes" and others', None),
        ('"A" or "B"', None),
        ('"odd""', None),
        ('"', None),
        ('24" brush', None),
        ('say "Salt"', None),
    ],
)
def test_only_a_well_formed_quoted_text_is_unquoted(text, told):
    assert unquoted(text) == (text if told is None else told)


@given(st.text(alphabet='"a é'))
def test_what_is_written_reads_back_as_it_was(text):
    assert unquoted(quoted(text)) == text


def test_texts_are_unquoted_but_ids_are_not(tmp_path):
    table = read(tmp_path, '"q"\t"24"" brush"\t"L\'""Or"""\t3.5', 'b\t"Half open\t\t')
    assert table["item_id"].tolist() == ['"q"', "b"]
    assert table["title"].tolist() == ['24" brush', '"Half open']
    assert table["brand"].tolist() == ['L\'"Or"', ""]


def test_quotation_marks_in_events_are_part_of_the_id(tmp_path):
    assert read(tmp_path, '"i""1"', header="item_id:token", suffix="inter")["item_id"].tolist() == ['"i""1"']


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@given(
    rows=st.lists(
        st.tuples(
            st.text(alphabet='a"\n\r é') | st.text(alphabet='a"\t\r'),
            st.text(alphabet='b"\n\r'),
            st.sampled_from(["", "1.5"]),
        ),
        min_size=1,
    )
)
def test_what_a_csv_writer_wrote_is_read_record_by_record(tmp_path_factory, end, rows):
    written = io.StringIO()
    writer = csv.writer(written, delimiter="\t", lineterminator=end)
    writer.writerows([f"i{number}", title, brand, price] for number, (title, brand, price) in enumerate(rows))
    records = written.getvalue().removesuffix(end)
    table = read(tmp_path_factory.mktemp("items"), *records.split(end), end=end)
    assert table["item_id"].tolist() == [f"i{number}" for number in range(len(rows))]
    for name, place in (("title", 0), ("brand", 1)):
        texts = [row[place] for row in rows]
        assert [text.split() for text in table[name]] == [text.split() for text in texts]
        assert not [text for text in table[name] if set("\n\t") & set(text)]


@pytest.mark.parametrize("ends", [("\r\n", "\r\n"), ("\n", "\r\n"), ("\r\n", "\n")])
@pytest.mark.parametrize("last, value", [("brand:token", "Kite"), ("price:float", "3.5"), ("price:float", "")])
@pytest.mark.parametrize("suffix", ["item", "inter"])
def test_a_carriage_return_ends_no_record_and_stays_at_no_lines_end(tmp_path, ends, last, value, suffix):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(
        f"item_id:token\ttitle:token\t{last}{ends[0]}a\tone\rtwo\t{value}{ends[1]}b\tx\t{value}\n".encode()
    )
    table, codes = read_atomic(path), read_atomic(path, codes=("brand",))
    assert table["title"].tolist() == ["one\rtwo", "x"]
    expected = {"Kite": "Kite", "3.5": 3.5, "": np.nan}[value]
    for read_back in (table, codes):
        np.testing.assert_array_equal(read_back.iloc[:, 2].to_numpy(), [expected] * 2)


def test_a_nul_byte_and_what_is_not_utf_8_are_told_with_their_line(tmp_path):
    for text, fault in ((b"x\0y", "a NUL byte"), (b"caf\xe9", "not UTF-8")):
        for name in ("x.item", "x.inter"):
            (tmp_path / name).write_bytes(b"item_id:token\ttitle:token\na\tb\nb\t" + text + b"\n")
            with pytest.raises(InputError, match=f"{name}, line 3: {fault}"):
                read_atomic(tmp_path / name)


def test_a_text_over_several_lines_in_the_last_column_is_one_record(tmp_path):
    table = read(tmp_path, 'a\t"one\ntwo ""2""\n\nthree"', 'b\t"open', 'c\t"x\ny"', header="item_id:token\tt:token")
    assert table["t"].tolist() == ['one two "2" three', '"open', "x y"]


def test_a_fault_after_a_text_over_several_lines_is_told_with_its_line(tmp_path):
    with pytest.raises(InputError, match="x.item, line 4: price is 'dear'"):
        read(tmp_path, 'a\t"one\ntwo"\t\t1', "b\tx\t\tdear")


@pytest.mark.parametrize("lines", [['a\t"one', 'two" more\t\t1'], ['a\t"one', "two\t\t1"], ["a\tone\t\t1", "b"]])
def test_a_record_that_cannot_be_put_together_is_refused_with_its_line(tmp_path, lines):
    with pytest.raises(InputError, match=r"x.item, line \d: \d columns where the header has 4"):
        read(tmp_path, *lines)


TITLES = ['"Half open', '"Salt"', '24" brush', '"A" or "B"', '""', '"', '"""', "Salt"]


def test_titles_that_the_converter_writes_read_back_exactly(tmp_path):
    rows = [(f"i{number}", [plain_text(title), ""]) for number, title in enumerate(TITLES)]
    codes = {item: number for number, (item, _) in enumerate(rows)}
    write_items(tmp_path / "x.item", {"title": "token_seq", "price": "float"}, rows, codes)
    assert read_atomic(tmp_path / "x.item")["title"].tolist() == TITLES


def test_a_file_without_quotes_is_not_searched_a_second_time(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("not needed here")

    monkeypatch.setattr("sear.data.atomic_table.unquoted", refuse)
    monkeypatch.setattr("sear.data.atomic_table.joined_records", refuse)
    assert len(read(tmp_path, 'a\t24" brush\t\t1')) == 1
