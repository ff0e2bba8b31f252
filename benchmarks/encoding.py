"""Encoding item texts by their tokens' number against SentenceTransformer.encode as it is called plainly.

The encoder is real and so is its pipeline; it is loaded once, before the clock starts. The sentences are invented, with
titles, categories and brands as long as those of products.
"""

from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.measure import Request, Row, Side, Skipped, alternate, compare, say
from sear.data import text_encoder
from sear.data.item_texts import item_sentences

TEXTS, SAMPLE = 10_000, 512
OURS, BASELINE = "sear.data.text_encoder.encode", "SentenceTransformer.encode"
WORDS = (
    "moisturizing shampoo for dry hair with argan oil ounce pack of two natural organic face cream anti aging serum "
    "professional nail polish remover brush set travel size men women vitamin repair daily lotion sensitive skin"
).split()
CATEGORIES = ("Beauty Hair Care Shampoos", "Beauty Skin Care Face Creams & Moisturizers", "Beauty Makeup Nails")


def rows(request: Request) -> Iterator[Row]:
    encoder = text_encoder.find_encoder(str(request.encoder.resolve()))
    if not encoder.filled:
        raise Skipped(f"{encoder.folder} holds no encoder - name a folder: --encoder=FOLDER")
    texts, sample = (40, 8) if request.quick else (TEXTS, SAMPLE)
    sentences = make_sentences(texts)
    chosen = sentences[:: texts // sample][:sample]
    say("encoding: the encoder")
    model = text_encoder.load_encoder(encoder, "cpu")

    def ours() -> np.ndarray:
        with patch.object(text_encoder, "load_encoder", lambda *_: model):
            return text_encoder.encode(encoder, chosen, None, "cpu")

    def plainly() -> np.ndarray:
        return model.encode(chosen, show_progress_bar=False)

    np.testing.assert_allclose(ours(), plainly(), atol=1e-4)
    scale = texts / sample
    turns = alternate({OURS: Side(ours, scale), BASELINE: Side(plainly, scale)}, request)
    yield compare("encoding", BASELINE, turns, note=f"{sample:,} of {texts:,} texts, scaled, on both sides")


def make_sentences(count: int) -> list[str]:
    """What an item table of products becomes: one sentence an item."""
    random = np.random.default_rng(2020)
    words = np.minimum(3 + random.geometric(0.12, count), 40)
    table = pd.DataFrame(
        {
            "item_id": [f"i{row}" for row in range(count)],
            "title": [" ".join(random.choice(WORDS, size)) for size in words],
            "categories": random.choice(CATEGORIES, count),
            "brand": np.where(random.random(count) < 0.6, random.choice(WORDS, count), ""),
        }
    )
    return item_sentences(table, ["[PAD]", *table["item_id"]], "item_id", ["title", "categories", "brand"])[1:]
