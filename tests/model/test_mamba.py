import math
import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from sear.model.mamba import Mamba
from sear.ops.convolution import causal_conv_reference
from sear.ops.selective_scan import selective_scan_reference


def plain_mamba(mamba, hidden_BLM):
    """The block from plain torch parts only."""
    x, z = mamba.in_proj(hidden_BLM).chunk(2, dim=-1)
    u = causal_conv_reference(x, mamba.conv1d.weight[:, 0], mamba.conv1d.bias)
    rank, states = mamba.dt_proj.in_features, mamba.A_log.shape[1]
    delta, B, C = mamba.x_proj(u).split([rank, states, states], dim=-1)
    A = -torch.exp(mamba.A_log).to(u.dtype)
    delta = F.linear(delta, mamba.dt_proj.weight)
    return mamba.out_proj(selective_scan_reference(u, delta, A, B, C, mamba.D, z, mamba.dt_proj.bias))


def test_parameters_have_the_names_and_shapes_of_mamba_ssm():
    shapes = {name: tuple(parameter.shape) for name, parameter in Mamba(40, 8, 4, 2).named_parameters()}
    assert shapes == {
        "A_log": (80, 8),
        "D": (80,),
        "in_proj.weight": (160, 40),
        "conv1d.weight": (80, 1, 4),
        "conv1d.bias": (80,),
        "x_proj.weight": (math.ceil(40 / 16) + 2 * 8, 80),
        "dt_proj.weight": (80, 3),
        "dt_proj.bias": (80,),
        "out_proj.weight": (40, 80),
    }


def test_starting_values_are_those_of_mamba_ssm():
    torch.manual_seed(0)
    mamba = Mamba(64, 32, 4, 2)
    torch.testing.assert_close(torch.exp(mamba.A_log), torch.arange(1.0, 33.0).expand(128, 32))
    assert (mamba.D == 1).all()
    assert mamba.dt_proj.weight.abs().max() <= 4**-0.5
    dt = F.softplus(mamba.dt_proj.bias.detach().double())
    assert 0.001 * 0.999 <= dt.min() < 0.003 and 0.03 < dt.max() <= 0.1 * 1.001
    assert abs(dt.log().mean() - math.log(0.01)) < 0.4  # log-uniform: its mean is the middle of log 0.001 and log 0.1


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-6)])
@pytest.mark.parametrize("length", [1, 2, 3, 17])
def test_block_and_its_gradients_equal_the_plain_parts(dtype, tolerance, length):
    torch.manual_seed(length)
    mamba = Mamba(20, 6, 4, 2).to(dtype)
    hidden = torch.randn(3, length, 20, dtype=dtype, requires_grad=True)
    leaves = [hidden, *mamba.parameters()]
    outputs = [mamba(hidden), plain_mamba(mamba, hidden)]
    torch.testing.assert_close(*outputs, rtol=tolerance, atol=tolerance)
    dy = torch.randn_like(outputs[0])
    for ours, theirs in zip(*(torch.autograd.grad(y, leaves, dy) for y in outputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max()))


def test_double_precision_works_with_A_log_in_either_precision():
    torch.manual_seed(0)
    mamba = Mamba(8, 4, 4, 2).double()
    hidden = torch.randn(2, 5, 8, dtype=torch.float64)
    y = mamba(hidden)
    mamba.A_log.data = mamba.A_log.data.float()
    assert torch.equal(mamba(hidden), y)
    mamba(hidden).sum().backward()
    assert mamba.A_log.grad.dtype == torch.float32


def test_right_padding_changes_nothing_before_it():
    torch.manual_seed(0)
    mamba = Mamba(16, 8, 4, 2)
    hidden = torch.randn(2, 9, 16)
    padded = torch.cat([hidden, torch.full((2, 4, 16), 9.0)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(mamba(padded)[:, :9], mamba(hidden))


def test_block_works_under_bfloat16_autocast():
    torch.manual_seed(0)
    mamba = Mamba(16, 8, 4, 2)
    hidden = torch.randn(2, 9, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = mamba(hidden)
    y.float().square().sum().backward()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), mamba(hidden), rtol=0.1, atol=0.05)
    assert all(parameter.grad.isfinite().all() and parameter.grad.any() for parameter in mamba.parameters())


class PretendedCuda(torch.Tensor):
    """A CPU tensor that says it is on CUDA."""

    is_cuda = True


@pytest.fixture
def stub_kernel(monkeypatch):
    """mamba_ssm, pretended: the list receives the arguments of every call of mamba_inner_fn."""
    calls = []

    def mamba_inner_fn(
        xz, conv1d_weight, conv1d_bias, x_proj_weight, delta_proj_weight, out_proj_weight, out_proj_bias,
        A, B=None, C=None, D=None, delta_bias=None, B_proj_bias=None, C_proj_bias=None, delta_softplus=True,
    ):  # fmt: skip
        calls.append(dict(locals()))
        return xz.mT[..., : out_proj_weight.shape[0]]

    for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.selective_scan_interface"):
        module = ModuleType(name)
        module.__path__, module.mamba_inner_fn = [], mamba_inner_fn
        monkeypatch.setitem(sys.modules, name, module)
    return calls


def test_on_cuda_the_fused_kernel_gets_everything_it_needs(stub_kernel):
    mamba = Mamba(16, 8, 4, 2, "mamba_ssm")
    hidden = torch.randn(2, 5, 16).as_subclass(PretendedCuda)
    assert mamba(hidden).shape == (2, 5, 16)
    (call,) = stub_kernel
    torch.testing.assert_close(call["xz"].as_subclass(torch.Tensor), mamba.in_proj(hidden.as_subclass(torch.Tensor)).mT)
    for argument, parameter in {
        "conv1d_weight": mamba.conv1d.weight,
        "conv1d_bias": mamba.conv1d.bias,
        "x_proj_weight": mamba.x_proj.weight,
        "delta_proj_weight": mamba.dt_proj.weight,
        "out_proj_weight": mamba.out_proj.weight,
        "D": mamba.D,
        "delta_bias": mamba.dt_proj.bias,
        "A": -torch.exp(mamba.A_log),
    }.items():
        assert torch.equal(call[argument], parameter), argument
    assert call["out_proj_bias"] is None and call["B"] is None and call["C"] is None
    assert call["delta_softplus"]


def test_the_fused_kernel_is_left_alone_where_it_cannot_serve_or_is_not_asked_for(stub_kernel):
    hidden = torch.randn(2, 5, 16)
    Mamba(16, 8, 4, 2, "mamba_ssm")(hidden)  # on CPU
    Mamba(16, 8, 4, 2, "mamba_ssm").double()(hidden.double().as_subclass(PretendedCuda))
    Mamba(16, 8, 4, 2)(hidden.as_subclass(PretendedCuda))
    assert not stub_kernel


@pytest.mark.parametrize("kernel", ["plain", "triton"])
def test_every_kernel_computes_the_same_block(kernel):
    if kernel == "triton":
        pytest.importorskip("triton", reason="triton is not installed: pip install -r requirements-dev.txt")
    device = "cuda" if torch.cuda.is_available() and kernel == "triton" else "cpu"  # else in Triton's interpreter
    torch.manual_seed(0)
    mamba, hidden = Mamba(8, 4, 4, 2), torch.randn(2, 5, 8, requires_grad=True)
    expected = torch.autograd.grad(mamba(hidden).square().sum(), [hidden, *mamba.parameters()])
    mamba.to(device).kernel = kernel
    on_device = hidden.detach().to(device).requires_grad_()
    computed = torch.autograd.grad(mamba(on_device).square().sum(), [on_device, *mamba.parameters()])
    for ours, theirs in zip(computed, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-6 + 1e-5 * float(theirs.abs().max()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_block_on_cuda_equals_block_on_cpu():
    torch.manual_seed(0)
    mamba = Mamba(64, 32, 4, 2)
    hidden = torch.randn(4, 100, 64)
    y, leaves = mamba(hidden), list(mamba.parameters())
    expected = [y, *torch.autograd.grad(y.square().sum(), leaves)]
    mamba.cuda()
    y, leaves = mamba(hidden.cuda()), list(mamba.parameters())
    for ours, theirs in zip([y, *torch.autograd.grad(y.square().sum(), leaves)], expected, strict=True):
        assert (ours.cpu() - theirs).abs().max() <= 1e-3 * theirs.abs().max()
