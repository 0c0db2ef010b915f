"""The reverse process p_theta: noise to data (eqs. 1, 11, 13 and 15)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nelbo.condition import Condition, ConditionLike, hidden, observed_of
from nelbo.diffusion.constraint import Constraint
from nelbo.diffusion.forward import ForwardProcess
from nelbo.diffusion.guidance import Guidance
from nelbo.diffusion.parameterization import NoisePrediction, Parameterization, noise_given_data
from nelbo.diffusion.pixel_decoder import PixelDecoder
from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.diffusion.variance import FixedLarge, Variance
from nelbo.display import Brief
from nelbo.errors import ConfigurationError, ShapeError, option, shown
from nelbo.networks.pixels import PixelNetwork
from nelbo.options import check_functions, check_type
from nelbo.probability import Decoder, DiagonalGaussian, DiscretizedGaussian, levels_to_data


@dataclass(frozen=True)
class Prediction(Brief):
    """The result of one call of the network at x_t.

    Attributes:
        x_0: (B, ...) the predicted data xhat_0.
        noise: (B, ...) the predicted noise between xhat_0 and x_t.
        variance: sigma_t^2 of the step to x_{t-1}; it broadcasts against x_t.
        observed: bool, broadcasts against x_t: false where a pixel is missing and the prediction means nothing; None if
            all are observed.
    """

    x_0: Tensor
    noise: Tensor
    variance: Tensor
    observed: Tensor | None = None


@dataclass(frozen=True)
class ReverseProcess(Brief):
    """p_theta(x_{0:T}) (eq. 1): a network with a schedule, a parameterization and a variance.

    x_t is (B, C, ...), t is int64 (B,) within 1..T, and label is int64 (B,), a `nelbo.condition.Condition` or None.
    Where the condition marks pixels as missing, the network sees a constant, 0, in place of their x_t.

    Attributes:
        network: `network(x_t, time)` or `network(x_t, time, label)` returns (B, C, ...), or (B, 2C, ...) if the
            variance is learned. `time` is the network's own time. A condition of labels alone reaches it as their
            tensor. Only this class calls the network.
        schedule: the chain of this process: the one that the network was trained on, or a stride of it.
        parameterization: the meaning of the network's output.
        variance: sigma_t^2.
        levels: K, the number of levels of the data (eq. 13).
        clip: whether xhat_0 is clipped to [-1, 1].
        constraints: further corrections of xhat_0, in this order. After clipping and corrections, the noise is
            computed again from xhat_0.
        guidance: classifier-free guidance for calls with a condition, or None.
        pixels: the network of p_theta(x_0|x_1), pixel by pixel; None is the Gaussian of eq. 13.

    Raises:
        ConfigurationError: `clip` is not True or False, or a constraint or the guidance is not a function.
    """

    network: Callable[..., Tensor]
    schedule: NoiseSchedule
    parameterization: Parameterization = field(default_factory=NoisePrediction)
    variance: Variance = field(default_factory=FixedLarge)
    levels: int = 256
    clip: bool = False
    constraints: tuple[Constraint, ...] = ()
    guidance: Guidance | None = None
    pixels: PixelNetwork | None = None

    def __post_init__(self) -> None:
        check_type("clip", self.clip, bool)
        check_functions("constraints", self.constraints)
        if self.guidance is not None and not callable(self.guidance):
            raise ConfigurationError(
                f"{option('guidance')} is {shown(self.guidance)}; expected a `nelbo.diffusion.Guidance` or None."
            )

    def data_of(self, images: Tensor) -> Tensor:
        """Return data x_0 for images of levels, (B, ...) each."""
        return levels_to_data(images, self.levels)

    @property
    def forward_process(self) -> ForwardProcess:
        """q of the same schedule (eqs. 2, 4, 6 and 7)."""
        return ForwardProcess(self.schedule)

    @property
    def prior(self) -> DiagonalGaussian:
        """p(x_T) = N(0, I) (eq. 1): scalars that broadcast against any shape, in the dtype of the tables."""
        table = self.schedule.alphas_bar
        return DiagonalGaussian(table.new_zeros(()), table.new_ones(()))

    def output(self, x_t: Tensor, t: Tensor, label: ConditionLike | None = None) -> tuple[Tensor, Tensor | None]:
        """Call the network and return its output (B, C, ...), and its second half for the variance if that is learned.

        Raises:
            ShapeError: the output doesn't have the shape of x_t (with twice its channels if the variance is learned),
                or the condition has another number of examples.
        """
        time = self.schedule.network_times.to(t.device)[t]
        given = Condition.of(label).require(x_t.shape[0])
        x_t = hidden(x_t, given.observed)
        if given.simplest is None:
            raw = self.network(x_t, time)
        elif self.guidance is None or not given.guides:
            raw = self.network(x_t, time, given.simplest)
        else:
            raw = self.guidance(self.network, x_t, time, given)
        raw = raw.to(x_t.dtype)
        channels = x_t.shape[1] * (2 if self.variance.learned else 1)
        if raw.shape != (x_t.shape[0], channels, *x_t.shape[2:]):
            raise ShapeError(
                f"the network returned {tuple(raw.shape)} for an input of {tuple(x_t.shape)}; with the variance "
                f"{self.variance.name!r}, {channels} channels are expected; change the network or the variance."
            )
        if not self.variance.learned:
            return raw, None
        mean_half, variance_half = raw.chunk(2, dim=1)
        return mean_half, variance_half

    def read(
        self,
        output: Tensor,
        variance_output: Tensor | None,
        x_t: Tensor,
        t: Tensor,
        label: ConditionLike | None = None,
    ) -> Prediction:
        """Interpret an output of the network at x_t: xhat_0 (clipped and corrected), the noise and the variance."""
        observed = observed_of(label)
        x_t = hidden(x_t, observed)
        implied = self.parameterization.read(self.schedule, output, x_t, t)
        x_0, noise = implied.x_0, implied.noise
        if self.clip:
            x_0 = x_0.clamp(-1, 1)
        for constraint in self.constraints:
            x_0 = constraint(x_0, t)
        if self.clip or self.constraints:
            noise = noise_given_data(self.schedule, x_0, x_t, t)
        return Prediction(x_0, noise, self.variance(self.schedule, x_t, t, variance_output), observed)

    def predict(self, x_t: Tensor, t: Tensor, label: ConditionLike | None = None) -> Prediction:
        """Call the network once and return xhat_0 (eq. 15), the noise and sigma_t^2."""
        return self.read(*self.output(x_t, t, label), x_t, t, label)

    def score(self, x_t: Tensor, t: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return -eps_theta / sqrt(1 - alphas_bar_t), (B, C, ...), an estimate of the score (gradient of log q(x_t)).

        Ho et al., section 3.2: L_simple is denoising score matching (Vincent 2011) over the noise levels of the chain.
        """
        return -self.predict(x_t, t, label).noise / self.schedule.at(self.schedule.noise_stddev, t, x_t)

    def transition_of(self, prediction: Prediction, x_t: Tensor, t: Tensor) -> DiagonalGaussian:
        """Return p_theta(x_{t-1}|x_t) (eq. 1) of a prediction: the mean of eq. 7 at xhat_0, the variance sigma_t^2."""
        mean = self.forward_process.posterior(prediction.x_0, x_t, t).mean
        return DiagonalGaussian(mean, prediction.variance)

    def transition(self, x_t: Tensor, t: Tensor, label: ConditionLike | None = None) -> DiagonalGaussian:
        """Return p_theta(x_{t-1}|x_t) = N(mu_theta(x_t, t), sigma_t^2 I) (eqs. 1 and 11); one call of the network.

        mu_theta is eq. 7 at xhat_0, which is eq. 11 for a `NoisePrediction`.
        """
        return self.transition_of(self.predict(x_t, t, label), x_t, t)

    def decoder_of(self, prediction: Prediction, x_1: Tensor) -> Decoder:
        """Return p_theta(x_0|x_1) of a prediction at x_1, t = 1.

        It is the transition integrated over the bins of the K levels (eq. 13), or that of the pixel network.
        """
        if self.pixels is not None:
            x_0, x_1 = hidden(prediction.x_0, prediction.observed), hidden(x_1, prediction.observed)
            return PixelDecoder(self.pixels, x_0, x_1, float(self.schedule.signal[1]), prediction.observed)
        transition = self.transition_of(prediction, x_1, _first(x_1))
        return DiscretizedGaussian(transition.mean, transition.variance, self.levels)

    def decoder(self, x_1: Tensor, label: ConditionLike | None = None) -> Decoder:
        """Return p_theta(x_0|x_1) (eq. 13, or section 3.3 with a pixel network); one call of the network."""
        return self.decoder_of(self.predict(x_1, _first(x_1), label), x_1)


def _first(x_1: Tensor) -> Tensor:
    """Return t = 1 for each example."""
    return torch.ones(len(x_1), dtype=torch.int64, device=x_1.device)
