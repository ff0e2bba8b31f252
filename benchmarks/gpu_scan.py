"""The selective scan on a CUDA device: Triton's kernels, the plain loop and mamba-ssm, against the memory's bandwidth.

    python -m benchmarks.gpu_scan            # one line of JSON for each length and kernel
    python -m benchmarks.gpu_scan --tune     # Triton's kernels alone, cut in other ways

Times are medians of replays of a CUDA graph, so that they are the device's; `eager_ms` is both ways launched from
Python, which is all there is of the plain loop. The bound is the time to read each input and write each output once.
B batch, L length, D channels, N states.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product

import torch

LENGTHS = (20, 50, 100, 200, 500, 1000)
BATCH, CHANNELS, STATES = 256, 128, 32
H100_BYTES_PER_SECOND = 3.35e12  # NVIDIA's data sheet, SXM
Scan = Callable[..., torch.Tensor]


def scan_rows(lengths: Sequence[int] = LENGTHS, dtype: torch.dtype = torch.float32) -> list[dict]:
    """One row for each length and kernel: forward_ms, forward_backward_ms, eager_ms, bound_ms, times_bound."""
    require_cuda()
    rows = []
    for length in lengths:
        for name, scan in scans().items():
            rows.append({"length": length, "kernel": name, "dtype": str(dtype).removeprefix("torch.")})
            rows[-1] |= timed(scan, scan_inputs(length, dtype), few=name == "plain")
    return rows


def timed(scan: Scan, inputs: list[torch.Tensor], few: bool = False) -> dict[str, float]:
    turns = 5 if few else 30
    dy = torch.randn_like(inputs[0])
    free = [tensor.detach() for tensor in inputs]

    def both_ways() -> None:
        torch.autograd.grad(scan(*inputs), inputs, dy)

    forward = milliseconds(lambda: scan(*free), turns, graph=not few)
    both = milliseconds(both_ways, turns, graph=not few)
    bound = bytes_moved(inputs) / H100_BYTES_PER_SECOND * 1e3
    return {
        "forward_ms": forward, "forward_backward_ms": both, "eager_ms": milliseconds(both_ways, turns, graph=False),
        "bound_ms": bound, "times_bound": both / bound,
    }  # fmt: skip


def milliseconds(run: Callable[[], object], turns: int, graph: bool) -> float:
    """The median over turns of what the device needs for one run."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # warm, as a capture asks for
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    if graph:
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            run()
        run = captured.replay
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(turns + 2)]
    for before, after in events:
        before.record()
        run()
        after.record()
    torch.cuda.synchronize()
    return statistics.median(before.elapsed_time(after) for before, after in events[2:])


def scan_inputs(length: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """u, delta, A, B, C, D, z, bias as a layer has them: u, z and B, C lie in one projection each."""
    random = torch.Generator("cuda").manual_seed(2020)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random, device="cuda").to(dtype)

    u, delta = normal(BATCH, length, CHANNELS), normal(BATCH, length, CHANNELS)
    z = normal(BATCH, length, 2 * CHANNELS)[..., CHANNELS:]
    _, B, C = normal(BATCH, length, 4 + 2 * STATES).split([4, STATES, STATES], dim=-1)
    A = -torch.arange(1.0, STATES + 1, device="cuda").repeat(CHANNELS, 1)
    D, bias = torch.ones(CHANNELS, device="cuda"), torch.full((CHANNELS,), -4.6, device="cuda")
    return [tensor.detach().requires_grad_() for tensor in (u, delta, A, B, C, D, z, bias)]


def bytes_moved(inputs: list[torch.Tensor]) -> int:
    """Forward reads all and writes y; backward reads all and dy, and writes as much as the inputs."""
    sizes = sum(tensor.numel() * tensor.element_size() for tensor in inputs)
    y = inputs[0].numel() * inputs[0].element_size()
    return (sizes + y) + (sizes + y + sizes)


def scans() -> dict[str, Scan]:
    from sear.ops.selective_scan import selective_scan

    found: dict[str, Scan] = {
        "triton": partial(selective_scan, kernel="triton"),
        "plain": partial(selective_scan, kernel="plain"),
    }
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except (ImportError, OSError):
        return found

    def of_mamba_ssm(u, delta, A, B, C, D, z, bias):
        return selective_scan_fn(u.mT, delta.mT, A, B.mT, C.mT, D, z.mT, bias, delta_softplus=True).mT

    return found | {"mamba_ssm": of_mamba_ssm}


def tuning_rows(length: int = 100, dtype: torch.dtype = torch.float32) -> Iterator[dict]:
    """Triton's kernels, cut in other ways: milliseconds forward and both ways."""
    require_cuda()
    from sear.kernels import triton_scan
    from sear.ops.selective_scan import selective_scan

    published = triton_scan.KEPT, triton_scan.FORWARD, triton_scan.BACKWARD
    inputs = scan_inputs(length, dtype)
    cuts = [(8, forward, published[2]) for forward in (triton_scan.Tiling(4, *cut) for cut in FORWARD_CUTS)]
    cuts += [(kept, published[1], triton_scan.Tiling(4, *cut)) for kept, cut in product((4, 8, 16), BACKWARD_CUTS)]
    for kept, forward, backward in [*cuts, published]:
        triton_scan.KEPT, triton_scan.FORWARD, triton_scan.BACKWARD = kept, forward, backward
        row = {"kept": kept, "forward": forward[1:], "backward": backward[1:]}
        try:
            yield row | timed(partial(selective_scan, kernel="triton"), inputs)
        except RuntimeError as error:  # more registers or shared memory than the card has
            yield row | {"error": str(error).partition("\n")[0]}


FORWARD_CUTS = [(32, 8, 4), (64, 16, 4), (64, 16, 2), (16, 8, 4), (64, 8, 8), (32, 8, 8)]  # channels, pairs, lanes
BACKWARD_CUTS = [(32, 8, 8), (64, 8, 8), (16, 8, 8), (32, 8, 4)]


def require_cuda() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu_scan measures a CUDA device, and torch finds none here")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true", help="Triton's kernels, cut in other ways")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    asked = parser.parse_args()
    dtype = getattr(torch, asked.dtype)
    require_cuda()
    print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__}))
    for row in tuning_rows(dtype=dtype) if asked.tune else scan_rows(dtype=dtype):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
