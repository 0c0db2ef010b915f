"""The names of the damages and methods. No torch is imported here; `registry` maps each damage to its class."""

DAMAGE_NAMES = ("mask", "noise", "upscale", "colour", "strength")
METHODS = ("null-space", "repaint")
