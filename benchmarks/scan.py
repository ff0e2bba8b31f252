"""Selective scan, forward and backward, at the model's sizes: the compiled kernel against torch's ways to do it.

B batch, L length, D channels, N states. mambapy's functions start from a softplus'd delta and leave the gate to the
caller; both are put around them, so that every side computes the same.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from benchmarks.measure import Request, Row, Side, Skipped, alternate, compare, say
from sear.ops.selective_scan import selective_scan, selective_scan_reference

LENGTHS = (20, 50, 100, 200)
BATCH, CHANNELS, STATES = 64, 128, 32
GOALS = {"mambapy pscan": 40, "mambapy plain loop": 300}  # at L 100
OURS = "compiled scan"


def rows(request: Request) -> Iterator[Row]:
    baselines = {**_mambapy_scans(), "own plain reference": selective_scan_reference}
    batch, channels, lengths = (2, 16, (3, 5)) if request.quick else (BATCH, CHANNELS, LENGTHS)
    for scan in baselines.values():
        check_agreement(scan)
    for length in lengths:
        inputs = make_inputs(batch, length, channels, STATES)
        ours = Side(lambda inputs=inputs: forward_and_backward(selective_scan, inputs))
        ours.run()
        for name, scan in baselines.items():
            say(f"scan, L {length}, against {name}")
            baseline = Side(lambda inputs=inputs, scan=scan: forward_and_backward(scan, inputs))
            turns = alternate({OURS: ours, name: baseline}, request)
            yield compare(f"scan, L {length}", name, turns, GOALS.get(name) if length == 100 else None)


def make_inputs(batch: int, length: int, channels: int, states: int) -> list[torch.Tensor]:
    """u, delta, A, B, C, D, z, bias of a scan, all wanting a gradient."""
    random = torch.Generator().manual_seed(2020)
    shapes = [(batch, length, channels)] * 2 + [(channels, states)] + [(batch, length, states)] * 2
    shapes += [(channels,), (batch, length, channels), (channels,)]
    inputs = [torch.randn(shape, generator=random) for shape in shapes]
    inputs[2] = -torch.arange(1.0, states + 1).repeat(channels, 1)
    return [tensor.requires_grad_() for tensor in inputs]


def forward_and_backward(scan: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    output = scan(*inputs)
    return output.detach(), *torch.autograd.grad(output, inputs, torch.ones_like(output))


def check_agreement(scan: Callable[..., torch.Tensor]) -> None:
    """A baseline that computes something else is no baseline."""
    inputs = make_inputs(2, 7, 8, 4)
    for a, b in zip(forward_and_backward(selective_scan, inputs), forward_and_backward(scan, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def _mambapy_scans() -> dict[str, Callable[..., torch.Tensor]]:
    try:
        from mambapy.mamba import MambaBlock, MambaConfig
    except ImportError:
        raise Skipped("mambapy is not installed - pip install -r requirements-dev.txt") from None

    def gated(method: str) -> Callable[..., torch.Tensor]:
        def scan(u, delta, A, B, C, D, z, bias):
            config = MambaConfig(d_model=u.shape[-1], n_layers=1, d_state=A.shape[1], expand_factor=1)
            block = _block(MambaBlock, config)
            return getattr(block, method)(u, F.softplus(delta + bias), A, B, C, D) * F.silu(z)

        return scan

    return {"mambapy pscan": gated("selective_scan"), "mambapy plain loop": gated("selective_scan_seq")}


def _block(kind: type, config) -> object:
    """A block that has nothing but its sizes: its scans read no weights."""
    block = kind.__new__(kind)
    torch.nn.Module.__init__(block)
    block.config = config
    return block
