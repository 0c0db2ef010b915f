"""The scheduler_config.json of diffusers' `DDPMScheduler` or `DDIMScheduler`, read as a `Chain` and written from one.

diffusers counts steps 0..T-1, nelbo counts 1..T.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError, option, setting
from nelbo.interop.settings import Accepted, refuse_others
from nelbo.recipes import ScheduleOptions
from nelbo.recipes.assembly import build_schedule

PREDICTIONS = {"epsilon": "noise", "sample": "data", "v_prediction": "velocity"}
VARIANCES = {  # diffusers' name -> nelbo's
    "fixed_small": "fixed-small",
    "fixed_small_log": "fixed-small",
    "fixed_large": "fixed-large",
    "fixed_large_log": "fixed-large",
    "learned_range": "learned-range",
}
WRITTEN_VARIANCES = {"fixed-small": "fixed_small", "fixed-large": "fixed_large", "learned-range": "learned_range"}
ROUNDED = 0.01  # relative error of 1 - alphas_bar_t above which a note is given


@dataclass(frozen=True)
class SchedulerConfig:
    """Every setting of `DDPMScheduler`, with its default."""

    num_train_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: tuple[float, ...] | None = None
    variance_type: str | None = None  # "fixed_small" in diffusers; None here, because the network's channels decide it
    clip_sample: bool = True
    prediction_type: str = "epsilon"
    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    clip_sample_range: float = 1.0
    sample_max_value: float = 1.0
    timestep_spacing: str = "leading"
    steps_offset: int = 0
    rescale_betas_zero_snr: bool = False


ONE_WAY: dict[str, Accepted] = {
    "beta_schedule": Accepted("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"),
    "prediction_type": Accepted(*PREDICTIONS),
    "variance_type": Accepted(None, *VARIANCES),
    "clip_sample_range": Accepted(1.0, why="nelbo's data lie within [-1, 1]"),
    "rescale_betas_zero_snr": Accepted(False, why="without any signal in x_T, beta_T is 1 and the bound is infinite"),
}
# Settings of `DDIMScheduler` and of earlier versions of diffusers.
ADDED: dict[str, Accepted] = {
    "set_alpha_to_one": Accepted(True, False),
    "predict_epsilon": Accepted(None, True, why='it was an earlier name of "prediction_type": "sample"'),
    "tensor_format": Accepted(None, "pt", "np"),
    "timestep_values": Accepted(None),
}


@dataclass(frozen=True)
class Chain:
    """A scheduler in nelbo's terms: fields of a `Recipe`, and notes on settings that have no counterpart.

    `notes` have their options marked (see `nelbo.errors.option`).
    """

    schedule: ScheduleOptions
    parameterization: str
    variance: str
    notes: tuple[str, ...] = ()


def chain_of(config: SchedulerConfig, learned_variance: bool) -> Chain:
    """Convert a scheduler to nelbo's terms.

    Args:
        learned_variance: whether the network outputs a variance.

    Raises:
        ConfigurationError: a setting without a counterpart, by name; or `variance_type` contradicts the network.
        ScheduleError: the betas are not a schedule.
    """
    refuse_others(ONE_WAY, vars(config))
    _check_thresholding(config)
    schedule = _schedule(config)
    build_schedule(schedule)
    default = "learned_range" if learned_variance else "fixed_small"
    variance = VARIANCES[config.variance_type or default]
    if (variance == "learned-range") != learned_variance:
        raise ConfigurationError(
            f"variance_type is {config.variance_type!r}, but the network outputs "
            f"{'twice the channels of an image' if learned_variance else 'no variance'}; set variance_type to "
            f"{default!r}."
        )
    return Chain(schedule, PREDICTIONS[config.prediction_type], variance, tuple(_notes(config)))


def config_of(chain: Chain) -> SchedulerConfig:
    """Convert a chain to diffusers' terms.

    Raises:
        ConfigurationError: diffusers does not support what the network predicts.
    """
    names = {ours: theirs for theirs, ours in PREDICTIONS.items()} | {"grid": "epsilon"}  # its code adds the grid
    if chain.parameterization not in names:
        raise ConfigurationError(
            f"the network predicts {chain.parameterization!r}, but diffusers' schedulers support only "
            f"{', '.join(names)}; set {option('format', 'torch')} or {option('format', 'nelbo')}, which export any "
            f"model, or train one with {setting('parameterization', 'noise')}."
        )
    options = chain.schedule
    if options.kind == "learned":
        raise ConfigurationError(
            "a network with a learned schedule is given log SNR as its time, but diffusers' schedulers give it whole "
            f"steps; set {option('format', 'torch')} or {option('format', 'nelbo')}."
        )
    config = SchedulerConfig(
        num_train_timesteps=options.num_steps,
        prediction_type=names[chain.parameterization],
        variance_type=WRITTEN_VARIANCES[chain.variance],
    )
    if options.kind == "linear":
        return replace(config, beta_start=options.beta_1, beta_end=options.beta_T)
    if options.kind == "cosine":
        return replace(config, beta_schedule="squaredcos_cap_v2")
    return replace(config, trained_betas=tuple(build_schedule(options).betas[1:].tolist()))


def rounding_note(options: ScheduleOptions) -> tuple[str, ...]:
    """Return a note if diffusers' float32 tables change a schedule by more than `ROUNDED`; else no note."""
    schedule = build_schedule(options)
    theirs = 1 - torch.cumprod(1 - schedule.betas[1:].float(), 0).double()
    share = (theirs / schedule.noise_variance[1:] - 1).abs().max().item()
    if share <= ROUNDED:
        return ()
    return (
        f"diffusers keeps its tables in float32, where the noise variance of this schedule's first steps is off by up "
        f"to {share:.0%}; this affects samples less than likelihoods",
    )


def _schedule(config: SchedulerConfig) -> ScheduleOptions:
    """Convert the betas: by name if nelbo has the schedule, else as a table."""
    steps, ends = config.num_train_timesteps, (config.beta_start, config.beta_end)
    if steps < 1:
        raise ConfigurationError(f"num_train_timesteps is {steps}; expected at least 1.")
    if config.trained_betas is not None:
        if len(config.trained_betas) != steps:
            raise ConfigurationError(
                f"trained_betas has {len(config.trained_betas)} entries and num_train_timesteps is {steps}; expected "
                "one for each step."
            )
        return _table(torch.tensor(config.trained_betas, dtype=torch.float64))
    if config.beta_schedule == "linear":
        return ScheduleOptions("linear", steps, *ends)
    if config.beta_schedule == "squaredcos_cap_v2":
        return ScheduleOptions("cosine", steps)
    if min(ends) < 0:
        raise ConfigurationError(f"beta_start and beta_end are {ends[0]} and {ends[1]}; expected numbers above 0.")
    if config.beta_schedule == "scaled_linear":  # the square roots rise linearly
        return _table(torch.linspace(ends[0] ** 0.5, ends[1] ** 0.5, steps, dtype=torch.float64) ** 2)
    rise = torch.linspace(-6, 6, steps, dtype=torch.float64).sigmoid()
    return _table(ends[0] + rise * (ends[1] - ends[0]))


def _check_thresholding(config: SchedulerConfig) -> None:
    """Check the settings of thresholding, if it is used."""
    ratio, most = config.dynamic_thresholding_ratio, config.sample_max_value
    if config.thresholding and not most >= 1:
        raise ConfigurationError(f"sample_max_value is {most}; expected at least 1, where thresholding is clipping.")
    if config.thresholding and not 0 < ratio <= 1:
        raise ConfigurationError(f"dynamic_thresholding_ratio is {ratio}; expected a share above 0 and at most 1.")


def _table(betas: Tensor) -> ScheduleOptions:
    return ScheduleOptions("table", len(betas), betas=tuple(betas.tolist()))


def _notes(config: SchedulerConfig) -> list[str]:
    """List the settings of a scheduler that are options of each sampling call in nelbo.

    Thresholding takes the place of clipping; with the default `sample_max_value` of 1, it is clipping, as by default.
    """
    notes = []
    ratio, most = config.dynamic_thresholding_ratio, config.sample_max_value
    if config.thresholding and most > 1:
        limit = f" and {option('threshold_max', most)}" if math.isfinite(most) else ""
        notes.append(f"thresholding is true: sample with {option('threshold', ratio)}{limit} for the same samples")
    if not config.thresholding and not config.clip_sample:
        notes.append(f"clip_sample is false: sample with {option('clip', False)} for the same samples")
    if (config.timestep_spacing, config.steps_offset) != ("leading", 0):
        notes.append(
            f"timestep_spacing {config.timestep_spacing!r} and steps_offset {config.steps_offset} are ignored: nelbo "
            "spreads fewer steps than T evenly, with the last at T"
        )
    if config.variance_type == "fixed_large_log":
        notes.append("variance_type 'fixed_large_log' is read as 'fixed_large'; diffusers itself cannot sample with it")
    return notes
