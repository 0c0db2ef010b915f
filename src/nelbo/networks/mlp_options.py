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
    condition_size: Annotated[int | None, Doc("Numbers of the vector to condition on; None for none.")] = None
    masked: Annotated[bool, Doc("Take points with missing numbers: which ones are observed joins the input.")] = False

    def __post_init__(self) -> None:
        for name in ("dims", "depth"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be at least 1.")
        if self.condition_size is not None and self.condition_size < 1:
            raise ConfigurationError(f"`condition_size` is {self.condition_size}, but must be at least 1, or None.")
        if self.width % 2 or self.width < 4:
            raise ConfigurationError(f"`width` is {self.width}, but must be an even number, at least 4.")
