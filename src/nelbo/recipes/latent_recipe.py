"""The recipe of a latent diffusion model. No torch is imported here, so the command line can offer the settings."""

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

from nelbo.errors import ConfigurationError, setting
from nelbo.latent.options import AutoencoderOptions, FirstStageOptions
from nelbo.options import Doc
from nelbo.recipes.recipe import Recipe, with_budget
from nelbo.training.options import TrainerOptions


@dataclass(frozen=True)
class LatentRecipe(Recipe):
    """The recipe of a latent diffusion model: an autoencoder, and a recipe of the diffusion model of its latents.

    Raises:
        ConfigurationError: a setting that needs the levels of pixels, which latents do not have, or a learned schedule.
    """

    family: ClassVar[str] = "latent"

    autoencoder: Annotated[AutoencoderOptions, Doc("The network of the autoencoder.")] = field(
        default_factory=AutoencoderOptions
    )
    first_stage: Annotated[FirstStageOptions, Doc("How the autoencoder is trained.")] = field(
        default_factory=FirstStageOptions
    )

    def __post_init__(self) -> None:
        for name, value in (("parameterization", "grid"), ("decoder.kind", "pixels")):
            part, _, own = name.partition(".")
            given = getattr(self.decoder, own) if own else getattr(self, part)
            if given == value:
                raise ConfigurationError(
                    f"{setting(name, value)} needs the levels of pixels, and the latents of this model have none; "
                    f"leave {setting(name)} out."
                )
        if self.schedule.kind == "learned":
            raise ConfigurationError(
                f"{setting('schedule.kind', 'learned')} is for models of pixels; set {setting('schedule.kind')} to "
                "log-linear for one of latents."
            )

    @property
    def in_words(self) -> str:
        """Such as "latents of 4 x 16 x 16 by an autoencoder; cosine schedule of 1000 steps, ..."."""
        own = self.autoencoder
        size = " x ".join(map(str, own.latent_shape)) if own.multipliers else f"{own.latent} channels"
        return f"latents of {size} by an autoencoder; {super().in_words}"

    @property
    def network_training(self) -> TrainerOptions:
        """How the diffusion network is trained: with what the autoencoder leaves of the budget."""
        if self.first_stage.source is not None:
            return self.training
        return with_budget(self.training, 1 - self.first_stage.share)

    @property
    def autoencoder_training(self) -> TrainerOptions:
        """How the autoencoder is trained, before the diffusion network."""
        own = self.first_stage
        shared = with_budget(self.training, own.share)
        return replace(shared, batch_size=own.batch_size, micro_batch=None, learning_rate=own.learning_rate)
