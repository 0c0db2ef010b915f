"""A finished diffusion model: its chain, its samples and its bound."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Unpack

import torch
from torch import Tensor

from nelbo.codec import Bitstream, Decoded, ProgressiveCodec
from nelbo.data import ImageDataset
from nelbo.diffusion import (
    Calibrated,
    Constraint,
    FixedLarge,
    FixedSmall,
    Guidance,
    NoiseSchedule,
    ReverseProcess,
    Variance,
)
from nelbo.errors import ConfigurationError
from nelbo.evaluation import (
    BoundReport,
    FormsReport,
    LikelihoodReport,
    calibrate,
    compare_forms,
    evaluate_bound,
    evaluate_likelihood,
    expected_terms,
)
from nelbo.networks import InBFloat16
from nelbo.options import known
from nelbo.randomness import image_generators
from nelbo.recipes.assembly import build_parameterization, build_variance
from nelbo.recipes.recipe import Recipe
from nelbo.restoration import Restoration
from nelbo.runs.codec_plan import load_codec
from nelbo.runs.restoring import Repair, restore
from nelbo.runs.run import Progress, Run
from nelbo.runs.sampling import How, build_sampler, constraints_of, guidance_of, pixels_of, strided
from nelbo.samplers import Sampler, Step
from nelbo.training import PRECISIONS, bf16_wanted

CALIBRATION = "calibration.mse"
DRAFT_STEPS, GLANCE_STEPS = 50, 4


@dataclass
class DiffusionRun(Run):
    """A trained chain with everything needed to sample, score and calibrate it.

    Attributes:
        schedule: the full schedule it was trained on, on the network's device.
        mse: (T+1,) what calibration measured, or None.
    """

    schedule: NoiseSchedule
    mse: Tensor | None = None

    @property
    def recipe(self) -> Recipe:
        """What it was made by."""
        assert isinstance(self.config.recipe, Recipe)
        return self.config.recipe

    def reverse(
        self,
        *,
        steps: int | None = None,
        spacing: str | None = None,
        variance: str | None = None,
        clip: bool = False,
        constraints: tuple[Constraint, ...] = (),
        guidance: Guidance | None = None,
    ) -> ReverseProcess:
        """p_theta of this model.

        Args:
            steps: walk a stride of so many steps instead of all T.
            spacing: how they are spread: "even" (if None), "log-snr" or "karras".
            variance: "calibrated" (the default where it was measured), "trained", "fixed-large" or "fixed-small".
            clip: hold xhat_0 within [-1, 1].
            constraints: what else xhat_0 is held to.
            guidance: how far a label is followed.
        """
        schedule = strided(self.schedule, steps, spacing)
        parameterization, chosen = build_parameterization(self.recipe, self.levels), self._variance(variance)
        return ReverseProcess(
            self.network, schedule, parameterization, chosen, self.levels, clip, constraints, guidance
        )

    def _variance(self, name: str | None) -> Variance:
        trained = build_variance(self.recipe)
        choices = {"trained": trained, "fixed-large": FixedLarge(), "fixed-small": FixedSmall(), trained.name: trained}
        if self.mse is not None and not trained.learned:
            choices["calibrated"] = Calibrated(self.mse)
        default = "calibrated" if "calibrated" in choices else "trained"
        chosen = choices[known(name or default, choices, "variance (of this model)")]
        if trained.learned != chosen.learned:
            raise ConfigurationError(f"this model's network puts out a variance: {name!r} cannot be used with it.")
        return chosen

    def sampler(self, name: str = "ancestral", **how: Unpack[How]) -> Sampler:
        """A sampler over this model, by name; see `How` for what may be said of it.

        Raises:
            ConfigurationError: an unknown name, or something that this sampler or this model cannot do.
        """
        if how.get("guidance") is not None and not self.recipe.conditional:
            raise ConfigurationError(f"the model in {self.folder} is not class-conditional; leave --guidance out.")
        reverse = self.reverse(
            steps=how.get("steps"),
            spacing=how.get("spacing"),
            variance=how.get("variance"),
            clip=how.get("clip", True) and how.get("threshold") is None,
            constraints=constraints_of(how),
            guidance=guidance_of(how, self.schedule),
        )
        if bf16_wanted(known(how.get("precision", "auto"), PRECISIONS, "precision")):
            reverse = replace(reverse, network=InBFloat16(self.network))
        return build_sampler(name, reverse, how)

    @torch.no_grad()
    def trajectory(
        self,
        num: int,
        *,
        sampler: str = "ancestral",
        seed: int = 0,
        first: int = 0,
        label: Tensor | None = None,
        **how: Unpack[How],
    ) -> Iterator[Step]:
        """Watch images first..first+num-1 of a seed come into being, as one batch; see `Sampler.trajectory`."""
        walker = self.sampler(sampler, **how)
        yield from walker.trajectory((num, *self.shape), image_generators(seed, first, num), label)

    def sample(
        self,
        num: int,
        *,
        sampler: str = "ancestral",
        seed: int = 0,
        first: int = 0,
        label: int | str | Tensor | None = None,
        batch_size: int = 64,
        progress: Progress | None = None,
        **how: Unpack[How],
    ) -> Tensor:
        """Draw images: uint8 (num, C, H, W).

        Image i of a seed is the same whatever `num` and `batch_size` are (up to the rounding of a batched network).

        Args:
            sampler: by name; see `SAMPLERS`.
            first: number of the first image.
            label: for a class-conditional model, see `chosen_classes`.
            progress: called with (steps done, steps in all).
            how: steps, guidance and the like; see `How`.
        """
        self.check_number(num, batch_size)
        classes = self.chosen_classes(label, num, how.get("guidance"))
        walker, images = self.sampler(sampler, **how), list[Tensor]()
        steps, batches = walker.reverse.schedule.num_steps, -(-num // batch_size)
        for b, start in enumerate(range(0, num, batch_size)):
            size = min(batch_size, num - start)
            labels = None if classes is None else classes[start : start + size].to(self.schedule.alphas_bar.device)
            generators = image_generators(seed, first + start, size)
            for done, step in enumerate(walker.trajectory((size, *self.shape), generators, labels)):
                last = step
                if progress is not None:
                    progress(b * steps + min(done + 1, steps), batches * steps)
            images.append(pixels_of(last.x_0, self.levels))
        return torch.cat(images)

    def restore(self, image: Tensor, **how: Unpack[Repair]) -> Restoration:
        """Draws of what a damaged image (C, H, W) may have been; see `nelbo.runs.restoring.restore`."""
        return restore(self, image, **how)

    def label(self, name: str) -> int:
        """The number of a class of a conditional model, from its name or its number.

        Raises:
            ConfigurationError: there is no such class, or the model knows no classes.
        """
        names = self.config.data.class_names
        if not self.recipe.conditional:
            raise ConfigurationError(f"the model in {self.folder} is not class-conditional; leave --label out.")
        if name in names:
            return names.index(name)
        if name.isdecimal() and int(name) < len(names):
            return int(name)
        return names.index(known(name, names, "class"))

    def bound(
        self,
        images: Tensor | ImageDataset,
        *,
        steps_per_image: int | None = 8,
        steps: int | None = None,
        variance: str | None = None,
        clip: bool = False,
        seed: int = 0,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> BoundReport:
        """The bound over images (uint8, N x C x H x W, or a data set): every term in bits/dim, and each image's score.

        A conditional model is told the class of each image where the data set has classes of the model's names.

        Args:
            steps_per_image: values of t looked at for each image; None for every one.
            steps: judge a stride of so many steps instead of the full chain.

        Raises:
            ShapeError: images of another shape than the model's.
        """
        dataset = self.dataset_of(images, batch_size)
        reverse = self.reverse(steps=steps, variance=variance, clip=clip)
        proposal = None if self.mse is None else expected_terms(reverse, self.mse)
        return evaluate_bound(
            reverse,
            dataset,
            labels=self._labels(dataset),
            steps_per_image=steps_per_image,
            proposal=proposal,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
        )

    def forms(
        self,
        images: Tensor | ImageDataset,
        *,
        known: bool = False,
        draws: int = 2,
        steps: int | None = None,
        variance: str | None = None,
        seed: int = 0,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> FormsReport:
        """Eq. 3's form of the bound beside eq. 5's, on the same images: 2 T calls of the network a draw.

        Args:
            known: eq. 16's as well, the images taken as the whole distribution: 3 T calls. It is the bound of p(x_0),
                so a conditional model is told no classes.
        """
        dataset = self.dataset_of(images, batch_size)
        return compare_forms(
            self.reverse(steps=steps, variance=variance),
            dataset,
            labels=None if known else self._labels(dataset),
            known=known,
            draws=draws,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
        )

    def likelihood(
        self,
        images: Tensor | ImageDataset,
        *,
        tolerance: float = 0.01,
        probes: int = 1,
        exact: bool = False,
        draws: int = 1,
        variance: str | None = None,
        seed: int = 0,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> LikelihoodReport:
        """The likelihood by the probability-flow ODE, in bits/dim beside `bound`; see `evaluate_likelihood`.

        A conditional model is told the classes as in `bound`. The variance is that of the decoder p(x_0|x_1) alone.
        """
        dataset = self.dataset_of(images, batch_size)
        return evaluate_likelihood(
            self.reverse(variance=variance),
            dataset,
            labels=self._labels(dataset),
            tolerance=tolerance,
            probes=probes,
            exact=exact,
            draws=draws,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
        )

    def score(self, images: Tensor | ImageDataset, *, seed: int = 0, steps_per_image: int | None = 32) -> Tensor:
        """(N,) float64 bits/dim of each image: how surprising it is. More steps_per_image make it less noisy."""
        return self.bound(images, steps_per_image=steps_per_image, seed=seed).scores

    def codec(self, batch_size: int = 8) -> ProgressiveCodec:
        """Algorithms 3 and 4 for this model; the codec holds a float64 copy of the network, so keep it for many images.

        Raises:
            ConfigurationError: `nelbo codec` has not measured its plan yet.
        """
        return load_codec(self, batch_size)

    def compress(self, image: Tensor, *, effort: int = 5, lossless: bool = True) -> bytes:
        """A .nelbo file of an image (C, H, W) uint8 of any size; see `ProgressiveCodec.encode`."""
        return self.codec().encode([image], effort=effort, lossless=lossless)[0].to_bytes()

    def decompress(self, content: bytes, *, max_bytes: int | None = None) -> Decoded:
        """The image of a .nelbo file of this model, or what its first `max_bytes` tell of it.

        Raises:
            CodecError: a file of another model, or a damaged one.
        """
        file = Bitstream.from_bytes(content)
        if max_bytes is not None and isinstance(file, Bitstream):
            file.verify()
            file = file.first(max_bytes)
        return self.codec().decode([file])[0]

    def draft(self, num: int, seed: int) -> Tensor:
        """Samples in few steps."""
        return self.sample(num, steps=min(DRAFT_STEPS, self.schedule.num_steps), seed=seed)

    def glance(self, images: ImageDataset) -> BoundReport:
        """The bound from few values of t."""
        return self.bound(images, steps_per_image=GLANCE_STEPS)

    def prepare(self, images: ImageDataset, progress: Progress | None = None) -> None:
        """Calibrate, and keep what was measured in the run's folder."""
        self.calibrate(images, progress=progress)
        self.save()

    def calibrate(
        self, images: ImageDataset, *, draws: int = 4096, seed: int = 0, progress: Progress | None = None
    ) -> None:
        """Measure mse_t on training images and keep it: bounds, samples and codes use the calibrated variance then."""
        reverse, labels = self.reverse(variance="trained"), self._labels(images)
        self.mse = calibrate(reverse, images, labels=labels, draws=draws, seed=seed, progress=progress)

    def extras(self) -> dict[str, Tensor]:
        """What calibration measured."""
        return {} if self.mse is None else {CALIBRATION: self.mse}

    def chosen_classes(
        self, label: int | str | Tensor | None, num: int, guidance: float | None = None
    ) -> Tensor | None:
        """int64 (num,) the class of each image, None without one.

        Args:
            label: the name or number of a class, or int64 (num,) numbers.
            guidance: how far it shall be followed.

        Raises:
            ConfigurationError: a class that this model doesn't have, or guidance to none.
        """
        if label is None:
            if guidance is not None and self.recipe.conditional:
                raise ConfigurationError("--guidance follows a class: give --label too.")
            return None
        if not self.recipe.conditional:
            raise ConfigurationError(f"the model in {self.folder} is not class-conditional; leave --label out.")
        given = torch.as_tensor(self.label(label) if isinstance(label, str) else label)
        labels = given.expand(num) if given.ndim == 0 else given
        classes, whole = self.config.data.class_names, not (given.is_floating_point() or given.dtype == torch.bool)
        if not whole or labels.shape != (num,) or int(labels.min()) < 0 or int(labels.max()) >= len(classes):
            names = ", ".join(f"{i} {name}" for i, name in enumerate(classes))
            raise ConfigurationError(
                f"--label is the number of a class ({names}), or one for each of the {num} images."
            )
        return labels.long()

    def _labels(self, images: ImageDataset) -> Tensor | None:
        """The images' classes as this model counts them, matched by name: negative where it doesn't know the class."""
        if not self.recipe.conditional or images.labels is None:
            return None
        names = self.config.data.class_names
        own = {name: index for index, name in enumerate(names)}
        index = torch.tensor([*(own.get(name, -1) for name in images.class_names or names), -1])
        return index[images.labels]  # -1, no class, is the last entry
