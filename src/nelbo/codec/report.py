"""The size of files against the bound on the same images, part by part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.codec.bitstream import Bitstream
from nelbo.codec.codec import ProgressiveCodec
from nelbo.codec.inspection import SegmentKind, segments
from nelbo.codec.raw_image import RawImage
from nelbo.diffusion import bits_per_dim
from nelbo.display import Displayed, Frame, bars, counted, data_frame
from nelbo.randomness import CODEC, derived_seed


@dataclass(frozen=True)
class CodecReport(Displayed):
    """Means over images, in bits/dim unless stated otherwise.

    Attributes:
        total: size of the files.
        header: header, checksum and hash.
        channel: size of the channel's steps.
        divergence: KL of these steps on the same images, from another draw: the size of an ideal channel.
        end: size of the grid's offsets and of the exact pixels given the last x_t.
        chunks: number of chunks in an image.
        bound: of the full chain, on the same images.
        num_images, num_raw: number of images, and of those stored without the model. `header`, `channel`, `end` and
            `chunks` are means over the others.
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
        """Bound of the chain that is sent: the KL of its steps and the size of its end."""
        return self.divergence + self.end

    def parts(self) -> dict[str, float]:
        """Return the parts of the files in bits/dim, by name; their sum is the mean size of the coded files."""
        return {
            "header, checks and hash": self.header,
            "KL of the steps that are sent": self.divergence,
            "overhead of the channel": self.channel - self.divergence,
            "lossless end": self.end,
        }

    def rows(self) -> dict[str, float]:
        """Return the parts, the files and the bounds in bits/dim, by name, as in a table."""
        bounds = {"bound of the strided chain that is sent": self.strided_bound, "bound of the full chain": self.bound}
        return {**self.parts(), "files": self.total, **bounds}

    def summary(self) -> Mapping[str, str]:
        """Return the size of the files, their parts, and the bounds."""
        raw = f", {self.num_raw:,} stored without the model" if self.num_raw else ""
        return {
            "files": f"{self.total:.4f} bits/dim, {counted(self.num_images, 'image')}{raw}",
            "parts": ", ".join(f"{name} {value:.4f}" for name, value in self.parts().items()),
            "bounds": f"{self.bound:.4f} bits/dim, {self.strided_bound:.4f} for the strided chain that is sent",
        }

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return the parts of the files as bars."""
        return {f"bits/dim, from left: {', '.join(self.parts())}": [bars(list(self.parts().values()))]}

    def to_pandas(self) -> Frame:
        """Return a data frame of pandas with a row for each part of the files, for the files and for the bounds.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        rows = self.rows()
        return data_frame({"part": list(rows), "bits_per_dim": list(rows.values())})

    def to_json(self) -> dict[str, Any]:
        """Return plain values by name."""
        ratios = {"over_bound": self.total / self.bound, "over_strided_bound": self.total / self.strided_bound}
        return {**vars(self), "strided_bound": self.strided_bound, **ratios}


@torch.no_grad()
def report_files(
    codec: ProgressiveCodec, files: Sequence[Bitstream | RawImage], images: Tensor, bound: float | None, seed: int = 0
) -> CodecReport:
    """Report the size of lossless files.

    Args:
        files: of the images, in order.
        images: (N, C, H, W) uint8 of the model's size.
        bound: of the full chain on these images, in bits/dim; None for an integer chain, which is sent whole.
        seed: of the draws that measure the KL.
    """
    num_dims, streams = images[0].numel(), [file for file in files if isinstance(file, Bitstream)]
    bits, chunks = dict.fromkeys(SegmentKind, 0.0), 0.0
    for file in streams:
        for part in segments(codec, file):
            bits[part.kind] += part.bits
            chunks += part.chunks
    share = 1 / (max(len(streams), 1) * num_dims)
    divergence, end = _divergence(codec, images, seed), (bits[SegmentKind.GRID] + bits[SegmentKind.PASS]) * share
    return CodecReport(
        total=8 * sum(len(file.to_bytes()) for file in files) / images.numel(),
        header=bits[SegmentKind.HEADER] * share,
        channel=bits[SegmentKind.STEP] * share,
        divergence=divergence,
        end=end,
        chunks=chunks / max(len(streams), 1),
        bound=divergence + end if bound is None else bound,
        num_images=len(files),
        num_raw=len(files) - len(streams),
    )


def _divergence(codec: ProgressiveCodec, images: Tensor, seed: int) -> float:
    """Return the KL of the channel's steps in bits/dim, from one draw of x_t for each image and step."""
    chain, generator = codec.chain, torch.Generator().manual_seed(derived_seed(seed, CODEC))
    nats = 0.0
    for some in images.split(chain.batch_size):
        for t in range(2, chain.num_steps + 2):
            x = chain.draw(some, t, generator)
            nats += float(chain.target(chain.predictions(x, t), x, t, some).kl().sum())
    return float(bits_per_dim(torch.tensor(nats / len(images), dtype=torch.float64), images[0].numel()))
