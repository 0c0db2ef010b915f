"""Denoising: y = x_0 + sigma z is x_t / sqrt(alphas_bar_t) at the t with sigma_t = sigma, so the chain starts there."""

from collections.abc import Iterator

import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.errors import ConfigurationError, option
from nelbo.randomness import Generators, standard_normal
from nelbo.restoration.entry import entering
from nelbo.samplers import Sampler, Step


def entry_step(schedule: NoiseSchedule, sigma: float) -> int:
    """Return the smallest t whose noise `schedule.sigma[t]` is at least sigma.

    Args:
        sigma: standard deviation in units of data, which range from -1 to 1: one of 256 levels is 2/255.

    Raises:
        ConfigurationError: sigma is not positive, or above that of x_T.
    """
    most = float(schedule.sigma[-1])
    if not 0 < sigma <= most:
        raise ConfigurationError(
            f"noise of {sigma:g} (in units of data, which range from -1 to 1) must be above 0 and at most {most:.4g}, "
            f"the noise of this model's x_T; change {option('noise')}."
        )
    return int(torch.searchsorted(schedule.sigma[1:].cpu().contiguous(), sigma)) + 1


@torch.no_grad()
def posterior_mean(reverse: ReverseProcess, y: Tensor, sigma: float, label: Tensor | None = None) -> Tensor:
    """Return the network's E[x_0|y] of noisy images y (B, C, H, W): one network call, and no noise is added."""
    t = torch.full((len(y),), entry_step(reverse.schedule, sigma), device=y.device)
    return reverse.predict(reverse.schedule.at(reverse.schedule.signal, t, y) * y, t, label).x_0


def denoise(
    sampler: Sampler,
    y: Tensor,
    sigma: float,
    generator: Generators,
    steps: int | None = None,
    label: Tensor | None = None,
) -> Iterator[Step]:
    """Draw x_0 from p_theta(x_0|y) for noisy images y (B, C, H, W), and yield every step.

    y gets the noise that it lacks at the step where it enters the chain, so that it is exactly an x_t.

    Args:
        sampler: a sampler over the whole schedule; one that draws noise, or all draws are nearly equal.
        sigma: standard deviation of the noise in units of data.
        steps: number of steps; see `entering`.
        label: int64 (B,) class numbers, for a conditional network.

    Raises:
        ConfigurationError: sigma is not positive, or above that of x_T.
    """
    schedule = sampler.reverse.schedule
    t = entry_step(schedule, sigma)
    walker, place = entering(sampler, t, steps)
    added = schedule.sigma_lacking(t, sigma) * standard_normal(y.shape, generator, y)
    x_t = float(schedule.signal[t]) * (y + added)
    return walker.walk(x_t, place, generator, label)
