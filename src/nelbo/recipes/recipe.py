"""A recipe: everything that makes a model besides its data, as one record that config.json stores."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, ClassVar, Self

from nelbo.display import Displayed, counted
from nelbo.errors import ConfigurationError, option
from nelbo.latent.options import AutoencoderOptions, FirstStageOptions
from nelbo.networks.dit_options import DiTOptions
from nelbo.networks.mlp_options import MLPOptions
from nelbo.networks.unet_options import UNetOptions
from nelbo.options import Doc, known, record_from
from nelbo.recipes.decoder_options import DecoderOptions
from nelbo.training.options import TrainerOptions
from nelbo.vae.options import VAEOptions


@dataclass(frozen=True)
class ScheduleOptions:
    """A noise schedule by name. Fields that a kind does not use have no effect."""

    kind: Annotated[
        str,
        Doc(
            "linear (the paper's), cosine, log-linear (log SNR falls linearly; best for bits/dim), learned (log SNR "
            "falls so that the estimate of the bound varies least), or table."
        ),
    ] = "linear"
    num_steps: Annotated[int, Doc("T, the number of steps.")] = 1000
    beta_1: Annotated[float, Doc("First beta of the linear schedule.")] = 1e-4
    beta_T: Annotated[float, Doc("Last beta of the linear schedule.")] = 0.02
    log_snr_max: Annotated[float, Doc("Log SNR at t = 1 of the log-linear and the learned schedule.")] = 15.0
    log_snr_min: Annotated[float, Doc("Log SNR at t = T of the log-linear and the learned schedule.")] = -10.5
    betas: Annotated[tuple[float, ...], Doc("beta_1..beta_T of a table.")] = ()


DECODER_STEPS = 16  # optimizer steps of the pixel network in the time of one of the U-Net: measured 12 to 29
DIGIT_STEPS = 12  # optimizer steps of the network of digits in the time of one of the U-Net: measured 14
NetworkOptions = UNetOptions | DiTOptions | MLPOptions | VAEOptions
NETWORKS: dict[str, type[NetworkOptions]] = {
    "unet": UNetOptions,
    "dit": DiTOptions,
    "mlp": MLPOptions,
    "vae": VAEOptions,
}
PARTS: dict[str, type[Any]] = {  # of a recipe beside its network, by name
    "training": TrainerOptions,
    "schedule": ScheduleOptions,
    "decoder": DecoderOptions,
    "autoencoder": AutoencoderOptions,
    "first_stage": FirstStageOptions,
}


@dataclass(frozen=True)
class AnyRecipe(Displayed):
    """What the recipes of all families have in common: a network and how it is trained.

    Attributes:
        family: the name of the model family; `nelbo.recipes.FAMILIES` says what it means.
    """

    family: ClassVar[str]

    network: NetworkOptions
    training: TrainerOptions

    @property
    def in_words(self) -> str:
        """The mathematics in one line, to print before training."""
        raise NotImplementedError

    def summary(self) -> Mapping[str, str]:
        """Return the mathematics, the network and the budget; `to_json` returns every setting."""
        training, network = self.training, asdict(self.network)
        budget = [counted(training.steps, "step")] if training.steps is not None else []
        budget += [f"{training.minutes:g} minutes"] if training.minutes is not None else []
        sizes = ("base", "multipliers", "blocks", "width", "hidden", "depth", "patch", "latent")
        named = ", ".join(f"{name} {network[name]}" for name in sizes if name in network)
        return {
            "model": self.in_words,
            "network": f"{type(self.network).__name__.removesuffix('Options')}, {named}",
            "training": f"{' or '.join(budget)}, batches of {training.batch_size}, seed {training.seed}",
        }

    @property
    def network_training(self) -> TrainerOptions:
        """How the network is trained: `training`, with what is left of its budget for the network."""
        return self.training

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the kind of network named."""
        plain = asdict(self)
        kind = next(name for name, options in NETWORKS.items() if isinstance(self.network, options))
        plain["network"] = {"kind": kind, **plain["network"]}
        return plain

    def with_overrides(self, overrides: Mapping[str, Any]) -> Self:
        """Return the recipe with some values changed, by dotted names such as "training.learning_rate" or "loss".

        Raises:
            ConfigurationError: an unknown name; the nearest one is suggested.
        """
        plain = self.to_json()
        for name, value in overrides.items():
            _put(plain, name, name.split("."), value)
        return type(self).from_json(plain)  # checked once, after all changes: their order does not matter

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Build the recipe that `to_json` wrote.

        Raises:
            ConfigurationError: an unknown key or kind, or a network of another family.
        """
        network = dict(plain["network"])
        options = NETWORKS[known(network.pop("kind", "unet"), NETWORKS, "network kind")]
        if (options is VAEOptions) != issubclass(cls, VAERecipe):
            raise ConfigurationError(
                f"a VAE has a recipe of its own; start from {option('preset', 'vae-fashion-mnist')}."
            )
        parts = {"network": record_from(options, network, "network.")}
        for name, kind in PARTS.items():
            if name in plain:
                parts[name] = record_from(kind, plain[name], f"{name}.")
        recipe: Self = record_from(cls, {**plain, **parts})
        return recipe


@dataclass(frozen=True)
class VAERecipe(AnyRecipe):
    """The recipe of a variational autoencoder: its network determines the rest."""

    family: ClassVar[str] = "vae"

    network: VAEOptions
    training: TrainerOptions

    @property
    def in_words(self) -> str:
        """Such as "variational autoencoder, 32 latent dimensions, discretized decoder with a learned stddev"."""
        stddev = "a learned stddev" if self.network.learned_stddev else f"stddev {self.network.stddev:g}"
        return (
            f"variational autoencoder, {self.network.latent} latent dimensions, {self.network.decoder} decoder with "
            f"{stddev}"
        )


@dataclass(frozen=True)
class Recipe(AnyRecipe):
    """The recipe of a diffusion model: schedule, network, what it predicts, its loss, and how it is trained."""

    family: ClassVar[str] = "diffusion"

    schedule: Annotated[ScheduleOptions, Doc("The noise schedule.")] = field(default_factory=ScheduleOptions)
    network: Annotated[UNetOptions | DiTOptions | MLPOptions, Doc("The network.")] = field(default_factory=UNetOptions)
    parameterization: Annotated[str, Doc("What the network predicts: noise, data, velocity, mean or grid.")] = "noise"
    variance: Annotated[
        str,
        Doc("Variance in training: fixed-large, fixed-small or learned-range. A finished model is calibrated."),
    ] = "fixed-large"
    loss: Annotated[str, Doc("simple (L_simple, eq. 14), variational (eq. 5) or hybrid.")] = "simple"
    min_snr: Annotated[float | None, Doc("Gamma of min-SNR weighting of the simple loss; None for none.")] = None
    sigmoid: Annotated[
        float | None, Doc("Bias of the sigmoid weighting of the simple loss, a log SNR such as 0; None for none.")
    ] = None
    timesteps: Annotated[
        str,
        Doc(
            "Distribution of t in training: uniform, stratified, importance, or continuous (any log SNR of a "
            "log-linear or learned schedule; the loss is the bound for infinitely many steps)."
        ),
    ] = "uniform"
    decoder: Annotated[DecoderOptions, Doc("The decoder p(x_0|x_1).")] = field(default_factory=DecoderOptions)
    conditional: Annotated[
        bool | None,
        Doc(
            "Train a class-conditional model on the classes of the images. None, as in the presets digits, "
            "fashion-mnist and images: if the training images have at least two classes, of ten images each on average."
        ),
    ] = False
    label_dropout: Annotated[
        float,
        Doc(
            "Fraction of the training examples of a conditional model that are shown without their label. With 0, "
            "bounds, scores and files, which use no class, are too large."
        ),
    ] = 0.1
    condition_dropout: Annotated[
        float,
        Doc(
            "Fraction of the training examples that are shown without the numbers and the image that the model is "
            "conditioned on, as guidance needs."
        ),
    ] = 0.1
    training: Annotated[TrainerOptions, Doc("How it is trained.")] = field(
        default_factory=lambda: TrainerOptions(steps=800_000)
    )

    @property
    def in_words(self) -> str:
        """Such as "linear schedule of 1000 steps, noise prediction, simple loss, uniform t"."""
        classes = f", class-conditional ({self.network.num_classes} classes)" if self.conditional else ""
        classes += "".join(f", {each}" for each in self.takes)
        return (
            f"{self.schedule.kind} schedule of {self.schedule.num_steps} steps, {self.parameterization} prediction, "
            f"{self.loss} loss, {self.timesteps} t{classes}"
        )

    @property
    def takes(self) -> list[str]:
        """In words, what the network takes beside x_t, t and a class."""
        size, channels = self.network.condition_size, getattr(self.network, "condition_channels", None)
        numbers = [] if size is None else [f"conditioned on {counted(size, 'number')}"]
        image = [] if channels is None else [f"conditioned on an image of {counted(channels, 'channel')}"]
        return numbers + image + ["missing pixels"] * self.network.masked

    @property
    def network_training(self) -> TrainerOptions:
        """How the diffusion network is trained; the pixel network of the decoder has its share of the budget."""
        share = 0.0 if self.decoder.kind == "gaussian" else self.decoder.share
        rest = 1 - share - self.decoder.refinement
        return self.training if rest == 1 else with_budget(self.training, rest)

    @property
    def decoder_training(self) -> TrainerOptions:
        """How the pixel network of the decoder is trained after the diffusion network.

        Its steps are short, so a share of the steps becomes more of them, in about the same share of the time.
        """
        return replace(
            with_budget(self.training, self.decoder.share, DECODER_STEPS),
            batch_size=self.decoder.batch_size,
            micro_batch=None,
            learning_rate=self.decoder.learning_rate,
            warmup=20,
            decay="cosine",
            ema=0.995,
            compile=False,
        )

    @property
    def refinement_training(self) -> TrainerOptions:
        """How long the network of the digits of images of more than 256 levels is trained."""
        return with_budget(self.training, self.decoder.refinement, DIGIT_STEPS)


def with_budget(training: TrainerOptions, share: float, steps_per_step: int = 1) -> TrainerOptions:
    """Return the options with a share of the budget, rounded up to whole steps: so many for each step of the budget."""
    steps = None if training.steps is None else math.ceil(steps_per_step * share * training.steps)
    minutes = None if training.minutes is None else share * training.minutes
    return replace(training, steps=steps, minutes=minutes)


def _put(plain: dict[str, Any], full: str, path: list[str], value: Any) -> None:
    """Set the value at a dotted name within nested dictionaries."""
    known(path[0], plain, f"setting ({full})")
    inner = plain[path[0]]
    if isinstance(inner, dict) != (len(path) > 1):
        raise ConfigurationError(
            f"{full!r} names a part of {path[0]!r}, which has no parts."
            if len(path) > 1
            else f"{full!r} has parts ({', '.join(inner)}); name one of them, such as {full}.{next(iter(inner))}."
        )
    if len(path) > 1:
        _put(inner, full, path[1:], value)
    else:
        plain[path[0]] = value
