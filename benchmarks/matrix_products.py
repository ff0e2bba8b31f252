"""The matrix products of a piece of work, recorded as torch runs it, and done again with nothing between them.

Forward and backward alike: every product, however it came about, passes torch's dispatcher. What compiled kernels do
themselves is no matrix product and is not counted.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
IN_PLACE = {aten.addmm_, aten.baddbmm_}  # these write into their first operand
# product -> (the form that writes into a given tensor, how many of its tensors come before the two that are multiplied)
PRODUCTS = {
    aten.mm: (torch.mm, 0),
    aten.bmm: (torch.bmm, 0),
    aten.addmm: (torch.addmm, 1),
    aten.addmm_: (torch.addmm, 1),
    aten.baddbmm: (torch.baddbmm, 1),
    aten.baddbmm_: (torch.baddbmm, 1),
}


@dataclass(frozen=True)
class Layout:
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> "Layout":
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    @property
    def span(self) -> int:
        return 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.stride, strict=True))


class ProductRecorder(TorchDispatchMode):
    """`with ProductRecorder() as recorder: work()` leaves the layouts of the work's products in `recorder.calls`."""

    def __init__(self):
        super().__init__()
        self.calls: list[tuple] = []  # (product, layouts of what goes in, layout of what comes out)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in PRODUCTS:
            operands = tuple(Layout.of(tensor) for tensor in args if isinstance(tensor, Tensor))
            self.calls.append((func.overloadpacket, operands, Layout.of(result)))
        return result

    def operations(self) -> float:
        """Multiplications and additions of all calls."""
        total = 0.0
        for product, operands, result in self.calls:
            left = operands[PRODUCTS[product][1]]
            total += 2.0 * torch.Size(result.shape).numel() * left.shape[-1]
        return total


def _places(operands: tuple[Layout, ...], result: Layout) -> list[tuple[object, Layout]]:
    """Where each tensor lies: what is written has a place of its own, so that no product feeds the next one."""
    return [*enumerate(operands), ("out", result)]


class ProductReplay:
    """The recorded products again: same shapes, strides and order, results written into memory that is already there.

    All operands at one place lie over each other in one piece of memory, so that an epoch's fit; that they are warm in
    the cache more often than in training makes the floor a little lower than it is.
    """

    def __init__(self, recorder: ProductRecorder):
        spans: dict[tuple, int] = defaultdict(int)
        for _, operands, result in recorder.calls:
            for place, layout in _places(operands, result):
                key = (place, layout.dtype)
                spans[key] = max(spans[key], layout.span)
        random = torch.Generator().manual_seed(2020)
        memory = {key: torch.randn(span, generator=random).to(key[1]) for key, span in spans.items()}
        self.calls = []
        for product, operands, result in recorder.calls:
            *given, out = (
                torch.as_strided(memory[place, layout.dtype], layout.shape, layout.stride)
                for place, layout in _places(operands, result)
            )
            self.calls.append((PRODUCTS[product][0], given, given[0] if product in IN_PLACE else out))

    @torch.no_grad()
    def run(self) -> None:
        for product, given, out in self.calls:
            product(*given, out=out)
