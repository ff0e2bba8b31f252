"""The statistics of a data set, its config/data file and the README's commands."""

import re
from pathlib import Path

import pytest
import yaml

import sear.settings.gather
from sear.data.dataset import SEARDataset
from sear.data.events import rating_column
from sear.settings.checks import check_settings
from sear.settings.gather import gather_settings
from sear.settings.published import DATA_SETS, published
from sear.settings.recbole_config import build_config
from sear.statistics import main, statistics_table
from tests.helpers.config_folder import copy_config
from tests.helpers.raw_dumps import convert, full_core, json_lines, review, rows, write_lines

ROOT = Path(__file__).parent.parent


def write_ready_files(folder, name):
    """Atomic files as RecBole publishes them: other columns, another order, unsorted; one user below 5-core."""
    events = full_core(lambda user, item, time: (item, f"{time}.0", "5.0" if item == "I0" else "2.0", user))
    events += [("I0", "1300000000", "", "U9")]
    lines = [
        "item_id:token\ttimestamp:float\trating:float\tuser_id:token",
        *("\t".join(event) for event in events[::-1]),
    ]
    write_lines(folder / name / f"{name}.inter", lines)
    header = (
        "sales_type:token\tcategories:token_seq\titem_id:token\tprice:float\ttitle:token\tsales_rank:float\tbrand:token"
    )
    items = [f"Toys\t'A', \"B\tI{item}\t{'' if item else 9.99}\tNA  x\t{item}\t" for item in range(5)]
    write_lines(folder / name / f"{name}.item", [header, *items])


@pytest.mark.parametrize("name", ["beauty", "games", "supplies", "scientific"])
def test_ready_made_atomic_files_are_read_by_the_same_config(tmp_path, name):
    write_ready_files(tmp_path, published(name).folder)
    table = statistics_table(name, tmp_path)
    assert list(table.columns) == ["all events", "after 5-core", "published"]
    assert table.loc["users"].tolist() == ["6", "5", f"{published(name).users:,}"]
    assert table.loc["interactions"].tolist()[:2] == ["26", "25"]
    assert table.loc["sparsity", "after 5-core"] == "0.0000%"  # 1 - 25 / (5 * 5)
    assert table.loc["history length, least"].tolist() == ["1", "5", ""]
    assert table.loc["first event"].tolist()[:2] == ["2011-03-13", "2014-05-13"]
    assert table.loc["without rating"].tolist()[:2] == ["3.85%", "0.00%"]  # 1 / 26
    assert table.loc["rating 2"].tolist()[:2] == ["20 (80.0%)", "20 (80.0%)"]
    assert table.loc["items without brand", "after 5-core"] == "100.00%"
    assert table.loc["items without any text", "after 5-core"] == "0.00%"
    if name == "beauty":
        assert table.loc["items without price", "after 5-core"] == "80.00%"  # 4 / 5


def test_ready_made_files_train_in_exact_time_order(tmp_path):
    write_ready_files(tmp_path, "Amazon_Video_Games")
    dataset = SEARDataset(build_config("games", overrides={"data_path": str(tmp_path)}))
    assert dataset.statistics["interactions"] == 25
    items = dataset.field2id_token["item_id"][dataset.inter_feat["item_id"].numpy()]
    assert items.reshape(5, 5).tolist() == [["I0", "I1", "I2", "I3", "I4"]] * 5
    assert "*title*: NA  x; *categories*: 'A', \"B; *brand*: N/A" in dataset.texts.sentences[1]


def test_a_data_set_of_ones_own_without_ratings_and_texts(tmp_path, monkeypatch, capsys):
    table = ["who,what,when", *full_core(lambda user, item, time: f"{user},{item},{time}")]
    write_lines(tmp_path / "raw" / "a.csv", table)
    assert convert(tmp_path, "mine", tmp_path / "raw", "--user=who", "--item=what", "--time=when") == 0
    advice = capsys.readouterr().out.partition("config/data/mine.yaml:\n")[2]
    write_lines(tmp_path / "config" / "data" / "mine.yaml", [advice])
    write_lines(tmp_path / "config" / "model" / "SEAR.yaml", [(ROOT / "config" / "model" / "SEAR.yaml").read_text()])
    monkeypatch.setattr(sear.settings.gather, "CONFIG_ROOT", tmp_path / "config")
    settings = gather_settings("mine", "SEAR")
    check_settings(settings)
    assert settings.get("streams") == ["collaborative"] and settings.get("text_init") is False
    dataset = SEARDataset(build_config("mine"))
    assert (dataset.inter_num, dataset.events.has_rating) == (25, False)
    assert main(["mine"]) == 0
    told = capsys.readouterr().out
    assert "all (no column)" in told and "all (no .item file)" in told and "published" not in told


@pytest.mark.parametrize(
    "keys",
    [
        {"val_interval": {"rating": "[2,inf)"}, "user_inter_num_interval": None},
        {"val_interval": {"item_id": ["I0", "I1"]}, "user_inter_num_interval": None},
        {"rm_dup_inter": "last", "user_inter_num_interval": "[2,9]"},
        {"item_inter_num_interval": None},  # then items that nobody met count too
    ],
)
def test_figures_are_those_of_the_data_that_trains(tmp_path, monkeypatch, keys):
    write_ready_files(tmp_path, "ml-1m")
    path = tmp_path / "ml-1m" / "ml-1m.inter"
    with open(path, "a") as file:
        file.write("I0\t1500000000\t1.0\tU0\nI0\t1600000000\t4.5\tU0\n")
    with open(tmp_path / "ml-1m" / "ml-1m.item", "a") as file:
        file.write("Toys\t\tI9\t\tnew\t\t\n")
    load_col = {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "title"]}
    settings = keys | {"load_col": load_col, "data_path": str(tmp_path)}
    write_lines(copy_config(tmp_path, monkeypatch) / "data" / "ml-1m.yaml", [yaml.safe_dump(settings)])
    table, expected = statistics_table("ml-1m"), SEARDataset(build_config("ml-1m")).statistics
    assert table.loc[["users", "items", "interactions"], "after filter"].tolist() == [
        f"{expected[name]:,}" for name in ("users", "items", "interactions")
    ]
    assert table.loc["interactions", "all events"] == "28"


def test_columns_that_load_col_leaves_out_are_not_there(tmp_path, monkeypatch):
    write_ready_files(tmp_path, "ml-1m")
    settings = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "data_path": str(tmp_path)}
    write_lines(copy_config(tmp_path, monkeypatch) / "data" / "ml-1m.yaml", [yaml.safe_dump(settings)])
    table = statistics_table("ml-1m")
    assert table.loc["without rating"].tolist()[:2] == ["all (no column)"] * 2
    assert not [name for name in table.index if name.startswith("rating")]
    assert table.loc["items without brand", "after filter"] == "100.00%"  # load_col names no item column: all are read
    assert rating_column({"inter": ["user_id"]}, "rating") is None and rating_column(None, "rating") == "rating"


def test_a_converted_ml_100k_is_read_in_place_of_the_one_inside_recbole(tmp_path):
    write_ready_files(tmp_path, "ml-100k")
    (tmp_path / "ml-100k" / "ml-100k.item").unlink()
    assert statistics_table("ml-100k", tmp_path).loc["interactions"].tolist() == ["26", "25", "99,287"]


def test_many_different_ratings_are_counted_by_whole_stars(tmp_path):
    events = [f"u{user}\ti{item}\t{1 + user / 2 + item / 10}\t{item}" for user in range(5) for item in range(5)]
    write_lines(
        tmp_path / "ml-1m" / "ml-1m.inter", ["user_id:token\titem_id:token\trating:float\ttimestamp:float", *events]
    )
    table = statistics_table("ml-1m", tmp_path)
    # users 0 and 1 start at 1 and 1.5, 2 and 3 at 2 and 2.5, 4 at 3; each gives five ratings up to 0.4 higher
    assert table.loc[["rating 1", "rating 2", "rating 3"], "all events"].tolist() == [
        "10 (40.0%)",
        "10 (40.0%)",
        "5 (20.0%)",
    ]


def test_faults_are_told_in_one_line(tmp_path, capsys):
    assert main(["games", f"--data_path={tmp_path}"]) == 2
    assert "make it with: python -m sear.atomic_files games RAW_DIR" in capsys.readouterr().err
    write_lines(tmp_path / "ml-1m" / "ml-1m.inter", ["user_id:token\titem_id:token\ttimestamp:float", "a\tb\t1"])
    assert main(["ml-1m", f"--data_path={tmp_path}"]) == 2
    assert "no event is left after filtering - lower user_inter_num_interval" in capsys.readouterr().err
    assert main(["ml-100k", f"--data_path={tmp_path}"]) == 2
    assert "ml-100k.inter is missing - make it with: python -m sear.atomic_files ml-100k RAW" in capsys.readouterr().err
    assert main(["nothing"]) == 2
    assert "unknown data set nothing" in capsys.readouterr().err


def test_an_item_file_without_ids_is_told(tmp_path, capsys):
    folder = published("beauty").folder
    write_ready_files(tmp_path, folder)
    items = tmp_path / folder / f"{folder}.item"
    items.write_text(items.read_text().replace("item_id:token", "PKitem_id:token"))
    assert main(["beauty", f"--data_path={tmp_path}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{items} has no column 'item_id' (it has: " in line


@pytest.mark.parametrize("name", [data_set.name for data_set in DATA_SETS])
def test_each_config_is_valid_and_headed_by_its_validation(name):
    check_settings(gather_settings(name, "SEAR"))
    assert gather_settings(published(name).folder, "SEAR").dataset == published(name).folder
    head = (ROOT / "config" / "data" / f"{name}.yaml").read_text().partition("\nload_col")[0]
    assert re.search(r"Validated \d{4}-\d\d-\d\d|Not yet validated", head)
    made = "sear.statistics ml-100k" if name == "ml-100k" else f"sear.atomic_files {name} RAW_DIR"
    assert f"{published(name).interactions:,}" in head and f"python -m {made}" in head


def write_dump(raw, name):
    """The smallest dump with the files that dataset/README.md lists for `name`."""
    if name in ("ml-1m", "ml-100k"):
        tab = name == "ml-100k"
        write_lines(raw / ("u.data" if tab else "ratings.dat"), [("\t" if tab else "::").join(("1", "2", "3", "4"))])
        movie = "2|Jumanji (1995)|||" + "|1" * 19 if tab else "2::Jumanji (1995)::Adventure"
        return write_lines(raw / ("u.item" if tab else "movies.dat"), [movie])
    category, prefix = published(name).category, "reviews_" if name == "beauty" else ""
    write_lines(raw / f"{prefix}{category}_5.json.gz", json_lines([review("A1", "B1", 1)]))
    return write_lines(raw / f"meta_{category}.json.gz", [str({"asin": "B1", "title": "Kite"})])


def test_every_command_of_the_readme_gives_the_columns_its_config_reads(tmp_path):
    text = (ROOT / "dataset" / "README.md").read_text()
    lines = re.findall(r"\| `python -m sear\.atomic_files (\S+) RAW_DIR`.*", text)
    assert sorted(lines) == sorted(data_set.name for data_set in DATA_SETS)
    for name in lines:
        folder, raw = published(name).folder, tmp_path / name
        last = write_dump(raw, name)
        row = next(line for line in text.splitlines() if f"atomic_files {name} RAW_DIR" in line)
        assert all(f"`{path.name}`" in row for path in raw.iterdir()) and last.exists()
        counts = (published(name).users, published(name).items, published(name).interactions)
        assert " · ".join(f"{count:,}" for count in counts) in row
        assert convert(tmp_path, name, raw) == 0
        for suffix, columns in gather_settings(name, "SEAR").get("load_col").items():
            header = [column.partition(":")[0] for column in rows(tmp_path, folder, suffix)[0]]
            assert set(columns) <= set(header)
