"""Fitting of a codec plan on training images: the steps to send, their chunks, and the network of the lossless end."""

import copy
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.codec.channel import Target
from nelbo.codec.chunks import KL_UNIT, chunk_bits
from nelbo.codec.float_chain import FloatChain
from nelbo.codec.options import FittingOptions
from nelbo.codec.pixel_training import train_pixels
from nelbo.codec.plan import CodecPlan
from nelbo.codec.step_costs import best_steps
from nelbo.codec.symbol_counts import EFFORT, flat_counts, symbol_counts
from nelbo.data import ImageDataset
from nelbo.diffusion import Calibrated, ReverseProcess, VariationalBound
from nelbo.errors import ConfigurationError, option, setting
from nelbo.networks.pixels import IntegerNetwork, PixelNetwork
from nelbo.probability import levels_to_data
from nelbo.progress import StageProgress, no_stages
from nelbo.randomness import CODEC, derived_seed, standard_normal

MOST_PRIOR_NATS = 0.01  # L_T of an image


@dataclass(frozen=True)
class Stop:
    """Expected size of an image if the channel stops at a time.

    Attributes:
        time: the network's own time of the last x_t that the channel sends.
        steps: the kept times from `time` up to T.
        channel: bits of the channel.
        end: bits of the lossless end.
    """

    time: int
    steps: tuple[int, ...]
    channel: float
    end: float

    @property
    def total(self) -> float:
        """Bits of an image."""
        return self.channel + self.end


class Fitting:
    """The measurements of one fit, which share a random generator.

    Args:
        reverse: p_theta over its full schedule, with the calibrated variance and xhat_0 clipped.
        images: training images (C, H, W) of K levels.
        options: sizes and seed of the fit.
        progress: called with the stage, and the images or optimizer steps done and in total.

    Raises:
        ConfigurationError: the variance is not calibrated.
    """

    def __init__(
        self, reverse: ReverseProcess, images: ImageDataset, options: FittingOptions, progress: StageProgress
    ) -> None:
        if not isinstance(reverse.variance, Calibrated):
            raise ConfigurationError(
                "the codec needs the calibrated variance, which this model does not have; `nelbo train` measures it at "
                "the end of training."
            )
        self.reverse, self.images, self.options, self.progress = reverse, images, options, progress
        self.mse = reverse.variance.mse
        self.num_dims = math.prod(images.images([0]).shape[1:])
        self.generator = torch.Generator().manual_seed(derived_seed(options.seed, CODEC))

    def spread(self, num: int) -> Tensor:
        """Return the levels (n, C, H, W) of at most `num` training images, evenly spread over the data set."""
        dataset = self.images.spread(min(num, len(self.images)))
        return dataset.images(range(len(dataset)))

    @torch.no_grad()
    def predicted(self, levels: Tensor, t: int, stage: str) -> Tensor:
        """Predict x_0 (N, C, H, W) from one draw of x_t ~ q(x_t|x_0) for each image."""
        found = []
        for place, some in enumerate(levels.split(self.options.batch_size)):
            x_0 = levels_to_data(some, self.reverse.levels)
            time = torch.full((len(some),), t, dtype=torch.int64)
            device = self.reverse.schedule.device
            noise = standard_normal(x_0.shape, self.generator, x_0)
            x_t = self.reverse.forward_process.sample(x_0, time, noise).to(device)
            found.append(self.reverse.predict(x_t, time.to(device)).x_0.cpu())
            self.progress(stage, min((place + 1) * self.options.batch_size, len(levels)), len(levels))
        return torch.cat(found)

    def train_end(self, xhat_0: Tensor, levels: Tensor, steps: int, stage: str) -> tuple[PixelNetwork, float]:
        """Train the network of the lossless end; also return the bits per image that it needs. See `train_pixels`."""
        return train_pixels(
            xhat_0,
            levels,
            self.reverse.levels,
            steps,
            self.options,
            self.generator,
            lambda done, total: self.progress(stage, done, total),
        )

    @torch.no_grad()
    def expected_kl(self, strided: ReverseProcess, levels: Tensor) -> Tensor:
        """Return the mean KL of each dimension at each step of the channel, (k, D) int64 in units of 1/256 bit."""
        x_0 = levels_to_data(levels, self.reverse.levels)
        schedule, rows = strided.schedule, []
        for t in range(2, schedule.num_steps + 1):
            total = torch.zeros(self.num_dims, dtype=torch.float64)
            for some in x_0.split(self.options.batch_size):
                time = torch.full((len(some),), t, dtype=torch.int64)
                x_t = strided.forward_process.sample(some, time, standard_normal(some.shape, self.generator, some))
                device = schedule.device
                p = strided.transition(x_t.to(device), time.to(device))
                q = strided.forward_process.posterior(some.to(device), x_t.to(device), time.to(device))
                total += Target.between(q, p).kl().sum(0)
            rows.append((total / len(x_0) / math.log(2) / KL_UNIT).round().long())
            self.progress("measuring expected KL", t - 1, schedule.num_steps - 1)
        return torch.stack(rows)

    def stop(self, levels: Tensor) -> tuple[Stop, Tensor]:
        """Find the cheapest of the times at which the channel may stop.

        Args:
            levels: (N, C, H, W) the training images of the lossless end.

        Returns:
            The stop, and the prediction of x_0 (N, C, H, W) at its time for each image.
        """
        schedule, found = self.reverse.schedule, list[Stop]()
        trial = self.spread(max(self.options.end_images // 16, 64))
        for number, log_snr in enumerate(self.options.stops, 1):
            name = f"trial {number} of at most {len(self.options.stops)}, log SNR {log_snr:g}"
            t = int((schedule.log_snr[1:].cpu() - log_snr).abs().argmin()) + 1
            if found and t == found[-1].time:  # the schedule ends at this log SNR
                break
            steps, channel = best_steps(schedule.to("cpu"), self.mse.cpu(), t, self.num_dims, chunk_bits(EFFORT))
            xhat_0 = self.predicted(trial, t, f"predicting x_0, {name}")
            _, end = self.train_end(xhat_0, trial, self.options.trial_steps, name)
            found.append(Stop(t, tuple(steps), channel, end))
            if len(found) > 1 and found[-1].total > found[-2].total:
                break
        best = min(found, key=lambda stop: stop.total)
        return best, self.predicted(levels, best.time, "predicting x_0")

    def own_end(self) -> tuple[tuple[int, ...], IntegerNetwork]:
        """Return the steps down to x_1, and the model's own pixel network of p(x_0|x_1)."""
        assert self.reverse.pixels is not None
        schedule = self.reverse.schedule.to("cpu")
        steps, _ = best_steps(schedule, self.mse.cpu(), 1, self.num_dims, chunk_bits(EFFORT))
        return tuple(steps), IntegerNetwork.of(copy.deepcopy(self.reverse.pixels).cpu())

    def trained_end(self) -> tuple[tuple[int, ...], IntegerNetwork]:
        """Find where the channel stops, and train the network of the lossless end there."""
        levels = self.spread(self.options.end_images)
        stop, xhat_0 = self.stop(levels)
        network, _ = self.train_end(xhat_0, levels, self.options.end_steps, "training the lossless end")
        return stop.steps, IntegerNetwork.of(network)

    @torch.no_grad()
    def counted(self, plan: CodecPlan, levels: Tensor) -> CodecPlan:
        """Return the plan with tables of indices and numbers of chunks, counted while images (N, C, H, W) are sent."""
        counts = symbol_counts(
            FloatChain(self.reverse, plan, 8),
            levels,
            self.options.seed,
            lambda done, total: self.progress("counting symbols", done, total),
        )
        return replace(plan, index_counts=counts["index_counts"], number_counts=counts["number_counts"])


def fit_plan(
    reverse: ReverseProcess,
    images: ImageDataset,
    options: FittingOptions | None = None,
    progress: StageProgress | None = None,
) -> CodecPlan:
    """Fit a codec plan to a model.

    Args:
        reverse: p_theta over its full schedule, with the calibrated variance and xhat_0 clipped.
        images: training images (C, H, W) of the model's levels.
        options: sizes and seed of the fit.
        progress: called with the stage, and the images or steps done and in total.

    Raises:
        ConfigurationError: the variance is not calibrated, or x_T depends on the data.
    """
    fitting = Fitting(reverse, images, options or FittingOptions(), progress or no_stages)
    own = fitting.options
    check_prior(reverse, fitting.spread(64))
    steps, pixels = fitting.own_end() if reverse.pixels is not None else fitting.trained_end()
    strided = replace(reverse, schedule=reverse.schedule.strided(steps))
    expected = fitting.expected_kl(strided, fitting.spread(own.table_images))
    plan = CodecPlan(expected=expected, **flat_counts(), steps=torch.tensor(steps), pixels=pixels)
    return fitting.counted(plan, fitting.spread(own.sent_images))


def check_prior(reverse: ReverseProcess, levels: Tensor) -> None:
    """Check that the codec may start from an x_T that does not depend on the images (N, C, H, W).

    Raises:
        ConfigurationError: L_T is above 0.01 nats per image.
    """
    x_0 = levels_to_data(levels, reverse.levels).to(reverse.schedule.device)
    nats = float(VariationalBound(reverse).prior(x_0.double()).mean())
    if nats > MOST_PRIOR_NATS:
        enough = math.floor(float(reverse.schedule.log_snr[-1]) - math.log(nats / MOST_PRIOR_NATS)) - 1
        raise ConfigurationError(
            f"L_T is {nats:.3g} nats per image, but the codec never sends x_T and allows at most {MOST_PRIOR_NATS}; "
            "train with less signal at the end of the schedule, for example with "
            f"{option('preset', 'images')} and {setting('schedule.log_snr_min', enough)}."
        )
