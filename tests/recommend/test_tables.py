import pytest

from sear.errors import InputError
from sear.recommend.tables import read_table


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_a_csv_file_with_other_separators_than_commas_is_named_as_such(tmp_path, separator, name):
    path = tmp_path / "orders.csv"
    path.write_text(f"user_id{separator}item_id{separator}rating\nu1{separator}i1{separator}4,5\n")
    with pytest.raises(InputError, match=f"orders.csv is separated by {name} - write it with commas"):
        read_table(path)


def test_a_file_of_another_encoding_is_told_to_be_saved_as_utf_8(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_bytes("user_id,item_id\nMüller,i1\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"orders.csv is not UTF-8 \(byte \d+\) - save it as UTF-8$"):
        read_table(path)


def test_a_table_of_one_column_is_read(tmp_path):
    (tmp_path / "users.csv").write_text("user_id\na;b\n")
    assert read_table(tmp_path / "users.csv").user_id.tolist() == ["a;b"]
