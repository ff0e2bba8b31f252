"""Pop, ItemKNN, EASE and SequentialRules: what they count and recommend, and that they are tested like all."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sear.errors import InputError
from sear.model.counting import training_matrix
from sear.quick_start import evaluate, resume, run_sear
from sear.settings.recbole_config import build_config
from tests.conftest import TOY, random_histories, write_atomic_files
from tests.helpers.killed_run import run

COUNTING = ("Pop", "ItemKNN", "EASE", "SequentialRules")


@pytest.mark.parametrize(("again", "length"), [(True, 10), (False, 10), (False, None)])
def test_pops_ranks_are_those_counted_by_hand(here, again, length):
    histories = random_histories()
    number = {item: n for n, item in enumerate(dict.fromkeys(e[0] for events in histories.values() for e in events))}
    count = Counter(item for events in histories.values() for item, *_ in events[:-2])
    assert max(map(len, histories.values())) > 10 + 2  # some histories are cut
    changes = {"MAX_ITEM_LIST_LENGTH": length} if length else {}  # else whole histories, by config/model/Pop.yaml
    toy = {key: value for key, value in TOY.items() if key != "MAX_ITEM_LIST_LENGTH"}
    changes |= {"recommend_again": again, "results_path": str(here)}
    done = run_sear("tiny", "Pop", **(toy | changes))
    for case in pd.read_csv(Path(done["run_folder"]) / "cases.csv.gz").itertuples():
        visible = set() if again else {item for item, *_ in histories[case.user][:-1][-(length or 0) :]}
        order = sorted(number, key=lambda item: (item in visible, 0 if item in visible else -count[item], number[item]))
        assert case.rank == 1 + order.index(case.target)
        assert case.target_training_count == count[case.target]


@pytest.mark.parametrize("name", COUNTING)
def test_counting_peers_rank_by_the_rule_of_all_models_unless_told_otherwise(here, name):
    met_once = {
        user: list({event[0]: event for event in events}.values()) for user, events in random_histories().items()
    }
    write_atomic_files(
        here, "tiny", {user: sorted(events, key=lambda event: event[2]) for user, events in met_once.items()}
    )
    whole = {"model": name, "MAX_ITEM_LIST_LENGTH": 1000}
    plain, left_out = run(here, mask_history=True, **whole), run(here, recommend_again=False, **whole)
    assert plain["test_history_masked"] == left_out["test"] != plain["test"]


@pytest.mark.parametrize("name", COUNTING)
def test_counting_peers_see_whole_histories_and_pad_none_to_that_length(name):
    assert build_config("ml-100k", name)["MAX_ITEM_LIST_LENGTH"] == 1_000_000
    with pytest.raises(InputError, match="trim_padding is False, but every history would be padded to 1,000,000"):
        build_config("ml-100k", name, {"trim_padding": False})


def test_itemknn_adds_up_the_cosines_of_the_nearest_items(tiny_model):
    model, train, test = tiny_model("ItemKNN", k=3)
    model.count(train)
    met = training_matrix(train).toarray().astype(np.float64)
    assert met.sum() == train.training_item_counts.sum()
    norm = np.linalg.norm(met, axis=0)
    cosine = met.T @ met / np.maximum(np.outer(norm, norm), 1e-9)
    np.fill_diagonal(cosine, 0)
    ranked = np.sort(cosine, axis=0)
    nearest = np.where(cosine >= ranked[-3], cosine, 0)  # of each item, in its column
    sure = ranked[-3] - ranked[-4] > 1e-6  # a tie for the last place may fall either way
    assert sure[1:].sum() > 10
    batch = test[np.arange(len(test))]
    history = np.stack([np.bincount(row, minlength=model.n_items) for row in batch["item_id_list"].numpy()])
    history[:, 0] = 0
    scores = model.full_sort_predict(batch).numpy()
    np.testing.assert_allclose(scores[:, sure], (history @ nearest)[:, sure], atol=1e-5)


def scores_by_hand(batch, weights: np.ndarray, half_life: float | None) -> np.ndarray:
    """Every event of a history adds its item's row of weights, halved each half_life events."""
    scores = np.zeros((len(batch), weights.shape[1]))
    for row, (history, length) in enumerate(
        zip(batch["item_id_list"].tolist(), batch["item_length"].tolist(), strict=True)
    ):
        for place, item in enumerate(history[:length]):
            scores[row] += weights[item] * (1 if half_life is None else 0.5 ** ((length - 1 - place) / half_life))
    return scores


@pytest.mark.parametrize("half_life", [None, 2.0])
def test_ease_solves_its_regression_and_adds_up_its_weights(tiny_model, half_life):
    model, train, test = tiny_model("EASE", reg_weight=3.0, recency_half_life=half_life)
    model.count(train)
    met = training_matrix(train).toarray().astype(np.float64)
    weights = np.zeros((model.n_items, model.n_items))
    for item in range(1, model.n_items):  # each column is a ridge regression on the other items
        others = np.delete(np.arange(1, model.n_items), item - 1)
        gram = met[:, others].T @ met[:, others] + 3 * np.eye(len(others))
        weights[others, item] = np.linalg.solve(gram, met[:, others].T @ met[:, item])
    np.testing.assert_allclose(model.weight_VV[1:, 1:].numpy(), weights[1:, 1:], atol=1e-9)
    batch = test[np.arange(len(test))]
    expected = scores_by_hand(batch, weights, half_life)
    np.testing.assert_allclose(model.full_sort_predict(batch)[:, 1:].numpy(), expected[:, 1:], atol=1e-6)


def test_ease_tells_in_one_line_that_a_catalogue_is_too_large(tiny_model, monkeypatch):
    monkeypatch.setattr("sear.model.ease.machine_memory", lambda: 10_000)
    with pytest.raises(InputError, match="EASE needs 0.0 GB of memory for 31 x 31 weights, but .* - choose ItemKNN"):
        tiny_model("EASE")


def test_sequential_rules_add_up_what_followed_each_event(tiny_model):
    model, train, test = tiny_model("SequentialRules", steps=4, recency_half_life=2.0, popularity_power=0.5)
    model.count(train)
    counts = np.zeros((model.n_items, model.n_items))
    items = train.events.item.tolist()
    for first, end in zip(train.events.offsets[:-1], train.events.offsets[1:] - 2, strict=True):
        for before in range(first, end):
            for after in range(before + 1, min(end, before + 5)):
                counts[items[before], items[after]] += 1 / (after - before)
    rules = counts / np.maximum(counts.sum(0), 1) ** 0.5
    batch = test[np.arange(len(test))]
    expected = scores_by_hand(batch, rules, 2.0)
    np.testing.assert_allclose(model.full_sort_predict(batch).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "base"), [("ItemKNN-recency", "ItemKNN"), ("EASE-recency", "EASE")])
def test_a_faded_history_is_the_whole_one_where_it_has_one_event(tiny_model, name, base):
    found = []
    for asked in (name, base):
        model, train, test = tiny_model(base, **({"recency_half_life": 1.0} if asked == name else {}))
        model.count(train)
        batch = test[np.arange(len(test))]
        one = batch["item_id_list"].clone()
        one[:, 1:] = 0
        found.append((model.full_sort_predict(batch), model.scores(one)))
    torch.testing.assert_close(found[0][1], found[1][1])
    assert (found[0][0] - found[1][0]).abs().max() > 1e-3


@pytest.mark.parametrize("name", COUNTING)
def test_a_counting_model_takes_one_epoch_without_loss_and_is_tested_like_any_other(here, name):
    done = run(here, model=name, epochs=7)
    folder = Path(done["run_folder"])
    assert (done["epochs"], done["best_epoch"], done["parameters"]) == (1, 0, 0)
    (row,) = pd.read_csv(folder / "history.csv").to_dict("records")
    assert np.isnan(row["loss"]) and np.isnan(row["lr"])
    assert row["valid_mrr@10"] == pytest.approx(done["valid"]["mrr@10"]) and done["valid"]["mrr@10"] > 0
    assert evaluate(folder)["test"] == done["test"]  # from the checkpoint, nothing is counted again
    (folder / "metrics.json").unlink()
    assert resume(folder)["test"] == done["test"]
