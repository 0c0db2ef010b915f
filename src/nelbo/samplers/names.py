"""The names of the samplers. No torch is imported here; `registry` maps each name to its class."""

import sys
from collections.abc import Collection

SAMPLER_NAMES = ("ancestral", "ddim", "dpm-solver++", "dpm-solver++sde", "euler", "heun", "unipc")


def known_samplers() -> Collection[str]:
    """Return the names of the registry if it is loaded, which a user may have extended, or else `SAMPLER_NAMES`."""
    registry = sys.modules.get("nelbo.samplers.registry")
    names: Collection[str] = SAMPLER_NAMES if registry is None else registry.SAMPLERS.keys()
    return names
