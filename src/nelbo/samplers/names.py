"""The names of the samplers and their default steps. No torch is imported here; `registry` maps names to classes."""

import sys
from collections.abc import Collection

SAMPLER_NAMES = ("ancestral", "ddim", "dpm-solver++", "dpm-solver++sde", "euler", "heun", "unipc")
ANCESTRAL = "ancestral"  # Algorithm 2
DEFAULT_SAMPLER = "dpm-solver++sde"  # the smallest Frechet distance in benchmarks/README.md, with 20 calls
FEW_STEPS = 20
GUIDED_STEPS = 16  # of the default sampler with guidance at the middle noise levels: as many evaluations as 20 without


def known_samplers() -> Collection[str]:
    """Return the names of the registry if it is loaded, which a user may have extended, or else `SAMPLER_NAMES`."""
    registry = sys.modules.get("nelbo.samplers.registry")
    names: Collection[str] = SAMPLER_NAMES if registry is None else registry.SAMPLERS.keys()
    return names


def default_steps(sampler: str, num_steps: int, guided: bool = False) -> int:
    """Return the default number of reverse steps of a sampler, for a model of T = `num_steps` diffusion steps.

    All T for `ancestral`, as in the paper; 20 for every other sampler, or 16 for the default sampler with guidance, but
    at most T.
    """
    if sampler == ANCESTRAL:
        return num_steps
    return min(GUIDED_STEPS if guided and sampler == DEFAULT_SAMPLER else FEW_STEPS, num_steps)


def default_spacing(sampler: str) -> str:
    """Return the default spacing of a sampler's steps: "even" for `ancestral`, "karras" for every other sampler."""
    return "even" if sampler == ANCESTRAL else "karras"
