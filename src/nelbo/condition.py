"""What a network reads beside x_t and t: a class, numbers, an image, and which pixels are observed.

A plain tensor of labels (B,) is accepted wherever a `Condition` is, and reaches the network as it is. So a network that
knows only classes needs to know nothing of this module.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.errors import ShapeError

NO_CLASS = -1
KINDS = ("label", "vector", "image")  # what may be withheld; the mask of observed pixels never is


@dataclass(frozen=True, eq=False)
class Condition(Brief):
    """The condition of a batch: each part has one row per example, or is None where there is nothing of this kind.

    p_theta(x_{t-1}|x_t) becomes p_theta(x_{t-1}|x_t, condition), and the bound one on -log p(observed|condition). NaN
    stands for what is not known, so a row of NaN is a part that is withheld.

    >>> both = Condition(label=torch.tensor([3, 5]), vector=torch.tensor([[0.5], [1.5]]))
    >>> both.withheld(torch.tensor([False, True])).label.tolist()
    [3, -1]
    >>> Condition.of(torch.tensor([3, 5])).simplest
    tensor([3, 5])

    Attributes:
        label: (B,) int64, negative for no class.
        vector: (B, V) float, standardised numbers; NaN where unknown.
        image: (B, C', H, W) float in [0, 1], of the size of x_t; NaN where unknown.
        observed: (B, C, H, W) or (B, 1, H, W) bool, false where a pixel of x_0 is missing. It must not depend on x_0,
            or the bound is none.
    """

    label: Tensor | None = None
    vector: Tensor | None = None
    image: Tensor | None = None
    observed: Tensor | None = None

    __iter__ = None  # a loop over an empty condition would not end

    @classmethod
    def of(cls, given: "Tensor | Condition | None") -> "Condition":
        """Return a condition as it is; labels (B,), or nothing, as a condition."""
        return given if isinstance(given, Condition) else cls(label=given)

    @property
    def parts(self) -> dict[str, Tensor]:
        """The parts that are not None, by name."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def simplest(self) -> "Tensor | Condition | None":
        """None if there is nothing, the labels if there is nothing else, or the condition."""
        parts = self.parts.keys()
        return None if not parts else self.label if parts == {"label"} else self

    @property
    def guides(self) -> bool:
        """Whether there is something that can be withheld, and so guided to."""
        return not self.parts.keys().isdisjoint(KINDS)

    def __len__(self) -> int:
        """Return the number of examples; 0 for an empty condition."""
        return max((part.shape[0] for part in self.parts.values()), default=0)

    def __getitem__(self, index: Any) -> Self:
        """Return the condition of some examples: a slice, or a tensor of indices."""
        return replace(self, **{name: part[index] for name, part in self.parts.items()})

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """Return the condition on a device."""
        moved = {name: part.to(device, non_blocking=non_blocking) for name, part in self.parts.items()}
        return replace(self, **moved)

    def expand(self, num: int) -> Self:
        """Return the condition of one example for `num` examples."""
        return replace(self, **{name: part.expand(num, *part.shape[1:]) for name, part in self.parts.items()})

    def beside(self, other: "Condition") -> Self:
        """Return the examples of both, those of `other` last; both have the same parts."""
        return replace(self, **{name: torch.cat([part, other.parts[name]]) for name, part in self.parts.items()})

    def withheld(self, chosen: Tensor | None = None, kinds: tuple[str, ...] = KINDS) -> Self:
        """Return the condition with parts withheld: no class, and NaN for numbers and images.

        Args:
            chosen: (B,) bool, the examples; None for all.
            kinds: names of the parts.
        """
        hidden = {}
        for name in self.parts.keys() & set(kinds):
            part = self.parts[name]
            rows = torch.ones(len(part), dtype=torch.bool, device=part.device) if chosen is None else chosen
            nothing = NO_CLASS if name == "label" else torch.nan
            hidden[name] = part.masked_fill(rows.view(-1, *[1] * (part.ndim - 1)), nothing)
        return replace(self, **hidden)

    def flipped(self, chosen: Tensor) -> Self:
        """Return the condition with its images and masks mirrored left to right for the examples in `chosen` (B,)."""
        rows, parts = chosen.view(-1, 1, 1, 1), self.parts
        return replace(
            self,
            **{
                name: torch.where(rows, parts[name].flip(-1), parts[name])
                for name in parts.keys() & {"image", "observed"}
            },
        )

    def require(self, batch: int) -> Self:
        """Check that every part has `batch` rows and its number of dimensions.

        Raises:
            ShapeError: a part has others.
        """
        for name, part in self.parts.items():
            if part.shape[0] != batch or (name in DIMS and part.ndim != DIMS[name]):
                raise ShapeError(
                    f"`{name}` of the condition has the shape {tuple(part.shape)}, but a batch of {batch} needs "
                    f"{SHAPES[name].replace('B', str(batch))}."
                )
        return self


DIMS = {"label": 1, "vector": 2, "image": 4}
SHAPES = {"label": "(B,)", "vector": "(B, V)", "image": "(B, C', H, W)", "observed": "(B, ...)"}


ConditionLike = Tensor | Condition
"""A condition, or labels int64 (B,) alone."""


def observed_of(given: ConditionLike | None) -> Tensor | None:
    """Return the mask of observed pixels, or None where all are observed."""
    return given.observed if isinstance(given, Condition) else None


def hidden(x: Tensor, observed: Tensor | None) -> Tensor:
    """Return x (B, ...) with 0, a constant, where pixels are missing, so that nothing depends on what is there."""
    return x if observed is None else torch.where(observed, x, x.new_zeros(()))
