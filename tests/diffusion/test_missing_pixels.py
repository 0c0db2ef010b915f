"""Missing pixels: the bound is one on -log p(observed pixels|mask), and nothing depends on what is missing.

The oracle is a Gaussian autoregressive process on 1,024 levels, finer than the noise of x_1. Its best network is known
for every mask: that of the Gaussian with the covariance of the observed pixels. Statistical checks use fixed seeds.
"""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from nelbo.condition import Condition
from nelbo.diffusion import (
    Calibrated,
    FixedSmall,
    HybridLoss,
    LearnedRange,
    NoisePrediction,
    NoiseSchedule,
    ReverseProcess,
    SimpleLoss,
    VariationalBound,
    VariationalLoss,
    bits_per_dim,
    num_dims,
)
from nelbo.networks import MLP, MLPOptions, PixelNetwork, PixelOptions, UNet, UNetOptions
from nelbo.probability import levels_to_data
from tests.diffusion.oracle import z_score

SIDE, LEVELS, CORRELATION, STDDEV = 3, 1024, 0.8, 0.25
SCHEDULE = NoiseSchedule.log_linear(250, 9.0, -10.5)
MASKS = torch.tensor(
    [[1, 1, 1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 0, 1, 0, 1, 0], [0, 0, 0, 0, 1, 1, 1, 1, 1]]
).bool()
COVARIANCE = STDDEV**2 * CORRELATION ** (torch.arange(9.0).double()[:, None] - torch.arange(9)).abs()  # along the rows


def gains(mask: Tensor) -> Tensor:
    """Return the matrices (T+1, 9, 9) from x_t to E[noise|observed pixels of x_t], with rows of 0 for the others."""
    abar, both = SCHEDULE.alphas_bar.view(-1, 1, 1), mask[:, None] & mask[None, :]
    # a missing pixel has a variance of 1 and no covariance, so it takes no part
    own = abar * COVARIANCE * both + torch.diag_embed(torch.where(mask, 1 - abar[:, 0], 1.0))
    own[0] = torch.eye(9)
    return (1 - abar).sqrt() * torch.linalg.inv(own) * both


class BestNetwork:
    """E[noise | observed pixels of x_t] of the Gaussian for every mask of `MASKS`; a missing pixel must come as 0."""

    def __init__(self) -> None:
        self.gains = torch.stack([gains(mask) for mask in MASKS])

    def __call__(self, x_t: Tensor, time: Tensor, condition: Condition) -> Tensor:
        assert condition.observed is not None
        seen, x = condition.observed.flatten(1), x_t.flatten(1)
        assert bool((x[~seen] == 0).all())
        which = (seen[:, None] == MASKS).all(2).int().argmax(1)
        by_mask = torch.einsum("mij,bj->bmi", self.gains[:, int(time[0])], x)
        return by_mask[torch.arange(len(x)), which].view_as(x_t)


class BestPaddedNetwork(UNet):
    """The same inside of a U-Net that pads 3 x 3 to 4 x 4: its first layer keeps its input, its last one answers."""

    def __init__(self) -> None:
        options = UNetOptions(channels=1, base=4, multipliers=(1, 1, 1), blocks=1, attention=(), groups=2, masked=True)
        super().__init__(options)
        self.double().eval().requires_grad_(False)
        self.best = BestNetwork()
        self.input.register_forward_hook(self.keep)
        self.output.register_forward_hook(self.answer)

    def forward(self, x_t: Tensor, t: Tensor, label: Condition | None = None) -> Tensor:
        self.time = t
        return super().forward(x_t, t, label)

    def keep(self, layer: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        (self.kept,) = inputs
        assert self.kept.shape[2:] == (4, 4)
        assert bool((self.kept[..., SIDE:, :] == 0).all() and (self.kept[..., SIDE:] == 0).all())

    def answer(self, layer: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        x_t, mask = (self.kept[:, [place], :SIDE, :SIDE].double() for place in (0, 1))
        noise = self.best(x_t, self.time, Condition(observed=mask.bool()))
        return torch.nn.functional.pad(noise, (0, 1, 0, 1), value=torch.nan)  # what is padded must reach no bound


def squared_errors() -> Tensor:
    """Return the mean of Var[x_0|observed pixels of x_t] over `MASKS` and their pixels, (T+1,), for the variance."""
    abar, errors = SCHEDULE.alphas_bar[1:].view(-1, 1, 1), []
    for mask in MASKS:
        own = COVARIANCE[mask][:, mask]
        rest = own - abar * own @ torch.linalg.solve(abar * own + (1 - abar) * torch.eye(len(own)).double(), own)
        errors.append(rest.diagonal(dim1=1, dim2=2).mean(1))
    return torch.cat([torch.zeros(1).double(), torch.stack(errors).mean(0)])


def draws(each: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return data (N, 1, 3, 3) on the levels, `each` examples of every mask, and the masks."""
    mask = MASKS.repeat(each, 1)
    noise = torch.randn(mask.shape, generator=generator, dtype=torch.float64)
    x = noise @ torch.linalg.cholesky(COVARIANCE).mT
    levels = ((x + 1) * (LEVELS - 1) / 2).round().clamp(0, LEVELS - 1)
    return levels_to_data(levels, LEVELS, torch.float64).view(-1, 1, SIDE, SIDE), mask.view(-1, 1, SIDE, SIDE)


def bits_of(x_0: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log2 p(observed levels) of each example, and its mean, the entropy: density times volume of a bin."""
    surprise, entropy = torch.zeros(2, len(x_0)).double()
    for one in MASKS:
        rows = (mask.flatten(1) == one).all(1)
        own, volume = COVARIANCE[one][:, one], int(one.sum()) * math.log2(2 / (LEVELS - 1))
        normal = stats.multivariate_normal(None, own.numpy())
        surprise[rows] = -torch.from_numpy(normal.logpdf(x_0.flatten(1)[rows][:, one].numpy())) / math.log(2) - volume
        entropy[rows] = normal.entropy() / math.log(2) - volume
    return surprise, entropy


@pytest.mark.slow
@pytest.mark.parametrize("network", [BestNetwork, BestPaddedNetwork])
def test_bound_of_a_known_gaussian_with_missing_pixels_is_its_entropy(network: type):
    """Within 3 standard errors and 0.01 bits/dim of the analytic value, and not below it (0.3% false alarms).

    The surprise of an example, whose mean is the entropy, is a control variate: it removes the spread of the examples.
    """
    g = torch.Generator().manual_seed(0)
    x_0, mask = draws(6_000, g)
    reverse = ReverseProcess(
        network().double() if network is BestPaddedNetwork else network(),
        SCHEDULE,
        NoisePrediction(),
        Calibrated(squared_errors()),
        LEVELS,
    )
    dims = num_dims(x_0, mask)
    bits = bits_per_dim(VariationalBound(reverse).terms(x_0, g, Condition(observed=mask)).total, dims)
    surprise, entropy = (each / dims for each in bits_of(x_0, mask))
    assert abs(z_score(bits - entropy, 0.0)) < 3
    excess = bits - surprise
    error = float(excess.std()) / math.sqrt(len(excess))
    assert 3 * error < 0.01
    assert -3 * error < float(excess.mean()) < 0.01


def masked_unet(**options) -> UNet:
    torch.manual_seed(0)
    network = UNet(
        UNetOptions(channels=1, base=8, multipliers=(1, 2), blocks=1, attention=(), groups=4, masked=True, **options)
    ).eval()
    for part in (network.output, network.input):
        torch.nn.init.normal_(part.weight, std=0.2)
    return network


def example(num: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x_0, the same with other missing pixels, the mask and noise."""
    g = torch.Generator().manual_seed(1)
    x_0, other = (levels_to_data(torch.randint(256, (num, 1, 8, 8), generator=g), 256) for _ in range(2))
    mask = torch.rand(num, 1, 8, 8, generator=g) < 0.6
    return x_0, torch.where(mask, x_0, other), mask, torch.randn(x_0.shape, generator=g)


T = torch.tensor([1, 30, 1000])


@pytest.mark.parametrize("loss", [SimpleLoss(), VariationalLoss(), HybridLoss()], ids=lambda each: type(each).__name__)
def test_losses_do_not_depend_on_missing_pixels(loss):
    x_0, other, mask, noise = example()
    learned = isinstance(loss, HybridLoss)
    network = masked_unet(learned_variance=learned, slopes=(1,), fourier=(2,))
    reverse = ReverseProcess(network, NoiseSchedule.linear(), variance=LearnedRange() if learned else FixedSmall())
    condition = Condition(observed=mask)
    elsewhere = torch.where(mask, noise, 7 * noise)
    values = loss(reverse, x_0, T, noise, condition)
    assert torch.equal(values, loss(reverse, other, T, elsewhere, condition))
    assert not torch.equal(values, loss(reverse, x_0, T, noise, Condition(observed=torch.ones_like(mask))))


def test_missing_pixels_pass_no_gradient_and_nan_does_no_harm():
    x_0, _, mask, noise = example()
    network = masked_unet()
    reverse = ReverseProcess(network, NoiseSchedule.linear())
    broken = torch.where(mask, x_0, torch.nan)
    VariationalLoss()(reverse, broken, T, noise, Condition(observed=mask)).sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in network.parameters())


def test_all_forms_of_the_bound_count_observed_pixels_only():
    """A mask without any pixel gives 0 nats in every term."""
    x_0, _, mask, _ = example()
    bound = VariationalBound(
        ReverseProcess(masked_unet().requires_grad_(False), NoiseSchedule.log_linear(5, 4.0, -8.0))
    )
    nothing = Condition(observed=torch.zeros_like(mask))
    terms = bound.terms(x_0, torch.Generator().manual_seed(0), nothing)
    assert bool((terms.total == 0).all())
    assert bool((bound.ratio(x_0, torch.Generator().manual_seed(0), nothing) == 0).all())
    assert bool((bound.terms(x_0, torch.Generator().manual_seed(0), Condition(observed=mask)).total > 0).all())


def test_a_full_mask_changes_no_loss():
    x_0, _, mask, noise = example()
    reverse = ReverseProcess(masked_unet(), NoiseSchedule.linear())
    full = Condition(observed=torch.ones_like(mask))
    for loss in (SimpleLoss(), VariationalLoss()):
        torch.testing.assert_close(loss(reverse, x_0, T, noise, full), loss(reverse, x_0, T, noise))


def test_pixel_decoder_neither_reads_nor_codes_missing_pixels():
    x_0, other, mask, noise = example()
    torch.manual_seed(0)
    pixels = PixelNetwork(PixelOptions(channels=1, hidden=8, blocks=2, side=2)).eval()
    torch.nn.init.normal_(pixels.layers[-1].weight, std=0.5)
    reverse = ReverseProcess(masked_unet(), NoiseSchedule.log_linear(8, 4.0, -8.0), pixels=pixels)
    bound, condition = VariationalBound(reverse), Condition(observed=mask)
    nats = bound.decoder(x_0, noise, condition)
    assert torch.equal(nats, bound.decoder(other, noise, condition))
    first = torch.ones(3, dtype=torch.int64)
    x_1 = reverse.forward_process.sample(x_0, first, noise)
    by_dim = bound.step_by_dim(reverse.predict(x_1, first, condition), x_0, x_1, first)
    assert bool((by_dim[~mask] == 0).all()) and bool((by_dim[mask] > 0).all())
    assert not torch.equal(nats, bound.decoder(x_0, noise))


def test_mlp_takes_points_with_missing_numbers():
    torch.manual_seed(0)
    network = MLP(MLPOptions(dims=2, width=16, depth=1, masked=True))
    torch.nn.init.normal_(network.output.weight)
    mask = torch.tensor([[True, False], [True, True]]).view(2, 2, 1, 1)
    reverse = ReverseProcess(network, NoiseSchedule.linear())
    x = torch.randn(2, 2, 1, 1)
    seen = reverse.predict(x, torch.tensor([5, 5]), Condition(observed=mask)).noise
    changed = torch.where(mask, x, 9.0)
    assert torch.equal(seen, reverse.predict(changed, torch.tensor([5, 5]), Condition(observed=mask)).noise)
