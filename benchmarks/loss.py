"""The soft-label loss and its gradient against a dense (positions, items) label matrix."""

from collections.abc import Iterator

import torch

from benchmarks.measure import Request, Row, Side, alternate, compare, say
from sear.model.loss import soft_label_loss, soft_label_loss_reference

POSITIONS, WIDTH, TARGETS, DECAY = 2048, 192, 4, 2.0
ITEMS = (42_352, 1_000_001)
DENSE_SCORES = 1 << 27  # (positions, items) entries that the dense way is given: about 4 tables of 0.5 GB
OURS, BASELINE = "chunked loss", "dense label matrix"


def rows(request: Request) -> Iterator[Row]:
    positions, items, dense_scores = (64, (300, 1000), 1 << 14) if request.quick else (POSITIONS, ITEMS, DENSE_SCORES)
    for count in items:
        say(f"loss, {count:,} items")
        user_PD, item_VD, target_PK = make_inputs(positions, count)
        sample = min(positions, dense_scores // count)
        few = (user_PD[:sample].detach().requires_grad_(), item_VD, target_PK[:sample])
        agree = [loss_and_gradient(loss, *few)[0] for loss in (soft_label_loss, soft_label_loss_reference)]
        torch.testing.assert_close(*agree, rtol=1e-4, atol=1e-4)
        sides = {
            OURS: Side(lambda given=(user_PD, item_VD, target_PK): loss_and_gradient(soft_label_loss, *given)),
            BASELINE: Side(
                lambda given=few: loss_and_gradient(soft_label_loss_reference, *given), scale=positions / sample
            ),
        }
        note = f"{positions:,} positions; of both peaks {item_VD.nbytes / 1e6:,.0f} MB are the item table's gradient"
        if sample < positions:
            note += f"; the baseline runs {sample:,} positions: its seconds are scaled, its peak is not"
        yield compare(f"loss, {count:,} items", BASELINE, alternate(sides, request), note=note)


def make_inputs(positions: int, items: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """user_PD, item_VD (both wanting a gradient) and target_PK of a batch."""
    random = torch.Generator().manual_seed(2020)
    user_PD = torch.randn(positions, WIDTH, generator=random).requires_grad_()
    item_VD = (torch.randn(items, WIDTH, generator=random) * 0.1).requires_grad_()
    return user_PD, item_VD, torch.randint(1, items, (positions, TARGETS), generator=random)


def loss_and_gradient(loss, user_PD, item_VD, target_PK) -> tuple[torch.Tensor, ...]:
    value = loss(user_PD, item_VD, target_PK, DECAY)
    return value.detach(), *torch.autograd.grad(value, (user_PD, item_VD))
