"""Where a conversion writes: nothing is replaced unasked, and nothing half-written is left."""

from sear.atomic_files.__main__ import main
from tests.helpers.raw_dumps import convert, json_lines, review, rows, snapshot, write_lines, write_toys

GOOD = review("A1", "B1", 1405296000)


def test_files_with_other_content_are_never_replaced_unless_asked(tmp_path, capsys):
    write_toys(tmp_path, json_lines([GOOD]))
    for suffix in ("inter", "item"):
        assert convert(tmp_path, "Toys", tmp_path / "raw", "--overwrite") == 0
        converted = snapshot(tmp_path)
        assert convert(tmp_path, "Toys", tmp_path / "raw") == 0  # the same once more does no harm
        write_lines(tmp_path / "dataset" / "Toys" / f"Toys.{suffix}", ["a file of somebody's own"])
        before = snapshot(tmp_path)
        assert convert(tmp_path, "Toys", tmp_path / "raw") == 2
        assert f"Toys.{suffix} is there already and differs" in (told := capsys.readouterr().err)
        assert "--overwrite" in told and snapshot(tmp_path) == before
        assert convert(tmp_path, "Toys", tmp_path / "raw", "--overwrite") == 0
        assert snapshot(tmp_path) == converted


def test_a_place_that_cannot_be_written_to_is_told_in_one_line(tmp_path, capsys):
    write_toys(tmp_path, json_lines([GOOD]))
    (tmp_path / "dataset").write_text("a file")
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path / 'dataset'}") and told.count("\n") == 1


def test_a_failed_conversion_leaves_the_earlier_files_as_they_were(tmp_path):
    write_toys(tmp_path, json_lines([GOOD]))
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 0
    before = rows(tmp_path, "Toys", "inter"), rows(tmp_path, "Toys", "item")
    write_toys(tmp_path, json_lines([GOOD, review("A9", "B9", 5)]))
    write_lines(tmp_path / "raw" / "meta_Toys.json", ["no product"])
    assert convert(tmp_path, "Toys", tmp_path / "raw") == 2
    assert (rows(tmp_path, "Toys", "inter"), rows(tmp_path, "Toys", "item")) == before
    assert len(list((tmp_path / "dataset" / "Toys").iterdir())) == 2


def test_no_folder_that_a_failed_conversion_made_is_left(tmp_path):
    write_toys(tmp_path, json_lines([GOOD]), [{"asin": "B1"}])
    assert main(["Toys", str(tmp_path / "raw"), f"--out={tmp_path / 'x1' / 'x2' / 'x3'}"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
