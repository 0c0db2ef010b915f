"""The names of the samplers. No torch is imported here; `registry` maps each name to its class."""

SAMPLER_NAMES = ("ancestral", "ddim", "dpm-solver++", "dpm-solver++sde", "euler", "heun", "unipc")
