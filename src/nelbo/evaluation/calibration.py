"""Measurement of mse_t, the mean squared error of the network's xhat_0, which gives the calibrated variance."""

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import ReverseProcess
from nelbo.errors import ConfigurationError, DataError
from nelbo.options import check_whole
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.randomness import CALIBRATION, derived_seed, standard_normal


@torch.no_grad()
def calibrate(
    reverse: ReverseProcess,
    images: ImageDataset,
    *,
    labels: Tensor | None = None,
    draws: int = 4096,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Measure mse_t = E||x_0 - xhat_0(x_t)||^2 / D on training images for t = 0..T of the full schedule.

    Each t gets draws // T + 256 // t examples, at least 4: low noise levels differ most from one another and hold most
    of the bits. The error is converted to the squared error of the noise, which changes slowly with t, and averaged
    over neighbouring t: over none for the first four, over more as t grows.

    Args:
        labels: (N,) class of each image for a conditional network, negative for none; None evaluates the network
            without classes.
        draws: examples spread evenly over t.
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
    if int(reverse.schedule.timesteps[-1]) != reverse.schedule.num_steps:
        raise ConfigurationError(
            f"calibration needs the full schedule of {int(reverse.schedule.timesteps[-1])} steps, got a stride of "
            f"{reverse.schedule.num_steps}; calibrate on the full schedule, and use the result for every stride."
        )
    schedule, generator = reverse.schedule, torch.Generator().manual_seed(derived_seed(seed, CALIBRATION))
    num_steps = schedule.num_steps
    times = torch.arange(1, num_steps + 1)
    counts = (draws // num_steps + 256 // times).clamp(min=4)
    t_all = times.repeat_interleave(counts)
    t_all = t_all[torch.randperm(len(t_all), generator=generator)]
    chosen = torch.randint(len(images), (len(t_all),), generator=generator)
    total = torch.zeros(num_steps + 1, dtype=torch.float64)
    for start in range(0, len(t_all), batch_size):
        t = t_all[start : start + batch_size]
        device = schedule.device
        x_0 = levels_to_data(images.images(chosen[start : start + batch_size]), reverse.levels).to(device)
        noise = standard_normal(x_0.shape, generator, x_0)
        x_t = reverse.forward_process.sample(x_0, t.to(device), noise)
        label = None if labels is None else labels[chosen[start : start + batch_size]].to(device)
        error = (reverse.predict(x_t, t.to(device), label).x_0 - x_0).flatten(1).square().mean(1).cpu()
        total.index_add_(0, t, error.double())
        if progress is not None:
            progress(start + len(t), len(t_all))
    snr = schedule.snr.cpu()[1:]
    noise_error = _smoothed(total[1:] * snr / counts, num_steps // 128)
    return torch.cat([torch.zeros(1, dtype=torch.float64), noise_error / snr])


def _smoothed(values: Tensor, reach: int) -> Tensor:
    """Average the values at t = 1..T over t - r .. t + r, where r = min(reach, (t - 1) // 4, T - t)."""
    running = torch.cat([values.new_zeros(1), values.cumsum(0)])
    index = torch.arange(len(values))
    r = torch.minimum(index // 4, len(values) - 1 - index).clamp(max=reach)
    return (running[index + r + 1] - running[index - r]) / (2 * r + 1)
