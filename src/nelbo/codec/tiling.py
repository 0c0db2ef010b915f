"""An image of any size as tiles of the model's: rows of tiles from the top left, the last ones padded."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tiling:
    """An image of `height` x `width`, cut into tiles of `tile` (C, H, W)."""

    height: int
    width: int
    tile: tuple[int, int, int]

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return -(-self.height // self.tile[1])

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile[2])

    @property
    def num_tiles(self) -> int:
        """All tiles."""
        return self.rows * self.columns

    def split(self, image: Tensor) -> Tensor:
        """(C, height, width) -> (tiles, C, H, W); what lies beyond the image repeats its last row and column."""
        channels, height, width = self.tile
        row = torch.arange(self.rows * height).clamp(max=self.height - 1)
        column = torch.arange(self.columns * width).clamp(max=self.width - 1)
        padded = image[:, row][:, :, column]
        cut = padded.view(channels, self.rows, height, self.columns, width)
        return cut.permute(1, 3, 0, 2, 4).reshape(self.num_tiles, channels, height, width)

    def join(self, tiles: Tensor) -> Tensor:
        """The inverse of `split`: (tiles, C, H, W) -> (C, height, width)."""
        channels, height, width = self.tile
        cut = tiles.view(self.rows, self.columns, channels, height, width).permute(2, 0, 3, 1, 4)
        return cut.reshape(channels, self.rows * height, self.columns * width)[:, : self.height, : self.width]

    def real(self) -> Tensor:
        """(tiles, C, H, W) bool: what is of the image, and not of its padding."""
        _, height, width = self.tile
        inside = torch.zeros(self.rows * height, self.columns * width, dtype=torch.bool)
        inside[: self.height, : self.width] = True
        everything = Tiling(self.rows * height, self.columns * width, self.tile)
        return everything.split(inside.expand(self.tile[0], -1, -1))
