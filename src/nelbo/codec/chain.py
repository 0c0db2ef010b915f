"""The chain of reverse steps that sender and receiver run."""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from nelbo.codec.candidates import UNIT, start
from nelbo.codec.plan import CodecPlan
from nelbo.diffusion import Prediction, ReverseProcess
from nelbo.diffusion.pixel_decoder import evidence, on_grid
from nelbo.probability import DiagonalGaussian


class Chain:
    """The plan's steps of the reverse process, in float64: two machines then differ by far less than `MARGIN`.

    Args:
        reverse: p_theta over its full schedule.
        plan: the steps to keep, and their tables.
        batch_size: tiles in a call of the network; on a CPU, 8 are as fast as more.
    """

    def __init__(self, reverse: ReverseProcess, plan: CodecPlan, batch_size: int) -> None:
        network = copy.deepcopy(reverse.network).double() if isinstance(reverse.network, nn.Module) else reverse.network
        schedule = reverse.schedule.strided(plan.steps.tolist())
        self.reverse = replace(reverse, network=network, schedule=schedule)
        self.plan, self.batch_size = plan, batch_size
        self.num_steps = schedule.num_steps - 1  # sent through the channel

    def predictions(self, x: Tensor, t: int) -> Prediction:
        """Predict x_0 from tiles x_t (B, C, H, W), batch by batch."""
        parts = []
        for some in x.split(self.batch_size):
            time = torch.full((len(some),), t, dtype=torch.int64, device=some.device)
            parts.append(self.reverse.predict(some, time))
        variance = parts[0].variance[:1]
        return Prediction(torch.cat([p.x_0 for p in parts]), torch.cat([p.noise for p in parts]), variance)

    def transition(self, prediction: Prediction, x: Tensor, t: int) -> DiagonalGaussian:
        """Return p_theta(x_{t-1}|x_t): the same variance for every pixel and tile."""
        time = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        return self.reverse.transition_of(prediction, x, time)

    def beginning(self, num: int, shape: tuple[int, ...]) -> Tensor:
        """Return x_T (num, C, H, W), the same for every tile and every file."""
        z = torch.from_numpy(start(shape[0] * shape[1] * shape[2])).double() * UNIT
        return z.view(1, *shape).expand(num, -1, -1, -1).clone().to(self.reverse.schedule.device)

    def evidence(self, prediction: Prediction, x_1: Tensor) -> Tensor:
        """Return the evidence that the pixel network reads, (B, VC, H, W) in units of the grid, before rounding."""
        seen = evidence(self.plan.pixels.options, prediction.x_0, x_1, self.reverse.schedule.signal[1])
        return self.grid(seen)

    def grid(self, x_0: Tensor) -> Tensor:
        """Return data (B, ...) in units of the grid, before rounding: float64 on the CPU."""
        return on_grid(x_0, self.reverse.levels).cpu()
