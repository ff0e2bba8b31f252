"""The learned number on the scores of items met before: its gradient, its histories, its ranks, and what it learns."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sear.errors import InputError
from sear.evaluation.ranks import case_ranks, target_ranks
from sear.model import loss
from sear.model.loss import negative_entropy, soft_label_loss, soft_labels
from sear.ops.earlier_items import EarlierItems
from tests.conftest import random_histories
from tests.helpers.killed_run import run

CAUSAL = ("SEAR", "SASRec", "GRU4Rec", "Mamba4Rec", "eSASRec")
SCORED = (*CAUSAL, "BERT4Rec", "BSARec")
TARGETS = torch.tensor([[3, 3, 5, 1], [2, 4, 0, 0], [6, 0, 0, 0], [1, 2, 1, 2], [5, 4, 3, 0]])
HISTORIES = torch.tensor([[3, 0, 5, 2], [6, 4, 0, 0]])  # the 0 in the middle: an item that came again
ROWS, ENDS = torch.tensor([0, 0, 1, 1, 0]), torch.tensor([1, 4, 0, 2, 3])
KNOWN = [{3}, {3, 5, 2}, set(), {6, 4}, {3, 5}]


def vectors():
    generator = torch.Generator().manual_seed(0)
    shapes = (5, 6), (7, 6), ()
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]


def plain_loss(user_PD, item_VD, bias):
    known_PV = torch.tensor([[float(item in known) for item in range(7)] for known in KNOWN], dtype=torch.float64)
    log_PV = torch.log_softmax(user_PD @ item_VD.T + bias * known_PV, 1)
    weight_PK = soft_labels(TARGETS, 2.0, torch.float64)
    return (negative_entropy(TARGETS, weight_PK) - (weight_PK * log_PV.gather(1, TARGETS)).sum(1)).mean()


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_loss_and_gradients_equal_those_of_the_plain_definition_in_any_chunks(rows, monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_SCORES", 1)
    monkeypatch.setattr(loss, "MIN_CHUNK_ROWS", rows)
    ours, theirs = vectors(), vectors()
    a = soft_label_loss(ours[0], ours[1], TARGETS, 2.0, ours[2], EarlierItems(HISTORIES, ROWS, ENDS))
    b = plain_loss(*theirs)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    (3 * a).backward()
    (3 * b).backward()
    assert theirs[2].grad.abs() > 1e-3
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("train_rows", ["windows", "prefixes"])
def test_each_position_knows_the_whole_history_before_it_and_nothing_later(tiny_model, train_rows):
    model, train, _ = tiny_model(
        "SASRec", repeat_bias=True, MAX_ITEM_LIST_LENGTH=4, window_stride=2, train_rows=train_rows
    )
    index = np.arange(len(train))
    batch = train[index]
    position_P = (batch["target_id_list"][..., 0].flatten() != 0).nonzero().squeeze(1)
    found_PH = model._items_up_to(batch, position_P).items()
    items, width = train.events.item, batch["item_id_list"].shape[1]
    longest = 0
    for position, found_H in zip(position_P.tolist(), found_PH.tolist(), strict=True):
        row, step = divmod(position, width)
        first = train.events.offsets[train.rows.user[row]]
        known = items[first : train.rows.start[row] + step + 1].tolist()
        longest = max(longest, len(known))
        assert sorted(item for item in found_H if item) == sorted(set(known))
    assert longest > 20


@pytest.mark.parametrize("name", CAUSAL)
def test_windows_and_prefixes_teach_the_same(tiny_model, tiny_text, name):
    def loss_and_gradients(train_rows):
        model, train, _ = tiny_model(name, random_histories(longest=11), train_rows=train_rows, repeat_bias=True)
        model.repeat_bias.data.fill_(-1.5)
        value = model.calculate_loss(train[np.arange(len(train))])
        value.backward()
        return value, [p.grad for p in model.parameters() if p.grad is not None], model.repeat_bias.grad

    windows, prefixes = loss_and_gradients("windows"), loss_and_gradients("prefixes")
    torch.testing.assert_close(windows, prefixes, rtol=1e-9, atol=1e-10)
    assert windows[2].abs() > 1e-3


@pytest.mark.parametrize("name", SCORED)
def test_every_way_to_score_and_to_rank_adds_it_to_the_whole_history(tiny_model, tiny_text, name):
    model, _, test = tiny_model(name, repeat_bias=True, MAX_ITEM_LIST_LENGTH=4, window_stride=2)
    model.repeat_bias.data.fill_(2.5)
    index = np.arange(len(test))
    batch = test[index]
    items, starts, ends = test.full_history(index)
    known_BV = torch.zeros(len(test), model.n_items, dtype=torch.float64)
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        known_BV[row, items[start:end]] = 2.5
    with torch.no_grad():
        expected_BV = model.user_vectors(batch) @ model.item_table().T + known_BV
        scores_BV, scores_B = model.full_sort_predict(batch), model.predict(batch)
    torch.testing.assert_close(scores_BV[:, 1:], expected_BV[:, 1:], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(scores_B, scores_BV.gather(1, batch["item_id"][:, None])[:, 0], rtol=1e-9, atol=1e-12)

    class Loader:
        _dataset, collate_fn = test, staticmethod(lambda index: (test[index], None, None, None))

    ranks, masked = case_ranks(model, Loader, lambda batch: batch, 16, True)
    target_B = test.targets(index)
    for row, target in enumerate(target_B.tolist()):
        score = expected_BV[row, target]
        above = [item for item in range(1, model.n_items) if expected_BV[row, item] > score]
        assert ranks[row] == 1 + len(above)
        assert masked[row] == 1 + sum(known_BV[row, item] == 0 for item in above)
    only, nothing = case_ranks(model, Loader, lambda batch: batch, 16, False)
    assert np.array_equal(only, ranks) and nothing is None


def test_ranks_with_the_bias_equal_those_of_sorting_ties_included():
    generator = torch.Generator().manual_seed(1)
    users = torch.randint(-2, 3, (37, 4), generator=generator).float()  # exact products, many of them equal
    items = torch.randint(-2, 3, (50, 4), generator=generator).float()
    target = torch.randint(1, 50, (37,), generator=generator)
    histories = [torch.randint(0, 50, (row % 9,), generator=generator).tolist() for row in range(37)]
    ends = torch.tensor([len(history) for history in histories]).cumsum(0)
    starts = ends - torch.tensor([len(history) for history in histories])
    history = torch.tensor(sum(histories, [])), starts, ends
    for bias in (-2.0, 0.0, 3.0):
        ranks, masked = target_ranks(users, items, target, history, torch.tensor(bias))
        for row, known in enumerate(map(set, histories)):
            score = (users[row] @ items.T) + bias * torch.tensor([float(item in known) for item in range(50)])
            order = sorted(range(1, 50), key=lambda item: (-score[item].item(), item))
            assert ranks[row] == 1 + order.index(target[row].item())
            order = [item for item in order if item not in known or item == target[row]]
            assert masked[row] == 1 + order.index(target[row].item())


def test_a_batch_without_whole_histories_is_told(tiny_model):
    model, train, _ = tiny_model("SASRec", repeat_bias=True)
    batch = train[np.arange(4)]
    del batch.interaction["history_items"]
    with pytest.raises(InputError, match="no history_items, which repeat_bias needs"):
        model.calculate_loss(batch)


def test_without_it_models_and_batches_are_as_they_were(tiny_model):
    model, train, _ = tiny_model("SASRec")
    assert "repeat_bias" not in model.state_dict()
    assert "history_items" not in train[np.arange(4)]


def write_repeats(folder, favourites):
    """Users who take their own two or three items again and again, or (0) never the same one twice."""
    random = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(60):
        own = random.choice(30, favourites or 16, replace=False)
        events = random.choice(own, 16) if favourites else own
        lines += [f"u{user}\ti{item}\t3\t{time}" for time, item in enumerate(events)]
    (folder / "tiny" / "tiny.inter").write_text("\n".join(lines) + "\n")


@pytest.mark.long
@pytest.mark.parametrize("favourites, sign", [(3, 1), (0, -1)])
def test_it_learns_whether_people_come_back_to_what_they_know(here, favourites, sign):
    write_repeats(here, favourites)
    options = {"model": "SASRec", "epochs": 15, "stopping_step": 15, "learning_rate": 0.003}
    plain, biased = run(here, threads=1, **options), run(here, threads=1, repeat_bias=True, **options)
    learned = pd.read_csv(Path(biased["run_folder"]) / "history.csv")["repeat_bias"]
    assert sign * learned.iloc[-1] > 0.5
    assert biased["test"]["ndcg@10"] >= plain["test"]["ndcg@10"]
