"""How to sample a diffusion model, as one record that checks itself. No torch is imported here."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from nelbo.errors import ConfigurationError, option
from nelbo.options import Doc, check_functions, check_types, given_options, known
from nelbo.samplers.names import (
    ANCESTRAL,
    DEFAULT_SAMPLER,
    FEW_STEPS,
    GUIDED_STEPS,
    SAMPLER_NAMES,
    default_spacing,
    default_steps,
    known_samplers,
)
from nelbo.training.options import PRECISIONS

SPACINGS = ("even", "log-snr", "karras")
# Help texts of options that restoration has too.
ETA = "DDIM eta: 0 is deterministic (the default), 1 is ancestral sampling with the variance fixed-small."
GUIDANCE = (
    "Classifier-free guidance scale: 1 disables it; with larger values, typically 1.5 to 4, samples follow the class "
    "more strongly."
)
DEFAULT_GUIDANCE = 1.8
MIDDLE_LOG_SNR = 2.5  # guidance applies where |log SNR| is at most this; both are chosen in benchmarks/README.md
VARIANCES = (
    "calibrated (measured after training; the default where available), trained (the one used in training; otherwise "
    "the default), fixed-large (beta_t) or fixed-small (that of the posterior)."
)
PRECISION = "Precision of the network: bf16, fp32, or auto (bf16 if the hardware supports it)."


@dataclass(frozen=True)
class SamplingOptions:
    """How to sample a diffusion model; every option has a default.

    Raises:
        ConfigurationError: an unknown value, or two options that exclude each other.
    """

    sampler: Annotated[
        str,
        Doc(
            f"Sampler: {', '.join(SAMPLER_NAMES)}; {DEFAULT_SAMPLER} by default. {ANCESTRAL} is Algorithm 2 of "
            "the paper."
        ),
    ] = DEFAULT_SAMPLER
    steps: Annotated[
        int | None,
        Doc(
            "Number of reverse steps, from 1 to T, the number of diffusion steps of the model; by default "
            f"{FEW_STEPS}, or {GUIDED_STEPS} for {DEFAULT_SAMPLER} with guidance, but at most T; all T for the sampler "
            f"{ANCESTRAL}."
        ),
    ] = None
    spacing: Annotated[
        str | None,
        Doc(
            f"Spacing of the steps: even (in time t; the default of {ANCESTRAL}), log-snr (even in the log "
            "signal-to-noise ratio), or karras (even in sigma^(1/7), where sigma = SNR^(-1/2); Karras et al. 2022, "
            "eq. 5; the default of the other samplers)."
        ),
    ] = None
    variance: Annotated[
        str | None,
        Doc(f"Variance of the ancestral sampler: {VARIANCES}"),
    ] = None
    clip: Annotated[
        bool | None, Doc("Clip the predicted image to the range of the data at every step; on by default.")
    ] = None
    threshold: Annotated[
        float | None,
        Doc(
            "Dynamic thresholding instead of clipping: the quantile of each image's absolute pixel values, e.g. 0.995."
        ),
    ] = None
    threshold_max: Annotated[
        float | None,
        Doc("Largest bound of dynamic thresholding, at least 1 (the range of the data is -1 to 1); none by default."),
    ] = None
    eta: Annotated[
        float | None,
        Doc(ETA),
    ] = None
    churn: Annotated[
        float | None,
        Doc(
            "Noise that the samplers euler and heun add before each step (S_churn of Karras et al. 2022); 0 by default."
        ),
    ] = None
    guidance: Annotated[
        float | None,
        Doc(f"{GUIDANCE} By default {DEFAULT_GUIDANCE} for a model of classes sampled by {DEFAULT_SAMPLER}, else 1."),
    ] = None
    guidance_interval: Annotated[
        tuple[float, float] | None,
        Doc(
            "Interval where guidance applies, as two fractions of the diffusion time, such as 0.1 0.8: 0 is the image, "
            f"1 is noise. By default the middle noise levels, with a log SNR of -{MIDDLE_LOG_SNR} to {MIDDLE_LOG_SNR}."
        ),
    ] = None
    constraints: Annotated[
        tuple[Any, ...],
        Doc("Further constraints on xhat_0 (`nelbo.diffusion.Constraint`), applied after the threshold."),
    ] = ()
    precision: Annotated[str, Doc(PRECISION)] = "auto"

    def __post_init__(self) -> None:
        check_types(self)
        check_functions("constraints", self.constraints)
        known(self.sampler, known_samplers(), "sampler")
        if self.spacing is not None:
            known(self.spacing, SPACINGS, "spacing")
        known(self.precision, PRECISIONS, "precision")
        if self.threshold is not None and self.clip is not None:
            raise ConfigurationError(
                f"{option('threshold')} replaces clipping; remove {option('clip', self.clip)} or {option('threshold')}."
            )
        if self.threshold_max is not None and self.threshold is None:
            raise ConfigurationError(
                f"{option('threshold_max')} limits the bound of {option('threshold')}; give both or neither."
            )
        if self.guidance_interval is not None:
            first, last = self.guidance_interval
            if not 0 <= first <= last <= 1:
                raise ConfigurationError(
                    f"{option('guidance_interval')} must be two rising shares of the chain within 0..1, got {first:g} "
                    f"{last:g}."
                )

    def resolved(self, num_steps: int) -> Self:
        """Return these options with `steps` and `spacing` filled in where they are None.

        Args:
            num_steps: T, the number of diffusion steps of the model.
        """
        guided = self.guidance not in (None, 1)
        steps = default_steps(self.sampler, num_steps, guided) if self.steps is None else self.steps
        return replace(self, steps=steps, spacing=self.spacing or default_spacing(self.sampler))

    def guided(self, knows_classes: bool, middle: tuple[float, float]) -> Self:
        """Return these options with `guidance` and `guidance_interval` filled in where they are None.

        Args:
            knows_classes: the model was trained with and without classes, so the default guidance is possible.
            middle: the middle noise levels as two fractions of the diffusion time.

        Raises:
            ConfigurationError: an interval, but no guidance.
        """
        guidance = self.guidance
        if guidance is None and knows_classes and self.sampler == DEFAULT_SAMPLER:
            guidance = DEFAULT_GUIDANCE
        if guidance is None and self.guidance_interval is not None:
            raise ConfigurationError(
                f"{option('guidance_interval')} says where {option('guidance')} applies, and there is none by default "
                f"here; set {option('guidance')} too, or remove {option('guidance_interval')}."
            )
        interval = self.guidance_interval or (None if guidance is None else middle)
        return replace(self, guidance=guidance, guidance_interval=interval)

    @classmethod
    def of(cls, options: "SamplingOptions | None" = None, **changes: Any) -> "SamplingOptions":
        """Build options from keyword arguments, or return `options` as they are.

        Raises:
            ConfigurationError: an unknown name (the nearest is suggested), both forms at once, or `options` of another
                type.
        """
        return given_options(cls, options, changes)
