"""Options of the codec's fit."""

import math
from dataclasses import dataclass, fields

from nelbo.errors import ConfigurationError, option
from nelbo.options import Annotated, Doc, check_types, check_whole


@dataclass(frozen=True)
class FittingOptions:
    """How much data and how many optimizer steps `fit_plan` uses.

    `stops` ends at a log SNR of 6. The trials are so short that the pixel network has learned little, which favours a
    late stop: with stops up to 12, a model of crops of photographs chose 9, and a whole photograph took 4% more bytes.

    Raises:
        ConfigurationError: a value of another type, or outside its range.
    """

    end_images: Annotated[int, Doc("Training images for the small network that encodes the exact pixels.")] = 16384
    end_steps: Annotated[int, Doc("Optimizer steps of the small network that encodes the exact pixels.")] = 8000
    trial_steps: Annotated[int, Doc("Optimizer steps of the pixel network while a stop is tried.")] = 400
    end_batch: Annotated[int, Doc("Images in a batch of the pixel network.")] = 32
    learning_rate: Annotated[float, Doc("Largest learning rate of the pixel network.")] = 2e-3
    hidden: Annotated[int, Doc("Features of each hidden layer of the pixel network.")] = 48
    table_images: Annotated[int, Doc("Training images for the tables of expected KL.")] = 512
    sent_images: Annotated[int, Doc("Training images that are encoded to count indices and numbers of chunks.")] = 64
    stops: Annotated[
        tuple[float, ...],
        Doc("Log SNRs at which the channel may stop, rising; the search ends at the first that costs more bits."),
    ] = (3.0, 4.0, 5.0, 6.0)
    batch_size: Annotated[int, Doc("Images in a call of the diffusion network.")] = 64
    seed: Annotated[int, Doc("Random seed.")] = 0

    def __post_init__(self) -> None:
        check_types(self)
        for each in fields(self):
            if each.name not in ("learning_rate", "stops", "seed"):
                check_whole(each.name, getattr(self, each.name))
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigurationError(
                f"{option('learning_rate')} must be a finite number above 0, got {self.learning_rate}."
            )
        rising = all(low < high for low, high in zip(self.stops, self.stops[1:], strict=False))
        if not self.stops or not rising or not all(map(math.isfinite, self.stops)):
            raise ConfigurationError(f"{option('stops')} must be rising log SNRs, at least one, got {self.stops}.")
