"""Which kernel runs, and what is said where none can."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from sear.errors import InputError
from sear.ops import mamba_kernel
from sear.ops.mamba_kernel import chosen_kernel, require_kernel


@pytest.fixture(autouse=True)
def nothing_remembered():
    faults = (mamba_kernel.triton_fault, mamba_kernel.mamba_ssm_fault)
    for fault in faults:
        fault.cache_clear()
    yield
    for fault in faults:
        fault.cache_clear()


def tensor_on(device, dtype=torch.float32, numbers=3):
    return SimpleNamespace(device=torch.device(device), dtype=dtype, numel=lambda: numbers)


@pytest.mark.parametrize(
    ("kernel", "tensor", "chosen"),
    [
        ("auto", tensor_on("cpu"), "compiled"),
        ("auto", tensor_on("cpu", torch.float64), "compiled"),
        ("auto", tensor_on("cuda"), "triton"),
        ("auto", tensor_on("cuda", torch.bfloat16), "triton"),
        ("auto", tensor_on("cuda", torch.float64), "plain"),
        ("auto", tensor_on("mps"), "plain"),
        ("auto", tensor_on("cuda", numbers=0), "plain"),
        ("plain", tensor_on("cpu"), "plain"),
        ("plain", tensor_on("cuda"), "plain"),
        ("triton", tensor_on("cuda"), "triton"),
        ("triton", tensor_on("cuda", torch.float64), "plain"),
    ],
)
def test_the_setting_and_the_tensor_choose_the_kernel(monkeypatch, kernel, tensor, chosen):
    monkeypatch.setattr(mamba_kernel, "triton_fault", lambda: None)
    assert chosen_kernel(kernel, tensor) == chosen


def test_without_triton_auto_is_plain_on_cuda(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "sear.kernels.triton_tiles", raising=False)
    assert chosen_kernel("auto", tensor_on("cuda")) == "plain"
    with pytest.raises(InputError, match="mamba_kernel is triton, which does not work here .*triton.* or write"):
        require_kernel("triton", "cuda", 4)


def test_without_a_compiler_for_tritons_launcher_auto_is_plain_and_says_so(monkeypatch, caplog):
    tiles = pytest.importorskip("sear.kernels.triton_tiles", reason="triton is not installed")

    def fail():
        raise RuntimeError("Failed to find C compiler.\nMore lines")

    monkeypatch.setattr(tiles, "prepare_launch", fail)
    require_kernel("auto", "cuda", 4)
    assert "plain torch, which is slow, as Triton does not work (Failed to find C compiler.)" in caplog.text
    assert chosen_kernel("auto", tensor_on("cuda")) == "plain"
    with pytest.raises(InputError, match="Failed to find C compiler"):
        require_kernel("triton", "cuda", 4)


@pytest.mark.parametrize("kernel", ["triton", "mamba_ssm"])
def test_kernels_of_a_gpu_are_refused_on_the_cpu(kernel):
    with pytest.raises(
        InputError, match=f"mamba_kernel is {kernel}, which needs a CUDA device, but this run is on cpu"
    ):
        require_kernel(kernel, torch.device("cpu"), 4)


@pytest.mark.parametrize("kernel", ["auto", "plain"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_and_plain_run_everywhere(monkeypatch, kernel, device):
    monkeypatch.setattr(mamba_kernel, "triton_fault", lambda: None)
    require_kernel(kernel, device, 9)


def test_a_broken_install_of_mamba_ssm_gives_one_line(monkeypatch):
    for name in ("causal_conv1d_cuda", "mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", None)  # its import fails
    with pytest.raises(InputError) as told:
        require_kernel("mamba_ssm", "cuda", 4)
    assert "selective_scan_cuda" in str(told.value) and "requirements-cuda.txt" in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_mamba_ssm_has_no_convolution_of_five_taps():
    with pytest.raises(InputError, match="no convolution of d_conv 5 - write mamba_kernel: auto"):
        require_kernel("mamba_ssm", "cuda", 5)
