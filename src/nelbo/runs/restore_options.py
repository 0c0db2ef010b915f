"""How to restore a damaged image, as one record that checks itself. No torch is imported here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from nelbo.errors import ConfigurationError, option
from nelbo.options import Doc, check_types, known
from nelbo.progress import Progress
from nelbo.restoration.damages.names import DAMAGE_NAMES, METHODS
from nelbo.runs.sampling_options import ETA, GUIDANCE, PRECISION
from nelbo.samplers.names import SAMPLER_NAMES, known_samplers
from nelbo.training.options import PRECISIONS

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any


@dataclass(frozen=True, eq=False)
class RestoreOptions:
    """Exactly one damage, and how to restore it. Every other option has a default.

    `label` may also be an int64 tensor (num,) with the class of each draw.

    Raises:
        ConfigurationError: none or several damages, or an unknown method, sampler or precision.
    """

    mask: Annotated[
        Any,
        Doc(
            "Inpaint: bool (H, W), true where pixels are missing, or a picture that is white there; nan for those "
            "that are NaN."
        ),
    ] = None
    noise: Annotated[float | None, Doc("Denoise: standard deviation of the noise, in grey levels.")] = None
    upscale: Annotated[
        int | None,
        Doc("Upscale by this factor (2, 4, ...). Each input pixel must be the mean of a block of pixels."),
    ] = None
    colour: Annotated[bool, Doc("Colourise a grey image.")] = False
    strength: Annotated[
        float | None,
        Doc(
            "Image-to-image: start the reverse process at this fraction of the diffusion time, above 0 and at most 1. "
            "Larger values change the image more."
        ),
    ] = None
    num: Annotated[int, Doc("Number of samples.")] = 4
    method: Annotated[
        str | None,
        Doc(
            "Method: repaint (inpainting only, where it is the default) or null-space (inpainting, upscaling and "
            "colourising). Not used for denoising and image-to-image."
        ),
    ] = None
    sampler: Annotated[
        str | None,
        Doc(f"Sampler: {', '.join(SAMPLER_NAMES)}; ancestral by default and always for repaint."),
    ] = None
    steps: Annotated[
        int | None,
        Doc(
            "Number of reverse steps, from 1 to T, the number of diffusion steps of the model; by default 50, or 20 "
            "for repaint, but at most T."
        ),
    ] = None
    eta: Annotated[
        float | None,
        Doc(ETA),
    ] = None
    label: Annotated[
        int | str | Tensor | None,
        Doc(
            "Class of the image by name or number (class-conditional models). Without it, the model restores without a "
            "class, because that of the image is unknown."
        ),
    ] = None
    vector: Annotated[
        Any,
        Doc(
            "Numbers that the model was trained to be conditioned on (its table), in the order of the columns; in "
            "Python also by column."
        ),
    ] = None
    condition_image: Annotated[
        Any, Doc("Image that belongs to this one, for a model that was trained with condition_images.")
    ] = None
    guidance: Annotated[
        float | None,
        Doc(GUIDANCE),
    ] = None
    jump: Annotated[int | None, Doc("RePaint: jump length in steps; 1 by default.")] = None
    resamplings: Annotated[int | None, Doc("RePaint: number of times each step is sampled; 3 by default.")] = None
    resize: Annotated[
        bool,
        Doc(
            "Convert the image and its mask to the size and colour mode of the model, as training does; otherwise "
            "another size or mode is an error."
        ),
    ] = True
    seed: Annotated[
        int | None, Doc("Random seed. Sample i does not depend on `num` or `batch_size`, up to rounding.")
    ] = 0
    batch_size: Annotated[int, Doc("Samples per pass through the network.")] = 64
    precision: Annotated[str, Doc(PRECISION)] = "auto"
    progress: Annotated[
        Progress | bool | None,
        Doc("True for a progress bar, or a function that is called with (steps done, total steps)."),
    ] = None

    def __post_init__(self) -> None:
        check_types(self)
        if len(self._damages) != 1:
            named = [option(name) for name in DAMAGE_NAMES]
            found = " and ".join(option(name) for name in self._damages) or "none"
            raise ConfigurationError(f"name exactly one damage: {', '.join(named[:-1])} or {named[-1]}; got {found}.")
        if self.method is not None:
            known(self.method, METHODS, "method")
        if self.sampler is not None:
            known(self.sampler, known_samplers(), "sampler")
        known(self.precision, PRECISIONS, "precision")

    @property
    def damage(self) -> str:
        """The name of the damage that is given."""
        return self._damages[0]

    @property
    def _damages(self) -> list[str]:
        return [name for name in DAMAGE_NAMES if getattr(self, name) is not None and getattr(self, name) is not False]
