"""The first stage of a latent diffusion model's training: the autoencoder. It also prepares the second stage."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from nelbo.data import ImageDataset
from nelbo.diffusion import DiffusionObjective, bits_per_dim
from nelbo.errors import RunError, setting
from nelbo.files import or_warn
from nelbo.latent import (
    Autoencoder,
    LatentObjective,
    LatentScale,
    LatentSpace,
    encoded_moments,
    measure_pixel_scale,
    measure_scale,
)
from nelbo.objective import Objective
from nelbo.plots import reconstruction_grid, save
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.randomness import INITIALISATION, LATENT, derived_seed, image_generators, standard_normal
from nelbo.recipes.latent_recipe import LatentRecipe
from nelbo.recipes.recipe import AnyRecipe
from nelbo.runs.folder import CONFIG_FILE, find_run
from nelbo.runs.latent_space import AUTOENCODER_FILE, load_space, save_space, stored_options
from nelbo.runs.sampling import pixels_of
from nelbo.studies.session import HELD_OUT_IMAGES, PREVIEW_IMAGES, Session
from nelbo.training import Trainer, TrainerOptions, is_first_process
from nelbo.vae import VAEObjective

FOLDER, STAGE = "autoencoder", "training the autoencoder"
MOST_MOMENTS = 2**30  # bytes of the moments of all images that are kept in memory
MOST_ENCODED = 20_000  # images; larger sets are encoded when they are read


def adopted(recipe: AnyRecipe) -> AnyRecipe:
    """Return the recipe with the options of the autoencoder that it takes from another run, if it takes one.

    Raises:
        RunError: that run has no finished autoencoder.
    """
    if not isinstance(recipe, LatentRecipe) or recipe.first_stage.source is None:
        return recipe
    source = find_run(recipe.first_stage.source).resolve()
    first_stage = replace(recipe.first_stage, source=str(source))
    return replace(recipe, autoencoder=stored_options(source), first_stage=first_stage)


def second_stage(session: Session, objective: Objective) -> tuple[Objective, ImageDataset, TrainerOptions]:
    """Train the autoencoder, or resume that, and return what the diffusion network is trained on.

    Args:
        session: it is begun here, because the first stage comes before the network is built.
        objective: of the diffusion model.

    Returns:
        The objective on latents; the training images, or the moments of their latents for up to 20,000 images; and
        how the network is trained.

    Raises:
        KeyboardInterrupt: a signal stopped the first stage; its state is saved.
    """
    recipe, images, listener = cast(LatentRecipe, session.config.recipe), session.split.train, session.listener
    if is_first_process():
        session.begin_stored(recipe.network_training)
    space = _finished(session, recipe)
    training, options = recipe.network_training, space.autoencoder.options
    on_latents = LatentObjective(cast(DiffusionObjective, objective), space)
    num = len(images) * (1 + training.flip)
    if num > MOST_ENCODED or 8 * num * math.prod(options.latent_shape) > MOST_MOMENTS:
        return on_latents, images, training
    moments = encoded_moments(
        space, images, training.flip, lambda done, total: listener.on_stage("encoding images", done, total)
    )
    return on_latents, moments, replace(training, flip=False)


def _finished(session: Session, recipe: LatentRecipe) -> LatentSpace:
    """Return the autoencoder of a run folder, after it was trained or copied there if need be.

    A finished autoencoder stays as it is, because the diffusion network was trained on its latents.
    """
    if not (session.folder / AUTOENCODER_FILE).is_file():
        if recipe.first_stage.source is None:
            _train(session, recipe)
        elif is_first_process():
            save_space(_of_source(session, recipe, Path(recipe.first_stage.source)), session.folder)
    return _for_shape(load_space(session.folder), recipe)


def _of_source(session: Session, recipe: LatentRecipe, source: Path) -> LatentSpace:
    """Return the autoencoder of another run for these images, by which the scale of its latents is measured.

    An imported one has no scale of p(x|z) either.

    Raises:
        RunError: it was trained on images of other channels or levels.
    """
    space = load_space(source)
    own, wanted = space.autoencoder.options, recipe.autoencoder
    if (own.shape[0], own.levels) != (wanted.shape[0], wanted.levels):
        raise RunError(
            f"the autoencoder of {source} takes images of {own.shape[0]} channels and {own.levels} levels, and these "
            f"have {wanted.shape[0]} and {wanted.levels}; leave {setting('first_stage.source')} out to train one."
        )
    autoencoder, images = _for_shape(space, recipe).autoencoder, session.split.train
    if not (source / CONFIG_FILE).is_file():
        measure_pixel_scale(autoencoder, images)
    return LatentSpace(autoencoder, _measured(session, autoencoder))


def _measured(session: Session, autoencoder: Autoencoder) -> LatentScale:
    """Measure the scale of the latents of the training images."""
    report: Progress = lambda done, total: session.listener.on_stage("measuring the latents", done, total)  # noqa: E731
    return measure_scale(autoencoder, session.split.train, report)


def _for_shape(space: LatentSpace, recipe: LatentRecipe) -> LatentSpace:
    """Return a space for images of the recipe's size: the weights suit every size."""
    if space.autoencoder.options == recipe.autoencoder:
        return space
    resized = Autoencoder(recipe.autoencoder)
    resized.load_state_dict(space.autoencoder.state_dict())
    return LatentSpace(resized.eval().requires_grad_(False), space.scale)


def _train(session: Session, recipe: LatentRecipe) -> None:
    """Train the autoencoder by its ELBO with the prior N(0, I), measure the scale of its latents, and write both."""
    training, listener, images = recipe.autoencoder_training, session.listener, session.split.train
    torch.manual_seed(derived_seed(training.seed, INITIALISATION, 6))
    network = Autoencoder(recipe.autoencoder).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folder, averaged = session.folder / FOLDER, dict[str, Autoencoder]()
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        network,
        VAEObjective(recipe.autoencoder.latent_shape, images.levels),
        images,
        training,
        folder,
        on_preview=lambda average, step: _preview(session, cast(Autoencoder, average)),
        on_save=lambda average, step: averaged.update(found=cast(Autoencoder, average)),
        on_progress=lambda step: listener.on_stage(STAGE, int(1000 * step.fraction), 1000),
    )
    trainer.run()
    if trainer.stopped_by is not None:
        raise KeyboardInterrupt
    if trainer.accelerator.is_main_process:
        found = averaged["found"].eval().requires_grad_(False)
        save_space(LatentSpace(found, _measured(session, found)), session.folder)
    trainer.accelerator.wait_for_everyone()


@torch.no_grad()
def _preview(session: Session, network: Autoencoder) -> dict[str, Any]:
    """Draw reconstructions, and return the held-out bound of the VAE alone, with the prior N(0, I)."""
    held_out = session.split.test.spread(HELD_OUT_IMAGES)
    if not len(held_out):
        return {}
    was_training = network.training
    network.eval()
    try:
        images = held_out.images(range(len(held_out)))
        x_0 = levels_to_data(images, held_out.levels).to(network.device)
        noise = standard_normal(
            (len(x_0), *network.options.latent_shape), image_generators(0, 0, len(x_0), LATENT), x_0
        )
        parts = [network(x, z) for x, z in zip(x_0.split(PREVIEW_IMAGES), noise.split(PREVIEW_IMAGES), strict=True)]
        bits = bits_per_dim(-torch.cat([part.total for part in parts]), images[0].numel())
        shown = x_0[:PREVIEW_IMAGES]
        means = pixels_of(network.likelihood(network.posterior(shown).mean).mean, held_out.levels)
    finally:
        network.train(was_training)
    if images.shape[1] in (1, 3):
        with or_warn():
            save(
                reconstruction_grid(images[: len(means)], means, held_out.levels),
                session.folder / "reconstructions.png",
            )
    return {"held_out_bits_per_dim": round(float(bits.mean()), 4)}
