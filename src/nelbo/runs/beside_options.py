"""What lies beside the images of a run, as its config.json stores it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from nelbo.options import Doc

if TYPE_CHECKING:
    from nelbo.data import Scale

BESIDE = ("mask", "table", "condition_images")  # options of training and of reading images


@dataclass(frozen=True, kw_only=True, repr=False)  # `DataOptions` shows itself
class BesideOptions:
    """What lies beside each image that a run was trained on."""

    mask: Annotated[str | None, Doc("Folder of masks of missing pixels, or `memory:` and a digest; None for none.")] = (
        None
    )
    table: Annotated[str | None, Doc("CSV file of numbers to condition on, or `memory:` and a digest.")] = None
    condition_images: Annotated[
        str | None, Doc("Folder of images to condition on, or `memory:` and a digest; None for none.")
    ] = None
    masked: Annotated[bool, Doc("Whether pixels may be missing.")] = False
    columns: Annotated[tuple[str, ...], Doc("Names of the numbers to condition on.")] = ()
    means: Annotated[tuple[float, ...], Doc("Mean of each column over the training images.")] = ()
    stddevs: Annotated[tuple[float, ...], Doc("Standard deviation of each column over the training images.")] = ()
    condition_shape: Annotated[
        tuple[int, int, int] | None, Doc("(C', h, w) of an image to condition on; None for none.")
    ] = None

    @property
    def beside(self) -> list[str]:
        """In words, what lies beside each image."""
        numbers = [f"numbers ({', '.join(self.columns)})"] if self.columns else []
        shape = self.condition_shape
        images = [f"an image of {shape[2]}x{shape[1]} to condition on"] if shape else []
        return ["missing pixels"] * self.masked + numbers + images

    @property
    def scale(self) -> "Scale | None":
        """How the numbers to condition on are standardised, or None if there are none."""
        from nelbo.data import Scale  # imports torch

        return Scale(self.columns, self.means, self.stddevs) if self.columns else None
