"""Of equal scores the lower item comes first, wherever the list is cut."""

import numpy as np
import pytest
import torch

from sear.errors import InputError
from sear.recommend.top_items import best_items


@pytest.mark.parametrize(("columns", "k", "values"), [(300, 5, 4), (300, 5, 10_000), (7, 7, 3), (7, 6, 2), (1, 1, 2)])
def test_it_is_a_stable_sort_cut_off(columns, k, values):
    random = torch.Generator().manual_seed(columns + k + values)
    scores = torch.randint(values, (50, columns), generator=random).float()
    expected = scores.sort(dim=1, descending=True, stable=True)
    found = best_items(scores, k)
    assert np.array_equal(found[0], expected.values[:, :k]) and np.array_equal(found[1], expected.indices[:, :k])


def test_what_must_not_be_taken_comes_last():
    scores = torch.tensor([[-torch.inf, 1.0, 1.0, -torch.inf]])
    assert best_items(scores, 3)[1][0, :2].tolist() == [1, 2] and best_items(scores, 3)[0][0, 2] == -np.inf


def test_nan_is_refused():
    with pytest.raises(InputError, match="the training diverged"):
        best_items(torch.tensor([[0.0, torch.nan, 1.0]]), 2)
