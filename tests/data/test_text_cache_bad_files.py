"""Files of text embeddings that are damaged, foreign or of another kind are never believed."""

import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from sear.data import text_cache
from sear.data.text_encoder import PUBLISHED
from sear.errors import InputError

SENTENCES = ["title: Salt", "title: Toy Story", "title: Thyme"]


def write_file(path, identity, keys):
    path.touch()
    vectors = np.random.default_rng(0).standard_normal((len(keys), 8)).astype(np.float32)
    text_cache._write(path, identity, keys, vectors)


@pytest.fixture
def path(tmp_path):
    """The published encoder's file of SENTENCES; the encoder itself is not here."""
    keys = sorted(text_cache._sentence_key(sentence) for sentence in SENTENCES)
    path = text_cache.cache_path(tmp_path, "spices", PUBLISHED["all-mpnet-base-v2"], keys)
    write_file(path, PUBLISHED["all-mpnet-base-v2"], keys)
    return path


def vectors_beside(path):
    return text_cache.sentence_vectors(SENTENCES, str(path.parent / "all-mpnet-base-v2"), path.parent, "spices")


def rewritten(path, embedding=lambda vectors: vectors, **metadata):
    """The file as written by somebody careless: other vectors, and other metadata, under the old name."""
    with safe_open(path, framework="numpy") as file:
        kept = file.metadata()
    tensors = load_file(path)
    save_file(tensors | {"embedding": embedding(tensors["embedding"])}, path, kept | metadata)


def with_nan(vectors):
    vectors = vectors.copy()
    vectors[1, 2] = np.nan
    return vectors


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[content.index(load_file(path)["embedding"].tobytes())] ^= 1
    path.write_bytes(content)


BAD = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "no safetensors file": (lambda path: path.write_bytes(b"PK\3\4" * 99), "cannot be read"),
    "somebody else's": (lambda path: save_file({"weight": np.ones(3)}, path), "not a file of text embeddings"),
    "a later format": (lambda path: rewritten(path, format="SEAR text embedding 2"), "not a file of text embeddings"),
    "another encoder's": (lambda path: rewritten(path, encoder="0" * 64), "other texts or by another encoder"),
    "fewer rows": (
        lambda path: rewritten(path, lambda vectors: vectors[:-1].copy()),
        "not one float32 vector for each",
    ),
    "narrower": (lambda path: rewritten(path, lambda vectors: vectors[:, :-1].copy()), "its metadata says"),
    "flat": (lambda path: rewritten(path, lambda vectors: vectors.ravel()), "not one float32 vector for each"),
    "float64": (lambda path: rewritten(path, lambda vectors: vectors.astype(float)), "not one float32 vector"),
    "holding NaN": (lambda path: rewritten(path, with_nan), "not finite"),
    "damaged": (flip_a_bit, "does not match its checksum"),
    "of another data set": (
        lambda path: write_file(path, "0" * 64, [b"0" * text_cache.KEY_BYTES]),
        "other texts or by another encoder",
    ),
}


def test_the_file_as_it_was_written_is_believed(path):
    assert vectors_beside(path).shape == (3, 8)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_an_error_that_names_it_and_the_remedy(path, case):
    spoil, says = BAD[case]
    spoil(path)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))} .*{says}.* - (delete|move)") as caught:
        vectors_beside(path)
    assert "\n" not in str(caught.value)
    assert list(path.parent.iterdir()) == [path]


def test_a_bad_file_among_those_that_may_hold_the_sentences_is_an_error_too(path):
    bad = path.with_name("spices-0123456789abcdef.safetensors")
    bad.write_bytes(path.read_bytes()[:-9])
    assert vectors_beside(path).shape == (3, 8)  # the file of the right name is enough
    with pytest.raises(InputError, match=f"^{re.escape(str(bad))} cannot be read"):
        text_cache.sentence_vectors(["title: new"], str(path.parent / "all-mpnet-base-v2"), path.parent, "spices")
