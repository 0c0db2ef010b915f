"""The report of a model of points: clouds of points, the score, and the divergence from a known density."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nelbo.data import KNOWN_DENSITY, KNOWN_SCORE, ImageDataset, toy_masses, toy_score
from nelbo.diffusion import ForwardProcess
from nelbo.display import Displayed, Frame, counted, data_frame
from nelbo.errors import ConfigurationError
from nelbo.evaluation import (
    HistogramDivergence,
    ScoreField,
    coarser,
    counts_of,
    histogram_divergence,
    score_field,
)
from nelbo.probability import categorical_entropy, data_to_levels, levels_to_data
from nelbo.randomness import POINTS, derived_seed, standard_normal
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.studies.listener import Listener
from nelbo.studies.run_data import data_of

BINS = 32  # per side


@dataclass(frozen=True)
class Gap:
    """A lower and an upper estimate of KL(data || model) for data of a known distribution, in nats per point.

    The model is the chain that drew the samples: the same number of steps, and xhat_0 clipped to [-1, 1].

    Attributes:
        samples: the KL over bins of the samples: a lower bound on the KL, up to its `spread`.
        entropy: H(x_0), the exact entropy of the data on its levels.
        bound: L on the held-out points; L - H(x_0) is an upper bound on the KL, up to `bound_error`.
        bound_error: the standard error of `bound`.
    """

    samples: HistogramDivergence
    entropy: float
    bound: float
    bound_error: float

    @property
    def at_most(self) -> float:
        """L - H(x_0) >= KL(data || model), in nats."""
        return self.bound - self.entropy


@dataclass(frozen=True)
class PointsReport(Displayed):
    """A model of points at several moments of the reverse process, from t = T to 0.

    Attributes:
        times: t of the full schedule at each moment.
        forward: a cloud (N, 2) of q(x_t) at each moment: held-out points, each with the same noise at all t.
        reverse: a cloud (N, 2) of the reverse process at each moment.
        fields: the score at each moment; None at t = 0.
        gap: KL(data || model), or None if the density of the data is unknown.
    """

    times: Sequence[int]
    forward: Sequence[Tensor]
    reverse: Sequence[Tensor]
    fields: Sequence[ScoreField | None]
    gap: Gap | None

    def summary(self) -> Mapping[str, str]:
        """Return the moments, and the limits of the KL divergence if the density of the data is known."""
        points, steps = counted(len(self.reverse[0]), "point"), ", ".join(map(str, self.times))
        rows = {"moments": f"{points} each of q(x_t) and of the reverse process at t = {steps}"}
        if self.gap is None:
            return rows
        return {**rows, "KL(data || model)": f"{self.gap.samples.nats:.3f} to {self.gap.at_most:.3f} nats per point"}

    def to_pandas(self) -> Frame:
        """Return the points as a data frame of pandas: one row for each point of each process and moment.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        clouds = {"forward": self.forward, "reverse": self.reverse}
        return data_frame(
            [
                {"t": t, "process": process, "x": x, "y": y}
                for process, moments in clouds.items()
                for t, cloud in zip(self.times, moments, strict=True)
                for x, y in cloud.tolist()
            ]
        )


def report_points(
    run: DiffusionRun, *, num: int, moments: Sequence[int], steps: int, seed: int = 0, listener: Listener | None = None
) -> PointsReport:
    """Draw `num` points by Algorithm 2 in `steps` reverse steps and report on the model.

    Args:
        moments: numbers of reverse steps, within 0..steps, after which the model is recorded.
        listener: receives the stages "reading images", "network calls" and "scoring".

    Raises:
        ConfigurationError: the model does not generate points of the plane.
        DataError: the data of the model is missing, or no images are held out.
    """
    if run.shape != (2, 1, 1):
        made = " x ".join(map(str, run.shape))
        raise ConfigurationError(
            f"{run.folder} generates images of {made}, not points; draw them by `nelbo plot progressive`."
        )
    listener = listener or Listener()
    held_out, name = data_of(run, listener).require_test(), run.config.data.spec.removeprefix("toy:")
    sampler = run.sampler("ancestral", steps=steps)  # the chain whose bound `_gap` reports
    schedule, device = sampler.reverse.schedule, sampler.reverse.schedule.device
    generator = torch.Generator().manual_seed(derived_seed(seed, POINTS))

    x_0 = levels_to_data(held_out.spread(num).images(range(min(num, len(held_out)))), run.levels).to(device)
    noise = standard_normal(x_0.shape, generator, x_0)
    unclipped, exact = run.reverse(steps=steps), partial(toy_score, name) if name in KNOWN_SCORE else None
    times, forward, reverse, fields = [], [], [], []
    walk = sampler.trajectory((num, *run.shape), generator, run.model.classes(None, num, seed=seed))
    for done, step in enumerate(walk):
        listener.on_stage("network calls", min(done + 1, steps), steps)
        if done in moments:
            x_t = _noisy(sampler.reverse.forward_process, x_0, step.t, noise)
            times.append(int(schedule.timesteps[step.t]))
            forward.append(x_t.flatten(1).cpu())
            reverse.append(step.x_t.flatten(1).cpu())
            fields.append(score_field(unclipped, x_t, step.t, exact) if step.t else None)
    gap = _gap(run, name, held_out, step.x_0, steps, seed, listener) if name in KNOWN_DENSITY else None
    return PointsReport(times, forward, reverse, fields, gap)


def _noisy(process: ForwardProcess, x_0: Tensor, step: int, noise: Tensor) -> Tensor:
    return x_0 if step == 0 else process.sample(x_0, torch.full((len(x_0),), step, device=x_0.device), noise)


def _gap(
    run: DiffusionRun, name: str, held_out: ImageDataset, samples: Tensor, steps: int, seed: int, listener: Listener
) -> Gap:
    masses = toy_masses(name)
    counts = counts_of(data_to_levels(samples, run.levels).flatten(1).cpu(), run.levels)
    report = run.bound(
        held_out,
        steps=steps,
        clip=True,  # like the sampler
        seed=seed,
        batch_size=512,
        progress=lambda done, total: listener.on_stage("scoring", done, total),
    )
    nats = report.num_dims * math.log(2)
    return Gap(
        histogram_divergence(coarser(masses, BINS), coarser(counts, BINS), seed=seed),
        float(categorical_entropy(masses.flatten())),
        report.total * nats,
        report.standard_error * nats,
    )
