"""Arrays that processes share: named by content, checked, made anew where damaged, and what a data set keeps."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data import data_preparation

from sear.data import dataset as dataset_module
from sear.data import item_texts
from sear.data.dataset import SEARDataset
from sear.data.events import Events, Tokens
from sear.data.item_texts import ItemTexts
from sear.data.kept_arrays import kept_arrays
from sear.errors import InputError
from sear.files import HOST
from sear.model.sear import SEAR
from sear.runs.training_run import prepare
from tests.conftest import fake_sentence_vectors, random_histories, write_atomic_files

MADE = {"a": np.arange(5), "b": np.array([[0.5, np.nan]], np.float32), "flag": np.array(True)}


def keep(folder, source="file", make=lambda: MADE, **what):
    return kept_arrays(folder, "tiny", source, what, make)


def never(*_):
    raise AssertionError("there are arrays already")


def test_arrays_are_made_once_and_then_mapped_as_they_were(tmp_path):
    for make in (lambda: MADE, never):
        found = keep(tmp_path, make=make, length=5)
        assert found.keys() == MADE.keys()
        for name, array in MADE.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype and found[name].ctypes.data % 64 == 0


def test_other_content_has_another_name(tmp_path):
    keep(tmp_path, length=5)
    assert keep(tmp_path, make=lambda: {"a": np.zeros(2)}, length=6)["a"].tolist() == [0, 0]
    assert keep(tmp_path, make=never, length=5)["a"].tolist() == [0, 1, 2, 3, 4]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_made_from_another_file_is_removed(tmp_path):
    keep(tmp_path, "old", length=5)
    keep(tmp_path, "new", length=5)
    (left,) = tmp_path.iterdir()
    assert json.loads((left / "arrays.json").read_text())["content"]["source"] == "new"


def test_the_folders_that_are_unused_for_longest_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("sear.data.kept_arrays.MOST_FOLDERS", 3)
    for number in range(3):
        keep(tmp_path, number=number)
        (table,) = (path for path in tmp_path.glob("*/arrays.json") if f'"number": {number}' in path.read_text())
        os.utime(table, (number, number))
    keep(tmp_path, make=never, number=0)  # is used now
    keep(tmp_path, number=3)
    assert len(list(tmp_path.iterdir())) == 3
    for number in (0, 2, 3):
        keep(tmp_path, make=never, number=number)


def test_several_processes_share_the_arrays_of_small_data_too(tmp_path, tiny_config, monkeypatch):
    write_atomic_files(tmp_path, "tiny", random_histories())
    config = tiny_config(tmp_path, "SASRec")
    SEARDataset(config)
    assert not list(tmp_path.rglob("*.arrays"))
    monkeypatch.setattr("sear.processes.size", lambda: 2)
    SEARDataset(config)
    assert list(tmp_path.rglob("*.arrays"))


def test_writing_into_an_array_does_not_reach_its_file(tmp_path):
    keep(tmp_path)["a"][:] = 9
    assert keep(tmp_path, make=never)["a"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("damage", ["flip", "cut", "lost", "no table", "no json"])
def test_damaged_arrays_are_made_anew(tmp_path, damage, caplog):
    keep(tmp_path)
    (place,) = tmp_path.iterdir()
    file, table = place / "a.npy", place / "arrays.json"
    if damage == "flip":
        file.write_bytes(file.read_bytes()[:-1] + b"\1")
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "no json":
        table.write_text("{")
    else:
        (file if damage == "lost" else table).unlink()
    for make in (lambda: MADE, never):
        np.testing.assert_array_equal(keep(tmp_path, make=make)["a"], MADE["a"])
    assert (f"{place} is damaged: it is made anew" in caplog.text) == (damage in ("flip", "cut", "no json"))


def test_what_a_killed_process_left_is_no_array_and_is_removed(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    keep(tmp_path)
    (place,) = tmp_path.iterdir()
    left = tmp_path / f".{place.name}.{HOST}-{dead.stdout.strip()}.tmp"
    left.mkdir()
    keep(tmp_path, length=7)
    assert not left.exists()


@pytest.mark.skipif(os.name != "posix", reason="rights of a folder")
def test_arrays_that_cannot_be_written_are_held_by_each_process(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sear.data.kept_arrays.os.rename", refuse)
    np.testing.assert_array_equal(keep(tmp_path)["a"], MADE["a"])
    assert "cannot be written (Permission denied): each process holds its own copy" in caplog.text
    assert not list(tmp_path.iterdir())


def test_ids_are_what_they_were():
    texts = ["[PAD]", "a", "", "Ünï", "NA", "007"]
    tokens = Tokens.of(texts)
    assert list(tokens) == texts and [tokens[n] for n in (1, 3, -1)] == ["a", "Ünï", "007"]
    assert tokens[np.array([[5, 1]])].tolist() == [["007", "a"]] and tokens[1:3].tolist() == ["a", ""]
    assert tokens[torch.tensor([4, 0])].tolist() == ["NA", "[PAD]"] and np.array(tokens).tolist() == texts
    with pytest.raises(IndexError):
        tokens[6]


@pytest.fixture
def built(tmp_path, tiny_config, monkeypatch):
    write_atomic_files(tmp_path, "tiny", random_histories())

    def build(kept, **changes):
        monkeypatch.setattr(dataset_module, "KEPT_FROM", 0 if kept else 1 << 60)
        config = tiny_config(tmp_path, "SASRec", **changes)
        return data_preparation(config, SEARDataset(config))

    return build


def everything(loaders):
    train = loaders[0]._dataset
    parts = [
        {field.name: getattr(part._dataset.rows, field.name) for field in fields(part._dataset.rows)}
        for part in loaders
    ]
    batch = train[np.arange(7)].interaction
    whole = train.events.arrays() | {"counts": train.training_item_counts, "first": train.first_meetings}
    return whole, parts, batch, train.events_hash, list(train.events.user_tokens), train.events.has_rating


@pytest.mark.parametrize("changes", [{}, {"repeat_bias": True, "train_rows": "prefixes"}, {"train_on": "all"}])
def test_a_data_set_is_the_same_whether_its_arrays_are_kept_or_not(built, monkeypatch, changes):
    plain, first = (everything(built(kept, **changes)) for kept in (False, True))
    monkeypatch.setattr(SEARDataset, "_read_events", never)
    again = everything(built(True, **changes))
    for kept in (first, again):
        torch.testing.assert_close(kept[2], plain[2], rtol=0, atol=0, equal_nan=True)
        for ours, theirs in zip((kept[0], *kept[1]), (plain[0], *plain[1]), strict=True):
            assert ours.keys() == theirs.keys()
            for name in theirs:
                np.testing.assert_array_equal(ours[name], theirs[name])
        assert kept[3:] == plain[3:]


def test_kept_events_are_those_of_the_file_and_of_what_was_asked_for(built, tmp_path):
    counts = [
        len(built(True, **changes)[0]._dataset.events) for changes in ({}, {"val_interval": {"rating": "[3,inf)"}})
    ]
    assert counts[1] < counts[0]
    file = tmp_path / "tiny" / "tiny.inter"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    events = built(True)[0]._dataset.events
    assert len(events) == counts[0] - 1 and isinstance(events, Events)


@pytest.fixture(params=["inter", "item"])
def changed_when_read(request, monkeypatch):
    """Which file of a data set is written to as soon as it has been read."""
    module, function = {"inter": (dataset_module, "read_event_table"), "item": (item_texts, "read_atomic")}[
        request.param
    ]
    read = getattr(module, function)

    def read_and_change(path, *arguments, **more):
        table = read(path, *arguments, **more)
        with open(path, "a", encoding="utf-8") as file:
            file.write("\n")
        return table

    monkeypatch.setattr(module, function, read_and_change)
    return request.param


def test_nothing_is_kept_of_a_file_that_changed_while_it_was_read(built, tmp_path, tiny_text, changed_when_read):
    with pytest.raises(InputError, match=rf"tiny\.{changed_when_read} was changed while it was read - start again"):
        built(True)[0]._dataset.item_text_embedding()
    assert changed_when_read == "item" or not list((tmp_path / "tiny").glob("*.arrays"))


def test_a_run_on_data_that_change_while_they_are_read_ends_before_it_trains(
    tmp_path, tiny_config, tiny_text, changed_when_read
):
    write_atomic_files(tmp_path, "tiny", random_histories())
    with pytest.raises(InputError, match=rf"tiny\.{changed_when_read} was changed while it was read - start again"):
        prepare(tiny_config(tmp_path, "Pop"), SimpleNamespace())


def test_text_vectors_are_mapped_into_the_model_and_found_without_making_sentences(
    tmp_path, tiny_config, tiny_text, monkeypatch
):
    write_atomic_files(tmp_path, "tiny", random_histories())
    monkeypatch.setattr(dataset_module, "KEPT_FROM", 0)

    def build():
        config = tiny_config(tmp_path)
        train = data_preparation(config, SEARDataset(config))[0]._dataset
        return train.item_text_embedding(), SEAR(config, train).item_text_VE

    vectors, held = build()
    monkeypatch.setattr(ItemTexts, "sentences", property(never))
    for again, model in ((vectors, held), build()):
        assert isinstance(again, np.memmap) and model.data_ptr() == again.ctypes.data
        np.testing.assert_array_equal(again, fake_sentence_vectors(again))
    item = tmp_path / "tiny" / "tiny.item"
    item.write_text(item.read_text().replace("Salt", "Sugar"))
    with pytest.raises(AssertionError, match="there are arrays already"):
        build()
