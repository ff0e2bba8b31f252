"""Where Triton's kernels run in the tests: in its interpreter on the CPU, or, marked gpu, on a device."""

import pytest
import torch


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Where to put tensors: cpu, with the interpreter (TRITON_INTERPRET=1, set by tests/conftest.py), or cuda."""
    triton = pytest.importorskip("triton", reason="triton is not installed: pip install -r requirements-dev.txt")
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        return "cuda"
    if torch.cuda.is_available():
        pytest.skip("kernels are compiled here; the tests marked gpu run them")
    assert triton.knobs.runtime.interpret, "triton was imported before tests/conftest.py set TRITON_INTERPRET"
    return "cpu"


def largest_error(ours, theirs):
    """Relative to the largest value. `pytest -rP` shows it."""
    assert ours.shape == theirs.shape
    error = float((ours.detach().double() - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))
    print(f"{str(ours.dtype).removeprefix('torch.')} deviates by {error:.1e}")
    return error
