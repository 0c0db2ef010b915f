"""From names to objects: a recipe becomes a network, a schedule and an objective."""

from collections.abc import Callable

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
    SigmoidWeight,
    SimpleLoss,
    StratifiedTimesteps,
    UniformTimesteps,
    Variance,
    VariationalLoss,
    VelocityPrediction,
    Weighting,
)
from nelbo.errors import ConfigurationError, setting
from nelbo.networks import MLP, MLPOptions, PixelOptions, UNet, UNetOptions
from nelbo.options import known
from nelbo.recipes.recipe import AnyRecipe, Recipe, ScheduleOptions, VAERecipe
from nelbo.vae import VAE, VAEObjective, VAEOptions

VARIANCES: dict[str, Variance] = {v.name: v for v in (FixedLarge(), FixedSmall(), LearnedRange())}
TIMESTEPS = {"uniform": UniformTimesteps, "stratified": StratifiedTimesteps, "importance": ImportanceTimesteps}
LOSSES: dict[str, Callable[[Recipe], Loss]] = {
    "simple": lambda recipe: SimpleLoss(build_weighting(recipe)),
    "variational": lambda recipe: VariationalLoss(),
    "hybrid": lambda recipe: HybridLoss(),
}
# By name, from the number of levels K, which only the grid prediction needs.
PARAMETERIZATIONS: dict[str, Callable[[int], Parameterization]] = {
    "noise": lambda levels: NoisePrediction(),
    "data": lambda levels: DataPrediction(),
    "velocity": lambda levels: VelocityPrediction(),
    "mean": lambda levels: MeanPrediction(),
    "grid": GridPrediction,
}


def build_weighting(recipe: Recipe) -> Weighting | None:
    """Build the weighting of the simple loss."""
    if recipe.sigmoid is not None:
        return SigmoidWeight(recipe.sigmoid)
    return None if recipe.min_snr is None else MinSNR(recipe.min_snr)


def build_schedule(options: ScheduleOptions) -> NoiseSchedule:
    """Build the noise schedule.

    Raises:
        ConfigurationError: an unknown kind, or a table of another length than T.
        ScheduleError: a beta outside 0..1.
    """
    kinds = {
        "linear": lambda: NoiseSchedule.linear(options.num_steps, options.beta_1, options.beta_T),
        "cosine": lambda: NoiseSchedule.cosine(options.num_steps),
        "log-linear": lambda: NoiseSchedule.log_linear(options.num_steps, options.log_snr_max, options.log_snr_min),
        "table": lambda: NoiseSchedule.from_betas(options.betas),
    }
    if options.kind == "table" and len(options.betas) != options.num_steps:
        raise ConfigurationError(
            f"{setting('schedule.betas')} has {len(options.betas)} entries and {setting('schedule.num_steps')} is "
            f"{options.num_steps}; a table needs one beta for each step."
        )
    return kinds[known(options.kind, kinds, "schedule kind")]()


def build_network(recipe: AnyRecipe) -> nn.Module:
    """Build the network, initialised from torch's global random state."""
    match recipe.network:
        case UNetOptions():
            return UNet(recipe.network)
        case MLPOptions():
            return MLP(recipe.network)
        case VAEOptions():
            return VAE(recipe.network)


def build_pixel_options(recipe: Recipe, channels: int, levels: int) -> PixelOptions | None:
    """Build the size of the decoder's pixel network for images of C channels and K levels; None for the Gaussian."""
    own = recipe.decoder
    if own.kind == "gaussian":
        return None
    return PixelOptions(channels, own.hidden, levels, own.blocks, own.side, own.convolved, own.window)


def build_parameterization(recipe: Recipe, levels: int) -> Parameterization:
    """Build what the network's output stands for, for images of K levels."""
    return PARAMETERIZATIONS[known(recipe.parameterization, PARAMETERIZATIONS, "parameterization")](levels)


def build_variance(recipe: Recipe) -> Variance:
    """Build the variance of the reverse process that training uses."""
    return VARIANCES[known(recipe.variance, VARIANCES, "variance")]


def build_diffusion_objective(recipe: Recipe, levels: int) -> DiffusionObjective:
    """Build the objective of Algorithm 1 for a recipe.

    Raises:
        ConfigurationError: an unknown name, or settings that exclude each other.
    """
    _check_objective(recipe)
    schedule = build_schedule(recipe.schedule)
    timesteps = TIMESTEPS[known(recipe.timesteps, TIMESTEPS, "distribution of t")](schedule.num_steps)
    return DiffusionObjective(
        schedule,
        build_parameterization(recipe, levels),
        build_variance(recipe),
        LOSSES[recipe.loss](recipe),
        timesteps,
        levels,
        bool(recipe.conditional),
        recipe.label_dropout,
        recipe.condition_dropout if is_conditioned(recipe) else None,
    )


def is_conditioned(recipe: Recipe) -> bool:
    """Whether the network takes numbers or an image to condition on."""
    channels = recipe.network.condition_channels if isinstance(recipe.network, UNetOptions) else None
    return channels is not None or recipe.network.condition_size is not None


def _check_objective(recipe: Recipe) -> None:
    known(recipe.loss, LOSSES, "loss")
    learned = build_variance(recipe).learned
    if recipe.loss == "hybrid" and not learned:
        raise ConfigurationError(f"the hybrid loss trains a learned variance; {recipe.variance!r} is fixed.")
    if recipe.loss == "simple" and learned:
        raise ConfigurationError(f"the simple loss does not train a learned variance; use {setting('loss', 'hybrid')}.")
    for name in ("label_dropout", "condition_dropout"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise ConfigurationError(f"{setting(name)} must be a fraction within 0..1, got {getattr(recipe, name)}.")
    given = [name for name in ("min_snr", "sigmoid") if getattr(recipe, name) is not None]
    if len(given) > 1:
        raise ConfigurationError(
            f"{setting('min_snr')} and {setting('sigmoid')} both weight the simple loss; keep one of them."
        )
    if given and recipe.loss != "simple":
        raise ConfigurationError(
            f"{setting(given[0])} weights the simple loss; remove it or use {setting('loss', 'simple')} instead of "
            f"{recipe.loss}."
        )
    if recipe.min_snr is not None and not recipe.min_snr > 0:
        raise ConfigurationError(
            f"{setting('min_snr')} must be a signal-to-noise ratio above 0, such as 5; got {recipe.min_snr}."
        )


def build_vae_objective(recipe: VAERecipe, levels: int) -> VAEObjective:
    """Build the objective of a VAE, the negative ELBO, for images of K levels."""
    return VAEObjective(recipe.network.latent, levels)
