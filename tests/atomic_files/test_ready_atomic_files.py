"""RecBole's ready atomic files, dropped in unchanged: each data set's own config trains on them, in exact order."""

import re

import numpy as np
import pytest
import torch

from sear.data.dataset import SEARDataset
from sear.data.item_texts import OPENING
from sear.errors import InputError
from sear.model.sear import SEAR
from sear.settings.published import published
from sear.settings.recbole_config import build_config
from tests.helpers.raw_dumps import write_lines

USERS, ITEMS, EVENTS = 6, 26, 26
START = 1405296000  # float32 holds only every 128th second here
TOY = {
    "hidden_size": 8, "num_layers": 1, "num_heads": 2, "d_state": 4, "MAX_ITEM_LIST_LENGTH": 10, "dropout_prob": 0.0,
    "use_gpu": False, "show_progress": False,
}  # fmt: skip
OF_AN_EVENT = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
OF_A_FILM = {"item_id": "token", "movie_title": "token_seq", "release_year": "token", "genre": "token_seq"}
OF_A_PRODUCT = {
    "item_id": "token", "title": "token_seq", "sales_type": "token", "sales_rank": "float", "categories": "token_seq",
    "price": "float", "brand": "token",
}  # fmt: skip
SENTENCE_OF_I3 = {
    "ml-1m": "*movie_title*: Salt Mine, The no. 3; *release_year*: 1993; *genre*: Drama War",
    "beauty": "*title*: Salt Mine, The no. 3; *categories*: 'Toys', 'Kites'; *price*: 3.5; *brand*: N/A",
}
SENTENCE_OF_I3 |= dict.fromkeys(
    ("games", "supplies", "scientific"),
    "*title*: Salt Mine, The no. 3; *categories*: 'Toys', 'Kites'; *brand*: N/A",
)
# how far the columns are turned round, so that no two data sets have one order
TURN = {"ml-1m": 0, "beauty": 1, "games": 2, "supplies": 3, "scientific": 5}


def events(ratings):
    """Six users meet all items a second apart, each in an order of its own; the seventh has too few events to stay."""
    for user in range(USERS):
        for step in range(EVENTS):
            stars = {"all": f"{1 + step % 5}.0", "some": "" if step % 2 else "4.0", "none": ""}[ratings]
            yield {
                "user_id": f"u{user}", "item_id": f"i{history(user)[step]}", "rating": stars,
                "timestamp": f"{START + step}.0", "verified": "True", "session_id": "s 1",
            }  # fmt: skip
    yield {"user_id": "passer-by", "item_id": "i0", "rating": "", "timestamp": "0", "verified": "", "session_id": ""}


def history(user):
    """Item numbers in time order."""
    return np.random.default_rng(user).permutation(ITEMS).tolist()


def texts():
    """Every item, and two that nobody has met."""
    for item in range(ITEMS + 2):
        yield {
            "item_id": f"i{item}", "movie_title": f"Salt Mine, The no. {item}", "release_year": f"{1990 + item}",
            "genre": "Drama War", "title": f"Salt Mine, The no. {item}", "sales_type": "Beauty",
            "sales_rank": f"{item}.0", "categories": "'Toys', 'Kites'", "price": f"{item + 0.5}", "brand": "",
        }  # fmt: skip


def write_shuffled(path, kinds, rows, turn):
    """The rows in no order at all, their columns turned round by `turn`."""
    names = [*kinds][turn % len(kinds) :] + [*kinds][: turn % len(kinds)]
    lines = ["\t".join(row[name] for name in names) for row in rows]
    shuffled = [lines[row] for row in np.random.default_rng(7).permutation(len(lines))]
    write_lines(path, ["\t".join(f"{name}:{kinds[name]}" for name in names), *shuffled])


def write_ready_files(folder, name, ratings="all"):
    """RecBole's folder of this data set, with two columns nobody asks for; ratings: all, some, none or no column."""
    data_set, turn = published(name).folder, TURN[name]
    kinds = OF_AN_EVENT | {"verified": "token", "session_id": "token_seq"}
    if ratings == "no column":
        del kinds["rating"]
    rows = events("none" if ratings == "no column" else ratings)
    write_shuffled(folder / data_set / f"{data_set}.inter", kinds, rows, turn)
    kinds = OF_A_FILM if name == "ml-1m" else OF_A_PRODUCT
    write_shuffled(folder / data_set / f"{data_set}.item", kinds, texts(), turn)
    return folder / data_set


def dataset_of(folder, name):
    return SEARDataset(build_config(name, "SEAR", TOY | {"data_path": str(folder)}))


def gradients(dataset):
    """Gradients of one training step over all windows, by the first part of the parameter's name."""
    train, *_ = dataset.build()
    torch.manual_seed(0)
    model = SEAR(dataset.config, train)
    loss = model.calculate_loss(train[np.arange(len(train))])
    loss.backward()
    assert torch.isfinite(loss)
    return model, {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", TURN)
def test_ready_files_are_read_by_the_same_config_in_exact_time_order(tmp_path, name):
    folder = write_ready_files(tmp_path, name)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    dataset = dataset_of(tmp_path, name)
    assert (dataset.user_num - 1, dataset.item_num - 1, dataset.inter_num) == (USERS, ITEMS, USERS * EVENTS)
    *_, test = dataset.build()
    batch = test[np.arange(len(test))]
    for row in range(USERS):
        user = int(dataset.id2token("user_id", batch["user_id"][row])[1:])
        flat = slice(dataset.events.offsets[batch["user_id"][row] - 1], dataset.events.offsets[batch["user_id"][row]])
        met = dataset.id2token("item_id", dataset.inter_feat["item_id"][flat].numpy()).tolist()
        assert met == [f"i{item}" for item in history(user)]
        assert dataset.inter_feat["rating"][flat].tolist() == [1 + step % 5 for step in range(EVENTS)]
        assert dataset.inter_feat["timestamp"][flat].tolist() == [START + step for step in range(EVENTS)]
        assert dataset.id2token("item_id", batch["item_id"][row]) == met[-1]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", TURN)
def test_ready_texts_are_told_in_the_order_of_the_config_and_extra_columns_are_not(tmp_path, name):
    write_ready_files(tmp_path, name)
    dataset = dataset_of(tmp_path, name)
    assert dataset.texts.sentences[dataset.token2id("item_id", "i3")] == OPENING + SENTENCE_OF_I3[name]
    assert len(dataset.texts.sentences) == 1 + ITEMS  # padding, and no item that nobody has met


@pytest.mark.parametrize("name", TURN)
@pytest.mark.parametrize("ratings", ["all", "some", "none", "no column"])
def test_ready_files_train_with_any_ratings_and_the_missing_ones_train_a_vector(tmp_path, tiny_text, name, ratings):
    write_ready_files(tmp_path, name, ratings)
    _, gradient = gradients(dataset_of(tmp_path, name))
    assert gradient["rating_emb.weight"].any() == (ratings in ("all", "some"))
    assert gradient["no_rating_emb"].any() == (ratings != "all")


def test_a_missing_rating_is_scored_by_its_vector_not_as_zero_stars_or_their_mean(tmp_path, tiny_text):
    write_ready_files(tmp_path, "beauty", "some")
    dataset = dataset_of(tmp_path, "beauty")
    model, _ = gradients(dataset)
    model.eval()
    *_, test = dataset.build()

    def scores(*rating):
        batch = test[[0]]
        if rating:
            batch["rating_list"][batch["rating_list"].isnan()] = rating[0]
        return model.full_sort_predict(batch).detach()

    told = scores()
    for stars in (0.0, 4.0):  # 4 is the mean of those that are there
        assert not torch.allclose(told, scores(stars), rtol=0, atol=1e-6)
    with torch.no_grad():  # the vector of four stars in its place gives the scores of four stars
        model.no_rating_emb.copy_(model.rating_emb.weight[:, 0] * 4 + model.rating_emb.bias)
    torch.testing.assert_close(scores(), scores(4.0))


def test_ready_texts_written_with_csv_quoting_reach_the_sentences_and_titles(tmp_path):
    folder = write_ready_files(tmp_path, "games")
    path = folder / "Amazon_Video_Games.item"
    text = re.sub(r"Salt Mine, The no\. 3\b", '"24"" Salt\nMine no. 3"', path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    dataset = dataset_of(tmp_path, "games")
    item = dataset.token2id("item_id", "i3")
    assert dataset.texts.sentences[item].startswith(OPENING + '*title*: 24" Salt Mine no. 3; *categories*:')
    assert dataset.texts.titles[item] == '24" Salt Mine no. 3'


@pytest.mark.parametrize("old, new", [("i", "I"), ("Salt Mine, The no. ", None)])
def test_texts_that_reach_no_item_are_refused_with_a_remedy(tmp_path, old, new):
    folder = write_ready_files(tmp_path, "games")
    path = folder / "Amazon_Video_Games.item"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    place = [column.partition(":")[0] for column in header.split("\t")].index("item_id")
    if new:  # other ids than in the events
        lines = [line.replace(old, new) for line in lines]
    else:  # ids alone
        lines = ["\t".join(cell if at == place else "" for at, cell in enumerate(line.split("\t"))) for line in lines]
    write_lines(path, [header, *lines])
    with pytest.raises(InputError, match=r"no item of the events has any text in title, .* streams: \["):
        _ = dataset_of(tmp_path, "games").texts.sentences
    write_lines(path, [header])
    with pytest.raises(InputError, match=r"a header but no rows - add the items' texts, or do without"):
        _ = dataset_of(tmp_path, "games").texts.sentences
