"""Encoders: known by content, loaded whole or not at all."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sear.data import text_encoder
from sear.data.text_cache import FETCH
from sear.data.text_encoder import (
    PUBLISHED,
    download,
    encode,
    encoder_checksums,
    find_encoder,
    folder_identity,
    token_batches,
)
from sear.errors import InputError
from tests.helpers.tiny_encoder import make_tiny_encoder, write_json

SENTENCES = ["title: Salt", "title: Pepper; kind: N/A", "", "golden eye " * 30, 'ünknown 東京 "word" <mask>']


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture
def copied(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "copied")


def edit_json(path, **changes):
    write_json(path, json.loads(path.read_text()) | changes)


def damage_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def test_vectors_are_those_of_the_encoders_own_pipeline(tiny):
    from sentence_transformers import SentenceTransformer

    vectors = encode(find_encoder(str(tiny)), SENTENCES, batch_tokens=64, device="cpu")
    plain = SentenceTransformer(str(tiny), device="cpu", local_files_only=True).encode(SENTENCES)
    assert vectors.shape == (5, 16) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, plain, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)  # Normalize is part of the pipeline
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_the_bar_is_for_terminals_only(tiny, capsys):
    encode(find_encoder(str(tiny)), SENTENCES, batch_tokens=64, device="cpu")
    assert "encode item texts" not in capsys.readouterr().err


def test_encoding_twice_gives_the_same_bits(tiny):
    first, second = (encode(find_encoder(str(tiny)), SENTENCES, batch_tokens=64, device="cpu") for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_batches_hold_every_row_once_and_keep_to_the_budget():
    lengths = np.array([3, 50, 4, 9, 2, 2, 8])
    order = np.argsort(-lengths, kind="stable")
    batches = token_batches(order, lengths, 18)
    assert [list(batch) for batch in batches] == [[1], [3, 6], [2, 0, 4, 5]]


def test_a_moved_or_redescribed_encoder_is_the_same(tiny, copied):
    edit_json(copied / "config.json", transformers_version="99", _name_or_path="elsewhere")
    (copied / "modules.json").write_text(json.dumps(json.loads((copied / "modules.json").read_text())))
    (copied / "README.md").write_text("Other words.\n")
    (copied / "pytorch_model.bin").write_bytes(b"the same weights in an older form")
    (copied / "data_config.json").write_text("[]")
    (copied / "onnx").mkdir()
    (copied / "onnx" / "model.bin").write_bytes(b"another form")
    assert folder_identity(copied) == folder_identity(tiny)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit_json(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True),
        lambda folder: edit_json(folder / "sentence_bert_config.json", max_seq_length=20),
        lambda folder: edit_json(folder / "tokenizer_config.json", do_lower_case=False),
        lambda folder: edit_json(folder / "config_sentence_transformers.json", prompts={"": "query: "}),
        lambda folder: write_json(folder / "modules.json", json.loads((folder / "modules.json").read_text())[:2]),
        lambda folder: (folder / "vocab.txt").write_text("one\n"),
        damage_weights,
    ],
)
def test_whatever_changes_the_vectors_changes_the_identity(tiny, copied, change):
    change(copied)
    assert folder_identity(copied) != folder_identity(tiny)


def test_other_weights_under_the_published_name_are_another_encoder(copied):
    folder = copied.rename(copied.with_name("all-mpnet-base-v2"))
    assert PUBLISHED["all-mpnet-base-v2"] not in find_encoder(str(folder)).identities


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()])
def test_an_empty_or_absent_folder_of_the_published_name_has_its_identity(tmp_path, make):
    make(tmp_path / "all-mpnet-base-v2")
    encoder = find_encoder(str(tmp_path / "all-mpnet-base-v2"))
    assert encoder.identities == (PUBLISHED["all-mpnet-base-v2"],) and not encoder.filled
    assert find_encoder(str(tmp_path / "another")).identities == ()


def test_a_relative_folder_counts_from_the_projects_root(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(text_encoder, "PROJECT_ROOT", tiny.parent)
    monkeypatch.chdir(tmp_path)
    assert find_encoder(tiny.name).folder == tiny


def without_modules(folder):
    (folder / "modules.json").unlink()


def with_pointer(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def with_broken_modules(folder):
    (folder / "modules.json").write_text("{}]")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_modules, "no pooling known"),
        (with_broken_modules, "not a list of modules"),
        (with_pointer, "Git LFS pointer"),
    ],
)
def test_part_of_an_encoder_is_an_error_before_any_work(copied, spoil, says):
    spoil(copied)
    with pytest.raises(InputError, match=says):
        find_encoder(str(copied))


@pytest.mark.parametrize(
    "spoil",
    [
        damage_weights,
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: shutil.rmtree(folder / "1_Pooling"),
        lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "vocab.txt")],
    ],
)
def test_an_encoder_that_cannot_be_loaded_is_one_line_with_a_remedy(copied, spoil):
    spoil(copied)
    with pytest.raises(InputError, match="is not a whole encoder .* fill it anew") as caught:
        encode(find_encoder(str(copied)), SENTENCES, batch_tokens=64, device="cpu")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_numbers_are_refused(copied):
    from safetensors.numpy import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    save_file({name: np.full_like(value, np.nan) for name, value in weights.items()}, copied / "model.safetensors")
    with pytest.raises(InputError, match="not finite"):
        encode(find_encoder(str(copied)), SENTENCES, batch_tokens=64, device="cpu")


@pytest.fixture
def hub_cache(tiny, tmp_path, monkeypatch):
    """The hub's local cache with one downloaded model, `owner/tiny`; the network is off (conftest.py)."""
    repository = tmp_path / "hub" / "models--owner--tiny"
    shutil.copytree(tiny, repository / "snapshots" / ("a" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_hub_name_is_its_own_identity_and_may_bear_a_revision(hub_cache):
    encoder = find_encoder("owner/tiny")
    assert encoder.identities == ("hub:owner/tiny",)
    assert find_encoder("owner/tiny@v1").identities == ("hub:owner/tiny@v1",)
    downloaded = download(encoder)
    assert downloaded.identities == encoder.identities
    assert encode(downloaded, SENTENCES, batch_tokens=64, device="cpu").shape == (5, 16)


def test_the_published_encoder_has_one_identity_at_the_hub_and_in_a_folder(tiny, hub_cache, monkeypatch, tmp_path):
    hub_name = "sentence-transformers/all-mpnet-base-v2"
    assert find_encoder(hub_name).identities == (PUBLISHED["all-mpnet-base-v2"], f"hub:{hub_name}")
    tiny_there = tmp_path / "hub" / "models--owner--tiny"
    tiny_there.rename(tiny_there.with_name("models--sentence-transformers--all-mpnet-base-v2"))
    assert download(find_encoder(hub_name)).identities == (f"hub:{hub_name}",)  # the hub holds other weights now
    monkeypatch.setitem(PUBLISHED, "all-mpnet-base-v2", folder_identity(tiny))
    assert download(find_encoder(hub_name)).identities == (folder_identity(tiny),)


def test_a_hub_name_out_of_reach_is_an_error_naming_it(hub_cache):
    with pytest.raises(InputError, match="^owner/unknown is no folder, and the hub does not give it"):
        download(find_encoder("owner/unknown"))


def test_the_folders_readme_lists_the_files_and_the_command_of_the_error(tiny):
    readme = (text_encoder.PROJECT_ROOT / "all-mpnet-base-v2" / "README.md").read_text(encoding="utf-8")
    for file in tiny.rglob("*"):
        assert file.name in readme
    assert FETCH + " --local-dir all-mpnet-base-v2\n" in readme
    (check,) = re.findall(r'^python -c "(.*)"$', readme, flags=re.MULTILINE)
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=text_encoder.PROJECT_ROOT)
    assert done.stdout.strip() in ("True", "False"), done.stderr


def test_a_file_of_vectors_is_told_to_be_no_encoder(tmp_path):
    np.save(tmp_path / "vectors.npy", np.zeros((2, 3)))
    with pytest.raises(InputError, match="vectors.npy is a file, no sentence encoder - .* vectors of your own"):
        find_encoder(str(tmp_path / "vectors.npy"))


def test_an_encoder_without_pooling_is_told_how_to_be_saved(copied):
    without_modules(copied)
    with pytest.raises(InputError, match="no pooling known, .* - save it as a sentence-transformers folder"):
        find_encoder(str(copied))


def test_an_encoder_is_told_by_the_checksums_of_its_weights_and_of_its_files(copied, tmp_path):
    weights = hashlib.sha256((copied / "model.safetensors").read_bytes()).hexdigest()
    told = encoder_checksums(str(copied))
    assert told == {"path": str(copied), "weights": weights, "files": folder_identity(copied)}
    published = encoder_checksums(str(tmp_path / "all-mpnet-base-v2"))  # not here, and known all the same
    assert published["files"] == PUBLISHED["all-mpnet-base-v2"] and len(published["weights"]) == 64
    assert encoder_checksums("owner/model") == {"path": "owner/model", "weights": None, "files": None}
