"""Bytes on disk against the bound on the same images: where the rest goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.codec.bitstream import Bitstream, RawImage
from nelbo.codec.codec import ProgressiveCodec
from nelbo.codec.inspection import segments
from nelbo.diffusion import VariationalBound, bits_per_dim
from nelbo.probability import levels_to_data
from nelbo.randomness import CODEC, derived_seed, standard_normal


@dataclass(frozen=True)
class CodecReport:
    """Means over images, bits/dim.

    Attributes:
        total: of the files.
        header: header, checks and hash.
        channel: what the channel's steps take.
        divergence: the KL of these steps, another draw on the same images: what the channel should take.
        end: the exact pixels given the last x_t, with the offsets of the grid.
        chunks: an image.
        bound: of the full chain, on the same images.
        num_images, num_raw: how many, and how many are stored raw (the split is of the others).
    """

    total: float
    header: float
    channel: float
    divergence: float
    end: float
    chunks: float
    bound: float
    num_images: int
    num_raw: int

    @property
    def strided_bound(self) -> float:
        """Of the chain that is sent: its KLs and the code of its end."""
        return self.divergence + self.end

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ratios = {"over_bound": self.total / self.bound, "over_strided_bound": self.total / self.strided_bound}
        return {**vars(self), "strided_bound": self.strided_bound, **ratios}


@torch.no_grad()
def report_files(
    codec: ProgressiveCodec, files: Sequence[Bitstream | RawImage], images: Tensor, bound: float, seed: int = 0
) -> CodecReport:
    """The report of lossless files of images (N, C, H, W) of the model's size, whose bound is known in bits/dim."""
    num_dims, streams = images[0].numel(), [file for file in files if isinstance(file, Bitstream)]
    header = channel = end = chunks = 0.0
    for file in streams:
        for part in segments(codec, file):
            chunks += part.chunks
            if part.name == "header":
                header += part.bits
            elif part.name.startswith("x_0") or part.name == "grid":
                end += part.bits
            else:
                channel += part.bits
    share = 1 / (max(len(streams), 1) * num_dims)
    return CodecReport(
        total=8 * sum(len(file.to_bytes()) for file in files) / images.numel(),
        header=header * share,
        channel=channel * share,
        divergence=_divergence(codec, images, seed),
        end=end * share,
        chunks=chunks / max(len(streams), 1),
        bound=bound,
        num_images=len(files),
        num_raw=len(files) - len(streams),
    )


def _divergence(codec: ProgressiveCodec, images: Tensor, seed: int) -> float:
    """The KL of the channel's steps, bits/dim, one draw of x_t for each image and step."""
    reverse, generator = codec.chain.reverse, torch.Generator().manual_seed(derived_seed(seed, CODEC))
    bound, nats = VariationalBound(reverse), 0.0
    for some in images.split(codec.chain.batch_size):
        x_0 = levels_to_data(some, reverse.levels, torch.float64).to(reverse.schedule.alphas_bar.device)
        for t in range(2, reverse.schedule.num_steps + 1):
            time = torch.full((len(x_0),), t, dtype=torch.int64, device=x_0.device)
            nats += float(bound.step(x_0, time, standard_normal(x_0.shape, generator, x_0)).sum())
    return float(bits_per_dim(torch.tensor(nats / len(images), dtype=torch.float64), images[0].numel()))
