"""The chain of version 1 of the format: a diffusion network in float64."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nelbo.codec.candidates import UNIT, start
from nelbo.codec.chain import means_filled
from nelbo.codec.channel import Target
from nelbo.codec.plan import CodecPlan
from nelbo.codec.version import FORMAT
from nelbo.diffusion import Prediction, ReverseProcess
from nelbo.diffusion.passes import Pass, passes
from nelbo.diffusion.pixel_decoder import evidence, expected_levels, mixture_of, on_grid
from nelbo.errors import NonFiniteError
from nelbo.probability import DiagonalGaussian, levels_to_data
from nelbo.probability.logistic import HALVES, LogisticMixture
from nelbo.randomness import standard_normal


class FloatChain:
    """The plan's steps of the reverse process, in float64: two machines then differ by far less than `MARGIN`.

    It satisfies `nelbo.codec.chain.SharedChain`.

    Args:
        reverse: p_theta over its full schedule.
        plan: the steps to keep, and their tables.
        batch_size: tiles in a call of the network; on a CPU, 8 are as fast as more.
    """

    version, exact = FORMAT, False

    def __init__(self, reverse: ReverseProcess, plan: CodecPlan, batch_size: int) -> None:
        network = copy.deepcopy(reverse.network).double() if isinstance(reverse.network, nn.Module) else reverse.network
        schedule = reverse.schedule.strided(plan.steps.tolist())
        self.reverse = replace(reverse, network=network, schedule=schedule)
        self.plan, self.batch_size = plan, batch_size
        self.levels = reverse.levels
        self.passes = passes(plan.pixels.options.channels, plan.pixels.options.side)
        self.num_steps = schedule.num_steps - 1

    def beginning(self, num: int, shape: tuple[int, ...]) -> Tensor:
        """Return x_T (num, C, H, W), the same for every tile and every file."""
        z = torch.from_numpy(start(shape[0] * shape[1] * shape[2])).double() * UNIT
        return z.view(1, *shape).expand(num, -1, -1, -1).clone().to(self.reverse.schedule.device)

    def draw(self, tiles: Tensor, t: int, generator: torch.Generator) -> Tensor:
        """Draw x_t ~ q(x_t|x_0) of levels (B, C, H, W)."""
        x_0 = levels_to_data(tiles, self.levels, torch.float64).to(self.reverse.schedule.device)
        time = torch.full((len(x_0),), t, dtype=torch.int64, device=x_0.device)
        return self.reverse.forward_process.sample(x_0, time, standard_normal(x_0.shape, generator, x_0))

    def predictions(self, x: Tensor, t: int) -> Prediction:
        """Predict x_0 from tiles x_t (B, C, H, W), batch by batch."""
        parts = []
        for some in x.split(self.batch_size):
            time = torch.full((len(some),), t, dtype=torch.int64, device=some.device)
            parts.append(self.reverse.predict(some, time))
        variance = parts[0].variance[:1]
        return Prediction(torch.cat([p.x_0 for p in parts]), torch.cat([p.noise for p in parts]), variance)

    def divided(self, prediction: Prediction, sizes: Sequence[int]) -> list[Prediction]:
        """Divide a prediction into those of `sizes` tiles each."""
        parts = zip(prediction.x_0.split(list(sizes)), prediction.noise.split(list(sizes)), strict=True)
        return [Prediction(x_0, noise, prediction.variance) for x_0, noise in parts]

    def transition(self, prediction: Prediction, x: Tensor, t: int) -> DiagonalGaussian:
        """Return p_theta(x_{t-1}|x_t): the same variance for every pixel and tile."""
        time = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        return self.reverse.transition_of(prediction, x, time)

    def target(self, prediction: Prediction, x: Tensor, t: int, tiles: Tensor) -> Target:
        """Return q(x_{t-1}|x_t, x_0) of levels (B, C, H, W) in units of p_theta(x_{t-1}|x_t).

        Raises:
            NonFiniteError: the network's output is NaN or infinite.
        """
        x_0 = levels_to_data(tiles, self.levels, torch.float64).to(x.device)
        time = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        p, q = self.transition(prediction, x, t), self.reverse.forward_process.posterior(x_0, x, time)
        target = Target.between(q, p)
        if not bool(target.shift.isfinite().all()):
            raise NonFiniteError(f"the network's output at t = {int(self.plan.steps[t - 1])} is not finite.")
        return target

    def step(self, prediction: Prediction, x: Tensor, t: int, z: Tensor) -> Tensor:
        """Return x_{t-1}: the mean of p_theta(x_{t-1}|x_t) plus z (B, C, H, W) of its standard deviations."""
        p = self.transition(prediction, x, t)
        return p.mean + p.variance.sqrt() * z.to(x.device)

    def picture(self, prediction: Prediction) -> Tensor:
        """Return the prediction of x_0 as levels (B, C, H, W) float64, not clamped."""
        return (on_grid(prediction.x_0, self.levels).cpu() / HALVES).round()

    def evidence(self, prediction: Prediction, x_1: Tensor) -> Tensor:
        """Return what the pixel network reads, (B, VC, H, W) float64 in half levels, before it is rounded."""
        seen = evidence(self.plan.pixels.options, prediction.x_0, x_1, self.reverse.schedule.signal[1])
        return on_grid(seen, self.levels).cpu()

    def renewed(self, center: Tensor, x_1: Tensor, x: Tensor, known: Tensor, now: Pass) -> Tensor:
        """Return `center`: the pixel network reads the same at each pass."""
        return center

    def mixture(
        self, center: Tensor, x: Tensor, known: Tensor, now: Pass, real: Tensor
    ) -> tuple[LogisticMixture, Tensor]:
        """Return the mixtures of the pixels of a pass, and where they are; see `nelbo.diffusion.mixture_of`."""
        return mixture_of(self.plan.pixels, center, x, known, now, real)

    def filled(self, center: Tensor, x: Tensor, known: Tensor, real: Tensor, remaining: Sequence[Pass]) -> Tensor:
        """Return levels for a preview; see `SharedChain.filled`."""
        if self.plan.pixels.options.blocks == 0:
            return expected_levels(self.plan.pixels, center, x, known, real)
        return means_filled(self, center, x, known, real, remaining)

    def name(self, step: int) -> str:
        """Return the name of what a step of the plan sends."""
        return f"x_{int(self.plan.steps[step])}"
