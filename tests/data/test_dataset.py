"""SEARDataset on small real atomic files: exact time order, one flat history, errors with file and line."""

from math import inf

import numpy as np
import pytest
import torch
from recbole.data import data_preparation

from sear.data.dataset import SEARDataset
from sear.data.events import count_interval
from sear.errors import InputError
from sear.model.sear import SEAR
from sear.settings.recbole_config import build_config
from tests.conftest import random_histories, write_atomic_files


@pytest.fixture
def make(tmp_path, tiny_config):
    def build(histories=None, ratings=True, **changes):
        write_atomic_files(tmp_path, "tiny", histories or random_histories(), ratings)
        return SEARDataset(tiny_config(tmp_path, **changes))

    return build


def events(dataset, user):
    number = dataset.token2id("user_id", user)
    chosen = dataset.inter_feat["user_id"].numpy() == number
    return dataset.id2token("item_id", dataset.inter_feat["item_id"].numpy()[chosen]).tolist()


def test_events_a_second_apart_keep_their_order_and_ties_keep_file_order(make):
    base = 881250000  # float32 holds only every 64th second here
    listed = [("i3", 5, base + 3), ("i1", 4, base + 1), ("i9", 1, base + 3), ("i2", 2, base + 2), ("i0", 3, base)]
    dataset = make({"a": listed}, user_inter_num_interval=None, item_inter_num_interval=None)
    assert events(dataset, "a") == ["i0", "i1", "i2", "i3", "i9"]
    assert dataset.inter_feat["rating"].tolist() == [3, 4, 2, 5, 1]


def test_the_test_item_is_the_last_event_and_its_input_holds_the_validation_event(make):
    dataset = make()
    train, valid, test = dataset.build()
    batch = test[np.arange(len(test))]
    for row in range(len(test)):
        user = dataset.id2token("user_id", batch["user_id"][row])
        listed = dataset.token2id("item_id", np.array(events(dataset, user)))
        length = int(batch["item_length"][row])
        assert batch["item_id"][row] == listed[-1]
        assert batch["item_id_list"][row, :length].tolist() == listed[-1 - length : -1].tolist()
        assert not batch["item_id_list"][row, length:].any()
        assert valid[[row]]["item_id"].item() == listed[-2]


def test_memory_grows_with_events_not_with_rows(make):
    train, valid, test = make(MAX_ITEM_LIST_LENGTH=8, train_rows="prefixes").build()
    assert train.events is valid.events is test.events
    stored = [column for column in vars(train.events).values() if isinstance(column, np.ndarray)]
    assert sum(column.size for column in stored) < 5 * len(train.events)
    assert len(train) > 8 * len(test)


def test_ids_with_spaces_quotes_emoji_and_na_survive(make):
    names = ['"quoted', "NA", "two  spaces", "🧂"]
    histories = {name: [(f"i{i}", 3, i) for i in range(6)] for name in names}
    dataset = make(histories, item_inter_num_interval=None)
    assert list(dataset.field2id_token["user_id"][1:]) == names


def test_a_missing_rating_stays_missing_and_is_neither_zero_nor_a_mean(make):
    histories = {f"u{u}": [(f"i{i}", "" if i == 1 else 0 if i == 2 else 5, i) for i in range(6)] for u in range(5)}
    train, *_ = make(histories).build()
    ratings = train[[0]]["rating_list"][0]
    assert ratings[0] == 5 and torch.isnan(ratings[1]) and ratings[2] == 0


def test_a_data_set_without_ratings_runs_with_one_notice(make, caplog):
    with caplog.at_level("INFO"):
        dataset = make(ratings=False)
    assert torch.isnan(dataset.inter_feat["rating"]).all()
    assert sum("unrated" in record.message for record in caplog.records) == 1


def test_a_rating_column_that_load_col_leaves_out_is_not_read(make, caplog):
    caplog.set_level("INFO")
    dataset = make(load_col={"inter": ["user_id", "item_id", "timestamp"]})
    assert not dataset.events.has_rating and np.isnan(dataset.inter_feat["rating"]).all()
    assert "is read without the column 'rating': every event counts as unrated" in caplog.text
    with pytest.raises(InputError, match="val_interval names rating, which no event has - remove it"):
        make(load_col={"inter": ["user_id", "item_id", "timestamp"]}, val_interval={"rating": "[3,inf)"})


def test_statistics_count_no_padding(make):
    dataset = make({f"u{u}": [(f"i{i}", 3, i) for i in range(6)] for u in range(5)})
    assert dataset.statistics == {
        "users": 5, "items": 6, "interactions": 30, "sparsity": 0.0,
        "avg_interactions_per_user": 6.0, "avg_interactions_per_item": 5.0,
    }  # fmt: skip


def test_training_counts_leave_out_the_held_out_events(make):
    dataset = make({f"u{u}": [(f"i{i}", 3, i) for i in range(6)] for u in range(5)})
    counts = dict(zip(dataset.field2id_token["item_id"], dataset.training_item_counts, strict=True))
    assert counts == {"[PAD]": 0, "i0": 5, "i1": 5, "i2": 5, "i3": 5, "i4": 0, "i5": 0}


def test_full_history_is_uncapped(make):
    dataset = make({f"u{u}": [(f"i{i}", 3, i) for i in range(9)] for u in range(5)}, MAX_ITEM_LIST_LENGTH=2)
    _, _, test = dataset.build()
    items, begin, end = test.full_history(np.array([3]))
    assert dataset.id2token("item_id", items[begin[0] : end[0]].numpy()).tolist() == [f"i{i}" for i in range(8)]


def test_recbole_value_filters_are_obeyed(make):
    histories = {f"u{u}": [(f"i{i}", 1 + i % 5, i) for i in range(10)] for u in range(5)}
    assert (
        make(
            histories,
            item_inter_num_interval="[2,inf)",
            val_interval={"rating": "[4,inf)"},
            user_inter_num_interval="[2,inf)",
        ).inter_num
        == 20
    )
    twice = {f"u{u}": [(f"i{i % 5}", 3, i) for i in range(10)] for u in range(5)}
    assert make(twice, rm_dup_inter="first").inter_num == 25


@pytest.mark.parametrize("length", [6, 40])
def test_windows_and_prefixes_give_the_same_loss_and_gradients(make, tiny_text, length):
    """Short histories with any stride, long ones with stride 1: the same targets in the batch, dropout 0, float64."""
    found = {}
    for train_rows in ("windows", "prefixes"):
        stride = 1 if length == 6 else None
        dataset = make(MAX_ITEM_LIST_LENGTH=length, train_rows=train_rows, window_stride=stride, dropout_prob=0.0)
        train, *_ = dataset.build()
        torch.manual_seed(0)
        model = SEAR(dataset.config, train).double()
        batch = train[np.arange(len(train))]
        batch.interaction["rating_list"] = batch["rating_list"].double()
        loss = model.calculate_loss(batch)
        loss.backward()
        found[train_rows] = [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
    for ours, theirs in zip(found["windows"], found["prefixes"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_recboles_own_preparation_and_loaders_work_on_it(make):
    dataset = make()
    train_data, valid_data, test_data = data_preparation(dataset.config, dataset)
    batch = next(iter(train_data))
    assert batch["target_id_list"].shape[:2] == batch["item_id_list"].shape
    interaction, history, rows, targets = next(iter(test_data))
    assert len(targets) == 40 and history is None and rows.tolist() == list(range(40))


HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "tiny.inter is empty"),
        (HEADER, "holds a header but no rows"),
        ("user_id:token\titem_id:token\nu\ti\n", "no column 'timestamp'"),
        (HEADER + "u\ti\tgood\t1\n", "line 2: rating is 'good', not a number"),
        (HEADER + "u\ti\t5\t1\nu\ti\t5\n", "line 3: 3 columns where the header has 4"),
        (HEADER + "u\ti\t5\tinf\n", "line 2: timestamp is inf"),
        (HEADER + "u\ti\t5\t1\nu\ti\t5\tnan\n", "line 3: timestamp is nan"),
        (HEADER + "u\ti\t5\t\n", "line 2: timestamp is nan"),
        (HEADER + "u\ti\tinf\t1\n", "line 2: rating is inf"),
        (HEADER + "u\ti\t5\t9007199254740993\n", "line 2: timestamp"),
        (HEADER + "u\t\t5\t1\n", "line 2: item_id is ''"),
        (HEADER + "\ti\t5\t1\n", "line 2: user_id is ''"),
        (HEADER + "u\t[PAD]\t5\t1\n", "line 2: item_id is '[PAD]'"),
        ("user_id:token\titem_id:float\ttimestamp:float\nu\t1\t1\n", "'item_id' is of type float, not token"),
        (HEADER + "u\ti\t5\t1\n", "no event is left after filtering"),
        ("user_id:token\titem_id:token\ttimestamp:token\nu\ti\t1\n", "column 'timestamp' is of type token, not float"),
        ("user_id\titem_id\ttimestamp\n", "column 'user_id' must read name:type"),
    ],
)
def test_a_faulty_inter_file_is_named_with_its_line(tmp_path, tiny_config, text, told):
    write_atomic_files(tmp_path, "tiny", {})
    (tmp_path / "tiny" / "tiny.inter").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        SEARDataset(tiny_config(tmp_path))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_users_with_too_few_events_only_train(make):
    histories = {"one": [("i0", 3, 1)], "three": [("i0", 3, 1), ("i1", 3, 2), ("i2", 3, 3)]}
    with pytest.raises(InputError, match="nothing to test"):
        make(histories, user_inter_num_interval=None, item_inter_num_interval=None).build()
    histories["four"] = [(f"i{i}", 3, i) for i in range(4)]
    train, valid, test = make(histories, user_inter_num_interval=None, item_inter_num_interval=None).build()
    assert (len(train), len(valid), len(test)) == (2, 1, 1)


def test_without_an_item_filter_items_nobody_has_met_are_in_the_catalogue(make):
    dataset = make(
        {"a": [(f"i{i}", 3, i) for i in range(5)]}, user_inter_num_interval=None, item_inter_num_interval=None
    )
    assert dataset.item_num == 31 and dataset.field2id_token["item_id"][6] == "i5"


@pytest.mark.parametrize(
    ("text", "bounds"),
    [("[5,inf)", (5, inf)), ("(4,inf)", (5, inf)), ("[2,9)", (2, 8)), ("(-inf,5]", (-inf, 5)), (None, (0, inf))],
)
def test_intervals_become_inclusive_bounds(text, bounds):
    assert count_interval(text, "user_inter_num_interval") == bounds


@pytest.mark.parametrize("text", ["5", "[5,4]", "[a,b]", ""])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(InputError, match="user_inter_num_interval: .* is no interval"):
        count_interval(text, "user_inter_num_interval")


def test_padding_wastes_less_than_a_twentieth_on_ml_100k():
    train, _, _ = SEARDataset(build_config("ml-100k")).build()
    padded = sum(train[batch]["item_id_list"].numel() for batch in train.epoch_batches(seed=2020, epoch=0))
    real = train.rows.length.sum()
    assert real < padded < real / 0.95
