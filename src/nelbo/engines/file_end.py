"""Where a compressed file ends. No torch is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nelbo.errors import ConfigurationError, option

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.codec import Bitstream, ProgressiveCodec, RawImage


@dataclass(frozen=True)
class FileEnd:
    """Where each file ends; without any of these options it is lossless.

    Attributes:
        lossy_only: leave out the exact pixels.
        max_bytes: size at which a file is cut.
        rmse: error in grey levels, of the decoded image, at which a file is cut.

    Raises:
        ConfigurationError: more than one of them.
    """

    lossy_only: bool = False
    max_bytes: int | None = None
    rmse: float | None = None

    def __post_init__(self) -> None:
        if len(self.given) > 1:
            raise ConfigurationError(f"{' and '.join(self.given)} each set the end of a file; keep one of them.")

    @property
    def given(self) -> list[str]:
        """The options that were given, as `nelbo.errors.option` writes them; an RMSE of 0 is one of them."""
        values = {"lossy_only": self.lossy_only or None, "max_bytes": self.max_bytes, "rmse": self.rmse}
        return [option(name) for name, value in values.items() if value is not None]

    @property
    def lossless(self) -> bool:
        """Whether files are complete."""
        return not self.given

    def cut(self, file: Bitstream | RawImage, codec: ProgressiveCodec, pixels: Tensor) -> Bitstream | RawImage:
        """Return the file up to its end; an image that is stored without the model stays whole."""
        from nelbo.codec import RawImage, cut_to_error

        if isinstance(file, RawImage):
            return file
        if self.max_bytes is not None:
            return file.cut(self.max_bytes)
        return file if self.rmse is None else cut_to_error(codec, file, pixels, self.rmse)
