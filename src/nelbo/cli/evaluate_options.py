"""The options of `nelbo evaluate`, checked together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nelbo.cli.engine import Parts
from nelbo.errors import ConfigurationError

STEPS_PER_IMAGE, TOLERANCE, PROBES = 8, 0.01, 1


@dataclass(frozen=True)
class EvaluateOptions:
    """What to compute; None is an option that was not given.

    Raises:
        ConfigurationError: two options that exclude each other, or one that needs another one.
    """

    steps_per_image: int | None
    steps: int | None
    variance: str | None
    clip: bool | None
    forms: bool
    known: bool
    ode: bool
    tolerance: float | None
    probes: int | None
    seed: int
    batch_size: int
    parts: Parts | None = None

    def __post_init__(self) -> None:
        if self.forms and self.clip:
            raise ConfigurationError("--forms compares the forms without --clip; remove one of them.")
        if self.forms and self.steps_per_image is not None:
            raise ConfigurationError("--forms evaluates every t, so it has no --steps-per-image; remove one of them.")
        if self.known and not self.forms:
            raise ConfigurationError("--known adds eq. 16 to the comparison of --forms; give --forms too.")
        if self.ode and (self.forms or self.clip or self.steps is not None):
            raise ConfigurationError("--ode chooses its own steps and has no --clip, --forms or --steps; remove them.")
        if not self.ode and (self.tolerance is not None or self.probes is not None):
            raise ConfigurationError("--tolerance and --probes belong to --ode; give --ode too.")
        if self.parts is not None and (self.forms or self.ode):
            raise ConfigurationError("--out computes the bound alone, part by part; remove --forms and --ode.")

    @property
    def of_the_chain(self) -> dict[str, object]:
        """The options that only a diffusion model has."""
        chosen = {name: getattr(self, name) or None for name in ("forms", "known", "ode")}
        chain = ("steps_per_image", "steps", "variance", "clip")
        return {name: getattr(self, name) for name in chain} | chosen

    @property
    def whole_chain(self) -> bool:
        """Whether the bound is that of the model as it is: all steps, its own variance, no clipping."""
        return self.steps is None and self.variance is None and not self.clip

    @property
    def steps_of_all(self) -> int | None:
        """The number of values of t per image; None for all."""
        return STEPS_PER_IMAGE if self.steps_per_image is None else self.steps_per_image or None

    @property
    def draws(self) -> dict[str, Any]:
        """The options that every estimate takes."""
        return {"seed": self.seed, "batch_size": self.batch_size}
