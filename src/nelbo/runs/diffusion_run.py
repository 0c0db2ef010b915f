"""A finished diffusion model in its run folder: samples, bounds, restored images, files."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.codec import Bitstream, Decoded, ProgressiveCodec, RawImage
from nelbo.codec.measured_codec import MeasuredCodec
from nelbo.codec.measured_file import MeasuredFile
from nelbo.data import DataWarning, ImageDataset, Single, as_picture
from nelbo.errors import ConfigurationError, warn
from nelbo.options import options_from
from nelbo.progress import Progress, reported
from nelbo.randomness import FINE, chosen_seed, image_generators
from nelbo.refinement import LevelSplit
from nelbo.restoration import Restoration
from nelbo.runs.classes import Label
from nelbo.runs.codec_plan import load_codec
from nelbo.runs.conditions import Numbers, condition_for, condition_like
from nelbo.runs.decoder import DecoderWarning
from nelbo.runs.folder import why_no_decoder
from nelbo.runs.measured_diffusion import MeasuredDiffusion, alone
from nelbo.runs.measured_restoring import restore_measured
from nelbo.runs.restore_options import RestoreOptions
from nelbo.runs.restoring import restore
from nelbo.runs.sampling import pixels_of
from nelbo.runs.sampling_options import SamplingOptions
from nelbo.samplers import Sampler, Step
from nelbo.samplers.names import DEFAULT_SAMPLER


@dataclass
class DiffusionRun(MeasuredDiffusion):
    """A trained diffusion model with everything needed to sample, score and calibrate it."""

    def sampler(self, sampler: str = DEFAULT_SAMPLER, **options: Any) -> Sampler:
        """Return a sampler by name, with the options of `SamplingOptions`.

        Raises:
            ConfigurationError: an unknown name, or an option that the sampler or the model does not support.
        """
        return self.model.sampler(self.model.with_defaults(SamplingOptions.of(sampler=sampler, **options)))

    def trajectory(
        self,
        num: int,
        *,
        seed: int | None = 0,
        first: int = 0,
        label: Label | None = None,
        vector: Numbers | None = None,
        condition_image: Single | Sequence[Single] | ImageDataset | None = None,
        mask: Single | None = None,
        options: SamplingOptions | None = None,
        **changes: Any,
    ) -> Iterator[Step]:
        """Sample images first..first+num-1 of a seed as one batch, and yield every step; conditions as in `sample`.

        The t of each step is that of the full chain, also if the sampler strides.

        Warns:
            DecoderWarning: the decoder is not trained yet.
        """
        self.check_number(num, 1, first)
        self._warn_of_decoder()
        seed, chosen = chosen_seed(seed), SamplingOptions.of(options, **changes)
        given = condition_for(self.config.data, num, vector=vector, condition_image=condition_image, mask=mask)
        return self.model.trajectory(num, chosen, seed=seed, first=first, label=label, condition=given)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        seed: int | None = 0,
        first: int = 0,
        label: Label | None = None,
        vector: Numbers | None = None,
        condition_image: Single | Sequence[Single] | ImageDataset | None = None,
        mask: Single | None = None,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
        options: SamplingOptions | None = None,
        **changes: Any,
    ) -> Tensor:
        """Draw images: levels (num, C, H, W), uint8, or int32 if there are more than 256.

        Image i of a seed is the same whatever `num` and `batch_size` are (up to the rounding of a batched network).

        Args:
            seed: a whole number; None draws a fresh one and reports it: see `nelbo.randomness.chosen_seed`.
            first: number of the first image.
            label: the class by name or number, a list with one for each image, "none" or "all"; by default drawn by its
                frequency in training. See `DiffusionModel.classes`.
            vector: numbers to condition on: by column, in the order of the columns, or a row for each image, in the
                units of the table. See `nelbo.runs.condition_for`. None, here and below, withholds the condition.
            condition_image: an image to condition on, or one for each image.
            mask: missing pixels, which are not drawn and have the level 0: see `nelbo.data.as_mask`.
            progress: True for a progress bar, or a function that is called with (steps done, steps in all).
            options: how to sample.
            changes: fields of `SamplingOptions` that replace those of `options`: `steps=20`.

        Raises:
            ConfigurationError: an unknown option, or one that the sampler or the model does not support.

        Warns:
            DecoderWarning: the decoder is not trained yet.
        """
        self.check_number(num, batch_size, first)
        self._warn_of_decoder()
        chosen, seed = SamplingOptions.of(options, **changes), chosen_seed(seed)
        classes, images = self.model.classes(label, num, seed=seed, first=first), list[Tensor]()
        given = condition_for(self.config.data, num, vector=vector, condition_image=condition_image, mask=mask)
        chosen = self.model.with_defaults(chosen, labelled=classes is not None)
        steps, batches = self.model.sampler(chosen).reverse.schedule.num_steps, -(-num // batch_size)
        with reported(progress, "sampling") as report:
            for batch, start in enumerate(range(0, num, batch_size)):
                size = min(batch_size, num - start)
                own = label if classes is None else classes[start : start + size]
                walk = self.model.trajectory(
                    size, chosen, seed=seed, first=first + start, label=own, condition=given[start : start + size]
                )
                for done, step in enumerate(walk):
                    last = step
                    report(batch * steps + min(done + 1, steps), batches * steps)
                seen = given[start : start + size].observed
                images.append(self._refined(pixels_of(last.x_0, self.config.data.levels), seed, first + start, seen))
        drawn = torch.cat(images)
        return drawn if given.observed is None else drawn.masked_fill(~given.observed, 0)

    def _refined(self, coarse: Tensor, seed: int, first: int, observed: Tensor | None) -> Tensor:
        """Draw the fine levels of samples if there are any; without a refinement, they are in the middle."""
        if self.refinement is not None:
            return self.refinement.sample(coarse, image_generators(seed, first, len(coarse), FINE), observed)
        if self.levels <= 256:
            return coarse
        split = LevelSplit(self.levels)
        return split.middle(coarse.int() << split.bits, 0).int() >> 1

    def draft(self, num: int, seed: int, like: ImageDataset | None = None) -> Tensor:
        """Draw samples for a preview during training, before the decoder is trained; see `Run.draft`."""
        with warnings.catch_warnings(action="ignore", category=DecoderWarning):
            return self.sample(num, seed=seed, **condition_like(like, num))

    def _warn_of_decoder(self) -> None:
        if self.lacks_decoder:
            why = why_no_decoder(self.folder, self.config.data)
            warn(f"the samples lack the last grey levels: {why}.", DecoderWarning)

    def restore(self, image: Single, **options: Any) -> Restoration:
        """Draw what a damaged image (C, H, W) may have been, by the options of `RestoreOptions`."""
        chosen = options_from(RestoreOptions, options)
        self.check_number(chosen.num, chosen.batch_size)
        if self.config.data.level_scale is not None:
            return restore_measured(self.model, self.refinement, image, chosen)
        return restore(self.model, image, chosen)

    def codec(
        self, batch_size: int = 8, *, maker: bytes | None = None, integers: bool | None = None
    ) -> ProgressiveCodec:
        """Return Algorithms 3 and 4 for this model, by its integer model if it has one. Build the codec once.

        Args:
            batch_size: tiles that pass through the network together.
            maker: the fingerprint in the files to decode, or None.
            integers: without a maker, whether to code with the integer model; None for what the run has.

        Raises:
            CodecError: these files were made by another model.
            ConfigurationError: the codec plan has not been measured yet, or there is no integer model.
            RunError: the plan is damaged, or belongs to earlier weights; or the integer model is damaged.
        """
        return load_codec(self, batch_size, maker, integers)

    def measured_codec(self, batch_size: int = 8, *, integers: bool | None = None) -> MeasuredCodec:
        """Return the codec of images of measured values; the arguments are those of `codec`.

        Raises:
            ConfigurationError: the model is one of images of 8 bits, or see `codec`.
            RunError: the decoder is not trained.
        """
        if self.config.data.level_scale is None:
            raise ConfigurationError(f"the model in {self.folder} has images of 8 bits; use `codec()`.")
        self.require_decoder()
        return MeasuredCodec(self.codec(batch_size, integers=integers), self.config.data.level_scale, self.refinement)

    def compress(
        self, image: Single, *, effort: int = 5, lossless: bool = True, progress: Progress | bool | None = None
    ) -> bytes:
        """Compress an image (C, H, W) uint8 of any size into a .nelbo file; see `ProgressiveCodec.encode`.

        Warns:
            DataWarning: its file has more than the .nelbo file will have, such as further frames or EXIF data.
        """
        if self.config.data.level_scale is not None:
            dataset = self.dataset_of(alone(image))
            levels, seen = dataset.images([0]), dataset.observed([0])
            masks = None if seen is None else list(seen)
            with reported(progress, "compressing") as report:
                [measured] = self.measured_codec().encode(list(levels), masks, effort=effort, progress=report)
            return measured.to_bytes()
        picture = as_picture(image, limits=self.config.data.range)
        if changed := "; ".join(filter(None, (picture.lost, picture.metadata))):
            warn(f"{picture.name}: {changed}; decoding gives this image back.", DataWarning)
        with reported(progress, "compressing") as report:
            files = self.codec().encode([picture.pixels], effort=effort, lossless=lossless, progress=report)
        return files[0].to_bytes()

    def decompress(
        self, content: bytes, *, max_bytes: int | None = None, progress: Progress | bool | None = None
    ) -> Decoded:
        """Decode a .nelbo file of this model, or a preview from its first bytes; see `ProgressiveCodec.decode`."""
        if self.config.data.level_scale is not None:
            part = MeasuredFile.from_bytes(content[:max_bytes])
            with reported(progress, "decompressing") as report:
                return self.measured_codec().decode(part, progress=report)
        file = Bitstream.from_bytes(content)
        if isinstance(file, RawImage):  # it was stored without the model
            return Decoded(file.pixels, "lossless", len(content))
        with reported(progress, "decompressing") as report:
            return self.codec(maker=file.fingerprint).decode_bytes(content, max_bytes, progress=report)
