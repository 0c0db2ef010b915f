"""What an MLP is made of; no torch is imported here."""

from dataclasses import dataclass

from nelbo.errors import ConfigurationError


@dataclass(frozen=True)
class MLPOptions:
    """What an `MLP` is made of.

    Attributes:
        dims: dimensions of a point.
        width: features of each hidden layer, an even number.
        depth: hidden residual layers.
        learned_variance: put out 2 * dims; the second half parameterizes the variance.
        num_classes: classes of a conditional network, or None.
    """

    dims: int = 2
    width: int = 128
    depth: int = 4
    learned_variance: bool = False
    num_classes: int | None = None

    def __post_init__(self) -> None:
        for name in ("dims", "depth"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be at least 1")
        if self.width % 2 or self.width < 4:
            raise ConfigurationError(f"`width` is {self.width}, but must be an even number, at least 4")
