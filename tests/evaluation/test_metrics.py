"""Per-case metrics by hand and against RecBole's own evaluation; means, groups, tables."""

import math
from datetime import datetime, timezone

import numpy as np
import pytest
import torch

from sear.errors import InputError
from sear.evaluation.metrics import (
    case_rows,
    grouped,
    groups_table,
    metrics_by_row,
    metrics_of_cases,
    metrics_table,
    summarise,
)
from sear.evaluation.ranks import ranks_from_scores
from tests.conftest import random_histories

EVERY_METRIC = ("Hit", "NDCG", "MRR", "Recall", "Precision", "MAP")


def test_metrics_of_one_target_are_the_known_fractions():
    rows = metrics_by_row(np.array([1, 3, 10, 11, 40_000]))
    assert list(rows) == ["hit@10", "ndcg@10", "mrr@10"]
    assert list(rows["hit@10"]) == [1, 1, 1, 0, 0]
    assert rows["ndcg@10"] == pytest.approx([1, 1 / 2, 1 / math.log2(11), 0, 0])  # 1 / log2(3 + 1) = 1 / 2
    assert list(rows["mrr@10"]) == [1, 1 / 3, 1 / 10, 0, 0]
    assert all(values.dtype == np.float64 for values in rows.values())


def test_every_single_list_metric_of_recbole_is_known_at_every_cut_off():
    rows = metrics_by_row(np.array([2]), EVERY_METRIC, (1, 5))
    assert {name: values.item() for name, values in rows.items()} == {
        "hit@1": 0,
        "hit@5": 1,
        "ndcg@1": 0,
        "ndcg@5": 1 / math.log2(3),
        "mrr@1": 0,
        "mrr@5": 1 / 2,
        "recall@1": 0,
        "recall@5": 1,
        "precision@1": 0,
        "precision@5": 1 / 5,
        "map@1": 0,
        "map@5": 1 / 2,
    }


@pytest.mark.parametrize("name", ["GAUC", "AveragePopularity", "AUC", "Hitt"])
def test_other_metrics_are_refused_with_the_known_names(name):
    with pytest.raises(InputError, match="hit, map, mrr, ndcg, precision, recall"):
        metrics_by_row(np.array([1]), [name])


@pytest.mark.parametrize("topk", [[], 0, [-1], ["10"]])
def test_a_cut_off_that_is_no_positive_number_is_refused(topk):
    with pytest.raises(InputError, match="topk"):
        metrics_by_row(np.array([1]), topk=topk)


def test_figures_equal_recboles_own_evaluation():
    from recbole.evaluator import Collector, Evaluator

    settings = {"metrics": EVERY_METRIC, "topk": [1, 5, 10], "metric_decimal_place": 12, "device": "cpu"}
    settings["eval_args"] = {"mode": "full"}
    generator = torch.Generator().manual_seed(3)
    scores = torch.stack([torch.randperm(60, generator=generator).float() for _ in range(200)])  # no ties
    target = torch.randint(1, 60, (200,), generator=generator)
    rows = metrics_by_row(ranks_from_scores(scores, target)[0], EVERY_METRIC, [1, 5, 10])  # also readies NumPy's names
    scores[:, 0] = -np.inf
    collector = Collector(settings)
    collector.eval_batch_collect(scores, None, torch.arange(200), target)
    assert summarise(rows) == pytest.approx(dict(Evaluator(settings).evaluate(collector.get_data_struct())), abs=1e-11)


def test_means_do_not_depend_on_the_order_of_the_cases():
    rows = metrics_by_row(np.random.default_rng(0).integers(1, 30, 5000), topk=20)
    assert summarise(rows) == summarise({name: values[::-1] for name, values in rows.items()})
    assert summarise(metrics_by_row(np.array([1, 2, 11])))["mrr@10"] == (1 + 1 / 2) / 3


def test_no_cases_have_no_mean():
    assert summarise(metrics_by_row(np.array([], dtype=np.int64), ["Hit"])) == {"hit@10": None}


def test_groups_are_closed_below_and_open_above():
    rows = metrics_by_row(np.array([1, 2, 4, 20, 1]))
    groups = grouped(rows, np.array([4, 5, 9, 20, 5000]), (0, 5, 10, 15, 20))
    assert [group["group"] for group in groups] == ["[0,5)", "[5,10)", "[10,15)", "[15,20)", "[20,∞)"]
    assert [group["cases"] for group in groups] == [1, 2, 0, 0, 2]
    assert [group["mrr@10"] for group in groups] == [1, (1 / 2 + 1 / 4) / 2, None, None, (0 + 1) / 2]


def test_a_case_below_the_first_group_is_in_none():
    groups = grouped({"hit@10": np.array([1.0, 0.0])}, np.array([1, 3]), (2, 5))
    assert [(group["cases"], group["hit@10"]) for group in groups] == [(1, 0), (0, None)]


@pytest.mark.parametrize("edges", [[], [5, 5], [5, 0]])
def test_group_ends_that_do_not_rise_are_refused(edges):
    with pytest.raises(InputError, match="rise"):
        grouped({"hit@10": np.ones(1)}, np.array([1]), edges)


def test_tables_have_four_decimals_and_no_empty_group():
    groups = grouped({"hit@10": np.array([1.0, 0.0, 0.0])}, np.array([1, 1, 2]), (0, 2, 3))
    assert groups_table("history length", groups).split("\n") == [
        "history length      cases    hit@10",
        "----------------  -------  --------",
        "[0,2)                   2    0.5000",
        "[2,3)                   1    0.0000",
    ]
    assert metrics_table(3, {"test": {"hit@10": 1 / 3}, "seen items filtered": None}).split("\n")[2:] == [
        "test        3    0.3333"
    ]


def test_cases_know_how_many_days_before_them_the_last_event_was(tiny_model):
    times = {
        "same second": (881250000, 881250000),
        "same day": (881193600, 881279999),
        "a second": (881279999, 881280000),
        "ten years": (0, 315532800),
    }
    histories = random_histories() | {
        user: [(f"i{n}", 3, first) for n in range(4)] + [("i9", 3, last)] for user, (first, last) in times.items()
    }
    _, _, test = tiny_model("SASRec", histories)
    cases = case_rows(test, np.arange(1, len(test) + 1), None)
    days = dict(zip(cases["user"], cases["days_since_last"], strict=True))
    for user, events in histories.items():
        before, last = (datetime.fromtimestamp(time, timezone.utc).date() for _, _, time in events[-2:])
        assert days[user] == (last - before).days
    assert [days[user] for user in times] == [0, 0, 1, 3652]
    settings = {"metrics": ["Hit"], "topk": [10], "history_length_groups": [0], "item_popularity_groups": [0]}
    groups = metrics_of_cases(cases, settings | {"days_since_last_groups": [0, 1, 30]})["test_by_days_since_last"]
    assert [(group["group"], group["cases"]) for group in groups] == [("[0,1)", 42), ("[1,30)", 1), ("[30,∞)", 1)]
