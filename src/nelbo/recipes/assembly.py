"""From names to objects: a recipe becomes a network, a schedule and an objective."""

from collections.abc import Callable

from torch import Tensor, nn

from nelbo.diffusion import (
    ContinuousObjective,
    ContinuousSchedule,
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
from nelbo.networks import MLP, DiT, DiTOptions, MLPOptions, MonotoneNetwork, PixelOptions, UNet, UNetOptions
from nelbo.options import known
from nelbo.recipes.recipe import AnyRecipe, Recipe, ScheduleOptions, VAERecipe
from nelbo.vae import VAE, VAEObjective, VAEOptions

VARIANCES: dict[str, Variance] = {v.name: v for v in (FixedLarge(), FixedSmall(), LearnedRange())}
TIMESTEPS = {"uniform": UniformTimesteps, "stratified": StratifiedTimesteps, "importance": ImportanceTimesteps}
CONTINUOUS = "continuous"  # the distribution of t without steps
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


def build_schedule(options: ScheduleOptions, learned: Tensor | None = None) -> NoiseSchedule:
    """Build the noise schedule.

    Args:
        learned: (T+1,) alphas_bar of a learned schedule; None for how it starts, which is log-linear.

    Raises:
        ConfigurationError: an unknown kind, or a table of another length than T.
        ScheduleError: a beta outside 0..1.
    """
    kinds = {
        "linear": lambda: NoiseSchedule.linear(options.num_steps, options.beta_1, options.beta_T),
        "cosine": lambda: NoiseSchedule.cosine(options.num_steps),
        "log-linear": lambda: NoiseSchedule.log_linear(options.num_steps, options.log_snr_max, options.log_snr_min),
        "learned": lambda: _learned(build_continuous_schedule(options), learned),
        "table": lambda: NoiseSchedule.from_betas(options.betas),
    }
    if options.kind == "table" and len(options.betas) != options.num_steps:
        raise ConfigurationError(
            f"{setting('schedule.betas')} has {len(options.betas)} entries and {setting('schedule.num_steps')} is "
            f"{options.num_steps}; a table needs one beta for each step."
        )
    return kinds[known(options.kind, kinds, "schedule kind")]()


def build_continuous_schedule(options: ScheduleOptions) -> ContinuousSchedule:
    """Build the schedule in continuous time, with a path to learn if its kind is learned."""
    path = MonotoneNetwork() if options.kind == "learned" else None
    return ContinuousSchedule(options.log_snr_max, options.log_snr_min, options.num_steps, path)


def _learned(schedule: ContinuousSchedule, alphas_bar: Tensor | None) -> NoiseSchedule:
    return schedule.table() if alphas_bar is None else schedule.of_alphas_bar(alphas_bar)


def build_network(recipe: AnyRecipe) -> nn.Module:
    """Build the network, initialised from torch's global random state."""
    match recipe.network:
        case UNetOptions():
            return UNet(recipe.network)
        case DiTOptions():
            return DiT(recipe.network)
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
    kind = TIMESTEPS.get(known(recipe.timesteps, [*TIMESTEPS, CONTINUOUS], "distribution of t"), UniformTimesteps)
    shared = (
        schedule,
        build_parameterization(recipe, levels),
        build_variance(recipe),
        LOSSES[recipe.loss](recipe),
        kind(schedule.num_steps),
        levels,
        bool(recipe.conditional),
        recipe.label_dropout,
        recipe.condition_dropout if is_conditioned(recipe) else None,
    )
    if recipe.timesteps != CONTINUOUS:
        return DiffusionObjective(*shared)
    return ContinuousObjective(*shared, continuous=build_continuous_schedule(recipe.schedule))


def is_conditioned(recipe: Recipe) -> bool:
    """Whether the network takes numbers or an image to condition on."""
    channels = getattr(recipe.network, "condition_channels", None)
    return channels is not None or recipe.network.condition_size is not None


def _check_objective(recipe: Recipe) -> None:
    known(recipe.loss, LOSSES, "loss")
    _check_continuous(recipe)
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


def _check_continuous(recipe: Recipe) -> None:
    """Check that a recipe without steps in training has a bound for infinitely many of them."""
    kind = recipe.schedule.kind
    if recipe.timesteps != CONTINUOUS:
        if kind == "learned":
            raise ConfigurationError(
                f"a learned schedule is trained in continuous time; set {setting('timesteps', CONTINUOUS)}."
            )
        return
    needed = (
        ("schedule.kind", kind, ("log-linear", "learned")),
        ("loss", recipe.loss, ("variational",)),
        ("variance", recipe.variance, ("fixed-small",)),
        ("parameterization", recipe.parameterization, ("noise", "data", "velocity", "grid")),
    )
    for name, given, possible in needed:
        if given not in possible:
            raise ConfigurationError(
                f"{setting('timesteps', CONTINUOUS)} trains on the bound for infinitely many steps, which needs "
                f"{' or '.join(setting(name, each) for each in possible)}; got {given}."
            )


def build_vae_objective(recipe: VAERecipe, levels: int) -> VAEObjective:
    """Build the objective of a VAE, the negative ELBO, for images of K levels."""
    return VAEObjective(recipe.network.latent, levels)
