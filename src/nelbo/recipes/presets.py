"""Recipes by name. `cifar10` and `lsun256` are the paper's; the others are tuned for small machines."""

from dataclasses import replace

from nelbo.networks.dit_options import DiTOptions
from nelbo.networks.mlp_options import MLPOptions
from nelbo.networks.unet_options import UNetOptions
from nelbo.options import known
from nelbo.recipes.decoder_options import DecoderOptions
from nelbo.recipes.latent_recipe import LatentRecipe
from nelbo.recipes.recipe import AnyRecipe, Recipe, ScheduleOptions, VAERecipe
from nelbo.training.options import TrainerOptions
from nelbo.vae.options import VAEOptions

FOURIER = (3, 4, 5, 6, 7)

FOR_BITS = Recipe(
    schedule=ScheduleOptions(kind="log-linear"),
    parameterization="grid",
    variance="fixed-small",
    loss="variational",
    timesteps="importance",
    conditional=None,
    training=TrainerOptions(
        minutes=60.0, batch_size=32, learning_rate=2e-3, warmup=200, decay="cosine", betas=(0.9, 0.99), ema=0.999
    ),
)

# The chain ends at a log SNR of 4, and the decoder encodes the last grey levels: the network learns structure.
FOR_IMAGES = replace(
    FOR_BITS,
    schedule=ScheduleOptions(kind="log-linear", log_snr_max=4.0),
    loss="simple",
    timesteps="stratified",
    decoder=DecoderOptions(kind="pixels", convolved=1),
    training=replace(FOR_BITS.training, optimizer="muon"),
)

# The two networks of the digits have the same recipe but for the network and its learning rate.
DIGITS = replace(
    FOR_BITS,
    schedule=ScheduleOptions(kind="log-linear", log_snr_max=9.0, log_snr_min=-8.0),
    training=replace(FOR_BITS.training, minutes=4.0, batch_size=64, warmup=100, ema=0.998),
)

PRESETS: dict[str, AnyRecipe] = {
    "digits": replace(
        DIGITS,
        network=UNetOptions(
            channels=1,
            base=64,
            multipliers=(1, 2),
            blocks=2,
            attention=(),
            groups=16,
            dropout=0.1,
            fourier=(1, 2, 3, 4),
        ),
    ),
    "dit-digits": replace(
        DIGITS,
        network=DiTOptions(channels=1, width=128, depth=4, heads=4, patch=2, time_features=64, fourier=(1, 2, 3, 4)),
    ),
    "fashion-mnist": replace(
        FOR_IMAGES,
        network=UNetOptions(
            channels=1, base=32, multipliers=(1, 2, 4), blocks=2, attention=(), groups=8, dropout=0.0, fourier=FOURIER
        ),
        training=replace(FOR_IMAGES.training, compile=None),
    ),
    "images": replace(
        FOR_IMAGES,
        decoder=replace(FOR_IMAGES.decoder, hidden=64),  # in colour, 192 need more than the minutes of a short run
        # x_T holds so little signal that the codec need not send it, up to 64 x 64 pixels in colour of average contrast
        schedule=ScheduleOptions(kind="log-linear", log_snr_max=4.0, log_snr_min=-13.0),
        network=UNetOptions(
            base=32,
            multipliers=(1, 2, 4),
            blocks=1,
            attention=(),
            groups=8,
            dropout=0.0,
            fourier=FOURIER,
            slopes=(0, 2, 4),
        ),
    ),
    # DiT-S/2 of Peebles & Xie (2023): the size for a graphics card
    "dit": replace(
        FOR_IMAGES,
        schedule=ScheduleOptions(kind="log-linear", log_snr_max=4.0, log_snr_min=-13.0),
        decoder=replace(FOR_IMAGES.decoder, hidden=64),
        network=DiTOptions(fourier=FOURIER, slopes=(0, 2, 4)),
        training=replace(FOR_IMAGES.training, batch_size=128, learning_rate=1e-3, compile=None),
    ),
    "latent": LatentRecipe(
        # latents are noisy by the stddev of q(z|x) already, so the chain need not resolve less than a fiftieth
        schedule=ScheduleOptions(kind="log-linear", log_snr_max=8.0, log_snr_min=-9.0),
        network=UNetOptions(
            channels=4, base=64, multipliers=(1, 2, 2), blocks=2, attention=(1,), groups=16, dropout=0.0
        ),
        parameterization="velocity",
        timesteps="stratified",
        conditional=None,
        training=replace(FOR_IMAGES.training, batch_size=64),
    ),
    # the paper's betas spend nearly all steps where the noise hides points with a spread of 1/4
    "points": Recipe(
        schedule=ScheduleOptions(kind="log-linear", log_snr_max=10.0, log_snr_min=-7.0),
        network=MLPOptions(),
        training=TrainerOptions(steps=3_000, batch_size=256, learning_rate=1e-3, warmup=100, decay="cosine", ema=0.999),
    ),
    "cifar10": Recipe(training=TrainerOptions(steps=800_000, flip=True)),
    "lsun256": Recipe(
        network=UNetOptions(multipliers=(1, 1, 2, 2, 4, 4), attention=(4,), dropout=0.0),
        training=TrainerOptions(steps=2_400_000, batch_size=64, learning_rate=2e-5, flip=True),
    ),
    "vae-digits": VAERecipe(
        network=VAEOptions(shape=(1, 8, 8), levels=17, latent=16, hidden=128),
        training=TrainerOptions(minutes=2.0, batch_size=128, learning_rate=2e-3, warmup=100, decay="cosine", ema=0.99),
    ),
    "vae-fashion-mnist": VAERecipe(
        network=VAEOptions(),
        training=TrainerOptions(
            minutes=20.0, batch_size=128, learning_rate=2e-3, warmup=200, decay="cosine", ema=0.999
        ),
    ),
}

DESCRIPTIONS: dict[str, str] = {
    "digits": "8x8 digits with 17 levels (bundled data), for `nelbo demo`: 4 minutes on 2 cores",
    "fashion-mnist": "28x28 grey images, for samples and bits/dim: an hour on 2 cores",
    "images": "any folder of images, for samples and bits/dim; the default for data without a preset of its own",
    "dit-digits": "the 8x8 digits with a diffusion transformer: 4 minutes on 2 cores",
    "dit": "any folder of images with a diffusion transformer, DiT-S/2 (33M parameters): an hour on a graphics card",
    "latent": "large images: a convolutional VAE, then diffusion in its latents; one budget and one bound for both",
    "points": "two-dimensional toy data and other vectors: an MLP",
    "cifar10": "the paper's CIFAR-10 model: 35.7M parameters, linear schedule, L_simple",
    "lsun256": "the paper's 256x256 model: 113.7M parameters, learning rate 2e-5",
    "vae-digits": "a variational autoencoder of the 8x8 digits: 2 minutes on 2 cores",
    "vae-fashion-mnist": "a variational autoencoder of 28x28 grey images: 20 minutes on 2 cores",
}


def preset(name: str) -> AnyRecipe:
    """Return a recipe by its name.

    Raises:
        ConfigurationError: an unknown name; the nearest one is suggested.
    """
    return PRESETS[known(name, PRESETS, "preset")]


def default_preset(data: str) -> str:
    """Return the name of the preset for a data set: its own, or else `images`. A folder may be called `cifar10`."""
    if data in ("digits", "fashion-mnist"):
        return data
    return "points" if data.startswith("toy:") else "images"
