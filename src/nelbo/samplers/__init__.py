"""Ways down the chain: one file each, one contract; and what can be seen by starting them in the middle of it."""

from nelbo.samplers.ancestral import AncestralSampler
from nelbo.samplers.interpolation import Interpolation, interpolations
from nelbo.samplers.sampler import Sampler, Step
from nelbo.samplers.shared import SharedLatent, shared_latents

SAMPLERS: dict[str, type[Sampler]] = {"ancestral": AncestralSampler}

__all__ = [
    "SAMPLERS",
    "AncestralSampler",
    "Interpolation",
    "Sampler",
    "SharedLatent",
    "Step",
    "interpolations",
    "shared_latents",
]
