"""sear export, recommend and similar, as one types them."""

import json

import numpy as np
import pandas as pd
import pytest

import sear
from sear.cli.commands import main
from sear.recommend.recommender import Recommender


@pytest.fixture(scope="module")
def recommender(toy_model):
    return sear.load(toy_model)


def read(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    return pd.read_csv(path)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_everybodys_items_go_to_a_file_part_by_part(toy_model, recommender, tmp_path, monkeypatch, capsys, ending):
    monkeypatch.setitem(Recommender.recommend_batches.__kwdefaults__, "batch_size", 7)
    out = tmp_path / f"top{ending}"
    assert main(["recommend", str(toy_model), "--k=3", f"--out={out}", "--titles"]) == 0
    assert capsys.readouterr().err.endswith(f"40 users\nwritten to {out}\n")
    expected = recommender.recommend(k=3, with_titles=True)
    found = read(out)
    assert list(found.columns) == list(expected.columns) and len(found) == 120
    assert found.item_id.tolist() == expected.item_id.tolist() and found.title.tolist() == expected.title.tolist()
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_new_histories_and_chosen_items_come_from_files(toy_model, recommender, tmp_path, capsys):
    rows = "007,i3,5,20\n007,i4,,10\nNA,gone,1,1\nü,i8,2,3\n"
    (tmp_path / "new.csv").write_text("user_id,item_id,rating,timestamp\n" + rows, encoding="utf-8")
    (tmp_path / "items.txt").write_text("i3\ni5\n\ni6\ni7\n")
    words = [f"--history={tmp_path / 'new.csv'}", f"--items={tmp_path / 'items.txt'}", "--exclude=i6", "--keep_seen"]
    assert main(["recommend", str(toy_model), *words]) == 0
    printed = capsys.readouterr()
    lines = [line.split(",") for line in printed.out.splitlines()]
    assert lines[0] == ["user_id", "item_id", "score", "rank", "source"]
    assert [line[0] for line in lines[1:]] == ["007"] * 3 + ["NA"] * 3 + ["ü"] * 3
    expected = recommender.recommend(
        history=["i4", ("i3", 5)], items=["i3", "i5", "i7"], filter_seen=False
    ).item_id.tolist()
    assert [line[1] for line in lines[1:4]] == expected
    assert "3 users, 1 of them without a known event: popular items" in printed.err
    assert "1 events of" in printed.err


def test_a_shops_own_columns_and_dates_are_a_history(toy_model, recommender, tmp_path, capsys):
    rows = "a,i4,2025-02-01 12:00\na,i3,2025-01-31T09:00:00\n"
    (tmp_path / "orders.csv").write_text("customer,product,ordered_at\n" + rows)
    words = ["--user=customer", "--item=product", "--time=ordered_at", f"--history={tmp_path / 'orders.csv'}", "--k=4"]
    assert main(["recommend", str(toy_model), *words]) == 0
    found = [line.split(",")[1] for line in capsys.readouterr().out.splitlines()[1:]]
    assert found == recommender.recommend(history=["i3", "i4"], k=4).item_id.tolist()
    assert main(["recommend", str(toy_model), *words, "--rating=stars"]) == 2
    assert "has no column stars" in capsys.readouterr().err


def test_chosen_users(toy_model, recommender, tmp_path, capsys):
    assert main(["recommend", str(toy_model), "--users=u3,u1", "--k=2"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["u3", "u3", "u1", "u1"]
    pd.DataFrame({"user_id": ["u5"]}).to_parquet(tmp_path / "who.parquet")
    assert main(["recommend", str(toy_model), f"--users={tmp_path / 'who.parquet'}", "--k=2"]) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["u5", "u5"]


def test_an_atomic_file_is_a_history(toy_model, tmp_path, capsys):
    text = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nnew\ti3\t5\t1\n"
    (tmp_path / "new.inter").write_text(text)
    assert main(["recommend", str(toy_model), f"--history={tmp_path / 'new.inter'}", "--k=1"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("new,i")


def test_similar_items(toy_model, recommender, tmp_path):
    out = tmp_path / "similar.csv"
    assert main(["similar", str(toy_model), "--items=i3,i4", "--k=2", "--by=both", f"--out={out}"]) == 0
    expected = recommender.similar_items(["i3", "i4"], 2, by="both")
    assert read(out).similar_item_id.tolist() == expected.similar_item_id.tolist()
    assert main(["similar", str(toy_model), "--k=1", f"--out={out}"]) == 0
    assert read(out).item_id.tolist() == recommender.item_ids


def test_an_export_says_how_large_it_is(toy_model, tmp_path, capsys):
    assert main(["export", str(toy_model), str(tmp_path / "model"), "--without_users"]) == 0
    assert capsys.readouterr().out.endswith(" MB\n")
    assert sear.load(tmp_path / "model").user_ids is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recommend", "RUN", "--out=top.xlsx"], "top.xlsx is no .csv, .parquet or .jsonl"),
        (["recommend", "RUN", "--k=0"], "k is 0"),
        (["recommend", "nowhere"], "nowhere holds no model"),
        (["recommend", "RUN", "--users=u1,,u2"], "holds an empty id"),
        (["recommend", "RUN", "--users=gone.csv"], "gone.csv is missing - name a file that is there, or ids between"),
        (["recommend", "RUN", "--items=lists/gone"], "lists/gone is missing"),
        (["recommend", "RUN", "--history=gone.csv"], "gone.csv is missing"),
        (["recommend", "RUN", "--history=bad.csv"], "bad.csv is not UTF-8 (byte 17) - save it as UTF-8"),
        (["recommend", "RUN", "--history=other.csv"], "history has no column user_id"),
        (["recommend", "RUN", "--device=cuda:7"], "torch finds no CUDA device"),
        (["similar", "RUN", "--items=other.csv"], "other.csv has no column item_id"),
        (["similar", "RUN", "--items=none.txt", "--out=a.parquet"], "none.txt names no item"),
        (["similar", "RUN", "--by=colour"], "by is 'colour'"),
        (["export", "nowhere", "out"], "nowhere is no run folder"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(toy_model, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_bytes(b"user_id,item_id\n\xff,i3\n")
    (tmp_path / "other.csv").write_text("customer,product\n1,2\n")
    (tmp_path / "none.txt").write_text("\n")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([word.replace("RUN", str(toy_model)) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert {path.name for path in tmp_path.iterdir()} == {"bad.csv", "other.csv", "none.txt"}
