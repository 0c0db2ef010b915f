"""Ways down the chain: one file each, one contract."""

from nelbo.samplers.ancestral import AncestralSampler
from nelbo.samplers.sampler import Sampler, Step

SAMPLERS: dict[str, type[Sampler]] = {"ancestral": AncestralSampler}

__all__ = ["SAMPLERS", "AncestralSampler", "Sampler", "Step"]
