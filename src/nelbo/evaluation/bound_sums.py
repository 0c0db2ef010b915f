"""What a bound over many images is computed from: sums over parts of the set, which add up to those of the whole."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion import ReverseProcess
from nelbo.display import Brief
from nelbo.evaluation.bound_report import BoundReport, StepBits

GREY_LEVELS = 127.5  # from the scale of data, [-1, 1], to that of pixels, 0..255


@dataclass(frozen=True, eq=False)
class BoundSums(Brief):
    """Sums over the images of a part; `a + b` are those of both parts.

    A sum depends on the order of the parts only in its last bits, by rounding in float64.

    Attributes:
        num_images: N.
        terms: (3,) float64, sums of L_T, of the sum of L_{t-1} and of L_0, in bits/dim.
        squares: sum over the images of the squared deviation of the score from its mean, in (bits/dim)^2.
        draw_variance: sum of the variances of the scores by their draws, in (bits/dim)^2; NaN for a single draw of t.
        by_step: (4, T+1) float64, by t: the number of draws, the sums of nats per dimension and of their squares, and
            that of the squared error of xhat_0.
        dims: sum over the images of their observed dimensions.
    """

    num_images: int
    terms: Tensor
    squares: float
    draw_variance: float
    by_step: Tensor
    dims: float

    @classmethod
    def of(cls, terms: Tensor, variances: Tensor, by_step: Tensor, dims: Tensor) -> "BoundSums":
        """Sum up the images of one part.

        Args:
            terms: (N, 3) bits/dim: L_T, the sum of L_{t-1}, L_0.
            variances: (N,) of the scores by their draws, (bits/dim)^2.
            by_step: see the attribute.
            dims: (N,) observed dimensions.
        """
        scores = terms.sum(1)
        squares = (scores - scores.mean()).square().sum()
        return cls(len(terms), terms.sum(0), squares.item(), variances.sum().item(), by_step, dims.sum().item())

    def __add__(self, other: "BoundSums") -> "BoundSums":
        """Return the sums of both parts; the squares are combined by the formula of Chan, Golub and LeVeque (1979)."""
        num = self.num_images + other.num_images
        apart = (self.terms.sum() / self.num_images - other.terms.sum() / other.num_images).item()
        between = apart**2 * self.num_images * other.num_images / num
        return BoundSums(
            num,
            self.terms + other.terms,
            self.squares + other.squares + between,
            self.draw_variance + other.draw_variance,
            self.by_step + other.by_step,
            self.dims + other.dims,
        )

    @property
    def total(self) -> float:
        """The mean of the scores, in bits/dim."""
        return math.fsum((self.terms / self.num_images).tolist())

    @property
    def standard_error(self) -> float:
        """Of `total` as an estimate for the population of the images, in bits/dim; NaN for one image."""
        num = self.num_images
        return math.sqrt(self.squares / (num - 1) / num) if num > 1 else math.nan

    def report(
        self, reverse: ReverseProcess, scores: Tensor, num_dims: int, steps_per_image: int | None, seed: int
    ) -> BoundReport:
        """Return the report of the bound.

        Args:
            reverse: the process that was measured.
            scores: (N,) bits/dim of each image.
            num_dims: C * H * W.
            steps_per_image: values of t per image; None for every t.
            seed: of the draws.
        """
        num_steps = reverse.schedule.num_steps
        prior, denoising, decoder = (self.terms / self.num_images).tolist()
        return BoundReport(
            total=self.total,
            prior=prior,
            denoising=denoising,
            decoder=decoder,
            standard_error=self.standard_error,
            draw_error=math.sqrt(self.draw_variance) / self.num_images,
            per_step=list(self._per_step(reverse)),
            scores=scores,
            num_images=self.num_images,
            num_dims=num_dims,
            levels=reverse.levels,
            num_steps=num_steps,
            clip=reverse.clip,
            variance=reverse.variance.name,
            steps_per_image=num_steps - 1 if steps_per_image is None else steps_per_image,
            seed=seed,
            observed=self.dims / (self.num_images * num_dims),
        )

    def _per_step(self, reverse: ReverseProcess) -> Iterator[StepBits]:
        """Yield the average at each t that was drawn."""
        log_snr = reverse.schedule.log_snr.cpu()
        for t in range(1, reverse.schedule.num_steps + 1):
            count, total, squares, missed = self.by_step[:, t].tolist()
            if count == 0:
                continue
            mean = total / count
            variance = max(squares / count - mean**2, 0.0) * count / (count - 1) if count > 1 else math.nan
            error = math.sqrt(variance / count) / math.log(2)
            rmse = math.sqrt(missed / count) * GREY_LEVELS
            yield StepBits(t, mean / math.log(2), error, float(log_snr[t]), int(count), rmse)


@dataclass(frozen=True, eq=False)
class MeasuredBound(Brief):
    """The bound of each image of a part.

    Attributes:
        terms: (N, 3) float64, bits/dim: L_T, the estimate of the sum of L_{t-1}, L_0.
        variances: (N,) float64, of the scores by their draws, (bits/dim)^2.
        by_step: (4, T+1) float64, see `BoundSums`.
        dims: (N,) float64, the observed dimensions.
    """

    terms: Tensor
    variances: Tensor
    by_step: Tensor
    dims: Tensor

    @property
    def scores(self) -> Tensor:
        """The score of each image: (N,) float64, bits/dim."""
        return self.terms.sum(1)

    @property
    def sums(self) -> BoundSums:
        """The sums over the images."""
        return BoundSums.of(self.terms, self.variances, self.by_step, self.dims)


def empty_steps(num_steps: int) -> Tensor:
    """Return `by_step` of no image, (4, T+1) float64."""
    return torch.zeros(4, num_steps + 1, dtype=torch.float64)
