"""Measuring a plan on training images: which steps to send, how they are cut, and the tables of the lossless end."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.codec.channel import Target
from nelbo.codec.chunks import KL_UNIT
from nelbo.codec.lattice import OFFSETS, rounded
from nelbo.codec.pixels import (
    HALVES,
    IntegerNetwork,
    PixelNetwork,
    PixelOptions,
    features,
    log2_masses,
    members,
    passes,
)
from nelbo.codec.plan import BUCKETS, MIDDLE, SURPRISES, CodecPlan, Expectation, folded
from nelbo.codec.progressive import Chain, chunk_bits, send_steps
from nelbo.data import ImageDataset
from nelbo.diffusion import Calibrated, NoiseSchedule, ReverseProcess, VariationalBound
from nelbo.errors import ConfigurationError
from nelbo.probability import levels_to_data
from nelbo.randomness import CODEC, INITIALISATION, derived_seed, standard_normal

FittingProgress = Callable[[str, int, int], None]

OVERHEAD = 3.6  # bits that the channel adds to a chunk (an index of 12 bits of KL)
STEP_BITS = 2.5  # bits for the number of chunks of a step
CALL_BITS = 1.0  # what a call of the network should save
SPACING = 0.25  # nats of log SNR between the steps that are thought of
MOST_PRIOR_NATS = 0.01  # of L_T, an image


@dataclass(frozen=True)
class FittingOptions:
    """How much to look at.

    Attributes:
        end_images: training images whose last xhat_0 the lossless end learns from.
        end_steps: optimizer steps of its network; batch and learning rate beside.
        table_images: training images that the tables of expected KL are measured on.
        sent_images: training images that are sent, to count indices and numbers of chunks.
        stops: log SNRs at which the channel may stop, rising; each is tried for `trial_steps` until one costs more
            than the one before. Trials so short know the network of the end before it has learned much, and favour a
            late stop: with stops up to 12, photographs' crops chose 9, and a whole photograph took 4% more bytes.
    """

    end_images: int = 16384
    end_steps: int = 8000
    trial_steps: int = 400
    end_batch: int = 32
    learning_rate: float = 2e-3
    hidden: int = 48
    table_images: int = 512
    sent_images: int = 64
    stops: tuple[float, ...] = (3.0, 4.0, 5.0, 6.0)
    batch_size: int = 64
    seed: int = 0


@dataclass(frozen=True)
class Stop:
    """What stopping the channel at a step would cost, bits an image: the channel's part and the end's."""

    time: int
    steps: tuple[int, ...]
    channel: float
    end: float

    @property
    def total(self) -> float:
        """Bits an image."""
        return self.channel + self.end


def step_bits(schedule: NoiseSchedule, mse: Tensor, t: int, s: Tensor, num_dims: int) -> Tensor:
    """Expected KL, bits an image, of sending x_s given x_t for each s (n,) below t, with the calibrated variance."""
    bits, second = [], torch.tensor([2])
    for step in s.tolist():
        kept = torch.tensor([0, step, t])
        pair = NoiseSchedule(schedule.alphas_bar[kept], schedule.timesteps[kept])  # a chain of these two steps
        variance = Calibrated(mse)(pair, mse, second, None)
        bits.append(num_dims / 2 * torch.log2(variance / pair.posterior_variance[2]))
    return torch.cat(bits)


def best_steps(schedule: NoiseSchedule, mse: Tensor, stop: int, num_dims: int, bits: int) -> tuple[list[int], float]:
    """The steps from T down to `stop` that cost the fewest bits, and these bits: the shortest way on a grid of steps.

    A step costs its KL, the overhead of its chunks (one at least), and what tells their number.
    """
    log_snr = schedule.log_snr
    wanted = torch.arange(float(log_snr[stop]), float(log_snr[-1]), -SPACING, dtype=torch.float64)
    grid = torch.unique(torch.searchsorted(-log_snr, -wanted).clamp(stop, schedule.num_steps))
    grid = torch.unique(torch.cat([grid, torch.tensor([stop, schedule.num_steps])]))
    cost = torch.full((len(grid),), math.inf, dtype=torch.float64)
    after = torch.zeros(len(grid), dtype=torch.int64)
    cost[0] = 0
    for place in range(1, len(grid)):
        kl = step_bits(schedule, mse, int(grid[place]), grid[:place], num_dims)
        whole = cost[:place] + kl + OVERHEAD * (kl / bits).clamp(min=1) + STEP_BITS + CALL_BITS
        cost[place], after[place] = whole.min(0)
    steps, place = [int(grid[-1])], len(grid) - 1
    while place:
        place = int(after[place])
        steps.append(int(grid[place]))
    return steps[::-1], float(cost[-1])


class Fitting:
    """Everything that is measured, on training images with levels (N, C, H, W)."""

    def __init__(
        self, reverse: ReverseProcess, images: ImageDataset, options: FittingOptions, progress: FittingProgress
    ) -> None:
        if not isinstance(reverse.variance, Calibrated):
            raise ConfigurationError("the codec needs the calibrated variance; `nelbo train` measures it at its end.")
        self.reverse, self.images, self.options, self.progress = reverse, images, options, progress
        self.mse = reverse.variance.mse
        self.shape = tuple(images.images([0]).shape[1:])
        self.num_dims = math.prod(self.shape)
        self.generator = torch.Generator().manual_seed(derived_seed(options.seed, CODEC))

    def spread(self, num: int) -> Tensor:
        """Levels (n, C, H, W) of at most so many training images."""
        dataset = self.images.spread(min(num, len(self.images)))
        return dataset.images(range(len(dataset)))

    @torch.no_grad()
    def looks(self, levels: Tensor, t: int, name: str) -> Tensor:
        """xhat_0 of x_t ~ q(x_t|x_0), one draw for each image."""
        found = []
        for place, some in enumerate(levels.split(self.options.batch_size)):
            x_0 = levels_to_data(some, self.reverse.levels)
            time = torch.full((len(some),), t, dtype=torch.int64)
            device = self.reverse.schedule.alphas_bar.device
            noise = standard_normal(x_0.shape, self.generator, x_0)
            x_t = self.reverse.forward_process.sample(x_0, time, noise).to(device)
            found.append(self.reverse.predict(x_t, time.to(device)).x_0.cpu())
            self.progress(name, min((place + 1) * self.options.batch_size, len(levels)), len(levels))
        return torch.cat(found)

    def train_end(self, xhat_0: Tensor, levels: Tensor, steps: int, name: str) -> tuple[PixelNetwork, float]:
        """The network of the lossless end, and the bits an image that it needs (the last quarter of its training)."""
        options, top = self.options, HALVES * (self.reverse.levels - 1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(options.seed, INITIALISATION))
            network = PixelNetwork(PixelOptions(self.shape[0], options.hidden, self.reverse.levels))
        optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=steps)
        masks = [members(a_pass, self.shape) for a_pass in passes(self.shape[0])]
        values = (xhat_0.double() + 1) * (top / 2)
        bits = []
        for step in range(steps):
            some = torch.randint(len(levels), (options.end_batch,), generator=self.generator)
            number = torch.randint(len(masks), (options.end_batch,), generator=self.generator)
            known = torch.stack([torch.stack(masks[: n + 1]).any(0) & ~masks[n] for n in number.tolist()])
            now = torch.stack([masks[n] for n in number.tolist()])
            offset = int(torch.randint(OFFSETS, (1,), generator=self.generator))
            center = rounded(values[some], offset).clamp(0, top)
            x = levels[some]
            output = network(features(center, x, known, self.reverse.levels).float())
            nats = -log2_masses(output, center.float(), x.float(), self.reverse.levels)
            loss = (nats * (now + 0.05 * (~known & ~now))).sum() / now.sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bits.append(float((nats * now).sum().detach() / now.sum()))
            self.progress(name, step + 1, steps)
        late = bits[-max(len(bits) // 4, 1) :]
        return network.eval(), sum(late) / len(late) * self.num_dims

    @torch.no_grad()
    def expected_kl(self, strided: ReverseProcess, levels: Tensor) -> Tensor:
        """(k, D) the mean KL of each dimension at each step of the channel, in units of 1/256 bit."""
        x_0 = levels_to_data(levels, self.reverse.levels)
        schedule, rows = strided.schedule, []
        for t in range(2, schedule.num_steps + 1):
            total = torch.zeros(self.num_dims, dtype=torch.float64)
            for some in x_0.split(self.options.batch_size):
                time = torch.full((len(some),), t, dtype=torch.int64)
                x_t = strided.forward_process.sample(some, time, standard_normal(some.shape, self.generator, some))
                device = schedule.alphas_bar.device
                p = strided.transition(x_t.to(device), time.to(device))
                q = strided.forward_process.posterior(some.to(device), x_t.to(device), time.to(device))
                shift = ((q.mean - p.mean) / p.variance.sqrt()).flatten(1).cpu()
                ratio = float((q.variance.flatten()[0].double() / p.variance.flatten()[0].double()).sqrt())
                total += Target(shift, ratio).kl().sum(0)
            rows.append((total / len(x_0) / math.log(2) / KL_UNIT).round().long())
            self.progress("expected KL", t - 1, schedule.num_steps - 1)
        return torch.stack(rows)

    def stop(self, levels: Tensor) -> tuple[Stop, Tensor]:
        """The cheapest place to stop the channel of those that are tried, and the looks that its end learns from."""
        schedule, found = self.reverse.schedule, list[Stop]()
        trial = self.spread(max(self.options.end_images // 16, 64))
        for log_snr in self.options.stops:
            t = int((schedule.log_snr[1:].cpu() - log_snr).abs().argmin()) + 1
            if found and t == found[-1].time:  # the chain has no less noise
                break
            steps, channel = best_steps(schedule.to("cpu"), self.mse.cpu(), t, self.num_dims, chunk_bits(5))
            looks = self.looks(trial, t, f"log SNR {log_snr:g}")
            _, end = self.train_end(looks, trial, self.options.trial_steps, f"trying log SNR {log_snr:g}")
            found.append(Stop(t, tuple(steps), channel, end))
            if len(found) > 1 and found[-1].total > found[-2].total:
                break
        best = min(found, key=lambda stop: stop.total)
        return best, self.looks(levels, best.time, "the last look")

    @torch.no_grad()
    def counts(self, plan: CodecPlan, levels: Tensor) -> CodecPlan:
        """The same plan with tables of the indices and numbers that a few images need."""
        bits, index = chunk_bits(5), torch.ones(BUCKETS, dtype=torch.int64)
        number = torch.ones(SURPRISES, dtype=torch.int64)
        chain, expected = Chain(self.reverse, plan, 8), [Expectation() for _ in levels]
        sent, _ = send_steps(
            chain,
            levels_to_data(levels, self.reverse.levels, torch.float64).to(self.reverse.schedule.alphas_bar.device),
            5,
            self.options.seed,
            lambda done, total: self.progress("sending", done, total),
        )
        for step, said in zip(range(len(plan.expected) - 1, -1, -1), sent, strict=True):
            units = plan.layout.total(step)
            for tile, (n, indices) in enumerate(zip(said.numbers, said.indices, strict=True)):
                surprise = folded(n - expected[tile].of(units, int(bits / KL_UNIT)))
                number[min(surprise, SURPRISES - 1)] += 8
                expected[tile].add(n, units)
                for i in indices:
                    index[MIDDLE - bits + i.bit_length()] += 8
        return replace(plan, index_counts=index, number_counts=number)


def fit_plan(
    reverse: ReverseProcess,
    images: ImageDataset,
    options: FittingOptions | None = None,
    progress: FittingProgress | None = None,
) -> CodecPlan:
    """Measure a plan for a model.

    Args:
        reverse: p_theta over its full schedule, with the calibrated variance and xhat_0 clipped.
        images: training images, on the model's levels.

    Raises:
        ConfigurationError: a model without a calibrated variance, or whose x_T shows the data.
    """
    fitting = Fitting(reverse, images, options or FittingOptions(), progress or (lambda *_: None))
    own = fitting.options
    levels = fitting.spread(own.end_images)
    check_prior(reverse, levels[:64])
    stop, looks = fitting.stop(levels)
    strided = replace(reverse, schedule=reverse.schedule.strided(stop.steps))
    expected = fitting.expected_kl(strided, fitting.spread(own.table_images))
    network, _ = fitting.train_end(looks, levels, own.end_steps, "the lossless end")
    flat = torch.ones(BUCKETS, dtype=torch.int64), torch.ones(SURPRISES, dtype=torch.int64)
    plan = CodecPlan(torch.tensor(stop.steps), expected, *flat, IntegerNetwork.of(network))
    return fitting.counts(plan, fitting.spread(own.sent_images))


def check_prior(reverse: ReverseProcess, levels: Tensor) -> None:
    """Check that x_T need not be sent.

    Raises:
        ConfigurationError: L_T is above 0.01 nats an image.
    """
    x_0 = levels_to_data(levels, reverse.levels).to(reverse.schedule.alphas_bar.device)
    nats = float(VariationalBound(reverse).prior(x_0.double()).mean())
    if nats > MOST_PRIOR_NATS:
        enough = math.floor(float(reverse.schedule.log_snr[-1]) - math.log(nats / MOST_PRIOR_NATS)) - 1
        raise ConfigurationError(
            f"L_T is {nats:.3g} nats an image, and the codec starts from an x_T that it never sends: at most "
            f"{MOST_PRIOR_NATS} may be lost in that. Train with less signal at the end of the schedule, for example "
            f"--preset images --set schedule.log_snr_min={enough}."
        )
