"""What can be seen of a model of points: its clouds, its score, and its distance from a density that is known."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nelbo.data import KNOWN_DENSITY, KNOWN_SCORE, ImageDataset, toy_masses, toy_score
from nelbo.diffusion import ForwardProcess
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
from nelbo.studies.training import Listener, data_of

BINS = 32  # a side


@dataclass(frozen=True)
class Gap:
    """KL(data || model) of a known distribution of the data, from both sides, nats a point.

    The model is the chain that drew the samples: as many steps, xhat_0 held within the range of data.

    Attributes:
        samples: over bins of samples: what the KL is at least, but for its `spread`.
        entropy: H of the data on its levels, exact.
        bound: L on the held-out points, which exceeds H by the KL at least.
        bound_error: the standard error of `bound`.
    """

    samples: HistogramDivergence
    entropy: float
    bound: float
    bound_error: float

    @property
    def at_most(self) -> float:
        """L - H(x_0) >= KL(data || model)."""
        return self.bound - self.entropy


@dataclass(frozen=True)
class PointsReport:
    """A model of points at some moments of its walk, from t = T to 0.

    Attributes:
        times: the network's own time of each.
        forward: clouds (N, 2) of q, of held-out points that keep one noise all along.
        reverse: clouds (N, 2) of p_theta, on their way to samples.
        fields: scores at each t; None at t = 0.
        gap: KL(data || model), or None where the density of the data isn't known.
    """

    times: Sequence[int]
    forward: Sequence[Tensor]
    reverse: Sequence[Tensor]
    fields: Sequence[ScoreField | None]
    gap: Gap | None


def report_points(
    run: DiffusionRun, *, num: int, moments: Sequence[int], steps: int, seed: int = 0, listener: Listener | None = None
) -> PointsReport:
    """Draw `num` points in `steps` reverse steps, and look at the model after `moments` of them (within 0..steps).

    Raises:
        ConfigurationError: the model makes no points of the plane.
        DataError: its data is gone.
    """
    if run.shape != (2, 1, 1):
        made = " x ".join(map(str, run.shape))
        raise ConfigurationError(
            f"{run.folder} makes images of {made}, not points; draw them by `nelbo plot progressive`."
        )
    listener = listener or Listener()
    held_out, name = data_of(run, listener).require_test(), run.config.data.spec.removeprefix("toy:")
    sampler = run.sampler(steps=steps)
    schedule, device = sampler.reverse.schedule, sampler.reverse.schedule.alphas_bar.device
    generator = torch.Generator().manual_seed(derived_seed(seed, POINTS))

    x_0 = levels_to_data(held_out.spread(num).images(range(min(num, len(held_out)))), run.levels).to(device)
    noise = standard_normal(x_0.shape, generator, x_0)
    unclipped, exact = run.reverse(steps=steps), partial(toy_score, name) if name in KNOWN_SCORE else None
    times, forward, reverse, fields = [], [], [], []
    for done, step in enumerate(sampler.trajectory((num, *run.shape), generator)):
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
        clip=True,  # as `run.sampler` has it
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
