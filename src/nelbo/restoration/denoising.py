"""Denoising: y = x_0 + sigma z is x_t / sqrt(alphas_bar_t) at the t with sigma_t = sigma, so the chain starts there."""

from collections.abc import Iterator

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion import Calibrated, NoiseSchedule, ReverseProcess
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
def posterior_mean(reverse: ReverseProcess, y: Tensor, sigma: float, label: ConditionLike | None = None) -> Tensor:
    """Return the network's E[x_0|y] of noisy images y (B, C, H, W): one network call, and no noise is added.

    Noise below that of x_1 belongs to no step, so that the network alone would remove too much. With x_1 = y there,
    p(x_0|y) is p(x_0|x_1) N(y; x_0, sigma^2) / N(y; x_0, sigma_1^2) up to a factor. For p(x_0|x_1) = N(xhat_0, mse_1),
    its mean lies between y and xhat_0.
    """
    t = torch.full((len(y),), entry_step(reverse.schedule, sigma), device=y.device)
    x_0 = reverse.predict(reverse.schedule.at(reverse.schedule.signal, t, y) * y, t, label).x_0
    return x_0 if sigma >= float(reverse.schedule.sigma[1]) else y + _weight_below(reverse, sigma) * (x_0 - y)


def _weight_below(reverse: ReverseProcess, sigma: float) -> float:
    """Return the weight of xhat_0(x_1) against y, 1 / (1 + mse_1 (1 / sigma^2 - 1 / sigma_1^2)), for sigma < sigma_1.

    Without a calibration, mse_1 is at most sigma_1^2.
    """
    noise = float(reverse.schedule.sigma[1]) ** 2
    variance = reverse.variance
    mse = float(variance.mse_of(reverse.schedule)[1]) if isinstance(variance, Calibrated) else noise
    return 1 / (1 + mse * (1 / sigma**2 - 1 / noise))


def denoise(
    sampler: Sampler,
    y: Tensor,
    sigma: float,
    generator: Generators,
    steps: int | None = None,
    label: ConditionLike | None = None,
) -> Iterator[Step]:
    """Draw x_0 from p_theta(x_0|y) for noisy images y (B, C, H, W), and yield every step.

    y gets the noise that it lacks at the step where it enters the chain, so that it is exactly an x_t. Noise below that
    of x_1 is no part of the chain: the only step is then the posterior mean.

    Args:
        sampler: a sampler over the whole schedule; one that draws noise, or all draws are nearly equal.
        sigma: standard deviation of the noise in units of data.
        steps: number of steps; see `entering`.
        label: int64 (B,) class numbers or a `nelbo.condition.Condition`, for a conditional network.

    Raises:
        ConfigurationError: sigma is not positive, or above that of x_T.
    """
    schedule = sampler.reverse.schedule
    t = entry_step(schedule, sigma)
    if sigma < float(schedule.sigma[1]):
        mean = posterior_mean(sampler.reverse, y, sigma, label)
        return iter((Step(0, mean, mean),))
    walker, place = entering(sampler, t, steps)
    added = schedule.sigma_lacking(t, sigma) * standard_normal(y.shape, generator, y)
    x_t = float(schedule.signal[t]) * (y + added)
    return walker.walk(x_t, place, generator, label)
