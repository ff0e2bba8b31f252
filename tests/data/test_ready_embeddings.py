"""ml-100k's text embeddings, shipped ready: the default run needs no encoder."""

import numpy as np
import pytest
from safetensors import safe_open

from sear.data import text_cache
from sear.data.atomic_table import read_atomic
from sear.data.item_texts import item_sentences
from sear.data.text_encoder import PROJECT_ROOT, PUBLISHED

FOLDER = PROJECT_ROOT / "dataset" / "ml-100k"
FIELDS = ["movie_title", "release_year", "class"]


@pytest.fixture(scope="module")
def dataset():
    from sear.data.dataset import SEARDataset
    from sear.settings.recbole_config import build_config

    return SEARDataset(build_config("ml-100k", "SEAR", {"use_gpu": False}))


@pytest.fixture
def no_encoder(tmp_path):
    """The name of the published encoder's folder, which is empty here whatever the project's own holds."""
    (tmp_path / "all-mpnet-base-v2").mkdir()
    return str(tmp_path / "all-mpnet-base-v2")


def test_the_default_run_finds_its_embeddings_without_an_encoder(dataset, no_encoder):
    dataset.config["item_sem_embedding_model_path"] = no_encoder
    vectors = dataset.texts.embedding
    assert vectors.shape == (1350, 768) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_name_still_follows_from_the_sentences_of_all_items(dataset):
    table = read_atomic(dataset.texts.path, ["item_id", *FIELDS])
    sentences = item_sentences(table, ["[PAD]", *table["item_id"]], "item_id", FIELDS)
    keys = [text_cache._sentence_key(sentence) for sentence in sentences]
    path = text_cache.cache_path(FOLDER, "ml-100k", PUBLISHED["all-mpnet-base-v2"], keys)
    assert path.is_file() and len(set(keys)) == 1665
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["encoder"] == PUBLISHED["all-mpnet-base-v2"]
    assert dataset.texts.sentences[0] == sentences[0]
    assert set(dataset.texts.sentences) <= set(sentences)


def test_near_texts_have_near_vectors(dataset, no_encoder):
    told = {sentence: row for row, sentence in enumerate(dataset.texts.sentences)}

    def row(title):
        (found,) = [told[sentence] for sentence in told if f"*movie_title*: {title};" in sentence]
        return found

    vectors = text_cache.sentence_vectors(dataset.texts.sentences, no_encoder, FOLDER, "ml-100k")
    sequel, stranger = row("Empire Strikes Back, The"), row("Sense and Sensibility")
    assert vectors[row("Star Wars")] @ vectors[sequel] > vectors[row("Star Wars")] @ vectors[stranger] + 0.1


@pytest.mark.skipif(
    not (PROJECT_ROOT / "all-mpnet-base-v2" / "modules.json").is_file(), reason="all-mpnet-base-v2/ is not filled"
)
def test_the_encoder_here_makes_the_embeddings_shipped(dataset, no_encoder, tmp_path):
    sentences = dataset.texts.sentences[:4]
    anew = text_cache.sentence_vectors(sentences, "all-mpnet-base-v2", tmp_path / "cache", "ml-100k", device="cpu")
    np.testing.assert_allclose(text_cache.sentence_vectors(sentences, no_encoder, FOLDER, "ml-100k"), anew, atol=1e-5)
