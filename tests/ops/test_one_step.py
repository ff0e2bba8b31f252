"""One step of convolution and scan, and the state after many, against the plain references."""

import pytest
import torch

from sear.ops.convolution import causal_conv_reference, conv_step
from sear.ops.selective_scan import scan_step, selective_scan_reference, state_after

ROWS, CHANNELS, STATES, TAPS = 2, 5, 3, 4


def scan_inputs(length):
    random = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(shape, generator=random, dtype=torch.float64)

    wide = (ROWS, length, CHANNELS)
    A_DN = -normal(CHANNELS, STATES).exp()
    B_BLN, C_BLN = normal(ROWS, length, STATES), normal(ROWS, length, STATES)
    return normal(*wide), normal(*wide), A_DN, B_BLN, C_BLN, normal(CHANNELS), normal(*wide), normal(CHANNELS)


@pytest.mark.parametrize("length", [1, 7])
def test_steps_give_the_reference_and_end_in_its_state(length):
    u_BLD, delta_BLD, A_DN, B_BLN, C_BLN, D_D, z_BLD, bias_D = scan_inputs(length)
    state_BDN, steps = torch.zeros(ROWS, CHANNELS, STATES, dtype=torch.float64), []
    for t in range(length):
        now = (part[:, t] for part in (u_BLD, delta_BLD))
        y_BD, state_BDN = scan_step(state_BDN, *now, A_DN, B_BLN[:, t], C_BLN[:, t], D_D, z_BLD[:, t], bias_D)
        steps.append(y_BD)
    expected = selective_scan_reference(u_BLD, delta_BLD, A_DN, B_BLN, C_BLN, D_D, z_BLD, bias_D)
    torch.testing.assert_close(torch.stack(steps, 1), expected, rtol=1e-12, atol=1e-12)
    after = state_after(u_BLD, delta_BLD, A_DN, B_BLN, bias_D)
    torch.testing.assert_close(after, state_BDN, rtol=1e-12, atol=1e-12)


def test_a_state_forgets_what_has_decayed_below_all_numbers():
    u_BLD, delta_BLD, A_DN, B_BLN, *_, bias_D = scan_inputs(7)
    after = state_after(u_BLD.float(), delta_BLD.float() + 30, 100 * A_DN.float(), B_BLN.float(), bias_D.float())
    last = torch.nn.functional.softplus(delta_BLD + 30 + bias_D)[:, -1] * u_BLD[:, -1]
    torch.testing.assert_close(after, (last[..., None] * B_BLN[:, -1, None]).float(), rtol=1e-5, atol=1e-5)


def test_a_step_of_the_convolution_is_the_reference_at_its_end():
    x_BLD, weight_DK = torch.randn(ROWS, TAPS, CHANNELS), torch.randn(CHANNELS, TAPS)
    bias_D = torch.randn(CHANNELS)
    found = conv_step(x_BLD.unbind(1), weight_DK.T, bias_D)
    torch.testing.assert_close(found, causal_conv_reference(x_BLD, weight_DK, bias_D)[:, -1])
