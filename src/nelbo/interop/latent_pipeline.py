"""A latent diffusion model as a folder of diffusers' `LDMPipeline`: an `AutoencoderKL`, a U-Net and a scheduler."""

from dataclasses import replace
from pathlib import Path

from nelbo.errors import ConfigurationError, ShapeError
from nelbo.interop import scheduler_config, unet_config
from nelbo.interop.autoencoder_folder import CLASS, write_autoencoder
from nelbo.interop.pipeline import Pipeline, write_index, write_pipeline
from nelbo.interop.scheduler_config import Chain, rounding_note
from nelbo.interop.weights import set_clock, to_diffusers
from nelbo.networks import UNet
from nelbo.runs import LatentRun

HOME = "vqvae"  # what `LDMPipeline` calls its autoencoder
LEFT_OUT = "the scales of p(x|z) are not exported, so the folder has no bound"


def export_latent(model: LatentRun, folder: Path) -> tuple[str, ...]:
    """Write the autoencoder and, if diffusers has such a network, the pipeline; return notes on what it lacks."""
    write_autoencoder(model.space, folder / HOME)
    notes = [LEFT_OUT, "the scaling of the latents is a part of the autoencoder, whose scaling_factor is 1"]
    if reason := _why_alone(model):
        return (*notes, f"the autoencoder alone is exported, as {HOME}: {reason}")
    network, recipe = model.network, model.recipe
    assert isinstance(network, UNet)
    chain = Chain(recipe.schedule, recipe.parameterization, recipe.variance)
    scheduler = replace(scheduler_config.config_of(chain), clip_sample=False)
    unet = unet_config.config_of(network.options, model.space.autoencoder.options.latent_shape)
    weights = set_clock(network.state_dict(), network.options, network.options.first_time)
    write_pipeline(folder, Pipeline(unet, to_diffusers(weights), scheduler))
    parts = {"vqvae": ["diffusers", CLASS], "unet": ["diffusers", "UNet2DModel"]}
    write_index(folder, "LDMPipeline", {**parts, "scheduler": ["diffusers", "DDPMScheduler"]})
    if model.mse is not None:
        notes.append(f"the calibrated variance is not exported: diffusers samples with {scheduler.variance_type}")
    return (*notes, *rounding_note(recipe.schedule))


def _why_alone(model: LatentRun) -> str:
    """Return why diffusers has no pipeline for the diffusion network; "" if it has."""
    if not isinstance(model.network, UNet):
        return "diffusers has no such network for latents"
    options = model.network.options
    if options.num_classes is not None:
        return "diffusers has no label for no class"
    if options.fourier or options.slopes:
        return "diffusers has no Fourier features and slopes"
    try:
        options.check_size(*model.space.autoencoder.options.latent_shape[1:])
        scheduler_config.config_of(Chain(model.recipe.schedule, model.recipe.parameterization, model.recipe.variance))
    except (ConfigurationError, ShapeError) as error:
        return str(error).rstrip(".")
    return ""
