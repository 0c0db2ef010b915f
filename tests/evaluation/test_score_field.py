"""The score field of a network with a known score."""

from functools import partial

import pytest
import torch
from torch import Tensor

from nelbo.data import toy, toy_score
from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.evaluation import score_field

LINEAR = NoiseSchedule.linear()
EXACT = partial(toy_score, "eight-gaussians")


def network(share: float):
    """Return the exact noise prediction, -sqrt(1 - alphas_bar) * score, times `share`."""

    def noise(x_t: Tensor, time: Tensor) -> Tensor:
        t = int(time[0])
        signal, stddev = float(LINEAR.signal[t]), float(LINEAR.noise_stddev[t])
        return -share * stddev * EXACT(x_t.flatten(1), signal, stddev).view_as(x_t)

    return noise


@pytest.mark.parametrize(("share", "error"), [(1.0, 0.0), (0.5, 0.25), (0.0, 1.0)])
@pytest.mark.parametrize("step", [1, 4, 10])
def test_error_is_the_squared_relative_error(share: float, error: float, step: int):
    reverse = ReverseProcess(network(share), LINEAR.strided(10))
    g = torch.Generator().manual_seed(0)
    x_0 = toy("eight-gaussians", 500, g)[:, :, None, None] / 4
    x_t = reverse.forward_process.sample(x_0, torch.full((500,), step), torch.randn(x_0.shape, generator=g))
    field = score_field(reverse, x_t, step, EXACT, side=7)
    assert field.t == 100 * step
    assert field.error == pytest.approx(error, abs=1e-6)
    assert field.places.shape == field.learned.shape == field.exact.shape == (49, 2)
    torch.testing.assert_close(field.learned, share * field.exact, rtol=1e-4, atol=1e-4)
    inside = (x_t.flatten(1).abs() <= field.places.max()).all(1)
    assert float(inside.float().mean()) > 0.97 and torch.equal(field.places[0], -field.places[-1])


def test_unknown_score_has_no_error():
    field = score_field(ReverseProcess(network(1.0), LINEAR), torch.randn(50, 2, 1, 1), 700)
    assert field.exact is None and field.error is None and field.learned.shape == (225, 2)
