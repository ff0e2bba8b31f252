"""A number on the scores of earlier items: the kernel against the plain definition."""

import pytest
import torch

from sear.ops.earlier_items import EarlierItems, add_to_earlier, add_to_items, sum_of_earlier, sum_of_items


def made(dtype, rows=5, longest=40, positions=300, items=70):
    generator = torch.Generator().manual_seed(0)
    item_RH = torch.stack([torch.randperm(items - 1, generator=generator)[:longest] + 1 for _ in range(rows)])
    item_RH[torch.rand(item_RH.shape, generator=generator) < 0.3] = 0  # items that came again
    row_P = torch.randint(0, rows, (positions,), generator=generator)
    end_P = torch.randint(0, longest + 1, (positions,), generator=generator)
    scores = torch.randn(positions, items, dtype=dtype, generator=generator)
    return scores, EarlierItems(item_RH, row_P, end_P)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chunk", [slice(None), slice(7, 50)])
def test_the_kernel_adds_to_the_items_of_the_plain_definition(dtype, chunk):
    scores, earlier = made(dtype)
    part = earlier.part(chunk)
    ours, theirs = scores[chunk].clone(), scores[chunk].clone()
    add_to_earlier(ours, part, torch.tensor(-2.5))
    add_to_items(theirs, part.items(), torch.tensor(-2.5))
    assert torch.equal(ours, theirs) and torch.equal(ours[:, 0], scores[chunk, 0])
    assert (ours != scores[chunk]).sum() == (part.items() != 0).sum() > 100


@pytest.mark.parametrize("dtype, exact", [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_the_kernel_sums_the_items_of_the_plain_definition(dtype, exact):
    scores, earlier = made(dtype)
    torch.testing.assert_close(
        sum_of_earlier(scores, earlier), sum_of_items(scores, earlier.items()), rtol=0, atol=300 * exact
    )


def test_histories_without_any_item_change_nothing():
    scores, _ = made(torch.float32)
    nobody = EarlierItems(torch.zeros(1, 0, dtype=torch.int64), *torch.zeros(2, 300, dtype=torch.int64))
    before = scores.clone()
    add_to_earlier(scores, nobody, torch.tensor(1.0))
    assert torch.equal(scores, before) and sum_of_earlier(scores, nobody) == 0
