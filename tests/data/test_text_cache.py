"""Text embeddings: kept once under a name that follows from texts and encoder, and believed only when verified."""

import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sear.data import text_cache
from sear.data.text_encoder import PROJECT_ROOT, PUBLISHED, folder_identity
from sear.errors import InputError
from tests.helpers.tiny_encoder import make_tiny_encoder

SENTENCES = ["kind: N/A", "title: Salt", "title: Toy Story", "title: Salt", "title: Thyme"]


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """(encoder folder, folder with its one cache file, the vectors)."""
    root = tmp_path_factory.mktemp("encoded")
    encoder = make_tiny_encoder(root / "tiny")
    return (
        encoder,
        root / "cache",
        text_cache.sentence_vectors(SENTENCES, str(encoder), root / "cache", "spices", device="cpu"),
    )


@pytest.fixture
def cached(encoded, tmp_path, monkeypatch):
    """(encoder folder, a copy of the cache folder, the vectors); encoding anything is a failure."""

    def never(*args):
        raise AssertionError("encoded again")

    monkeypatch.setattr(text_cache, "encode", never)
    return encoded[0], shutil.copytree(encoded[1], tmp_path / "cache"), encoded[2]


@pytest.fixture
def counting_encoder(monkeypatch):
    """Encodes each sentence as its length, and notes which sentences it was asked for."""
    asked = []

    def by_length(encoder, sentences, batch_tokens, device):
        asked.append(list(sentences))
        return np.array([[len(sentence), 1.0] for sentence in sentences], dtype=np.float32)

    monkeypatch.setattr(text_cache, "encode", by_length)
    return asked


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_rows_are_in_the_order_of_the_sentences(encoded):
    from sentence_transformers import SentenceTransformer

    encoder, cache, vectors = encoded
    plain = SentenceTransformer(str(encoder), device="cpu", local_files_only=True).encode(SENTENCES)
    np.testing.assert_allclose(vectors, plain, atol=1e-6)
    assert vectors.dtype == np.float32 and vectors[1].tobytes() == vectors[3].tobytes()
    assert re.fullmatch(r"spices-[0-9a-f]{16}\.safetensors", only_file(cache).name)


def test_each_different_sentence_is_encoded_once_and_a_line_says_so(counting_encoder, encoded, tmp_path, caplog):
    with caplog.at_level("INFO", "sear"):
        vectors = text_cache.sentence_vectors(SENTENCES, str(encoded[0]), tmp_path, "spices")
    assert caplog.messages == [f"encoding {len(set(SENTENCES))} different item texts with {encoded[0]}"]
    assert [sorted(sentences) for sentences in counting_encoder] == [sorted(set(SENTENCES))]
    assert vectors[:, 0].tolist() == [9, 11, 16, 11, 12]


def test_the_second_time_they_come_from_the_file(cached):
    encoder, cache, vectors = cached
    assert text_cache.sentence_vectors(SENTENCES, str(encoder), cache, "spices").tobytes() == vectors.tobytes()


def test_a_part_of_the_sentences_in_another_order_is_served_by_the_same_file(cached):
    encoder, cache, vectors = cached
    part = text_cache.sentence_vectors([SENTENCES[4], SENTENCES[0]], str(encoder), cache, "spices")
    assert part.tobytes() == vectors[[4, 0]].tobytes()


def test_a_changed_sentence_encoder_or_data_set_gets_a_name_of_its_own(counting_encoder, encoded, tmp_path):
    other = shutil.copytree(encoded[0], tmp_path / "other")
    (other / "sentence_bert_config.json").write_text('{"max_seq_length": 20}')
    cache = tmp_path / "cache"
    for sentences, encoder, name in [
        (SENTENCES, encoded[0], "spices"),
        ([*SENTENCES[:-1], "title: Thyme!"], encoded[0], "spices"),
        (SENTENCES, other, "spices"),
        (SENTENCES, encoded[0], "herbs"),
    ]:
        text_cache.sentence_vectors(sentences, str(encoder), cache, name)
        text_cache.sentence_vectors(sentences, str(encoder), cache, name)
    assert [len(asked) for asked in counting_encoder] == [4, 1, 4, 4]
    assert len(list(cache.iterdir())) == 3  # the first two have become one


def test_a_file_found_needs_no_encoder_library(encoded):
    encoder, cache, _ = encoded
    code = (
        "import sys; from sear.data.text_cache import sentence_vectors;"
        f"print(sentence_vectors({SENTENCES!r}, {str(encoder)!r}, {str(cache)!r}, 'spices').shape);"
        "print([name for name in ('sentence_transformers', 'transformers', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert done.stdout.splitlines() == ["(5, 16)", "[]"], done.stderr


def test_killed_mid_write_leaves_no_file_of_the_final_name(encoded, tmp_path):
    code = f"""
import os, signal, numpy, safetensors.numpy
from sear.data import text_cache
def half(tensors, path, metadata):
    whole = safetensors.numpy.save(tensors, metadata)
    path.write_bytes(whole[: len(whole) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
text_cache.save_file = half
text_cache.encode = lambda encoder, sentences, *rest: numpy.ones((len(sentences), 3), numpy.float32)
text_cache.sentence_vectors({SENTENCES!r}, {str(encoded[0])!r}, {str(tmp_path)!r}, "spices")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=PROJECT_ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name[0] for path in tmp_path.iterdir()] == ["."]  # the half one, aside
    text_cache.sentence_vectors(SENTENCES, str(encoded[0]), tmp_path, "spices", device="cpu")
    assert len([path for path in tmp_path.iterdir() if path.suffix == ".safetensors"]) == 1


def test_failed_encoding_leaves_nothing(encoded, tmp_path, monkeypatch):
    def fails(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(text_cache, "encode", fails)
    with pytest.raises(KeyboardInterrupt):
        text_cache.sentence_vectors(SENTENCES, str(encoded[0]), tmp_path / "cache", "spices")
    assert list((tmp_path / "cache").iterdir()) == []


def test_others_may_read_the_file_as_far_as_the_umask_lets_them(encoded, tmp_path):
    (tmp_path / "plain").touch()
    assert only_file(encoded[1]).stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_files_of_other_names_are_left_alone(cached):
    encoder, cache, vectors = cached
    for name in ("spices-notes.safetensors", "herbs-0123456789abcdef.safetensors", "spices.inter"):
        (cache / name).write_bytes(b"not ours")
    assert text_cache.sentence_vectors(SENTENCES, str(encoder), cache, "spices").tobytes() == vectors.tobytes()


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir()])
def test_without_encoder_and_file_the_error_says_what_to_do(tmp_path, make):
    folder = tmp_path / "all-mpnet-base-v2"
    make(folder)
    with pytest.raises(InputError) as caught:
        text_cache.sentence_vectors(SENTENCES, str(folder), tmp_path / "dataset" / "spices", "spices")
    message = str(caught.value)
    assert "\n" not in message
    assert f"{folder} has no encoder" in message and str(tmp_path / "dataset" / "spices") in message
    assert "4 texts" in message  # the different ones
    assert "hf download sentence-transformers/all-mpnet-base-v2" in message and f"--local-dir {folder}" in message
    assert "--item_sem_embedding_model_path=" in message
    assert not (tmp_path / "dataset").exists()


def test_the_published_encoders_file_is_found_with_the_folder_filled_and_emptied(cached, tmp_path, monkeypatch):
    encoder, cache, vectors = cached
    monkeypatch.setitem(PUBLISHED, "all-mpnet-base-v2", folder_identity(encoder))
    folder = shutil.copytree(encoder, tmp_path / "all-mpnet-base-v2")
    for path in (folder, "sentence-transformers/all-mpnet-base-v2", tmp_path / "moved" / "all-mpnet-base-v2"):
        assert text_cache.sentence_vectors(SENTENCES, str(path), cache, "spices").tobytes() == vectors.tobytes()
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "README.md").write_text("Put the files here.\n")
    assert text_cache.sentence_vectors(SENTENCES, str(folder), cache, "spices").tobytes() == vectors.tobytes()


def test_the_published_encoders_file_is_not_used_for_other_weights_of_that_name(cached, tmp_path, monkeypatch):
    encoder, cache, _ = cached
    monkeypatch.setitem(PUBLISHED, "all-mpnet-base-v2", folder_identity(encoder))
    folder = shutil.copytree(encoder, tmp_path / "all-mpnet-base-v2")
    weights = load_file(folder / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, folder / "model.safetensors")
    with pytest.raises(AssertionError, match="encoded again"):
        text_cache.sentence_vectors(SENTENCES, str(folder), cache, "spices")


def test_a_folder_that_cannot_be_written_to_shows_before_the_work(cached, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written .* move it, or choose another place"):
        text_cache.sentence_vectors(SENTENCES, str(cached[0]), tmp_path / "file" / "cache", "spices")


def test_a_full_disk_leaves_nothing(encoded, tmp_path, monkeypatch):
    def full(*args):
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(text_cache, "save_file", full)
    with pytest.raises(InputError, match="No space left on device"):
        text_cache.sentence_vectors(SENTENCES, str(encoded[0]), tmp_path / "cache", "spices", device="cpu")
    assert list((tmp_path / "cache").iterdir()) == []


def test_one_new_product_is_one_text(counting_encoder, encoded, tmp_path, caplog):
    many = [f"title: product {number}" for number in range(61)]
    before = text_cache.sentence_vectors(many, str(encoded[0]), tmp_path, "spices")
    old = only_file(tmp_path)
    (tmp_path / "spices-notes.safetensors").write_bytes(b"not ours")
    with caplog.at_level("INFO", "sear"):
        after = text_cache.sentence_vectors([*many[::-1], "title: new"], str(encoded[0]), tmp_path, "spices")
    assert counting_encoder[1:] == [["title: new"]] and after[:61].tobytes() == before[::-1].tobytes()
    assert not old.exists() and (tmp_path / "spices-notes.safetensors").exists() and len(list(tmp_path.iterdir())) == 2
    assert caplog.messages[0] == f"encoding 1 new item texts with {encoded[0]}"
    assert caplog.messages[1].startswith(f"removed {old}: ")
    text_cache.sentence_vectors(many, str(encoded[0]), tmp_path, "spices")  # what it was before needs no encoder
    assert len(counting_encoder) == 2


def test_texts_that_are_of_no_use_any_more_do_not_pile_up(counting_encoder, encoded, tmp_path):
    for day in range(5):
        prices = [f"price: {number}.{day}" for number in range(10)]
        text_cache.sentence_vectors(["nothing", *prices], str(encoded[0]), tmp_path, "spices")
    assert [len(asked) for asked in counting_encoder] == [11, 10, 10, 10, 10]
    assert len(load_file(only_file(tmp_path))["sentence"]) <= 2 * 11


def test_the_file_that_is_shipped_is_never_removed(counting_encoder, encoded, tmp_path, monkeypatch):
    text_cache.sentence_vectors(SENTENCES, str(encoded[0]), tmp_path, "spices")
    shipped = only_file(tmp_path)
    assert all((PROJECT_ROOT / "dataset" / "ml-100k" / name).exists() for name in text_cache.SHIPPED)
    monkeypatch.setattr(text_cache, "SHIPPED", (shipped.name,))
    text_cache.sentence_vectors([*SENTENCES, "title: new"], str(encoded[0]), tmp_path, "spices")
    assert shipped.exists() and len(list(tmp_path.iterdir())) == 2


def test_a_file_that_another_process_has_just_replaced_is_passed_over(counting_encoder, encoded, tmp_path, monkeypatch):
    text_cache.sentence_vectors(SENTENCES, str(encoded[0]), tmp_path, "spices")
    open_file = text_cache.safe_open

    def gone(path, **options):
        path.unlink()
        return open_file(path, **options)

    monkeypatch.setattr(text_cache, "safe_open", gone)
    text_cache.sentence_vectors(SENTENCES, str(encoded[0]), tmp_path, "spices")
    assert len(counting_encoder) == 2


def test_new_texts_that_nobody_can_encode_are_counted_alone(cached, tmp_path, monkeypatch):
    encoder, cache, _ = cached
    monkeypatch.setitem(PUBLISHED, "all-mpnet-base-v2", folder_identity(encoder))
    with pytest.raises(InputError, match="no embeddings by it of these 1 texts - "):
        text_cache.sentence_vectors([*SENTENCES, "new"], str(tmp_path / "all-mpnet-base-v2"), cache, "spices")
    with pytest.raises(InputError, match="of these 2 texts, padding's among them - "):
        text_cache.sentence_vectors(["no text", "new"], str(tmp_path / "all-mpnet-base-v2"), cache, "spices")
