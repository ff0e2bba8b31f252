"""The sampled softmax: its chances, its agreement with the full one, and the rows that its gradients touch."""

import numpy as np
import pytest
import torch

from sear.errors import InputError
from sear.model.loss import soft_label_loss
from sear.model.sampling import ItemSampler, Sample, chances
from sear.model.sear import SEAR
from sear.settings.recbole_config import build_config
from sear.trainer.sparse_rows import touched_rows, use_sparse_gradients
from tests.conftest import random_histories

SAMPLED = ("SEAR", "SASRec", "GRU4Rec", "Mamba4Rec", "eSASRec", "BSARec", "BERT4Rec")
COUNTS = np.array([0, 40, 3, 0, 1, 8, 8, 20])


def test_chances_are_in_proportion_but_at_most_1_and_add_up():
    weight_N = np.array([100.0, 3.0, 1.0, 1.0, 40.0, 2.0])
    chance_N = chances(weight_N, 4)
    assert chance_N.sum() == pytest.approx(4) and chance_N[[0, 4]].tolist() == [1, 1]
    assert chance_N[[1, 2, 3, 5]] == pytest.approx(np.array([3, 1, 1, 2]) * 2 / 7)
    assert chances(weight_N, 6).tolist() == chances(weight_N, 1000).tolist() == [1] * 6


@pytest.mark.parametrize("sources", [["uniform"], ["popularity"], ["in_batch"], ["in_batch", "popularity", "uniform"]])
def test_items_come_into_the_sample_as_often_as_their_chance_says(sources):
    sampler = ItemSampler(sources, 2, COUNTS, COUNTS)
    event_E = np.repeat(np.arange(8), COUNTS)
    random, often_V, told_V, rounds = np.random.default_rng(0), np.zeros(8), np.zeros(8), 4000
    torch.manual_seed(0)
    for _ in range(rounds):
        target_PK = torch.from_numpy(random.choice(event_E, 20, replace=False))[:, None]
        item_U, chance_U = sampler.draw(target_PK)
        assert item_U.tolist() == sorted({*item_U.tolist(), 0, *target_PK.flatten().tolist()})
        often_V[item_U[chance_U > 0]] += 1
        told_V[item_U[chance_U > 0]] = chance_U[chance_U > 0]
    assert told_V[0] == 1 and often_V[0] == rounds
    assert often_V / rounds == pytest.approx(told_V, abs=0.04)


@pytest.mark.parametrize("name, train_rows", [("SEAR", "windows"), ("SEAR", "prefixes"), ("BERT4Rec", "windows")])
def test_the_batchs_targets_are_in_the_sample_as_often_as_said(tiny_model, tiny_text, name, train_rows):
    """Of short histories whose first events nobody predicts, and of targets further on than the next item."""
    options = {} if name == "BERT4Rec" else {"soft_label_length": 4, "train_rows": train_rows}
    histories = random_histories(users=60, longest=7)
    model, train, _ = tiny_model(name, histories, loss_type="sampled", sample_from=["in_batch"], **options)
    found, told, draw = [], [], model.sampler.draw

    def drawn(*given):
        sample = draw(*given)
        found.append(int((sample.chance_U[1:] > 0).sum()))
        told.append(float((1 / sample.chance_U[1:][sample.chance_U[1:] > 0]).sum()))
        return sample

    model.sampler.draw = drawn
    for round_ in range(40):
        torch.manual_seed(round_)
        model.calculate_loss(train[np.random.default_rng(round_).permutation(len(train))[: len(train) // 8]])
    assert np.mean(found) < 25 and np.mean(told) == pytest.approx((model.target_counts(train)[1:] > 0).sum(), rel=0.05)


def test_places_of_items_that_are_not_there_are_0():
    sample = Sample(torch.tensor([0, 3, 7]), torch.ones(3))
    assert sample.numbers(torch.tensor([[7, 0], [4, 9]])).tolist() == [[2, 0], [0, 0]]


@pytest.mark.long
def test_the_sum_of_the_softmax_is_on_average_that_over_all_items():
    random = torch.Generator().manual_seed(0)
    user_PD, item_VD = torch.randn(3, 4, generator=random).double(), torch.randn(9, 4, generator=random).double()
    target_PK = torch.tensor([[3, 3, 5], [2, 4, 0], [6, 0, 0]])
    sampler = ItemSampler(["popularity"], 3, np.array([0, 9, 1, 1, 4, 1, 2, 3, 3]), np.zeros(9))
    torch.manual_seed(0)

    def mean_exp(sampled):
        """Of each position: exp(loss) is the softmax's sum, but for what does not depend on the sample."""
        values = []
        for _ in range(3000 if sampled else 1):
            sample = sampler.draw(target_PK) if sampled else Sample(torch.arange(9), torch.ones(9))
            place_PK, rows_UD = sample.numbers(target_PK), item_VD[sample.item_U]
            each = [
                soft_label_loss(user_PD[p : p + 1], rows_UD, place_PK[p : p + 1], 2.0, chance_V=sample.chance_U)
                for p in range(3)
            ]
            values.append(torch.stack(each).exp())
        return torch.stack(values).mean(0)

    torch.testing.assert_close(mean_exp(True), mean_exp(False), rtol=0.03, atol=0)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_loss_and_gradients_are_those_of_the_corrected_scores_in_any_chunks(rows, monkeypatch):
    monkeypatch.setattr("sear.model.loss.CHUNK_SCORES", 1)
    monkeypatch.setattr("sear.model.loss.MIN_CHUNK_ROWS", rows)
    target_PK = torch.tensor([[3, 3, 5, 1], [2, 4, 0, 0], [6, 0, 0, 0], [1, 2, 1, 2], [5, 4, 3, 0]])
    chance_V = torch.tensor([1, 0.5, 0, 0.25, 1, 0, 0.1], dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    ours = [torch.randn(n, 6, generator=random).double().requires_grad_() for n in (5, 7)]
    theirs = [vectors.detach().clone().requires_grad_() for vectors in ours]
    value = soft_label_loss(*ours, target_PK, 2.0, chance_V=chance_V)

    weight_PK = torch.exp(-2.0 * torch.arange(4.0, dtype=torch.float64)) * (target_PK > 0)
    label_PV = torch.zeros(5, 7, dtype=torch.float64).scatter_add_(1, target_PK, weight_PK)
    label_PV /= label_PV.sum(1, keepdim=True)
    own_PV = label_PV > 0
    score_PV, weight_PV = theirs[0] @ theirs[1].T, torch.where(own_PV, 1, torch.where(chance_V > 0, 1 / chance_V, 0))
    log_sum_P1 = (weight_PV * score_PV.exp()).sum(1, keepdim=True).log()
    expected = torch.nn.functional.kl_div(score_PV - log_sum_P1, label_PV, reduction="batchmean")
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    value.backward()
    expected.backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-12)


def gradients(tiny_model, name, sparse=False, **changes):
    model, train, _ = tiny_model(name, **changes)
    if changes.get("repeat_bias"):
        model.repeat_bias.data.fill_(-0.7)
    torch.manual_seed(0)
    if sparse:
        use_sparse_gradients(model, model.n_items)
    loss = model.calculate_loss(train[np.arange(len(train))])
    loss.backward()
    touched = touched_rows(model)
    found = {name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None}
    return loss, found, {name: touched[p] for name, p in model.named_parameters() if p in touched}


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("source", ["uniform", "popularity"])
def test_loss_and_gradients_are_the_full_softmaxs_when_every_item_is_sampled(tiny_model, tiny_text, name, source):
    options = {"repeat_bias": True} | ({} if name == "BERT4Rec" else {"soft_label_length": 4, "cosine_scale": 5.0})
    full = gradients(tiny_model, name, loss_type="CE", **options)
    everything = {"loss_type": "sampled", "sample_from": [source], "sample_size": 30}
    sampled = gradients(tiny_model, name, sparse=True, **everything, **options)
    torch.testing.assert_close(sampled[:2], full[:2], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("streams", [["semantic", "collaborative"], ["semantic"], ["collaborative", "rating"]])
def test_so_are_those_of_a_tied_table(tiny_model, tiny_text, streams):
    tied = {"item_table": "tied", "streams": streams, "repeat_bias": True}
    everything = {"loss_type": "sampled", "sample_from": ["uniform", "in_batch"], "sample_size": 30}
    full, sampled = gradients(tiny_model, "SEAR", **tied), gradients(tiny_model, "SEAR", True, **tied, **everything)
    torch.testing.assert_close(sampled[:2], full[:2], rtol=1e-10, atol=1e-12)


def test_the_batchs_own_targets_are_everything_when_it_holds_the_epoch(tiny_model):
    full, sampled = (
        gradients(tiny_model, "SASRec", loss_type=kind, sample_from=["in_batch"]) for kind in ("CE", "sampled")
    )
    torch.testing.assert_close(sampled[:2], full[:2], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["SEAR", "SASRec", "GRU4Rec"])
def test_gradients_touch_the_rows_of_the_batch_and_the_sample_alone(tiny_model, tiny_text, monkeypatch, name):
    drawn, draw = [], ItemSampler.draw
    monkeypatch.setattr(ItemSampler, "draw", lambda *given: drawn.append(draw(*given)) or drawn[-1])
    model, train, _ = tiny_model(
        name, random_histories(items=30), loss_type="sampled", sample_from=["uniform"], sample_size=3
    )
    use_sparse_gradients(model, model.n_items)
    batch = train[np.arange(1)]
    model.calculate_loss(batch).backward()
    rows = {name: set(touched.tolist()) for name, touched in zip_names(model, touched_rows(model))}
    sample, history = set(drawn[0].item_U.tolist()), set(batch["item_id_list"].flatten().tolist())
    assert set(batch["target_id_list"].flatten().tolist()) <= sample and len(sample) < 25
    if name == "SEAR":
        assert rows == {"collaborative_emb.weight": history, "item_decoder.weight": sample}
    else:
        assert rows == {"item_embedding.weight": history | sample}


def zip_names(model, rows):
    return [(name, rows[parameter]) for name, parameter in model.named_parameters() if parameter in rows]


def test_a_tied_table_projects_the_texts_of_the_sample_alone(tiny_model, tiny_text):
    both = ["semantic", "collaborative"]
    model, train, _ = tiny_model(
        "SEAR", streams=both, item_table="tied", loss_type="sampled", sample_from=["uniform"], sample_size=3
    )
    projected = []
    model.adapter.register_forward_hook(lambda _, given, __: projected.append(given[0].shape[:-1].numel()))
    batch = train[np.arange(1)]
    sample_and_targets = 1 + 3 * 3 + len(batch["target_id_list"].unique())
    model.calculate_loss(batch)
    assert len(projected) == 2 and projected[0] == batch["item_id_list"].numel() and projected[1] < sample_and_targets


def test_an_own_table_of_item_vectors_is_sampled_too(tiny_model):
    model, train, _ = tiny_model("SASRec", loss_type="sampled", sample_from=["uniform"], sample_size=30)

    class Doubled(type(model)):
        def item_vectors(self):
            return 2 * super().item_vectors()

    model.__class__ = Doubled
    batch = train[np.arange(8)]
    scores = model.full_sort_predict(train[np.arange(8)])
    last = torch.nn.functional.cross_entropy(scores, batch["item_id"])
    batch["target_id_list"] = torch.zeros_like(batch["target_id_list"])
    batch["target_id_list"][torch.arange(8), batch["item_length"] - 1, 0] = batch["item_id"]
    torch.testing.assert_close(model.calculate_loss(batch), last)


def test_a_loss_of_ones_own_is_told_that_it_cannot_be_sampled(tiny_model, monkeypatch):
    monkeypatch.setattr(SEAR, "loss", lambda *_: 0, raising=False)
    with pytest.raises(InputError, match="loss_type is sampled, but SEAR has a loss of its own - write loss_type: CE"):
        tiny_model("SEAR", loss_type="sampled", streams=["collaborative"], text_init=False)


@pytest.mark.parametrize(
    "key, value, why",
    [
        ("sample_from", ["uniform", "uniform"], "which names one entry twice"),
        ("sample_from", [], "an empty list"),
        ("sample_from", ["log_uniform"], "not list of str: uniform | popularity | in_batch"),
        ("sample_size", 0, "not int >= 1"),
        ("loss_type", "BPR", "not str: CE | sampled"),
    ],
)
def test_wrong_settings_of_the_sample_are_told(key, value, why):
    with pytest.raises(InputError) as told:
        build_config("ml-100k", "SASRec", {key: value})
    assert f"{key} is {value!r}, {why}" in str(told.value)
