"""The bound as progressive coding: rate against distortion at each step (Ho et al. 2020, section 4.3, fig. 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from nelbo.display import Displayed, Frame, bars, counted, data_frame
from nelbo.errors import ConfigurationError
from nelbo.evaluation.bound_report import BoundReport


@dataclass(frozen=True)
class RatePoint:
    """The state of a receiver that runs Algorithm 4, after x_t was received.

    Attributes:
        t: index of the received x_t.
        reverse_steps: T - t, the number of reverse steps so far.
        rate: bits/dim received so far, L_T + L_{T-1} + ... + L_t.
        rmse: root of the mean squared error of xhat_0(x_t), on the pixel scale 0..255.
    """

    t: int
    reverse_steps: int
    rate: float
    rmse: float


@dataclass(frozen=True)
class RateDistortion(Displayed):
    """The whole curve, from x_T to x_1.

    Attributes:
        points: one per t, from T to 1.
        distortion: L_0, bits/dim; rate + distortion = L.
    """

    points: list[RatePoint]
    distortion: float

    def summary(self) -> Mapping[str, str]:
        """Return rate and distortion of the whole chain."""
        ends = f"RMSE {self.points[0].rmse:.2f} at t = {self.points[0].t}, {self.points[-1].rmse:.2f} at t = 1"
        return {
            "rate": f"{self.rate:.4f} bits/dim, distortion {self.distortion:.4f} bits/dim, total {self.total:.4f}",
            "points": f"{counted(len(self.points), 'step')}, {ends}",
        }

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return the distortion after each step."""
        caption = f"RMSE after each received step, from t = {self.points[0].t} (left) to t = 1 (right)"
        return {caption: [bars([point.rmse for point in self.points])]}

    def to_pandas(self) -> Frame:
        """Return the points as a data frame of pandas, from T to 1.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame([asdict(point) for point in self.points])

    @property
    def rate(self) -> float:
        """L_T + ... + L_1, bits/dim."""
        return self.points[-1].rate

    @property
    def total(self) -> float:
        """L, bits/dim."""
        return self.rate + self.distortion


def rate_distortion(report: BoundReport) -> RateDistortion:
    """Return the curve of a bound that was evaluated at every t: its terms, summed from T downwards.

    Raises:
        ConfigurationError: the bound was not evaluated at every t.
    """
    steps = {step.t: step for step in report.per_step}
    if report.steps_per_image != report.num_steps - 1 or len(steps) != report.num_steps:
        raise ConfigurationError(
            f"a rate-distortion curve needs the bound at every t, but {report.steps_per_image} of "
            f"{report.num_steps - 1} were drawn per image; use steps_per_image=None."
        )
    points, rate = [], report.prior
    for t in range(report.num_steps, 0, -1):
        points.append(RatePoint(t, report.num_steps - t, rate, steps[t].rmse))
        rate += steps[t].bits_per_dim
    return RateDistortion(points, steps[1].bits_per_dim)
