"""The encoding of a file is decided once and told; no file is read in two."""

import codecs

import pytest

from sear.atomic_files.bad_lines import BadLines
from sear.atomic_files.encoding import UTF8, decided, wide_encoding
from sear.atomic_files.raw_lines import line_file
from sear.errors import InputError
from tests.helpers.raw_dumps import convert, rows, write_lines

NAMES = ("--format=csv", "--user=who", "--item=what", "--time=when")
TEXTS = {
    "cp1252": "Lov’s “Best” — €5 – café, naïve Crème brûlée",
    "cp1251": "Война и мир, Анна Каренина",
    "gb18030": "战争与和平，红楼梦",
    "utf-8": "Crème brûlée",
    "utf-8-sig": "Crème brûlée",
    "utf-16": "Crème brûlée",
    "utf-16-le": "Crème brûlée",
    "utf-16-be": "Crème brûlée",
    "utf-32": "Crème brûlée",
}


def table(text, count=3):
    return ["who,what,when,title", *(f'ann,i{row},{1_400_000_000 + row},"{text}"' for row in range(count))]


@pytest.mark.parametrize("encoding, text", TEXTS.items())
def test_texts_come_through_and_any_encoding_but_utf8_is_told(tmp_path, capsys, encoding, text):
    write_lines(tmp_path / "raw" / "a.csv", table(text), encoding=encoding)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 0
    assert {row[1] for row in rows(tmp_path, "mydata", "item")[1:]} == {text}
    told = capsys.readouterr().out
    assert ("read as" in told) == (not encoding.startswith("utf-8"))
    assert encoding.startswith("utf-8") or f"a.csv: {'not UTF-8: ' * (encoding[:3] != 'utf')}read as " in told


@pytest.mark.parametrize(
    "where", ["zoë,café3,1400000003,Crème br\xc3", "zoë,caf\xc3,1400000003,x", "\xaa,caf,1400000003,x"]
)
def test_one_cut_character_names_its_line_and_changes_no_other(tmp_path, capsys, where):
    whole = [f"zoë,café{row},{1_400_000_000 + row},Crème brûlée" for row in range(3)]
    cut = where.encode("latin-1") if "\xaa" in where else where.replace("\xc3", "\x00").encode().replace(b"\0", b"\xc3")
    lines = [line.encode() for line in ["who,what,when,title", *whole]] + [
        cut,
        whole[0].replace("0,", "9,", 1).encode(),
    ]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_bytes(b"\n".join(lines) + b"\n")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 2
    told = capsys.readouterr().err
    assert "a.csv, line 5: not utf-8, as the file is otherwise (byte 0x" in told and "--encoding" in told
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title", "--bad_lines=skip") == 0
    assert {row[0] for row in rows(tmp_path, "mydata", "inter")[1:]} == {"zoë"}


def test_a_few_bytes_that_are_utf8_by_chance_do_not_make_two_readings_of_a_gbk_file(tmp_path):
    lines = ["who,what,when,city", "u1,茅台,1400000000,NY", "u1,茅台,1400000001,北京", "u2,茅台,1400000002,NY"]
    write_lines(tmp_path / "raw" / "a.csv", lines, encoding="gb18030")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 0
    assert {row[1] for row in rows(tmp_path, "mydata", "inter")[1:]} == {"茅台"}


def test_a_short_gbk_text_that_could_be_utf8_is_read_like_the_others_and_counted(tmp_path):
    path = write_lines(tmp_path / "a.csv", ["u,战争与和平", "u,琛哥传", "u,琛哥传"], encoding="gb18030")
    bad_lines = BadLines()
    read = [line for _, line in line_file(path).text_lines(bad_lines)]
    assert read == ["u,战争与和平\n", "u,琛哥传\n", "u,琛哥传\n"]
    assert bad_lines.notices() == [f"{path}: 2 short lines (the first: line 2) can be UTF-8 too: read as gb18030"]


@pytest.mark.parametrize(
    "encoding, text",
    [
        ("koi8-r", "Война и мир"),
        ("koi8-r", "игрушки для детей"),  # all capitals in cp1251
        ("cp866", "Война и мир"),  # signs of cp1252
        ("cp1255", "מלחמה ושלום"),  # lower-case words in cp1251
        ("cp1253", "ΠΟΛΕΜΟΣ ΚΑΙ ΕΙΡΗΝΗ"),  # capitals in cp1251
        ("euc-kr", "전쟁과 평화"),  # Chinese in gb18030
        ("big5", "戰爭與和平"),
        ("shift_jis", "となりのトトロ"),
        ("iso2022_jp", "となりのトトロ"),
        ("cp1250", "Małgorzata"),
        ("cp1250", "Dětské čtení, hledám tě"),
        ("cp1250", "Priče iz davnine, đak"),
        ("cp1254", "Güneş ve ağaç, Savaş"),
        ("mac_roman", "Brand® Name™"),
        ("iso-8859-15", "5 € und 6 €"),
    ],
)
def test_an_encoding_that_is_not_clear_is_refused_and_can_be_named(tmp_path, capsys, encoding, text):
    write_lines(tmp_path / "raw" / "a.csv", table(text), encoding=encoding)
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 2
    told = capsys.readouterr().err
    assert "a.csv is not UTF-8" in told and "--encoding" in told
    options = (*NAMES, "--text=title", f"--encoding={encoding}")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *options) == 0
    assert rows(tmp_path, "mydata", "item")[1][1] == text


@pytest.mark.parametrize(
    "text, encoding",
    [
        ("Amélie", "cp1252"),
        ("São Paulo", "cp1252"),
        ("à la carte", "cp1252"),
        ("Señor", "cp1252"),
        ("Müller Straße", "cp1252"),
        ("Þórður", "cp1252"),
        ("où", "cp1252"),
        ("Così è più bella", "cp1252"),
        ("ações, põe, manhã", "cp1252"),
        ("goût, août, l´été", "cp1252"),
        ("Москва", "cp1251"),
        ("ТЕРМИНАТОР", "cp1251"),
        ("Ёж", "cp1251"),
        ("功夫", "gb18030"),
        ("北京", "gb18030"),
        ("《三体》", "gb18030"),
    ],
)
def test_a_single_word_is_enough(text, encoding):
    assert decided("a.csv", [f"u,i,1,{text}\n".encode(encoding)]).codec == encoding


def test_utf8_is_never_taken_for_anything_else():
    assert decided("a.csv", ["Война,café,战争\n".encode()]) == UTF8
    assert decided("a.csv", []) == UTF8


def test_a_byte_order_mark_decides_and_binary_zeros_do_not():
    assert wide_encoding(codecs.BOM_UTF16_LE + "a".encode("utf-16-le")).codec == "utf-16"
    assert wide_encoding("user,item".encode("utf-16-be")).codec == "utf-16-be"
    assert wide_encoding(b"user\0item,time\n" * 9) is None


def test_an_unknown_encoding_is_refused(tmp_path, capsys):
    write_lines(tmp_path / "raw" / "a.csv", table("x"))
    for name in ("nonsense", "rot13", "hex", "idna", "punycode", "undefined", "unicode-escape"):
        assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, f"--encoding={name}") == 2
        assert f"--encoding={name!r} is no encoding" in capsys.readouterr().err


def test_a_utf16_file_cut_in_the_middle_of_a_character_is_refused(tmp_path, capsys):
    path = write_lines(tmp_path / "raw" / "a.csv", table("x"), encoding="utf-16")
    path.write_bytes(path.read_bytes()[:-1])
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    assert "cut short or damaged" in capsys.readouterr().err


def test_json_lines_that_are_not_utf8_say_so(tmp_path, capsys):
    lines = [f'{{"who": "zo\xeb", "what": "i{row}", "when": {1_400_000_000 + row}}}' for row in range(5)]
    write_lines(tmp_path / "raw" / "a.json", lines, encoding="latin-1")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES) == 2
    told = capsys.readouterr().err
    assert "not UTF-8, as JSON is" in told and "--encoding" in told and "skip" not in told
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--encoding=cp1252") == 0
    assert rows(tmp_path, "mydata", "inter")[1][0] == "zoë"


def test_single_cyrillic_letters_are_no_western_words():
    with pytest.raises(InputError, match="not clear"):
        decided("a.csv", ["а7я\n".encode("cp1251")])


def test_nothing_is_clear_where_nothing_looks_like_words():
    with pytest.raises(InputError, match="not clear"):
        decided("a.bin", [bytes(range(128, 256)) + b"\n"])


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251", "gb18030"])
@pytest.mark.parametrize("count", [1, 9])
def test_a_line_in_utf8_is_a_bad_one_of_a_file_in_another_encoding(tmp_path, capsys, encoding, count):
    own, others = table(TEXTS[encoding], 50), table(TEXTS[encoding], count)[1:]
    path = write_lines(tmp_path / "raw" / "a.csv", own, encoding=encoding)
    path.write_bytes(path.read_bytes() + "".join(f"{line}\n" for line in others).encode())
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title") == 2
    told = capsys.readouterr().err
    assert f"in UTF-8, where the file is otherwise in {encoding}" in told and "a.csv, line 52" in told
    assert convert(tmp_path, "mydata", tmp_path / "raw", *NAMES, "--text=title", "--bad_lines=skip") == 0
    assert {row[1] for row in rows(tmp_path, "mydata", "item")[1:]} == {TEXTS[encoding]}
    assert f"{count} bad line" in capsys.readouterr().out
    asked = (*NAMES, "--text=title", f"--encoding={encoding}", "--overwrite", "--bad_lines=skip")
    assert convert(tmp_path, "mydata", tmp_path / "raw", *asked) == 0
