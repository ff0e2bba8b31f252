"""Counted transitions on histories small enough to count by hand; expected values are the fractions themselves."""

from fractions import Fraction

import numpy as np
import torch

from sear.model.transitions import (
    SparseTable,
    because,
    history_matrix,
    normalised,
    popularity,
    recency_weights,
    transition_counts,
)

#               user 1        user 2
ITEM = np.array([1, 2, 3, 1, 2, 3, 3])
USER = np.array([1, 1, 1, 1, 2, 2, 2])


def dense(expected: dict) -> np.ndarray:
    table = np.zeros((4, 4))
    for (before, after), value in expected.items():
        table[before, after] = value
    return table


def test_pairs_count_by_one_over_their_distance_and_never_across_users():
    by_hand = {
        (1, 2): 1,
        (1, 3): Fraction(1, 2),
        (2, 3): Fraction(1) + Fraction(1) + Fraction(1, 2),  # once by user 1, twice by user 2
        (2, 1): Fraction(1, 2),
        (3, 1): 1,
        (3, 3): 1,
    }
    np.testing.assert_allclose(transition_counts(ITEM, USER, 4, steps=2).toarray(), dense(by_hand), rtol=1e-12)
    by_hand[1, 1] = Fraction(1, 3)
    for steps in (3, 100):
        np.testing.assert_allclose(transition_counts(ITEM, USER, 4, steps).toarray(), dense(by_hand), rtol=1e-12)


def test_a_single_event_makes_no_transition():
    assert transition_counts(ITEM[:1], USER[:1], 4, steps=3).nnz == 0


def test_columns_are_divided_by_a_power_of_what_all_items_say_of_them():
    counts = transition_counts(ITEM, USER, 4, steps=2)
    np.testing.assert_allclose(popularity(counts), [1, 1.5, 1, 4])  # a column of less than 1 counts as 1
    np.testing.assert_allclose(normalised(counts, 0.5)[2].toarray()[0], [0, 0.5 / 1.5**0.5, 0, 2.5 / 2])
    np.testing.assert_allclose(normalised(counts, 0.0).toarray(), counts.toarray())


def test_an_event_weighs_half_as_much_a_half_life_earlier():
    item = torch.tensor([[3, 1, 3], [2, 0, 0]])
    root = 0.5**0.5
    expected = torch.tensor([[0.5, root, 1], [1, 0, 0]])
    torch.testing.assert_close(recency_weights(item, 2.0), expected)
    torch.testing.assert_close(recency_weights(item, None), (item > 0).float())
    np.testing.assert_allclose(history_matrix(item, 4, 2.0).toarray(), [[0, root, 0, 1.5], [0, 0, 1, 0]], rtol=1e-6)


def test_the_items_that_spoke_loudest_are_named():
    rules = normalised(transition_counts(ITEM, USER, 4, steps=2), 0.0)
    history = np.array([1, 2, 3])  # for item 3 they say 1/2, 5/2 and 1
    assert because(history, 3, rules, None) == [2, 3, 1]
    assert because(history, 3, rules, 1.0) == [2, 3, 1]  # 1/8, 5/4, 1
    assert because(history, 3, rules, 0.5) == [3, 2, 1]  # 1/32, 5/8, 1
    assert because(history, 2, rules, None) == [1]  # nothing else came before item 2
    assert because(history, 3, rules, None, most=1) == [2]


def test_a_checkpoint_holds_a_sparse_table_of_any_size(tmp_path):
    full, empty = SparseTable(4, 4), SparseTable(4, 4)
    counts = transition_counts(ITEM, USER, 4, steps=2)
    full.put(normalised(counts, 0.0))
    assert empty.matrix().nnz == 0
    torch.save(full.state_dict(), tmp_path / "table.pth")
    empty.load_state_dict(torch.load(tmp_path / "table.pth", weights_only=True))
    np.testing.assert_allclose(empty.matrix().toarray(), counts.toarray())
