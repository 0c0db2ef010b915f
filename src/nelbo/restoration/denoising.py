"""A noisy image is an x_t but for its scale: y = x_0 + sigma z is x_t / sqrt(alphas_bar_t) where sigma_t = sigma."""

from collections.abc import Iterator

import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.errors import ConfigurationError
from nelbo.randomness import Generators, standard_normal
from nelbo.restoration.entry import entering
from nelbo.samplers import Sampler, Step


def entry_step(schedule: NoiseSchedule, sigma: float) -> int:
    """The first t whose noise, `schedule.sigma[t]`, is not below sigma, in units of data: of 256 levels 2/255 each.

    Raises:
        ConfigurationError: no noise at all, or more than x_T has.
    """
    most = float(schedule.sigma[-1])
    if not 0 < sigma <= most:
        raise ConfigurationError(
            f"noise of {sigma:g} (in units of data, which go from -1 to 1) is not within 0..{most:.4g}, what this "
            "model's chain knows; change --noise."
        )
    return int(torch.searchsorted(schedule.sigma[1:].cpu().contiguous(), sigma)) + 1


@torch.no_grad()
def posterior_mean(reverse: ReverseProcess, y: Tensor, sigma: float, label: Tensor | None = None) -> Tensor:
    """E[x_0|y] of noisy images y (B, C, H, W) as the network sees it: one call, no noise added."""
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
    """Walk down from noisy images y (B, C, H, W): draws of p_theta(x_0|y), by a sampler that draws noise.

    What y lacks of the noise of its t is added, so that it is an x_t exactly.

    Args:
        sampler: over the whole schedule.
        sigma: the noise's standard deviation in units of data.
        steps: how many to take; see `entering`.
        label: int64 (B,) for a conditional network.

    Raises:
        ConfigurationError: noise that the chain doesn't know.
    """
    schedule = sampler.reverse.schedule
    t = entry_step(schedule, sigma)
    walker, place = entering(sampler, t, steps)
    added = schedule.sigma_lacking(t, sigma) * standard_normal(y.shape, generator, y)
    x_t = float(schedule.signal[t]) * (y + added)
    return walker.walk(x_t, place, generator, label)
