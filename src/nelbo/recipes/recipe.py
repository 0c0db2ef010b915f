"""Everything that makes a model besides its data, as one record that can be written to config.json and read again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from nelbo.errors import ConfigurationError
from nelbo.networks.mlp_options import MLPOptions
from nelbo.networks.unet_options import UNetOptions
from nelbo.options import known, record_from
from nelbo.training.options import TrainerOptions
from nelbo.vae.options import VAEOptions


@dataclass(frozen=True)
class ScheduleOptions:
    """A noise schedule by name; the fields that a kind doesn't use are left alone.

    Attributes:
        kind: "linear" (the paper's), "cosine", "log-linear" (log SNR falls linearly: best for bits), or "table".
        num_steps: T.
        beta_1, beta_T: of "linear".
        log_snr_max, log_snr_min: of "log-linear".
        betas: of "table": beta_1..beta_T.
    """

    kind: str = "linear"
    num_steps: int = 1000
    beta_1: float = 1e-4
    beta_T: float = 0.02
    log_snr_max: float = 15.0
    log_snr_min: float = -10.5
    betas: tuple[float, ...] = ()


NetworkOptions = UNetOptions | MLPOptions | VAEOptions
NETWORKS: dict[str, type[NetworkOptions]] = {"unet": UNetOptions, "mlp": MLPOptions, "vae": VAEOptions}


@dataclass(frozen=True)
class AnyRecipe:
    """What recipes of every kind have: a network, which tells the kind, and how it is trained."""

    network: NetworkOptions
    training: TrainerOptions

    @property
    def in_words(self) -> str:
        """The mathematics in a line, for a person who is about to train it."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the kind of network named."""
        plain = asdict(self)
        kind = next(name for name, options in NETWORKS.items() if isinstance(self.network, options))
        plain["network"] = {"kind": kind, **plain["network"]}
        return plain

    def with_overrides(self, overrides: Mapping[str, Any]) -> Self:
        """The recipe with some values changed, by dotted names such as "training.learning_rate" or "loss".

        Raises:
            ConfigurationError: a name that doesn't exist; the nearest one is suggested.
        """
        plain = self.to_json()
        for name, value in overrides.items():
            _put(plain, name, name.split("."), value)
        return type(self).from_json(plain)  # all at once: what two settings say together counts, not their order

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ConfigurationError: a key or a kind that is not known, or a network of the other kind of recipe.
        """
        network = dict(plain["network"])
        options = NETWORKS[known(network.pop("kind", "unet"), NETWORKS, "network kind")]
        if (options is VAEOptions) != issubclass(cls, VAERecipe):
            raise ConfigurationError("a VAE has a recipe of its own: begin with --preset vae-fashion-mnist.")
        parts = {"network": record_from(options, network), "training": record_from(TrainerOptions, plain["training"])}
        if "schedule" in plain:
            parts["schedule"] = record_from(ScheduleOptions, plain["schedule"])
        recipe: Self = record_from(cls, {**plain, **parts})
        return recipe


@dataclass(frozen=True)
class VAERecipe(AnyRecipe):
    """A variational autoencoder: its network says it all."""

    network: VAEOptions
    training: TrainerOptions

    @property
    def in_words(self) -> str:
        """As "variational autoencoder, 32 latent dimensions, discretized decoder with a learned stddev"."""
        stddev = "a learned stddev" if self.network.learned_stddev else f"stddev {self.network.stddev:g}"
        return (
            f"variational autoencoder, {self.network.latent} latent dimensions, {self.network.decoder} decoder with "
            f"{stddev}"
        )


@dataclass(frozen=True)
class Recipe(AnyRecipe):
    """A diffusion model: schedule, network, what it predicts, what it is trained on, and how.

    Attributes:
        parameterization: "noise", "data", "velocity", "mean" or "grid".
        variance: used in training: "fixed-large", "fixed-small" or "learned-range". Finished models are calibrated.
        loss: "simple", "variational" or "hybrid".
        min_snr: gamma of min-SNR weighting with the simple loss, or None.
        timesteps: "uniform", "stratified" or "importance".
        conditional: feed the labels of the data to the network.
        label_dropout: of a conditional model, the share of examples in training whose label is withheld.
    """

    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    network: UNetOptions | MLPOptions = field(default_factory=UNetOptions)
    parameterization: str = "noise"
    variance: str = "fixed-large"
    loss: str = "simple"
    min_snr: float | None = None
    timesteps: str = "uniform"
    conditional: bool = False
    label_dropout: float = 0.1
    training: TrainerOptions = field(default_factory=lambda: TrainerOptions(steps=800_000))

    @property
    def in_words(self) -> str:
        """As "linear schedule of 1000 steps, noise prediction, simple loss, uniform t"."""
        return (
            f"{self.schedule.kind} schedule of {self.schedule.num_steps} steps, {self.parameterization} prediction, "
            f"{self.loss} loss, {self.timesteps} t"
        )


def recipe_from_json(plain: Mapping[str, Any]) -> AnyRecipe:
    """A recipe of the kind that its network tells.

    Raises:
        ConfigurationError: a key or a kind that is not known.
    """
    kind = VAERecipe if plain["network"].get("kind") == "vae" else Recipe
    return kind.from_json(plain)


def _put(plain: dict[str, Any], full: str, path: list[str], value: Any) -> None:
    """Set the value at a dotted name within nested dictionaries."""
    known(path[0], plain, f"setting ({full})")
    inner = plain[path[0]]
    if isinstance(inner, dict) != (len(path) > 1):
        raise ConfigurationError(
            f"{full!r} names a part of {path[0]!r}, which has no parts."
            if len(path) > 1
            else f"{full!r} has parts ({', '.join(inner)}): name one of them, such as {full}.{next(iter(inner))}."
        )
    if len(path) > 1:
        _put(inner, full, path[1:], value)
    else:
        plain[path[0]] = value
