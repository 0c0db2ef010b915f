"""An image of any size as tiles of the model's size, row by row from the top left, padded at the right and bottom."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tiling:
    """An image of `height` x `width` pixels, cut into tiles of shape `tile` (C, H, W)."""

    height: int
    width: int
    tile: tuple[int, int, int]

    @property
    def rows(self) -> int:
        """Number of rows of tiles."""
        return -(-self.height // self.tile[1])

    @property
    def columns(self) -> int:
        """Number of tiles in a row."""
        return -(-self.width // self.tile[2])

    @property
    def num_tiles(self) -> int:
        """Number of tiles."""
        return self.rows * self.columns

    @property
    def num_pixels(self) -> int:
        """Number of pixels of all tiles, padding included, in one channel."""
        return self.num_tiles * self.tile[1] * self.tile[2]

    @property
    def num_values(self) -> int:
        """Number of values of these pixels, in all channels."""
        return self.tile[0] * self.num_pixels

    def split(self, image: Tensor) -> Tensor:
        """Cut an image (C, height, width) into tiles (tiles, C, H, W); padding repeats its last row and column."""
        channels, height, width = self.tile
        row = torch.arange(self.rows * height).clamp(max=self.height - 1)
        column = torch.arange(self.columns * width).clamp(max=self.width - 1)
        padded = image[:, row][:, :, column]
        cut = padded.view(channels, self.rows, height, self.columns, width)
        return cut.permute(1, 3, 0, 2, 4).reshape(self.num_tiles, channels, height, width)

    def join(self, tiles: Tensor) -> Tensor:
        """Join tiles (tiles, C, H, W) to the image (C, height, width), without the padding: the inverse of `split`."""
        channels, height, width = self.tile
        cut = tiles.view(self.rows, self.columns, channels, height, width).permute(2, 0, 3, 1, 4)
        return cut.reshape(channels, self.rows * height, self.columns * width)[:, : self.height, : self.width]

    def real(self) -> Tensor:
        """Return a bool mask (tiles, C, H, W) of the pixels of the image, without the padding."""
        _, height, width = self.tile
        inside = torch.zeros(self.rows * height, self.columns * width, dtype=torch.bool)
        inside[: self.height, : self.width] = True
        everything = Tiling(self.rows * height, self.columns * width, self.tile)
        return everything.split(inside.expand(self.tile[0], -1, -1))
