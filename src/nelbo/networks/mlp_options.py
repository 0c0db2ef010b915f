"""The options of an MLP. No torch is imported here."""

from dataclasses import dataclass

from nelbo.errors import ConfigurationError
from nelbo.options import Annotated, Doc


@dataclass(frozen=True)
class MLPOptions:
    """The options of an `MLP`."""

    dims: Annotated[int, Doc("Dimensions of a point.")] = 2
    width: Annotated[int, Doc("Features of each hidden layer, an even number.")] = 128
    depth: Annotated[int, Doc("Hidden residual layers.")] = 4
    learned_variance: Annotated[bool, Doc("Output 2 * dims; the second half parameterizes the variance.")] = False
    num_classes: Annotated[int | None, Doc("Classes of a conditional network; None for an unconditional one.")] = None

    def __post_init__(self) -> None:
        for name in ("dims", "depth"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be at least 1.")
        if self.width % 2 or self.width < 4:
            raise ConfigurationError(f"`width` is {self.width}, but must be an even number, at least 4.")
