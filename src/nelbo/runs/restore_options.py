"""How to restore a damaged image, as one record that checks itself. No torch is imported here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from nelbo.errors import ConfigurationError, option
from nelbo.options import Doc, known
from nelbo.progress import Progress
from nelbo.restoration.damages.names import DAMAGE_NAMES, METHODS
from nelbo.samplers.names import SAMPLER_NAMES
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
        Tensor | None, Doc("Fill in missing pixels: bool tensor (H, W), true where pixels are missing.")
    ] = None
    noise: Annotated[
        float | None, Doc("Denoise: standard deviation of the noise in grey levels (of 0..255 for most models).")
    ] = None
    upscale: Annotated[
        int | None,
        Doc("Enlarge by this factor (2, 4, ...) an image whose every pixel is the mean of a square of pixels."),
    ] = None
    colour: Annotated[bool, Doc("Colour a grey image.")] = False
    strength: Annotated[
        float | None,
        Doc("Redraw (image to image): share of the chain, above 0 and at most 1; more changes the image more."),
    ] = None
    num: Annotated[int, Doc("Number of draws.")] = 4
    method: Annotated[
        str | None,
        Doc("Method: repaint (the default for masks; masks only) or null-space (masks, upscaling, colouring)."),
    ] = None
    sampler: Annotated[
        str | None,
        Doc(f"Sampler: {', '.join(SAMPLER_NAMES)}; ancestral by default and always for repaint."),
    ] = None
    steps: Annotated[int | None, Doc("Reverse steps, 1..T; by default 50, or 20 for repaint, but at most T.")] = None
    eta: Annotated[float | None, Doc("Share of the noise that ddim draws, 0..1; 0 by default.")] = None
    label: Annotated[
        int | str | Tensor | None,
        Doc("Class of the image by name or number (class-conditional models)."),
    ] = None
    guidance: Annotated[
        float | None, Doc("Guidance scale of the label: 1 samples the model itself, 2 to 4 exaggerate the class.")
    ] = None
    jump: Annotated[int | None, Doc("For repaint: number of steps in a jump back up; 1 by default.")] = None
    resamplings: Annotated[int | None, Doc("For repaint: how often each step is sampled in total; 3 by default.")] = (
        None
    )
    seed: Annotated[
        int, Doc("Random seed. Draw i of a seed is always the same, up to rounding that depends on the batch size.")
    ] = 0
    batch_size: Annotated[int, Doc("Number of draws that the network computes at once.")] = 64
    precision: Annotated[
        str, Doc("Number format of the network: bf16, fp32, or auto (bf16 where the hardware supports it).")
    ] = "auto"
    progress: Annotated[Progress | None, Doc("Function that is called with (steps done, total steps).")] = None

    def __post_init__(self) -> None:
        if len(self._damages) != 1:
            named = [option(name) for name in DAMAGE_NAMES]
            found = " and ".join(option(name) for name in self._damages) or "none"
            raise ConfigurationError(f"name exactly one damage: {', '.join(named[:-1])} or {named[-1]}; got {found}.")
        if self.method is not None:
            known(self.method, METHODS, "method")
        if self.sampler is not None:
            known(self.sampler, SAMPLER_NAMES, "sampler")
        known(self.precision, PRECISIONS, "precision")

    @property
    def damage(self) -> str:
        """The name of the damage that is given."""
        return self._damages[0]

    @property
    def _damages(self) -> list[str]:
        return [name for name in DAMAGE_NAMES if getattr(self, name) is not None and getattr(self, name) is not False]
