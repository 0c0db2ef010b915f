"""How to decide which images are unusual, as one record that checks itself. No torch is imported here."""

from dataclasses import dataclass
from typing import Annotated, Any

from nelbo.errors import ConfigurationError, option, shown
from nelbo.options import Doc, check_types, check_whole, given_options, known

UPPER, BOTH = "upper", "both"
TAILS = (UPPER, BOTH)
COMPRESSORS = {"png": "PNG", "webp": "WEBP"}  # generic lossless compressors, and their names in Pillow
SCORE_STEPS = 32  # values of t for each image


@dataclass(frozen=True)
class DecisionOptions:
    """How to decide which images are unusual; every option has a default.

    Raises:
        ConfigurationError: a value of another type or out of range.
    """

    fdr: Annotated[
        float,
        Doc(
            "False discovery rate, between 0 and 1: the expected share of usual images among the flagged ones is at "
            "most this; 0.05 by default."
        ),
    ] = 0.05
    tails: Annotated[
        str,
        Doc(
            f"Which images to flag: {BOTH} (the default) flags surprising images and those that are too simple, "
            f"{UPPER} only surprising ones."
        ),
    ] = BOTH
    complexity: Annotated[
        str | None,
        Doc(
            "Subtract the bits of a generic lossless compressor from the bits of the model before the comparison "
            f"(input complexity): {' or '.join(COMPRESSORS)}; none by default."
        ),
    ] = None
    num_held_out: Annotated[
        int, Doc("Number of held-out images to compare with, evenly spaced in the data set; 1000 by default.")
    ] = 1000
    steps_per_image: Annotated[
        int | None, Doc(f"Number of time steps to evaluate per image; 0 means all, {SCORE_STEPS} by default.")
    ] = None
    seed: Annotated[int, Doc("Random seed.")] = 0
    batch_size: Annotated[int, Doc("Images per pass through the network.")] = 64

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.fdr < 1:
            raise ConfigurationError(f"{option('fdr')} is {shown(self.fdr)}; expected a number between 0 and 1.")
        known(self.tails, TAILS, "choice of tails")
        if self.complexity is not None:
            known(self.complexity, COMPRESSORS, "compressor")
        check_whole("num_held_out", self.num_held_out)
        check_whole("batch_size", self.batch_size)
        if self.steps_per_image is not None:
            check_whole("steps_per_image", self.steps_per_image, 0)

    @property
    def values_of_t(self) -> int | None:
        """The number of values of t to evaluate for each image; None for all."""
        return SCORE_STEPS if self.steps_per_image is None else self.steps_per_image or None

    @classmethod
    def of(cls, options: "DecisionOptions | None" = None, **changes: Any) -> "DecisionOptions":
        """Build options from keyword arguments, or return `options` as they are.

        Raises:
            ConfigurationError: an unknown name (the nearest is suggested), both forms at once, or `options` of another
                type.
        """
        return given_options(cls, options, changes)
