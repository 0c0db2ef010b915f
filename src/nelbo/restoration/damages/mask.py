"""Missing pixels, filled in by RePaint or by the null space (inpainting)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError, ShapeError, option
from nelbo.restoration.damages.damage import Walk
from nelbo.restoration.damages.linear import LinearDamage
from nelbo.restoration.operators import Damage, Mask
from nelbo.restoration.repaint import RePaintSampler
from nelbo.samplers import AncestralSampler, Sampler

REPAINT_STEPS, JUMP, RESAMPLINGS = 20, 1, 3  # 20 steps take 58 network calls


@dataclass(frozen=True, eq=False)
class MaskDamage(LinearDamage):
    """Missing pixels. The known ones come back exactly.

    Attributes:
        mask: bool (H, W), true where pixels are missing.
        jump: steps in a jump of RePaint; 1 if None.
        resamplings: how often RePaint samples each step in total; 3 if None.
    """

    name: ClassVar[str] = "mask"
    methods: ClassVar[tuple[str, ...]] = ("repaint", "null-space")

    mask: Tensor
    jump: int | None = None
    resamplings: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("jump", "resamplings") if getattr(self, name) is not None]
        if given and not self._repaints:
            raise ConfigurationError(
                f"{' and '.join(map(option, given))} can be used with {option('method', 'repaint')} only; remove "
                f"{'it' if len(given) == 1 else 'them'}, or change {option('method')}."
            )
        if not isinstance(self.mask, Tensor) or self.mask.dtype != torch.bool or self.mask.ndim != 2:
            found = getattr(self.mask, "dtype", type(self.mask).__name__), tuple(getattr(self.mask, "shape", ()))
            raise ShapeError(
                f"the mask must be a bool tensor (height, width), true where pixels are missing, got {found[0]} "
                f"{found[1]}."
            )
        if not bool(self.mask.any()):
            raise ConfigurationError(
                "the mask marks no pixel as missing; mark the pixels to fill in as true (white in a picture)."
            )
        if bool(self.mask.all()):
            raise ConfigurationError(
                "the mask marks every pixel as missing, so nothing of the image is known; mark the pixels to keep as "
                "false (black in a picture). To draw whole images, use `nelbo sample`."
            )

    @property
    def _repaints(self) -> bool:
        return self.chosen_method == "repaint"

    @property
    def default_steps(self) -> int:
        """20 for RePaint, which takes several network calls a step; else 50."""
        return REPAINT_STEPS if self._repaints else super().default_steps

    @property
    def operator(self) -> Damage:
        """The map that sets missing pixels to 0."""
        return Mask(~self.mask)

    def expected_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the shape of the model's images, which must be the mask's too.

        Raises:
            ShapeError: a mask of another size.
        """
        if tuple(self.mask.shape) != shape[1:]:
            raise ShapeError(
                f"the mask is {self.mask.shape[0]} x {self.mask.shape[1]}, but the model's images are {shape[1]} x "
                f"{shape[2]} (height x width); give a mask of this size."
            )
        return shape

    def walk(self, sampler: Sampler, y: Tensor, steps: int) -> Walk:
        """Return draws by the chosen method; see `ImageDamage.walk`."""
        if not self._repaints:
            return super().walk(sampler, y, steps)
        if not isinstance(sampler, AncestralSampler):
            raise ConfigurationError(
                f"{option('method', 'repaint')} uses the ancestral sampler; remove {option('sampler')}, or set "
                f"{option('method', 'null-space')}."
            )
        if self.jump is not None and self.jump >= steps:
            raise ConfigurationError(
                f"{option('jump')} must be below the number of steps, {steps}, got {self.jump}; lower it or raise "
                f"{option('steps')}."
            )
        jump = JUMP if self.jump is None else self.jump
        resamplings = RESAMPLINGS if self.resamplings is None else self.resamplings
        painter = RePaintSampler(sampler.reverse, y, ~self.mask, jump, resamplings)
        return Walk(
            painter.calls,
            lambda generators, label: painter.trajectory((len(generators), *y.shape[1:]), generators, label),
        )
