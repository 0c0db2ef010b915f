"""p_theta(x_0|x_1) pixel by pixel, in place of eq. 13: the stronger decoder that section 3.3 of the paper allows.

The chain may then end early, at a log SNR of about 4, and leaves the last grey levels to a small network over passes of
pixels: p(x_0|x_1) is the product over the passes of the mass of each pixel given xhat_0(x_1) and all earlier passes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import hidden
from nelbo.diffusion.passes import Pass, walk
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixel_windows import INPUT
from nelbo.networks.pixels import COMPONENTS, CodingNetwork, IntegerNetwork, PixelNetwork
from nelbo.probability import data_to_levels, levels_to_data
from nelbo.probability.integer_tables import LEVEL_PARTS, SCALES, TOTAL
from nelbo.probability.logistic import HALVES, LogisticMixture
from nelbo.randomness import Generators, uniform

SHIFTS = 4 * LEVEL_PARTS  # steps of a shift of 1, which is 4 levels


def top_place(levels: int) -> int:
    """Return the highest place of a rounded xhat_0 for K levels, in half levels; the lowest is 0."""
    return HALVES * (levels - 1)


def on_grid(xhat_0: Tensor, levels: int) -> Tensor:
    """Return xhat_0 in [-1, 1] in half levels, before rounding, float64."""
    return (xhat_0.double() + 1) * (top_place(levels) / 2)


def evidence(options: PixelOptions, xhat_0: Tensor, x_1: Tensor, signal: Tensor | float) -> Tensor:
    """Return what the network knows of the image, (B, VC, H, W) in [-1, 1]: xhat_0, and x_1 / signal if V = 2.

    Args:
        signal: sqrt(alphas_bar_1).
    """
    return torch.cat([xhat_0, x_1 / signal], 1) if options.reads_x_1 else xhat_0


def features(center: Tensor, x: Tensor, known: Tensor, levels: int) -> Tensor:
    """Return the network's input (B, 3C or 6C, H, W), integers: rounded evidence, known pixels, and which are known.

    If the evidence includes x_1, two further parts tell which known pixels are at the lowest and the highest level: in
    the plain parts of an image, such a pixel is probably surrounded by others.

    Args:
        center: (B, VC, H, W) int64, the rounded evidence in half levels.
        x: (B, C, H, W) levels; ignored where unknown.
        known: (C, H, W) or (B, C, H, W) bool.
        levels: K.
    """
    middle, noisy = center[:, : x.shape[1]], center[:, x.shape[1] :]
    seen, offset = known.expand_as(middle), HALVES * x.long() - middle
    parts = [middle - (levels - 1), offset * seen, INPUT * seen]
    if noisy.shape[1]:
        parts = [parts[0], noisy - middle, *parts[1:], *(INPUT * (seen & (x == end)) for end in (0, levels - 1))]
    return torch.cat(parts, 1)


def log2_masses(output: Tensor, middle: Tensor, x: Tensor, levels: int) -> Tensor:
    """Return log2 of the mass that mixtures (..., 3, components, h, w) give to levels x (..., h, w).

    Args:
        middle: (..., h, w) the middle of each mixture, a rounded xhat_0 in half levels.
    """
    logit, mean, inverse = _mixture(output, middle)
    edges = x.unsqueeze(-3)
    lower, upper = ((edges + d - mean) * inverse for d in (-0.5, 0.5))
    below = torch.where(edges == 0, 0, torch.sigmoid(lower))
    mass = torch.where(edges == levels - 1, 1 - below, torch.sigmoid(upper) - below)
    mixed = (logit.softmax(-3) * mass).sum(-3)
    share = 1 - levels / TOTAL
    return torch.log2((share * mixed).clamp(min=0) + 1 / TOTAL)


def _mixture(output: Tensor, middle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, means in levels and inverse scales (..., components, h, w) of the network's output."""
    logit, shift, scale = output.unbind(-4)
    mean = middle.unsqueeze(-3) / HALVES + 4 * shift
    inverse = torch.exp2(-(scale.clamp(-SCALES / 16, (SCALES - 1) / 8 - SCALES / 16) + SCALES / 16 - 5))
    return logit, mean, inverse


def mixture_of(
    network: CodingNetwork, center: Tensor, x: Tensor, known: Tensor, now: Pass, real: Tensor | None = None
) -> tuple[LogisticMixture, Tensor]:
    """Return the mixtures of the pixels of a pass in integers, and a (B, C, H, W) bool mask of these pixels.

    Args:
        center: (B, VC, H, W) int64, the rounded evidence in half levels.
        x: (B, C, H, W) int64 levels; ignored where unknown.
        known: (C, H, W) or (B, C, H, W) bool.
        now: the pass.
        real: (C, H, W) or (B, C, H, W) bool, the pixels of the image and not of its padding; None for all.
    """
    levels = network.options.levels
    output = torch.from_numpy(network(features(center, x, known, levels), now))
    chosen = torch.zeros(x.shape, dtype=torch.bool)
    now.of(chosen)[:] = True if real is None else now.of(real)
    of_pass = now.of(chosen)
    rows = output.permute(0, 3, 4, 1, 2)[of_pass].numpy()
    return LogisticMixture.read(rows, now.of(center)[of_pass].numpy(), levels), chosen


def expected_levels(network: IntegerNetwork, center: Tensor, x: Tensor, known: Tensor, real: Tensor) -> Tensor:
    """Return the levels (B, C, H, W) float64 with the mean of its mixture for every real pixel that is not known.

    It is for a network without blocks, which gives the mixtures of all pixels at once; the arguments are those of
    `mixture_of`.
    """
    levels, wanted = network.options.levels, real & ~known
    output = torch.from_numpy(network.everywhere(features(center, x, known, levels)))
    rows = output.permute(0, 1, 4, 5, 2, 3)[wanted].numpy()
    mixture = LogisticMixture.read(rows, center[:, : x.shape[1]][wanted].numpy(), levels)
    filled = x.double()
    filled[wanted] = torch.from_numpy(mixture.expected()).round()
    return filled


@dataclass(frozen=True)
class PixelDecoder:
    """p_theta(x_0|x_1) of a pixel network given xhat_0(x_1); it satisfies `nelbo.probability.Decoder`.

    Attributes:
        network: the pixel network, in evaluation mode.
        x_0: (B, C, H, W) xhat_0 predicted from x_1.
        x_1: (B, C, H, W).
        signal: sqrt(alphas_bar_1).
        observed: bool, broadcasts against x_1: a missing pixel is never known and has a log-mass of 0; None if all are
            observed.
    """

    network: PixelNetwork
    x_0: Tensor
    x_1: Tensor
    signal: float
    observed: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """(B, C, H, W) xhat_0, a picture without the drawn detail."""
        return self.x_0

    @property
    def center(self) -> Tensor:
        """(B, VC, H, W) int64, the evidence rounded to half levels."""
        levels = self.network.options.levels
        seen = evidence(self.network.options, self.x_0, self.x_1, self.signal)
        return on_grid(seen, levels).round().clamp(0, top_place(levels)).long()

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Return the log-mass (B, C, H, W) of data x_0 on the K levels given all earlier passes, nats per dimension."""
        levels, center = self.network.options.levels, self.center
        x, nats = data_to_levels(x_0.double(), levels), torch.zeros_like(self.x_0, dtype=torch.float32)
        for known, now in self._walk():
            log2 = log2_masses(self._output(center, x, known, now), now.of(center).float(), now.of(x).float(), levels)
            now.of(nats)[:] = math.log(2) * log2
        return hidden(nats, self.observed).to(x_0.dtype)

    def sample(self, generator: Generators, *, floor: bool = True) -> Tensor:
        """Draw data x_0 (B, C, H, W) on the K levels, pass by pass.

        Args:
            floor: draw with the masses of `log_prob`. They hold 1 / 65,536 for every level, so that every image can be
                encoded, and 0.4% of the pixels at K = 256 are specks of any level. False leaves this share out.
        """
        levels, center = self.network.options.levels, self.center
        x = torch.zeros_like(self.x_0, dtype=torch.int64)
        for known, now in self._walk():
            places = now.of(x)
            u = uniform((len(x), 4, *places.shape[1:]), generator, self.x_0.float()).unbind(1)
            drawn, anywhere = _draw(self._output(center, x, known, now), now.of(center).float(), levels, u)
            places[:] = anywhere.where(u[0] < levels / TOTAL, drawn) if floor else drawn
        return levels_to_data(x, levels, self.x_0.dtype)

    def _walk(self) -> list[tuple[Tensor, Pass]]:
        side, device = self.network.options.side, self.x_0.device
        passes = [(known.to(device), now) for known, now in walk(tuple(self.x_0.shape[1:]), side)]
        return passes if self.observed is None else [(known & self.observed, now) for known, now in passes]

    def _output(self, center: Tensor, x: Tensor, known: Tensor, now: Pass) -> Tensor:
        """Return the network's output with shifts and log2-scales rounded as `LogisticMixture.read` rounds them."""
        numbers = features(center, x, known, self.network.options.levels)
        logit, shift, scale = self.network(numbers.float(), now).unbind(1)
        return torch.stack([logit, (shift * SHIFTS).floor() / SHIFTS, (scale * 8 + 0.5).floor() / 8], 1)


def _draw(output: Tensor, middle: Tensor, levels: int, uniforms: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Draw levels (B, h, w) int64 of the mixtures, and levels with equal masses, from uniform numbers of each pixel."""
    _, flat, component, place = uniforms
    logit, mean, inverse = _mixture(output, middle)
    chosen = (logit.softmax(1).cumsum(1) < component[:, None]).sum(1, keepdim=True).clamp(max=COMPONENTS - 1)
    mean, inverse = (each.gather(1, chosen).squeeze(1) for each in (mean, inverse))
    drawn = (mean + torch.logit(place, eps=1e-7) / inverse).round().clamp(0, levels - 1)
    anywhere = (flat * levels).floor().clamp(max=levels - 1)
    return drawn.long(), anywhere.long()
