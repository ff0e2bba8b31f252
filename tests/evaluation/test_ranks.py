"""Ranks against sorting in float64, with ties, padding, histories and NaN."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sear.errors import InputError
from sear.evaluation import ranks as ranking
from sear.evaluation.ranks import count_above, ranks_from_scores, target_ranks
from sear.files import PROJECT_ROOT


def naive_rank(scores, target, left_out=()):
    """The target's place after sorting by falling score, then rising id."""
    items = [item for item in range(1, len(scores)) if item == target or item not in left_out]
    return sorted(items, key=lambda item: (-np.float64(scores[item]), item)).index(target) + 1


def flat(histories):
    """History lists -> (items_H, start_B, end_B)."""
    end = torch.tensor([len(history) for history in histories], dtype=torch.int64).cumsum(0)
    items = torch.tensor([item for history in histories for item in history], dtype=torch.int64)
    return items, torch.cat([torch.zeros(1, dtype=torch.int64), end[:-1]]), end


def test_rank_is_one_plus_the_items_scored_higher():
    scores = torch.tensor([[0.0, 0.3, 0.9, 0.5]])
    assert [ranks_from_scores(scores, torch.tensor([target]))[0].item() for target in (1, 2, 3)] == [3, 1, 2]


def test_equal_scores_rank_by_id():
    scores = torch.ones(1, 5)
    assert [ranks_from_scores(scores, torch.tensor([target]))[0].item() for target in (1, 2, 3, 4)] == [1, 2, 3, 4]


@pytest.mark.parametrize("padding_score", [100.0, -100.0, float("inf"), float("nan")])
def test_padding_never_counts(padding_score):
    scores = torch.tensor([[padding_score, 0.5, 0.9]])
    assert ranks_from_scores(scores, torch.tensor([2]))[0] == [1]


def test_history_items_give_way_once_each_but_never_the_target():
    scores = torch.tensor([[9.0, 0.9, 0.8, 0.7, 0.6, 0.6, 0.1]])
    # above item 5: items 1, 2, 3 and, equal with a lower id, 4; of these the history holds 1 (twice) and 4
    ranks, masked = ranks_from_scores(scores, torch.tensor([5]), flat([[1, 4, 1, 6, 5, 0]]))
    assert (ranks, masked) == ([5], [3])


def test_a_history_may_lie_anywhere_in_the_flat_events():
    scores = torch.tensor([[0.0, 0.9, 0.8, 0.7]]).repeat(2, 1)
    items, start, end = torch.tensor([3, 1, 2, 1]), torch.tensor([2, 0]), torch.tensor([4, 1])
    assert list(ranks_from_scores(scores, torch.tensor([3, 2]), (items, start, end))[1]) == [1, 2]


cases = st.integers(2, 9).flatmap(
    lambda width: st.lists(
        st.tuples(
            st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, np.inf, -np.inf]), min_size=width, max_size=width),
            st.integers(1, width - 1),
            st.lists(st.integers(1, width - 1), max_size=6),
        ),
        min_size=1,
        max_size=5,
    )
)


@settings(deadline=None)
@given(cases, st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_ranks_equal_those_of_sorting(rows, dtype):
    scores = torch.tensor([row[0] for row in rows], dtype=dtype)
    target = torch.tensor([row[1] for row in rows])
    ranks, masked = ranks_from_scores(scores, target, flat([row[2] for row in rows]))
    assert list(ranks) == [naive_rank(*row[:2]) for row in rows]
    assert list(masked) == [naive_rank(*row) for row in rows]
    assert list(count_above(scores, target) + 1) == list(ranks)


@pytest.mark.parametrize("threads", [1, 2])
def test_compiled_count_equals_the_plain_one(threads):
    generator = torch.Generator().manual_seed(0)
    items = 1003
    scores = torch.randn(37, items, generator=generator).round(decimals=1)  # rounded, so that hundreds are equal
    target = torch.randint(1, items, (37,), generator=generator)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for view in (scores, scores[:, :500], scores.T.contiguous().T):
            within = target % (view.shape[1] - 1) + 1
            within[:2] = torch.tensor([1, view.shape[1] - 1])
            assert torch.equal(ranking._count_above_compiled(view, within), count_above(view, within))
    finally:
        torch.set_num_threads(before)


def test_chunks_do_not_change_the_ranks(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    # small whole numbers: every product is exact, so no chunk can round another way
    users = torch.randint(-3, 4, (23, 6), generator=generator).float()
    items = torch.randint(-3, 4, (40, 6), generator=generator).float().requires_grad_()
    target = torch.randint(1, 40, (23,), generator=generator)
    history = flat([torch.randint(1, 40, (row % 5,), generator=generator).tolist() for row in range(23)])
    whole = ranks_from_scores(users @ items.T, target, history)
    monkeypatch.setattr(ranking, "CHUNK_BYTES", 4 * 40 * 5)  # 5 rows
    chunked = target_ranks(users, items, target, history)
    np.testing.assert_array_equal(whole, chunked)
    assert chunked[0].dtype == chunked[1].dtype == np.int64
    assert list(count_above(users @ items.T, target) + 1) == list(whole[0])
    assert target_ranks(users, items, target)[1] is None


@pytest.mark.parametrize("shares", [2, 3, 33])
@pytest.mark.parametrize("with_history", [False, True])
def test_a_share_of_the_cases_has_the_ranks_that_it_has_among_all(monkeypatch, with_history, shares):
    generator = torch.Generator().manual_seed(6)
    users, item = torch.randn(66, 128, generator=generator), torch.randn(128, generator=generator)
    items = item + 1e-7 * torch.randn(1000, 128, generator=generator)  # so that ranks follow the rounding
    target = torch.randint(1, 1000, (66,), generator=generator)
    monkeypatch.setattr(ranking, "CHUNK_BYTES", 4 * 1000 * 16)  # 16 rows, and a few are left over

    def ranks(index):
        history = flat([[1, 2]] * len(index)) if with_history else None
        return target_ranks(users[index], items, target[index], history)[0]

    whole = ranks(list(range(66)))
    for first in range(shares):
        mine = list(range(first, 66, shares))
        assert ranks(mine).tolist() == whole[mine].tolist()


@pytest.fixture
def small_tiles(monkeypatch):
    def set_sizes(rows, width, own):
        monkeypatch.setattr(ranking, "TILE", (rows, width))
        monkeypatch.setattr(ranking, "OWN", own)

    return set_sizes


@pytest.mark.parametrize("with_history", [False, True])
def test_a_large_catalogue_is_ranked_without_a_table_of_all_scores(monkeypatch, with_history):
    cases, items = 300, 20_000
    generator = torch.Generator().manual_seed(5)
    user_BD = torch.randint(-3, 4, (cases, 6), generator=generator).float()
    item_VD = torch.randint(-3, 4, (items, 6), generator=generator).float()
    target_B = torch.randint(1, items, (cases,), generator=generator)
    monkeypatch.setattr(ranking, "CHUNK_BYTES", 4 * items * 16)  # 16 rows
    history = flat([[1, 2, 3]] * cases) if with_history else None
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend([result.numel()] if isinstance(result, torch.Tensor) else [])
            return result

    with Watch():
        ranks, _ = target_ranks(user_BD, item_VD, target_B, history)
    assert max(sizes) <= max(16 * items, cases * ranking.TILE[1], 6 * items) < cases * items / 10
    np.testing.assert_array_equal(ranks, count_above(user_BD @ item_VD.T, target_B).numpy() + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(8, 1, 8), (8, 7, 5), (16, 39, 39), (64, 40, 16)])
def test_tiles_do_not_change_the_ranks(small_tiles, sizes, dtype):
    generator = torch.Generator().manual_seed(3)
    users = torch.randint(-2, 3, (39, 6), generator=generator).to(dtype)  # exact products, many of them equal
    items = torch.randint(-2, 3, (40, 6), generator=generator).to(dtype).requires_grad_()
    target = torch.arange(1, 40, dtype=torch.int32)  # so at every place of a tile
    expected = [naive_rank(*pair) for pair in zip((users @ items.T).detach(), target.tolist(), strict=True)]
    small_tiles(*sizes)
    ranks, _ = target_ranks(users, items, target)
    assert list(ranks) == expected and ranks.dtype == np.int64


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("cases", [1, 5, 257, 2049, 2304])
@pytest.mark.parametrize("items", [40, 130, 1025, 1030])
def test_equal_items_tie_whatever_the_sizes(cases, items, threads):
    generator = torch.Generator().manual_seed(4)
    users, item = torch.randn(cases, 192, generator=generator), torch.randn(192, generator=generator)
    target = torch.randint(1, items, (cases,), generator=generator)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ranks, _ = target_ranks(users, item.repeat(items, 1), target)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(ranks, target.numpy())


@pytest.mark.parametrize("item", [1, 2, 3])
def test_a_nan_in_any_tile_is_an_error(small_tiles, item):
    items, target = torch.ones(4, 3), torch.full((5,), 2)
    items[item] = float("nan")
    small_tiles(2, 2, 2)
    with pytest.raises(InputError, match="NaN"):
        target_ranks(torch.ones(5, 3), items, target)
    items[item], items[0] = 1.0, float("nan")
    assert target_ranks(torch.ones(5, 3), items, target)[0].tolist() == [2] * 5  # padding never counts


def test_as_many_targets_as_cases_are_asked_for():
    with pytest.raises(AssertionError):
        target_ranks(torch.ones(5, 3), torch.ones(4, 3), torch.ones(3, dtype=torch.int64))


@pytest.mark.long
def test_the_counter_is_compiled_once_for_all_processes():
    code = """
import torch
from sear.evaluation import ranks
from sear.kernels import scores
ranks.ranks_from_scores(torch.ones(2, 5), torch.tensor([1, 2]))
print(scores._count.stats.cache_hits and sum(scores._count.stats.cache_hits.values()))
"""
    for _ in range(2):
        last = subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
        )
    assert int(last.stdout) > 0


def test_no_cases_give_no_ranks():
    nobody = torch.empty(0, dtype=torch.int64)
    ranks, masked = target_ranks(torch.empty(0, 6), torch.ones(40, 6), nobody, (nobody, nobody, nobody))
    assert ranks.shape == masked.shape == (0,)
    assert target_ranks(torch.empty(0, 6), torch.ones(40, 6), nobody)[0].shape == (0,)


@pytest.mark.parametrize("item", [1, 2, 3])
def test_nan_scores_are_an_error_wherever_they_stand(item):
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    scores[0, item] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        ranks_from_scores(scores, torch.tensor([2]))


@pytest.mark.parametrize("target", [0, 4, -1])
def test_a_target_that_is_no_item_is_refused(target):
    with pytest.raises(AssertionError):
        ranks_from_scores(torch.ones(1, 4), torch.tensor([target]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_ranks_equal_those_of_the_cpu(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    users = torch.randint(-3, 4, (50, 6), generator=generator).float()
    items = torch.randint(-3, 4, (300, 6), generator=generator).float()
    target = torch.randint(1, 300, (50,), generator=generator)
    history = flat([torch.randint(1, 300, (row % 7,), generator=generator).tolist() for row in range(50)])
    expected = target_ranks(users, items, target, history)
    monkeypatch.setattr(ranking, "CHUNK_BYTES", 4 * 300 * 8)
    np.testing.assert_array_equal(expected, target_ranks(users.cuda(), items.cuda(), target, history))
    np.testing.assert_array_equal(expected, ranks_from_scores((users @ items.T).cuda(), target.cuda(), history))
