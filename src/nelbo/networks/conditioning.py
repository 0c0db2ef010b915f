"""How a network reads a condition: a class and numbers join the time embedding, a mask and an image the input."""

from typing import cast

import torch
from torch import Tensor, nn

from nelbo.condition import Condition, ConditionLike
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.networks.layers import full_precision, initialise, sinusoids


class ConditionEmbedding(nn.Module):
    """The embedding (B, width) of the time and, optionally, of a class and numbers, which every block receives.

    The time passes through sinusoids and a two-layer perceptron, all in float32 (in float64 if the weights are float64,
    so that the machines of a codec agree). The class embedding is added. Class index `num_classes` means "no class"; a
    label of None or a negative label selects it. A second perceptron maps the numbers, with 0 for unknown ones, and
    which of them are known; its output is added too.

    Attributes:
        base: the number of sinusoids.
        num_classes: the number of classes, or None for a network without classes.
        first_time: the number that the sinusoids get for t = 1; 0 for networks that were trained with t from 0.
        frequency_shift: the `shift` of their `frequencies`.
        condition_size: V, the numbers of a vector, or None for a network without one.

    Args:
        width: features of the embedding; None for 4 * base.
    """

    def __init__(
        self,
        base: int,
        num_classes: int | None = None,
        first_time: int = 1,
        frequency_shift: int = 1,
        condition_size: int | None = None,
        width: int | None = None,
    ) -> None:
        super().__init__()
        width = width or 4 * base
        self.base = base
        self.first_time = first_time
        self.frequency_shift = frequency_shift
        self.num_classes = num_classes
        self.condition_size = condition_size
        self.time = nn.Sequential(nn.Linear(base, width), nn.SiLU(), nn.Linear(width, width))
        self.label: nn.Embedding | None = None
        self.vector: nn.Sequential | None = None
        initialise(self.time)
        if (
            num_classes is not None
        ):  # the default initialisation would import much of torch's compiler on the meta device
            self.label = nn.Embedding.from_pretrained(torch.empty(num_classes + 1, width), freeze=False)
            nn.init.xavier_uniform_(self.label.weight)
        if condition_size is not None:
            layers = nn.Linear(2 * condition_size, width), nn.SiLU(), nn.Linear(width, width)
            self.vector = nn.Sequential(*layers)
            initialise(self.vector)

    def forward(self, t: Tensor, given: ConditionLike | None, batch: int) -> Tensor:
        """Embed `t` (B,) or scalar, and the class and the numbers of a condition, for a batch of `batch` examples.

        Raises:
            ConfigurationError: a label for a network without classes, or numbers for one without `condition_size`.
            ShapeError: another number of numbers.
        """
        condition = Condition.of(given)
        with full_precision(t):
            precision = next(self.time.parameters()).dtype
            own, dtype = t.expand(batch) + (self.first_time - 1), torch.promote_types(precision, torch.float32)
            embedded: Tensor = self.time(sinusoids(own, self.base, self.frequency_shift, dtype=dtype).to(precision))
            if self.label is not None or condition.label is not None:
                embedded = embedded + self._of_label(condition.label, batch, t.device)
            if self.vector is not None or condition.vector is not None:
                embedded = embedded + self._of_vector(condition.vector, batch, embedded)
            return embedded

    def _of_label(self, label: Tensor | None, batch: int, device: torch.device) -> Tensor:
        if self.label is None:
            raise ConfigurationError(
                "a label was given to a network without classes; leave it out, or build one with `num_classes`."
            )
        if label is None:
            label = torch.full((batch,), self.label.num_embeddings - 1, device=device)
        return self.label(label.where(label >= 0, self.label.num_embeddings - 1))  # type: ignore[no-any-return]

    def _of_vector(self, vector: Tensor | None, batch: int, like: Tensor) -> Tensor:
        if self.vector is None:
            raise ConfigurationError(
                "numbers were given to a network that takes none; leave them out, or build one with `condition_size`."
            )
        size = cast(int, self.condition_size)
        numbers = like.new_full((batch, size), torch.nan) if vector is None else vector.to(like)
        if numbers.shape != (batch, size):
            raise ShapeError(f"the numbers have the shape {tuple(numbers.shape)}; expected ({batch}, {size}).")
        return self.vector(with_known(numbers))  # type: ignore[no-any-return]


def with_known(values: Tensor) -> Tensor:
    """Return values (B, N, ...) with 0 for NaN, which means unknown, and which of them are known: (B, 2 N, ...)."""
    known = ~values.isnan()
    return torch.cat([values.where(known, values.new_zeros(())), known.to(values)], dim=1)


def planes_beside(x_t: Tensor, given: ConditionLike | None, masked: bool, channels: int | None) -> list[Tensor]:
    """Return what joins the input x_t (B, C, H, W) of a network: which pixels are observed, and an image.

    Args:
        masked: whether the network takes a mask of observed pixels; without one, all are.
        channels: C' of the image that the network takes, or None. An image that is not given is withheld.

    Returns:
        (B, C, ...) of 0 and 1 if `masked`; then (B, 2 C', ...), the image and which of its pixels are known.

    Raises:
        ConfigurationError: a mask or an image for a network that takes none.
        ShapeError: an image or a mask of another shape.
    """
    condition = Condition.of(given)
    planes: list[Tensor] = []
    if condition.observed is not None and not masked:
        raise ConfigurationError(
            "missing pixels were given to a network that knows none; build it with `masked`, or fill them in."
        )
    if condition.image is not None and channels is None:
        raise ConfigurationError(
            "an image to condition on was given to a network that takes none; leave it out, or build one with "
            "`condition_channels`."
        )
    if masked:
        seen = x_t.new_ones(()) if condition.observed is None else condition.observed.to(x_t)
        planes.append(seen.expand_as(x_t))
    if channels is not None:
        shape = (x_t.shape[0], channels, *x_t.shape[2:])
        image = x_t.new_full(shape, torch.nan) if condition.image is None else condition.image.to(x_t)
        if image.shape != shape:
            raise ShapeError(f"the image to condition on has the shape {tuple(image.shape)}; expected {shape}.")
        planes.append(with_known(image))
    return planes
