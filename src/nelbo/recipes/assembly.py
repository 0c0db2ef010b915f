"""Names into objects: the one place where a recipe becomes a network, a schedule and an objective."""

import math
import warnings
from dataclasses import replace

from torch import nn

from nelbo.diffusion import (
    DataPrediction,
    DiffusionObjective,
    FixedLarge,
    FixedSmall,
    GridPrediction,
    HybridLoss,
    ImportanceTimesteps,
    LearnedRange,
    Loss,
    MeanPrediction,
    MinSNR,
    NoisePrediction,
    NoiseSchedule,
    Parameterization,
    SimpleLoss,
    StratifiedTimesteps,
    UniformTimesteps,
    Variance,
    VariationalLoss,
    VelocityPrediction,
)
from nelbo.errors import ConfigurationError
from nelbo.networks import MLP, MLPOptions, UNet, UNetOptions
from nelbo.objective import Objective
from nelbo.options import known
from nelbo.recipes.recipe import AnyRecipe, Recipe, ScheduleOptions, VAERecipe
from nelbo.vae import VAE, VAEObjective, VAEOptions

VARIANCES: dict[str, Variance] = {v.name: v for v in (FixedLarge(), FixedSmall(), LearnedRange())}
TIMESTEPS = {"uniform": UniformTimesteps, "stratified": StratifiedTimesteps, "importance": ImportanceTimesteps}
LOSSES = ("simple", "variational", "hybrid")
PARAMETERIZATIONS: dict[str, Parameterization] = {
    p.name: p for p in (NoisePrediction(), DataPrediction(), VelocityPrediction(), MeanPrediction(), GridPrediction())
}


class AssemblyWarning(UserWarning):
    """The model is not quite the preset's."""


def build_schedule(options: ScheduleOptions) -> NoiseSchedule:
    """The schedule of a kind.

    Raises:
        ConfigurationError: a kind that isn't known, or a table of another length than T.
        ScheduleError: some beta is not between 0 and 1.
    """
    kinds = {
        "linear": lambda: NoiseSchedule.linear(options.num_steps, options.beta_1, options.beta_T),
        "cosine": lambda: NoiseSchedule.cosine(options.num_steps),
        "log-linear": lambda: NoiseSchedule.log_linear(options.num_steps, options.log_snr_max, options.log_snr_min),
        "table": lambda: NoiseSchedule.from_betas(options.betas),
    }
    if options.kind == "table" and len(options.betas) != options.num_steps:
        raise ConfigurationError(
            f"schedule.betas has {len(options.betas)} entries and schedule.num_steps is {options.num_steps}; a table "
            "has one beta for each step."
        )
    return kinds[known(options.kind, kinds, "schedule kind")]()


def build_network(recipe: AnyRecipe) -> nn.Module:
    """The network, freshly initialised from torch's global random state."""
    match recipe.network:
        case UNetOptions():
            return UNet(recipe.network)
        case MLPOptions():
            return MLP(recipe.network)
        case VAEOptions():
            return VAE(recipe.network)


def build_parameterization(recipe: Recipe, levels: int) -> Parameterization:
    """What the network's output stands for."""
    parameterization = PARAMETERIZATIONS[known(recipe.parameterization, PARAMETERIZATIONS, "parameterization")]
    return (
        replace(parameterization, levels=levels) if isinstance(parameterization, GridPrediction) else parameterization
    )


def build_variance(recipe: Recipe) -> Variance:
    """The variance used in training."""
    return VARIANCES[known(recipe.variance, VARIANCES, "variance")]


def build_objective(recipe: AnyRecipe, levels: int) -> Objective:
    """What training minimises.

    Raises:
        ConfigurationError: a name that isn't known, or a combination that cannot be.
    """
    if isinstance(recipe, Recipe):
        return build_diffusion_objective(recipe, levels)
    if isinstance(recipe, VAERecipe):
        return VAEObjective(recipe.network.latent, levels)
    raise TypeError(f"{recipe!r} is no recipe")


def build_diffusion_objective(recipe: Recipe, levels: int) -> DiffusionObjective:
    """Algorithm 1 as the recipe has it.

    Raises:
        ConfigurationError: a name that isn't known, or a combination that cannot be.
    """
    known(recipe.loss, LOSSES, "loss")
    variance, schedule = build_variance(recipe), build_schedule(recipe.schedule)
    if recipe.loss == "hybrid" and not variance.learned:
        raise ConfigurationError(f"the hybrid loss trains a learned variance; {recipe.variance!r} is fixed.")
    if recipe.loss == "simple" and variance.learned:
        raise ConfigurationError("the simple loss doesn't train a learned variance; use --set loss=hybrid.")
    if not 0 <= recipe.label_dropout <= 1:
        raise ConfigurationError(f"label_dropout is a share, between 0 and 1; got {recipe.label_dropout}.")
    if recipe.min_snr is not None and recipe.loss != "simple":
        raise ConfigurationError(f"min_snr weighs the simple loss; leave it out with the {recipe.loss} loss.")
    if recipe.min_snr is not None and not recipe.min_snr > 0:
        raise ConfigurationError(f"min_snr is a signal-to-noise ratio above 0, such as 5; got {recipe.min_snr}.")
    weighting = None if recipe.min_snr is None else MinSNR(recipe.min_snr)
    losses: dict[str, Loss] = {
        "simple": SimpleLoss(weighting),
        "variational": VariationalLoss(),
        "hybrid": HybridLoss(),
    }
    timesteps = TIMESTEPS[known(recipe.timesteps, TIMESTEPS, "distribution of t")](schedule.num_steps)
    return DiffusionObjective(
        schedule,
        build_parameterization(recipe, levels),
        variance,
        losses[recipe.loss],
        timesteps,
        levels,
        recipe.conditional,
        recipe.label_dropout,
    )


def fit_to_data(recipe: AnyRecipe, shape: tuple[int, int, int], num_classes: int, levels: int = 256) -> AnyRecipe:
    """The recipe with the network's channels, classes and levels of resolution set for images of `shape` (C, H, W).

    A side that can't be halved as often as the preset would loses the lowest levels, with a warning.

    Args:
        levels: K of the images.

    Raises:
        ConfigurationError: a conditional model for data without classes.
    """
    if isinstance(recipe, VAERecipe):
        depth = _fitting(recipe.network.depth, shape, "VAE")
        return replace(recipe, network=replace(recipe.network, shape=shape, levels=levels, depth=depth))
    if isinstance(recipe, Recipe):
        return _fit_diffusion(recipe, shape, num_classes)
    raise TypeError(f"{recipe!r} is no recipe")


def _fit_diffusion(recipe: Recipe, shape: tuple[int, int, int], num_classes: int) -> Recipe:
    if recipe.conditional and num_classes == 0:
        raise ConfigurationError("a conditional model needs classes: put the images into one sub-folder a class.")
    learned, classes = build_variance(recipe).learned, num_classes if recipe.conditional else None
    network = recipe.network
    if isinstance(network, MLPOptions):
        fitted = replace(network, dims=math.prod(shape), learned_variance=learned, num_classes=classes)
        return replace(recipe, network=fitted)
    depth = 1 + _fitting(len(network.multipliers) - 1, shape, "U-Net")
    network = replace(
        network,
        channels=shape[0],
        multipliers=network.multipliers[:depth],
        attention=tuple(level for level in network.attention if level < depth),
        learned_variance=learned,
        num_classes=classes,
    )
    return replace(recipe, network=network)


def _fitting(wanted: int, shape: tuple[int, int, int], what: str) -> int:
    """How many of the halvings wanted images of `shape` allow: fewer with a warning."""
    possible = min(_halvings(side) for side in shape[1:])
    if possible < wanted:
        warnings.warn(
            f"images of {shape[2]} x {shape[1]} {_halved(possible)}, so the {what} keeps {possible + 1} of its "
            f"{wanted + 1} levels; a --size that is a multiple of {2**wanted} keeps them all.",
            AssemblyWarning,
            stacklevel=4,
        )
    return min(wanted, possible)


def _halved(count: int) -> str:
    return {0: "cannot be halved", 1: "can be halved once"}.get(count, f"can be halved {count} times")


def _halvings(side: int) -> int:
    """How often a side can be halved."""
    return (side & -side).bit_length() - 1
