"""The images that a run was trained on, as its configuration records them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from nelbo.data import MEMORY_PREFIX
from nelbo.data.scale import LevelScale
from nelbo.display import Displayed, counted
from nelbo.options import Doc
from nelbo.runs.beside_options import BESIDE, BesideOptions

UNKNOWN_DATA = "unknown"  # the `spec` of an imported model, whose images are not known
READING = ("size", "mode", "held_out", "range", "quantum", *BESIDE)  # entries that are options of the same name


@dataclass(frozen=True)
class DataOptions(BesideOptions, Displayed):
    """The images that a run was trained on."""

    spec: Annotated[
        str,
        Doc(
            "Name or absolute path of the data; `UNKNOWN_DATA` for an imported model; `memory:` and a fingerprint for "
            "images that were given in memory."
        ),
    ]
    shape: Annotated[tuple[int, int, int], Doc("(C, H, W) of an image.")]
    levels: Annotated[int, Doc("K, the number of levels of a pixel.")]
    num_train: Annotated[int, Doc("Number of training images.")]
    num_held_out: Annotated[int, Doc("Number of held-out images.")]
    size: Annotated[int | tuple[int, int] | None, Doc("Side, or height and width, that images were resized to.")] = None
    mode: Annotated[str | None, Doc("L (grey) or RGB, if it was given.")] = None
    held_out: Annotated[float | None, Doc("Fraction or number of images held out, if given.")] = None
    range: Annotated[
        tuple[float, float] | None,
        Doc("Values that become 0 and 255 in images of more than 8 bits; None for those of the depth of each file."),
    ] = None
    quantum: Annotated[
        float | None, Doc("Difference of the values of two levels of measured images; None for images of 8 bits.")
    ] = None
    value_levels: Annotated[
        int | None, Doc("Levels of measured images; `levels` is then that of their coarse part.")
    ] = None
    value_type: Annotated[str | None, Doc("NumPy type of measured values, such as uint16.")] = None
    class_names: Annotated[tuple[str, ...], Doc("Class names, by label.")] = ()
    class_counts: Annotated[
        tuple[int, ...], Doc("Number of training images of each class, by label; empty in runs of 0.1.0.")
    ] = ()
    names: Annotated[
        str | None,
        Doc("Digest of the names of the image files in their order; None for other data, and in runs of before 0.2.0."),
    ] = None

    @property
    def in_memory(self) -> bool:
        """Whether the images were given to `nelbo.train` in memory, so that they cannot be read again."""
        return self.spec.startswith(MEMORY_PREFIX)

    @property
    def level_scale(self) -> LevelScale | None:
        """The values that the levels of measured images stand for; None for images of 8 bits."""
        if self.quantum is None or self.value_levels is None or self.value_type is None or self.range is None:
            return None
        return LevelScale(self.range[0], self.quantum, self.value_levels, self.value_type)

    @property
    def num_levels(self) -> int:
        """K, the number of levels of an image, its fine ones included."""
        return self.value_levels or self.levels

    def summary(self) -> Mapping[str, str]:
        """Return the images and where they come from."""
        shape, classes = " x ".join(map(str, self.shape)), len(self.class_names)
        source = "given in memory" if self.in_memory else self.spec
        known = f", {counted(classes, 'class', 'classes')}" if classes else ""
        return {
            "images": f"{shape} (C x H x W), {self.num_levels:,} levels{known}",
            "data": f"{source}: {counted(self.num_train, 'training image')}, {self.num_held_out:,} held out",
            **({"beside": ", ".join(self.beside)} if self.beside else {}),
        }
