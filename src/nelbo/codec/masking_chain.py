"""The codec of a masking model: a chain without steps, and passes from coarse to fine over the whole picture."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nelbo.codec.bitstream import Bitstream
from nelbo.codec.channel import Target
from nelbo.codec.channel_plan import ChannelPlan
from nelbo.codec.codec import Decoded, ProgressiveCodec
from nelbo.codec.raw_image import RawImage
from nelbo.codec.tiling import Tiling
from nelbo.codec.version import INTEGER_FORMAT
from nelbo.diffusion.passes import Pass
from nelbo.errors import CodecError
from nelbo.masking import MaskingModel, masking_passes
from nelbo.masking.context import NUM_LEVELS
from nelbo.masking.filling import interpolated
from nelbo.networks.integers import exact_float32
from nelbo.probability.logistic import LogisticMixture
from nelbo.progress import Progress

TILE = 512  # side of a square tile; an oblong one has at most as many pixels


class MaskingChain:
    """The passes of a masking model. It satisfies `nelbo.codec.chain.SharedChain`; there is no x_t to send.

    Args:
        model: the masking model.

    Raises:
        CodecError: the arithmetic of this machine is not exact, so that its files could not be read elsewhere.
    """

    version, exact, levels, num_steps, batch_size = INTEGER_FORMAT, True, NUM_LEVELS, 0, 1

    def __init__(self, model: MaskingModel) -> None:
        model.require_exact()
        self.model, self.passes = model, masking_passes(model.channels)

    @property
    def plan(self) -> ChannelPlan:
        """There is none, as of all that belongs to steps.

        Raises:
            CodecError: always.
        """
        raise _no_steps()

    def beginning(self, num: int, shape: tuple[int, ...]) -> Tensor:
        """Return zeros (num, C, H, W): every pixel is masked."""
        return torch.zeros(num, *shape, dtype=torch.int64)

    def draw(self, tiles: Tensor, t: int, generator: torch.Generator) -> Tensor:
        """There is none; see `plan`."""
        raise _no_steps()

    def predictions(self, x: Tensor, t: int) -> Tensor:
        """Return x (B, C, H, W): there is nothing to predict from."""
        return x

    def divided(self, prediction: Tensor, sizes: Sequence[int]) -> list[Tensor]:
        """Divide a prediction into those of `sizes` tiles each."""
        return list(prediction.split(list(sizes)))

    def target(self, prediction: Any, x: Tensor, t: int, tiles: Tensor) -> Target:
        """There is none; see `plan`."""
        raise _no_steps()

    def step(self, prediction: Any, x: Tensor, t: int, z: Tensor) -> Tensor:
        """There is none; see `plan`."""
        raise _no_steps()

    def picture(self, prediction: Tensor) -> Tensor:
        """Return a grey picture (B, C, H, W) float64."""
        return torch.full(prediction.shape, NUM_LEVELS / 2, dtype=torch.float64)

    def evidence(self, prediction: Tensor, x_1: Tensor) -> Tensor:
        """Return (B, 0, H, W): the network reads known pixels only."""
        return x_1[:, :0]

    def renewed(self, center: Tensor, x_1: Tensor, x: Tensor, known: Tensor, now: Pass) -> Tensor:
        """Return `center`, which is empty."""
        return center

    @exact_float32()
    def mixture(
        self, center: Tensor, x: Tensor, known: Tensor, now: Pass, real: Tensor
    ) -> tuple[LogisticMixture, Tensor]:
        """Return the mixtures of the pixels of a pass, and where they are, (B, C, H, W) bool.

        Args:
            center: is not used.
            x: (B, C, H, W) int64 levels; ignored where unknown.
            known: (B, C, H, W) bool.
            now: the pass.
            real: (B, C, H, W) bool, the pixels of the picture and not of the padding of its tiles; or those of them
                that are unknown.
        """
        mixtures, chosen = list[LogisticMixture](), torch.zeros(x.shape, dtype=torch.bool)
        for tile, mask in enumerate(chosen):
            rows, columns = ((known[tile] | real[tile]).any(dim).any(0).sum() for dim in (2, 1))
            inside = (..., slice(0, int(rows)), slice(0, int(columns)))
            found = self.model.mixture(x[tile][inside], known[tile][inside], now)
            wanted = now.of(real[tile][inside])
            now.of(mask[inside])[:] = wanted
            mixtures.append(found[wanted.flatten().numpy()])
        return LogisticMixture.joined(mixtures), chosen

    def filled(self, center: Tensor, x: Tensor, known: Tensor, real: Tensor, remaining: Sequence[Pass]) -> Tensor:
        """Return levels for a preview; see `SharedChain.filled` and `nelbo.masking.filling`."""
        return interpolated(x, known & real, real, remaining)

    def name(self, step: int) -> str:
        """There is none; see `plan`."""
        raise _no_steps()


class PictureCodec(ProgressiveCodec):
    """The codec of pictures of any size: tiles are as large as the picture, up to as many pixels as 512 x 512.

    Args:
        model: the masking model.
        fingerprint: at least 8 bytes that identify the model.

    Raises:
        CodecError: see `MaskingChain`.
    """

    def __init__(self, model: MaskingModel, fingerprint: bytes) -> None:
        super().__init__(MaskingChain(model), fingerprint, (model.channels, TILE, TILE))

    def tiling(self, height: int, width: int) -> Tiling:
        """Return how a picture is cut into tiles."""
        rows, columns = min(height, TILE), min(width, TILE)
        tile = self.shape[0], min(height, TILE**2 // columns), min(width, TILE**2 // rows)
        return Tiling(height, width, tile)

    def encode(
        self, images: Sequence[Tensor], *, progress: Progress | None = None, **options: Any
    ) -> list[Bitstream | RawImage]:
        """Encode pictures (C, H, W) uint8 one by one; see `ProgressiveCodec.encode`."""
        return [
            super(PictureCodec, self).encode([image], progress=_part(progress, i, len(images)), **options)[0]
            for i, image in enumerate(images)
        ]

    def decode(
        self, files: Sequence[Bitstream | RawImage], *, verify: bool = True, progress: Progress | None = None
    ) -> list[Decoded]:
        """Decode files one by one; see `ProgressiveCodec.decode`."""
        return [
            super(PictureCodec, self).decode([file], verify=verify, progress=_part(progress, i, len(files)))[0]
            for i, file in enumerate(files)
        ]


def _no_steps() -> CodecError:
    return CodecError("a model of photographs sends no x_t: it has no steps, and no channel for them.")


def _part(progress: Progress | None, number: int, num: int) -> Progress | None:
    """Return the progress of one picture of several."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, num * total)
