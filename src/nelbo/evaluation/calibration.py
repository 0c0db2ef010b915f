"""Measurement of mse_t, the mean squared error of the network's xhat_0, which gives the calibrated variance."""

import math

import numpy as np
import torch
from torch import Tensor

from nelbo.condition import observed_of
from nelbo.data import ImageDataset
from nelbo.diffusion import ReverseProcess, mean_dims
from nelbo.errors import ConfigurationError, DataError
from nelbo.evaluation.conditions import condition_of
from nelbo.options import check_whole
from nelbo.progress import Progress
from nelbo.randomness import CALIBRATION, derived_seed, standard_normal

FEWEST_TIMES, FEWEST_EXAMPLES = 64, 4  # values of t that are measured at least, and examples of each


def draws_after(num_examples: int | None, num_steps: int) -> dict[str, int]:
    """Return the `draws` and `times` of `calibrate` after a training on so many examples; None is a long training.

    After 4 T examples these are the defaults. A shorter training would take less time than such a calibration.
    """
    if num_examples is None or num_examples >= FEWEST_EXAMPLES * num_steps:
        return {}
    times = min(num_steps, max(FEWEST_TIMES, num_examples // FEWEST_EXAMPLES))
    return {"draws": FEWEST_EXAMPLES * times, "times": times}


@torch.no_grad()
def calibrate(
    reverse: ReverseProcess,
    images: ImageDataset,
    *,
    labels: Tensor | None = None,
    draws: int = 4096,
    times: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Measure mse_t = E||x_0 - xhat_0(x_t)||^2 / D on training images for t = 0..T of the full schedule.

    D are the observed dimensions of an image.
    Each t gets draws // T + 256 // t examples, at least 4: low noise levels differ most from one another and hold most
    of the bits. The error is converted to the squared error of the noise, which changes slowly with t, and averaged
    over neighbouring t: over none for the first four, over more as t grows. With `times`, the error of the noise is
    measured at so many t only, with 4 examples each, and its logarithm is interpolated.

    Args:
        labels: (N,) class of each image for a conditional network, negative for none; None evaluates the network
            without classes.
        draws: examples spread evenly over t, unless there are fewer `times` than T.
        times: number of values of t to measure, at least 2, spread evenly in log t; None for all.
        progress: called with (examples done, examples in total).

    Returns:
        (T+1,) float64; entry 0 is 0.

    Raises:
        DataError: there are no images.
        ConfigurationError: the schedule is strided, so its steps are not the t of the full schedule.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to calibrate on.")
    check_whole("draws", draws, 0)
    check_whole("batch_size", batch_size)
    if times is not None:
        check_whole("times", times, min(2, reverse.schedule.num_steps))
    if int(reverse.schedule.timesteps[-1]) != reverse.schedule.num_steps:
        raise ConfigurationError(
            f"calibration needs the full schedule of {int(reverse.schedule.timesteps[-1])} steps, got a stride of "
            f"{reverse.schedule.num_steps}; calibrate on the full schedule, and use the result for every stride."
        )
    schedule, generator = reverse.schedule, torch.Generator().manual_seed(derived_seed(seed, CALIBRATION))
    num_steps = schedule.num_steps
    measured = _spread_times(num_steps, times or num_steps)
    counts = (draws // num_steps + 256 // measured).clamp(min=FEWEST_EXAMPLES)
    if len(measured) < num_steps:
        counts = torch.full_like(measured, FEWEST_EXAMPLES)
    t_all = measured.repeat_interleave(counts)
    t_all = t_all[torch.randperm(len(t_all), generator=generator)]
    chosen = torch.randint(len(images), (len(t_all),), generator=generator)
    total = torch.zeros(num_steps + 1, dtype=torch.float64)
    for start in range(0, len(t_all), batch_size):
        t = t_all[start : start + batch_size]
        device = schedule.device
        x_0 = reverse.data_of(images.images(chosen[start : start + batch_size])).to(device)
        noise = standard_normal(x_0.shape, generator, x_0)
        x_t = reverse.forward_process.sample(x_0, t.to(device), noise)
        label = condition_of(images, chosen[start : start + batch_size], labels, device)
        error = (reverse.predict(x_t, t.to(device), label).x_0 - x_0).square()
        error = mean_dims(error, observed_of(label)).cpu()
        total.index_add_(0, t, error.double())
        if progress is not None:
            progress(start + len(t), len(t_all))
    snr = schedule.snr.cpu()[1:]
    noise_error = _at_all_times(measured, total[measured] * snr[measured - 1] / counts, num_steps)
    noise_error = _smoothed(noise_error, num_steps // 128)
    return torch.cat([torch.zeros(1, dtype=torch.float64), noise_error / snr])


def _spread_times(num_steps: int, num: int) -> Tensor:
    """Return at most `num` of t = 1..T, evenly spread in log t, the first and the last among them; all if T <= num."""
    if num >= num_steps:
        return torch.arange(1, num_steps + 1)
    spread = torch.linspace(0, math.log(num_steps), num, dtype=torch.float64).exp().round().long()
    return spread[torch.diff(spread, prepend=torch.zeros(1, dtype=torch.long)) > 0]


def _at_all_times(measured: Tensor, values: Tensor, num_steps: int) -> Tensor:
    """Interpolate values at the measured t to t = 1..T: their logarithm, linearly in log t."""
    if len(measured) == num_steps:
        return values
    log_t, logarithms = np.log(np.arange(1, num_steps + 1)), values.clamp(min=1e-30).log()
    between = np.interp(log_t, measured.double().log().numpy(), logarithms.numpy())
    return torch.from_numpy(np.exp(between))


def _smoothed(values: Tensor, reach: int) -> Tensor:
    """Average the values at t = 1..T over t - r .. t + r, where r = min(reach, (t - 1) // 4, T - t)."""
    running = torch.cat([values.new_zeros(1), values.cumsum(0)])
    index = torch.arange(len(values))
    r = torch.minimum(index // 4, len(values) - 1 - index).clamp(max=reach)
    return (running[index + r + 1] - running[index - r]) / (2 * r + 1)
