"""A model folder: what it holds, that nothing of this machine is in it, and what is said of broken ones."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

import sear
from sear.errors import InputError
from sear.files import HOST
from sear.recommend.export import export_model
from sear.runs.model_folder import MANIFEST, _digest, read_model
from tests.conftest import TOY, random_histories, write_atomic_files
from tests.helpers.used_model import toy_run

FILES = {MANIFEST, "weights.safetensors", "items.json", "texts.safetensors", "users.json", "histories.safetensors"}


@pytest.fixture
def run(here):
    """A run whose data have a user below the core, and one whose items are all below it."""
    few = {"few": [("i3", 4, 5), ("rare", 1, 6), ("i5", 2, 7)], "none": [("rare", 5, 1), ("rare2", 3, 2)]}
    write_atomic_files(here, "tiny", random_histories() | few)
    return toy_run(here)


def test_a_finished_run_holds_all_that_use_needs_and_no_path(run, here):
    folder = run / "model"
    assert {path.name for path in folder.iterdir()} == FILES
    for path in folder.iterdir():
        assert str(here).encode() not in path.read_bytes() and b"pickle" not in path.read_bytes()
    about = json.loads((folder / MANIFEST).read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    assert about["metrics"]["test"] == metrics["test"] and about["dataset"] == "tiny" and about["seed"] == 1
    assert about["versions"]["sear"] == sear.__version__ and about["commit"] == metrics["environment"]["commit"]
    assert about["texts"]["fields"] == ["title", "kind"] and about["texts"]["encoder"] == "all-mpnet-base-v2"
    assert about["counts"]["users"] == 40


def test_users_below_the_core_are_served_too(run):
    recommender = sear.load(run)
    assert recommender.user_ids[40:] == ["few", "none"]
    table = recommender.recommend(["few", "none", "u1"], k=3)
    assert table.source.tolist() == ["model"] * 3 + ["popularity"] * 3 + ["model"] * 3
    same = recommender.recommend(history=[("i3", 4), ("i5", 2)], k=3)
    assert table.item_id[:3].tolist() == same.item_id.tolist()


def test_an_exported_folder_gives_the_same_and_may_leave_the_users_out(run, tmp_path):
    before = sear.load(run).recommend(k=3)
    export_model(run, tmp_path / "kept")
    export_model(run, tmp_path / "bare", without_users=True)
    assert sear.load(tmp_path / "kept").recommend(k=3).equals(before)
    assert {path.name for path in (tmp_path / "bare").iterdir()} == FILES - {"users.json", "histories.safetensors"}
    bare = sear.load(tmp_path / "bare")
    assert bare.user_ids is None and len(bare.recommend(history=["i3"], k=3)) == 3
    with pytest.raises(InputError, match="holds no users"):
        bare.recommend()
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_kept_no_model_is_exported_from_its_checkpoint_and_data(here, tmp_path):
    run = toy_run(here, transition_prior=[0.5], text_match=[30.0], repeat_bias=True)
    before = sear.load(run).recommend(k=3)
    shutil.rmtree(run / "model")
    with pytest.raises(InputError, match="is a run of an earlier SEAR - make a model of it with: sear export"):
        sear.load(run)
    export_model(run, tmp_path / "made")
    assert sear.load(tmp_path / "made").recommend(k=3).equals(before)
    write_atomic_files(here, "tiny", random_histories(seed=5))
    with pytest.raises(InputError, match="trained on other events"):
        export_model(run, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_model_is_replaced_and_nothing_else_is(run, tmp_path):
    export_model(run, tmp_path / "there")
    export_model(run, tmp_path / "there", without_users=True)
    assert not (tmp_path / "there" / "users.json").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear diary")
    with pytest.raises(InputError, match="mine is there and holds no model of SEAR"):
        export_model(run, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("has_exchange", [True, False])
def test_a_replacement_that_is_stopped_leaves_the_old_model(toy_model, tmp_path, monkeypatch, has_exchange):
    export_model(toy_model, tmp_path / "there")

    def stopped(source, target):
        if Path(target) == tmp_path / "there" and ".tmp" in str(source):
            raise KeyboardInterrupt
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("sear.runs.model_folder.os.replace", stopped)
        if has_exchange:
            patch.setattr("sear.runs.model_folder.exchanged", lambda *_: stopped(".tmp", tmp_path / "there"))
        else:
            patch.setattr("sear.runs.model_folder.exchanged", lambda *_: False)
        with pytest.raises(KeyboardInterrupt):
            export_model(toy_model, tmp_path / "there", without_users=True)
    assert (tmp_path / "there" / "users.json").exists() and len(list(tmp_path.iterdir())) == 1


def test_nothing_of_a_killed_export_gets_into_a_later_one_and_a_link_stays_one(toy_model, tmp_path):
    for process in (os.getpid(), 2**22 + 1):  # numbers come again, in containers always; and one that does not run
        shutil.copytree(toy_model / "model", tmp_path / f".there.{HOST}-{process}.tmp")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    export_model(toy_model, tmp_path / "link", without_users=True)
    export_model(toy_model, tmp_path / "link", without_users=True)
    assert not (tmp_path / "there" / "users.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"there", "link"} and (tmp_path / "link").is_symlink()


def test_what_is_no_model_is_refused_in_one_line(here, tmp_path):
    settings = {"load_col": TOY["load_col"], "use_gpu": False, "results_path": str(here / "results")}
    counted = Path(sear.run_sear("tiny", "Pop", **settings)["run_folder"])
    with pytest.raises(InputError, match="is a run of Pop - only SEAR and its variants .* can be exported"):
        export_model(counted, tmp_path / "out")
    with pytest.raises(InputError, match="is a run of Pop, which keeps no model for use"):
        sear.load(counted)
    with pytest.raises(InputError, match="holds no model - name a folder"):
        sear.load(tmp_path)
    with pytest.raises(InputError, match="is no run folder"):
        export_model(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("fault", ["flipped", "cut", "gone"])
def test_a_broken_file_is_named(broken_model, name, fault):
    path = broken_model / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if fault != "gone":
        path.write_bytes(bytes(content) if fault == "flipped" else bytes(content)[: len(content) // 2])
    with pytest.raises(
        InputError, match=rf"{name} (is damaged|cannot be read|is missing|describes no|is in the format)"
    ):
        if fault == "gone" and name == MANIFEST:
            read_model(broken_model)
        sear.load(broken_model).similar_items(["i3"], by="both")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": "sear-model-2", "versions": {"sear": "7.0"}},
            "sear-model-2 of SEAR 7.0, this SEAR reads sear-model-1",
        ),
        ({"format": "other"}, "describes no model of SEAR"),
        ({"seed": 99}, "is damaged"),
    ],
)
def test_another_format_or_a_changed_description(broken_model, change, message):
    path = broken_model / MANIFEST
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | change))
    with pytest.raises(InputError, match=message):
        sear.load(broken_model)


def test_settings_that_do_not_fit_the_weights(broken_model):
    path = broken_model / MANIFEST
    about = orjson.loads(path.read_bytes())
    about["settings"]["hidden_size"] = 16
    del about["digest"]
    path.write_bytes(orjson.dumps(about | {"digest": _digest(about)}))
    with pytest.raises(InputError, match="does not hold a whole model") as error:
        sear.load(broken_model)
    assert "\n" not in str(error.value)


@pytest.fixture
def broken_model(toy_model, tmp_path):
    """A copy of a model folder, to be broken."""
    return Path(shutil.copytree(toy_model / "model", tmp_path / "broken"))


def test_a_model_reads_as_it_was_written(toy_model):
    model = read_model(toy_model / "model")
    assert model.users.item.dtype == np.int32 and model.users.offsets[-1] == len(model.users.item)
    assert model.text_VE.shape == (len(model.item_ids) + 1, 24)
    assert model.training_counts.sum() == len(model.users.item) - 2 * 40
