"""Recipes by name. `paper` presets follow Ho et al. to the letter; the others are tuned for bits on small machines."""

from dataclasses import replace

from nelbo.networks.mlp_options import MLPOptions
from nelbo.networks.unet_options import UNetOptions
from nelbo.options import known
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
    training=TrainerOptions(
        minutes=60.0, batch_size=32, learning_rate=2e-3, warmup=200, decay="cosine", betas=(0.9, 0.99), ema=0.999
    ),
)

PRESETS: dict[str, AnyRecipe] = {
    "digits": replace(
        FOR_BITS,
        schedule=ScheduleOptions(kind="log-linear", log_snr_max=9.0, log_snr_min=-8.0),
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
        training=replace(FOR_BITS.training, minutes=4.0, batch_size=64, warmup=100, ema=0.998),
    ),
    "fashion-mnist": replace(
        FOR_BITS,
        network=UNetOptions(
            channels=1, base=32, multipliers=(1, 2, 4), blocks=2, attention=(), groups=8, dropout=0.0, fourier=FOURIER
        ),
        training=replace(FOR_BITS.training, compile=True),
    ),
    "images": replace(
        FOR_BITS,
        # as little signal at the end as lets the codec leave x_T out, up to 64 x 64 pixels in colour
        schedule=ScheduleOptions(kind="log-linear", log_snr_min=-13.0),
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
    # the paper's betas spend nearly all their steps where noise has buried points of a spread of 1/4
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
    "digits": "8x8 digits with 17 levels, bundled: the demo's few minutes on 2 cores",
    "fashion-mnist": "28x28 grey images, tuned for bits/dim in an hour on 2 cores",
    "images": "any folder of images, tuned for bits/dim; the default for data without a preset of its own",
    "points": "two-dimensional toys and other vectors, an MLP",
    "cifar10": "the paper's CIFAR-10 model: 35.7M parameters, linear schedule, L_simple",
    "lsun256": "the paper's 256x256 model: 113.7M parameters, learning rate 2e-5",
    "vae-digits": "a variational autoencoder of the 8x8 digits, in 2 minutes",
    "vae-fashion-mnist": "a variational autoencoder of 28x28 grey images, in 20 minutes on 2 cores",
}


def preset(name: str) -> AnyRecipe:
    """The recipe of a name.

    Raises:
        ConfigurationError: there is no such preset; the nearest one is suggested.
    """
    return PRESETS[known(name, PRESETS, "preset")]


def default_preset(data: str) -> str:
    """The preset for a data set: its own where there is one. `cifar10` and the like name a person's own folder here."""
    if data in ("digits", "fashion-mnist"):
        return data
    return "points" if data.startswith("toy:") else "images"
