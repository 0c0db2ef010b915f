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
        int | None, Doc("Enlarge by this factor (2, 4, ...) an image whose pixels are means of squares.")
    ] = None
    colour: Annotated[bool, Doc("Colour a grey image.")] = False
    strength: Annotated[
        float | None, Doc("Image to image: share of the chain to go back and draw again, above 0 and at most 1.")
    ] = None
    num: Annotated[int, Doc("Number of draws.")] = 4
    method: Annotated[
        str | None,
        Doc("Method: repaint (the default for masks; masks only) or null-space (masks, upscaling, colouring)."),
    ] = None
    sampler: Annotated[
        str | None,
        Doc(f"Sampler: {', '.join(SAMPLER_NAMES)}; ancestral by default. The method repaint needs ancestral."),
    ] = None
    steps: Annotated[
        int | None, Doc("Reverse steps, 1..T; by default 50, or 20 for repaint, or T if T is smaller.")
    ] = None
    eta: Annotated[float | None, Doc("Share of the noise that ddim draws, 0..1; 0 by default.")] = None
    label: Annotated[
        int | str | Tensor | None,
        Doc("Class of the image by name or number, for class-conditional models; in Python also one number per draw."),
    ] = None
    guidance: Annotated[
        float | None, Doc("Guidance scale of the label: 1 samples the model itself, 2 to 4 exaggerate the class.")
    ] = None
    jump: Annotated[int | None, Doc("For repaint: number of steps in a jump; 1 by default.")] = None
    resamplings: Annotated[int | None, Doc("For repaint: how often each step is sampled in total; 3 by default.")] = (
        None
    )
    seed: Annotated[int, Doc("Random seed. Draw i of a seed is always the same, up to the rounding of batches.")] = 0
    batch_size: Annotated[int, Doc("Number of draws in one batch of the network.")] = 64
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
    def damage_options(self) -> dict[str, Any]:
        """The options of the damage, by name: its own value, and the method with its settings."""
        return {name: getattr(self, name) for name in (self.damage, "method", "jump", "resamplings")}

    @property
    def _damages(self) -> list[str]:
        return [name for name in DAMAGE_NAMES if getattr(self, name) is not None and getattr(self, name) is not False]
