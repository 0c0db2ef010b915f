"""What the options of all networks for images have in common. No torch is imported here."""

from nelbo.errors import ConfigurationError

MOST_FEATURES = 1 << 16  # of a layer, or numbers or channels to condition on; no network has more


class ImageOptions:
    """The input of a network for images: the image, its features, a mask and a second image (see `pixel_features`).

    The fields belong to the dataclasses that derive from it.
    """

    channels: int
    condition_size: int | None
    condition_channels: int | None
    masked: bool
    fourier: tuple[int, ...]
    slopes: tuple[int, ...]

    @property
    def num_features(self) -> int:
        """Input channels of the network: those of the image, of its features, of the mask and of a second image."""
        own = self.channels * (1 + 2 * len(self.fourier) + 2 * len(self.slopes) + self.masked)
        return own + 2 * (self.condition_channels or 0)

    def padded(self, side: int) -> int:
        """Return the side to which the network pads a side."""
        raise NotImplementedError

    def check_conditions(self) -> None:
        """Check the sizes of what the network is conditioned on.

        Raises:
            ConfigurationError: one is outside its range.
        """
        for name in ("condition_size", "condition_channels"):
            if (given := getattr(self, name)) is not None and not 1 <= given <= MOST_FEATURES:
                raise ConfigurationError(f"`{name}` is {given}, but must be within 1..{MOST_FEATURES}, or None.")
