"""The codec of measured values: the coarse levels by the codec of images, the digits by the refinement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.codec.codec import Decoded, ProgressiveCodec, made_by_another
from nelbo.codec.header import RESTORE
from nelbo.codec.measured_file import FINGERPRINT, MeasuredFile, hash_of_levels, packed, unpacked
from nelbo.codec.range_coder import WIDE, RangeDecoder, RangeEncoder
from nelbo.condition import hidden
from nelbo.data import LevelScale, filled
from nelbo.diffusion.passes import Pass
from nelbo.display import Brief
from nelbo.errors import CodecError, ShapeError
from nelbo.probability.integer_gaussian import MASS, MASS_BITS
from nelbo.progress import Progress
from nelbo.refinement import Refinement
from nelbo.refinement.storage import fingerprint_of


@dataclass(frozen=True, eq=False)
class MeasuredCodec(Brief):
    """Files of images of measured values.

    Attributes:
        images: the codec of the coarse levels.
        scale: the values that the levels stand for.
        refinement: of more than 256 levels; None if there are fewer, and the coarse levels are all.
    """

    images: ProgressiveCodec
    scale: LevelScale
    refinement: Refinement | None

    @property
    def fingerprint(self) -> bytes:
        """8 bytes that identify the refinement."""
        return bytes(FINGERPRINT) if self.refinement is None else fingerprint_of(self.refinement)[:FINGERPRINT]

    def encode(
        self,
        levels: Sequence[Tensor],
        observed: Sequence[Tensor | None] | None = None,
        *,
        effort: int = 5,
        progress: Progress | None = None,
    ) -> list[MeasuredFile]:
        """Encode levels (C, H, W) of images of any size, losslessly.

        The networks of the coarse levels know no mask: there, missing pixels are filled in from their neighbours, which
        takes some bits that the bound does not count.

        Args:
            levels: of the images; 0 where a pixel is missing.
            observed: (C or 1, H, W) bool of each image, false where a pixel is missing, or None; None for all.
            effort: see `ProgressiveCodec.encode`.
            progress: called after each step and each pass of the coarse levels.

        Raises:
            ShapeError: an image is empty, or has other channels or levels than the model.
        """
        for image in levels:
            if image.numel() and not 0 <= int(image.min()) <= int(image.max()) < self.scale.levels:
                raise ShapeError(
                    f"the levels are within {int(image.min())}..{int(image.max())}, but those of the model within "
                    f"0..{self.scale.levels - 1}."
                )
        shift = 0 if self.refinement is None else self.refinement.split.bits
        masks = [_mask_of(image, seen) for image, seen in zip(levels, observed or [None] * len(levels), strict=True)]
        levels = [hidden(image, mask) for image, mask in zip(levels, masks, strict=True)]
        coarse = self.images.encode(
            [_coarse(image >> shift, mask) for image, mask in zip(levels, masks, strict=True)],
            effort=effort,
            progress=progress,
        )
        files = list[MeasuredFile]()
        for image, mask, file in zip(levels, masks, coarse, strict=True):
            message = b"" if self.refinement is None else _written(self.refinement, image, mask)
            own = self.fingerprint, self.scale, hash_of_levels(image), packed(mask)
            files.append(MeasuredFile(*own, file, message, len(message)))
        return files

    def decode(self, file: MeasuredFile, *, verify: bool = True, progress: Progress | None = None) -> Decoded:
        """Decode a file, or the beginning of one as a preview: what is not known is in the middle of its interval.

        Args:
            file: as `MeasuredFile.from_bytes` returns it.
            verify: check the checksum before and the levels after decoding.
            progress: called after each step of the coarse levels.

        Raises:
            CodecError: a file of another model, a damaged file, or one whose levels do not match its hash.
        """
        if file.fingerprint != self.fingerprint or file.scale != self.scale:
            raise made_by_another(file.fingerprint, self.fingerprint.hex())
        if verify:
            file.verify()
        [found] = self.images.decode([file.coarse], verify=verify, progress=progress)
        levels, mask = found.image, unpacked(file.mask, tuple(found.image.shape))
        if self.refinement is not None:
            exact = found.status != "truncated"
            levels = _read(self.refinement, found.image, file if exact else None, mask)
        levels, used = hidden(levels, mask), len(file.to_bytes())
        if not verify or file.truncated:
            return Decoded(levels, "truncated" if file.truncated else "unverified", used, mask)
        if hash_of_levels(levels) != file.level_hash:
            raise CodecError(f"the decoded levels do not match the file's hash: the file is damaged; {RESTORE}")
        return Decoded(levels, "lossless", used, mask)


def _mask_of(image: Tensor, observed: Tensor | None) -> Tensor | None:
    """Return which pixels (C, H, W) are observed, or None if all are."""
    return None if observed is None or bool(observed.all()) else observed.expand_as(image).contiguous()


def _coarse(levels: Tensor, observed: Tensor | None) -> Tensor:
    """Return coarse levels (C, H, W) as uint8, missing pixels filled in."""
    coarse = levels.to(torch.uint8)
    return coarse if observed is None else filled(coarse[None], observed[None])[0]


def _places(now: Pass, observed: Tensor | None, x: Tensor) -> NDArray[np.bool_]:
    """Return which pixels of a pass are observed, (n,)."""
    seen = torch.ones_like(now.of(x), dtype=torch.bool) if observed is None else now.of(observed[None])
    found: NDArray[np.bool_] = seen.flatten().numpy()
    return found


def _written(model: Refinement, levels: Tensor, observed: Tensor | None) -> bytes:
    """Write the digits of the observed levels (C, H, W)."""
    encoder, x = RangeEncoder(WIDE), levels[None].to(torch.int32)
    seen = None if observed is None else observed[None]
    for stage, known, now in model.walk(tuple(levels.shape)):  # type: ignore[arg-type]
        if now.of(x).numel():
            digits, here = model.split.digit(now.of(x).long(), stage).flatten().numpy(), _places(now, observed, x)
            start, size = model.tables(x, known, stage, now, seen).interval(digits)
            encoder.intervals(start[here], size[here], MASS_BITS)
    return encoder.finish()


def _read(model: Refinement, coarse: Tensor, file: MeasuredFile | None, observed: Tensor | None) -> Tensor:
    """Read the digits of coarse levels (C, H, W), as far as the file goes; None is no file."""
    seen = None if observed is None else observed[None]
    coarse = hidden(coarse, observed)
    split, x = model.split, coarse[None].to(torch.int32) << model.split.bits
    decoder = None if file is None else RangeDecoder(file.message, complete=not file.truncated, width=WIDE)
    for stage, known, now in model.walk(tuple(coarse.shape)):  # type: ignore[arg-type]
        places = now.of(x)
        if not places.numel():
            continue
        here = _places(now, observed, x)
        rows, found = model.tables(x, known, stage, now, seen).cumulative[here], list[int]()
        if decoder is not None:
            found = decoder.symbols(rows, np.zeros(len(rows), np.int64), MASS, _unreachable)
        if len(found) < len(rows):
            return _in_the_middle(model, x, known, stage)
        digits = np.zeros(len(here), np.int64)
        digits[here] = found
        model.place(x, digits, stage, now)
    return x[0].clamp(max=split.levels - 1)


def _unreachable(row: int) -> list[int]:
    """Refuse to give another table: those of digits are whole."""
    raise CodecError(f"the file is damaged: digit {row} has no value; {RESTORE}")


def _in_the_middle(model: Refinement, x: Tensor, known: Tensor, stage: int) -> Tensor:
    """Return levels in the middle of the intervals that are known, (C, H, W)."""
    middle = torch.where(known, model.split.middle(x, stage + 1), model.split.middle(x, stage))
    return (middle[0] >> 1).to(torch.int32).clamp(max=model.split.levels - 1)
