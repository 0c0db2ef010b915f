"""The options of a classifier. No torch is imported here."""

from dataclasses import dataclass

from nelbo.errors import ConfigurationError
from nelbo.options import Annotated, Doc


@dataclass(frozen=True)
class ClassifierOptions:
    """The options of a `Classifier`."""

    shape: Annotated[tuple[int, int, int], Doc("(C, H, W) of the images.")] = (1, 28, 28)
    num_classes: Annotated[int, Doc("Classes to distinguish.")] = 10
    widths: Annotated[
        tuple[int, ...], Doc("Feature channels at each resolution; both sides are halved after each.")
    ] = (16, 32, 64)
    num_features: Annotated[int, Doc("Features of the layer before the last one.")] = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has only lists
        object.__setattr__(self, "widths", tuple(self.widths))
        for name, least in (("num_classes", 2), ("num_features", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be at least {least}.")
        if not self.widths or min(self.shape[1:]) >> len(self.widths) < 1:
            raise ConfigurationError(
                f"`widths` has {len(self.widths)} entries, but images of {self.shape[1]} x {self.shape[2]} can be "
                f"halved 1 to {min(self.shape[1:]).bit_length() - 1} times."
            )
