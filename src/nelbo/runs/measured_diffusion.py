"""What a diffusion model measures: its bound, scores and likelihood."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from nelbo.condition import Condition
from nelbo.data import Beside, ImageDataset, Images, Single
from nelbo.diffusion import ReverseProcess
from nelbo.evaluation import (
    BoundReport,
    BoundSums,
    FormsReport,
    HeatMap,
    LikelihoodReport,
    MeasuredBound,
    compare_forms,
    evaluate_heat_map,
    evaluate_likelihood,
    expected_terms,
    measure_bound,
    num_strata,
)
from nelbo.evaluation.decision_options import SCORE_STEPS
from nelbo.options import check_whole
from nelbo.progress import Progress, reported
from nelbo.randomness import chosen_seed
from nelbo.refinement import coarse
from nelbo.runs.bound_options import BoundOptions
from nelbo.runs.calibrated_diffusion import CalibratedDiffusion
from nelbo.runs.reading import dataset_for
from nelbo.runs.refinement import refined
from nelbo.runs.run import held_out_record

GLANCE_STEPS = 4


@dataclass
class MeasuredDiffusion(CalibratedDiffusion):
    """A trained diffusion model with what it takes to score images; `DiffusionRun` adds samples and files."""

    def beside(
        self, images: Images, *, mask: Any = None, table: Any = None, condition_images: Any = None
    ) -> ImageDataset:
        """Return images with what lies beside them, for `bound`, `score` and the other numbers of this run.

        Args:
            mask: as in memory in `nelbo.data.Beside`, like the following ones.
            table: numbers (N, V), in the units and the order of the training table.

        Raises:
            DataError: another number of entries than images; or `ShapeError`: other shapes.
        """
        beside = Beside(mask, table, condition_images)
        return dataset_for(self.config.data, self.folder, images, beside=beside)

    def bound(
        self,
        images: Images,
        *,
        steps_per_image: int | None = 8,
        steps: int | None = None,
        variance: str | None = None,
        clip: bool = False,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> BoundReport:
        """Compute the bound over images of any kind that `nelbo.data.as_dataset` takes: every term in bits/dim, eq. 5.

        It is the bound of p(x_0): here and in every other number of a run, a class-conditional network gets no class.
        What lies `beside` the images conditions it, and it counts observed pixels only.

        Args:
            steps_per_image: values of t evaluated for each image; None for every t.
            steps: evaluate a stride of this many steps instead of the full chain.
            seed: of the draws; None draws a fresh one and reports it: see `nelbo.randomness.chosen_seed`.
            progress: True for a progress bar, or a function that is called with (images done, images in all).

        Raises:
            ShapeError: images of another shape than the model's.
            RunError: the decoder is not trained yet.
        """
        self.require_decoder()
        dataset, seed = self.dataset_of(images, batch_size), chosen_seed(seed)
        options = BoundOptions(steps_per_image, steps, variance, clip, seed, batch_size)
        with reported(progress, "scoring") as report:
            return self._bound(dataset, options, report)

    def _bound(self, images: ImageDataset, options: BoundOptions, progress: Progress | None = None) -> BoundReport:
        measured = self.measured(images, options, progress=progress)
        return self.report_of(measured.sums, measured.scores, options)

    def measured(
        self, images: ImageDataset, options: BoundOptions, *, first: int = 0, progress: Progress | None = None
    ) -> MeasuredBound:
        """Measure the terms of the bound of each image of a set, or of a part of it that begins at image `first`."""
        reverse = self.reverse(**options.of_the_chain)
        given: dict[str, Any] = {"proposal": self._proposal(reverse), "progress": progress, **options.of_the_draws}
        found = measure_bound(reverse, coarse(images), first=first, **given)
        return found if self.refinement is None else refined(found, self.refinement, images)

    def report_of(self, sums: BoundSums, scores: Tensor, options: BoundOptions) -> BoundReport:
        """Return the report of a bound, from the sums over its parts and the score of each image (N,)."""
        reverse = self.reverse(**options.of_the_chain)
        strata = num_strata(options.steps_per_image, reverse.schedule.num_steps)
        found = sums.report(reverse, scores, math.prod(self.shape), strata, options.seed)
        return replace(found, levels=self.levels)

    def _proposal(self, reverse: ReverseProcess) -> Tensor | None:
        """Return the weights of t: the terms that the calibration expects, or None for uniform."""
        return None if self.mse is None else expected_terms(reverse, self.mse)

    def forms(
        self,
        images: Images,
        *,
        known: bool = False,
        draws: int = 2,
        steps: int | None = None,
        variance: str | None = None,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> FormsReport:
        """Compare the form of eq. 3 with that of eq. 5 on the same images: 2 T network calls per draw.

        Args:
            known: add eq. 16, which takes the images as the whole distribution: 3 T calls.

        Raises:
            RunError: the decoder is not trained yet.
        """
        self.require_decoder()
        dataset, seed = coarse(self.dataset_of(images, batch_size)), chosen_seed(seed)
        with reported(progress, "comparing forms") as report:
            return compare_forms(
                self.reverse(steps=steps, variance=variance),
                dataset,
                known=known,
                draws=draws,
                seed=seed,
                batch_size=batch_size,
                progress=report,
            )

    def likelihood(
        self,
        images: Images,
        *,
        tolerance: float = 0.01,
        probes: int = 1,
        exact: bool = False,
        draws: int = 1,
        variance: str | None = None,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> LikelihoodReport:
        """Compute the likelihood by the probability-flow ODE, in bits/dim; see `evaluate_likelihood`.

        The variance is that of the decoder p(x_0|x_1) alone.

        Raises:
            RunError: the decoder is not trained yet.
        """
        self.require_decoder()
        dataset, seed = coarse(self.dataset_of(images, batch_size)), chosen_seed(seed)
        with reported(progress, "solving the ODE") as report:
            return evaluate_likelihood(
                self.reverse(variance=variance),
                dataset,
                tolerance=tolerance,
                probes=probes,
                exact=exact,
                draws=draws,
                seed=seed,
                batch_size=batch_size,
                progress=report,
            )

    def score(
        self,
        images: Images,
        *,
        seed: int | None = 0,
        steps_per_image: int | None = SCORE_STEPS,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> Tensor:
        """Score each image: (N,) float64 bits/dim. A larger `steps_per_image` makes the scores less noisy."""
        options: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "progress": progress}
        return self.bound(images, steps_per_image=steps_per_image, **options).scores

    def heat_map(
        self,
        image: Single | ImageDataset,
        *,
        seed: int | None = 0,
        steps_per_image: int | None = SCORE_STEPS,
        index: int = 0,
        progress: Progress | bool | None = None,
    ) -> HeatMap:
        """Return the bits of each pixel of an image (C, H, W), or of the first of a set; their mean is its `score`.

        Args:
            index: where the image was among those that were scored, counted from 0: each has its own draws.

        Raises:
            RunError: the decoder is not trained yet.
            ShapeError: an image of another shape than the model's.
        """
        self.require_decoder()
        if steps_per_image is not None:
            check_whole("steps_per_image", steps_per_image)
        check_whole("index", index, 0)
        dataset, seed, reverse = self.dataset_of(alone(image)), chosen_seed(seed), self.reverse()
        [pixels], condition = coarse(dataset).images([0]), Condition.of(dataset.condition([0]))
        options: dict[str, Any] = {"steps_per_image": steps_per_image, "seed": seed, "index": index}
        options |= {"proposal": self._proposal(reverse), "condition": replace(condition, label=None)}
        with reported(progress, "scoring") as report:
            found = evaluate_heat_map(reverse, pixels, progress=report, **options)
        if self.refinement is None:
            return found
        fine = self.refinement.nats(dataset.images([0]), dataset.observed([0]))[0] / math.log(2)
        return replace(found, decoder=found.decoder + fine)

    def glance(self, images: ImageDataset) -> dict[str, float | None]:
        """Estimate the bound from few values of t; without L_0 if the pixel network of the decoder is not trained."""
        report = self._bound(self.dataset_of(images), BoundOptions(steps_per_image=GLANCE_STEPS))
        if self.lacks_decoder:
            return {"held_out_chain_bits_per_dim": round(report.chain, 4)}
        return held_out_record(report)


def alone(image: Single | ImageDataset) -> Images:
    """Return one image as a set; a set of one image stays as it is."""
    if isinstance(image, ImageDataset):
        return image
    if isinstance(image, np.ndarray | Tensor) and image.ndim == 3:
        return image[None]
    return [image]
