"""A diffusion model: a network with its schedule and calibration, and the chains that follow from them."""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nelbo.condition import Condition
from nelbo.diffusion import (
    Calibrated,
    Constraint,
    FixedLarge,
    FixedSmall,
    Guidance,
    NoiseSchedule,
    PixelDecoder,
    ReverseProcess,
    Variance,
)
from nelbo.display import Brief
from nelbo.errors import ConfigurationError, RunError, option, shown
from nelbo.networks import InBFloat16, PixelNetwork
from nelbo.options import check_type, known
from nelbo.randomness import DECODER, image_generators
from nelbo.recipes.assembly import build_parameterization, build_variance, is_conditioned
from nelbo.recipes.recipe import Recipe
from nelbo.runs.classes import IN_TURN, WITHOUT, Label, drawn_classes
from nelbo.runs.conditions import require_condition
from nelbo.runs.data_options import DataOptions
from nelbo.runs.folder import CONFIG_FILE, MODEL_FILE
from nelbo.runs.sampling import build_sampler, constraints_of, guidance_of, middle_of, strided
from nelbo.runs.sampling_options import SamplingOptions
from nelbo.samplers import Sampler, Step
from nelbo.training import bf16_wanted

CALIBRATION = "calibration.mse"  # the name of the stored calibration


def calibration_of(folder: Path, schedule: NoiseSchedule, stored: Mapping[str, Tensor]) -> Tensor | None:
    """Return the calibration (T+1,) among the stored tensors of a run, or None.

    Raises:
        RunError: it was measured for another number of steps.
    """
    mse = stored.get(CALIBRATION)
    if mse is not None and len(mse) != schedule.num_steps + 1:
        raise RunError(
            f"{folder / MODEL_FILE} was calibrated for {len(mse) - 1} steps, but the schedule in {CONFIG_FILE} has "
            f"{schedule.num_steps}; restore {CONFIG_FILE} from a copy."
        )
    return mse


@dataclass(frozen=True)
class DiffusionModel(Brief):
    """p_theta and everything that is derived from it. It knows no folder.

    Attributes:
        network: the averaged weights.
        schedule: the schedule that it was trained on, on the network's device.
        recipe: how it was made.
        data: the images that it was trained on: their shape, levels and class names.
        mse: (T+1,) the mean squared error of xhat_0 at each t, measured by calibration, or None.
        name: the model's name in messages.
        pixels: the network of the decoder p(x_0|x_1), or None for the Gaussian of eq. 13.
    """

    network: nn.Module
    schedule: NoiseSchedule
    recipe: Recipe
    data: DataOptions
    mse: Tensor | None
    name: str
    pixels: PixelNetwork | None = None

    @property
    def lacks_decoder(self) -> bool:
        """Whether the recipe has a pixel network in the decoder p(x_0|x_1) that is not trained yet."""
        return self.recipe.decoder.kind == "pixels" and self.pixels is None

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
        """Return p_theta of this model, or of a stride of its chain.

        Args:
            steps: number of steps; all T if None.
            spacing: how the steps are spaced: "even" (if None), "log-snr" or "karras".
            variance: "calibrated" (the default where it was measured), "trained", "fixed-large" or "fixed-small".
            clip: clip xhat_0 to [-1, 1].
            constraints: further constraints on xhat_0.
            guidance: guidance by a class label.

        Raises:
            ConfigurationError: a value of another type, an unknown name, or a variance that does not fit the network.
            ScheduleError: fewer than one step, or more than the schedule has.
        """
        check_type("steps", steps, float | None)
        check_type("spacing", spacing, str | None)
        check_type("clip", clip, bool)
        schedule = strided(self.schedule, steps, spacing, keep_first=self.pixels is not None)
        parameterization = build_parameterization(self.recipe, self.data.levels)
        return ReverseProcess(
            self.network,
            schedule,
            parameterization,
            self.variance(variance),
            self.data.levels,
            clip,
            constraints,
            guidance,
            self.pixels,
        )

    def variance(self, name: str | None = None) -> Variance:
        """Return the variance of the reverse process by name; the calibrated one, or else the trained one, if None.

        Raises:
            ConfigurationError: an unknown name, or one that does not fit the network.
        """
        check_type("variance", name, str | None)
        trained = build_variance(self.recipe)
        choices = {"trained": trained, "fixed-large": FixedLarge(), "fixed-small": FixedSmall(), trained.name: trained}
        if self.mse is not None and not trained.learned:
            choices["calibrated"] = Calibrated(self.mse)
        default = "calibrated" if "calibrated" in choices else "trained"
        chosen = choices[known(name or default, choices, "variance of this model")]
        if trained.learned != chosen.learned:
            raise ConfigurationError(f"this model's network outputs a variance; remove {option('variance', name)}.")
        return chosen

    def with_defaults(self, options: SamplingOptions, *, labelled: bool = True) -> SamplingOptions:
        """Fill in the steps and their spacing, and the guidance of a model that was trained with and without classes.

        Args:
            labelled: the images have classes to follow.
        """
        knows_classes = labelled and bool(self.recipe.conditional) and self.recipe.label_dropout > 0
        return options.guided(knows_classes, middle_of(self.schedule)).resolved(self.schedule.num_steps)

    def sampler(self, options: SamplingOptions) -> Sampler:
        """Return the sampler that the options describe, with the sampler's own steps where they name none.

        Raises:
            ConfigurationError: an unknown name, or an option that the sampler or the model does not support.
        """
        if options.guidance is not None and not (self.recipe.conditional or is_conditioned(self.recipe)):
            raise ConfigurationError(f"the model {self.name} is not class-conditional; remove {option('guidance')}.")
        options = options.resolved(self.schedule.num_steps)
        reverse = self.reverse(
            steps=options.steps,
            spacing=options.spacing,
            variance=options.variance,
            clip=options.clip is not False and options.threshold is None,
            constraints=constraints_of(options),
            guidance=guidance_of(options, self.schedule),
        )
        if bf16_wanted(options.precision):
            reverse = replace(reverse, network=InBFloat16(self.network))
        return build_sampler(reverse, options)

    @torch.no_grad()
    def trajectory(
        self,
        num: int,
        options: SamplingOptions,
        *,
        seed: int = 0,
        first: int = 0,
        label: Label | None = None,
        condition: Condition | None = None,
    ) -> Iterator[Step]:
        """Sample images first..first+num-1 of a seed as one batch, and yield every step; see `Sampler.trajectory`.

        The t of each step is that of the full chain, also if the sampler strides.

        Args:
            label: the class, see `classes`.
            condition: numbers, an image and a mask, one row for each image; see `nelbo.runs.condition_for`.

        Raises:
            ConfigurationError: an unknown class, or guidance without a condition.
        """
        labels, shape = self.classes(label, num, seed=seed, first=first), (num, *self.data.shape)
        given = replace(Condition.of(condition), label=labels).to(self.schedule.device)
        require_condition(self.recipe, given, options.guidance)
        sampler = self.sampler(self.with_defaults(options, labelled=labels is not None))
        times = sampler.reverse.schedule.timesteps.tolist()
        walk = sampler.trajectory(shape, image_generators(seed, first, num), given.simplest)
        if times[1] == 1:  # the pixel network was trained on x_1
            walk = self.drawn(walk, seed, first)
        for step in walk:
            yield replace(step, t=times[step.t])

    @torch.no_grad()
    def drawn(self, walk: Iterator[Step], seed: int, first: int) -> Iterator[Step]:
        """Yield the steps of a walk; if there is a pixel network, the last x_0 is drawn from its p(x_0|x_1).

        The draw leaves out the floor of the masses, which would show as specks: see `PixelDecoder.sample`. With the
        Gaussian decoder of eq. 13, the walk ends in its mean, as in Algorithm 2.

        Args:
            first: number of the first image of the batch.
        """
        before: Step | None = None
        for step in walk:
            if step.t == 0 and before is not None and self.pixels is not None and bool(step.x_0.isfinite().all()):
                decoder = PixelDecoder(self.pixels, step.x_0, before.x_t, float(self.schedule.signal[1]))
                x_0 = decoder.sample(image_generators(seed, first, len(step.x_0), DECODER), floor=False)
                step = Step(0, x_0, x_0)
            yield step
            before = step

    def class_number(self, name: str) -> int:
        """Return the number of a class, given by its name or as a number in digits; case counts only between classes.

        Raises:
            ConfigurationError: an unknown class, or a model without classes.
        """
        names = self.data.class_names
        self.require_classes()
        if name in names:
            return names.index(name)
        for form in (_composed, lambda text: _composed(text).casefold()):  # a keyboard and a file system may differ
            if (forms := [form(each) for each in names]).count(form(name)) == 1:
                return forms.index(form(name))
        if name.isdecimal() and int(name) < len(names):
            return int(name)
        return names.index(known(name, names, "class"))

    def classes(self, label: Label | None, num: int, *, seed: int = 0, first: int = 0) -> Tensor | None:
        """Return the classes of the images first..first+num-1 of a seed: int64 (num,), or None for no class.

        Args:
            label: the name or number of one class, or a list or tensor with one for each image. "none" is no class, and
                "all" is every class in turn, unless a class has this name. None draws the class of each image, as often
                as in the training images; a model that is not class-conditional has no class to draw.

        Raises:
            ConfigurationError: an unknown class, or a label for a model without classes.
        """
        device = self.schedule.device
        if label is None:
            return drawn_classes(self.data, num, seed=seed, first=first).to(device) if self.recipe.conditional else None
        self.require_classes()
        names = self.data.class_names
        if isinstance(label, str) and label in (WITHOUT, IN_TURN) and label not in names:
            return None if label == WITHOUT else (torch.arange(first, first + num) % len(names)).to(device)
        given = self._numbers(label)
        labels = given.expand(num) if given.ndim == 0 else given
        whole = not (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool)
        if not whole or labels.shape != (num,) or int(labels.min()) < 0 or int(labels.max()) >= len(names):
            listed = ", ".join(f"{i} {name}" for i, name in enumerate(names))
            raise ConfigurationError(
                f"{option('label')} is {shown(label)}; expected the name or the number of a class ({listed}), or one "
                f"for each of the {num} images."
            )
        return labels.long().to(device)

    def _numbers(self, label: Label) -> Tensor:
        """Return the numbers of one class, or of several; NaN if `label` is neither."""
        if isinstance(label, str):
            return torch.as_tensor(self.class_number(label))
        if isinstance(label, list | tuple):
            label = [self.class_number(each) if isinstance(each, str) else each for each in label]
        try:
            numbers = torch.as_tensor(label).cpu()
        except (TypeError, ValueError, RuntimeError):
            return torch.tensor(float("nan"))
        return numbers if numbers.layout == torch.strided and not numbers.is_nested else torch.tensor(float("nan"))

    def require_classes(self) -> None:
        """Check that the model is class-conditional.

        Raises:
            ConfigurationError: it is not.
        """
        if not self.recipe.conditional:
            raise ConfigurationError(f"the model {self.name} is not class-conditional; remove {option('label')}.")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
