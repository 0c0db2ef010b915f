"""A page of one tiny model of the digits, and of a VAE of them."""

import pytest

from nelbo.studies import train
from nelbo.studio.collection import Collection
from tests.cli.conftest import nelbo_cli  # noqa: F401 (a fixture)
from tests.codec.conftest import tiny_codec_folder
from tests.conftest import made_once


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """The folder of a class-conditional model of the digits with a codec plan."""
    return str(tiny_codec_folder(tmp_path_factory))


@pytest.fixture(scope="session")
def vae(tmp_path_factory) -> str:
    """The folder of a VAE of the digits, after a few steps."""

    def make(folder):
        changes = {"network.latent": 4, "network.base": 8}
        train("digits", folder, preset="vae-digits", steps=20, overrides=changes, pictures=False)

    return str(made_once(tmp_path_factory, "studio-vae", make))


@pytest.fixture(scope="session")
def collection(model, vae) -> Collection:
    return Collection([model, vae], device="cpu")


@pytest.fixture(scope="session")
def run(collection, model):
    return collection.diffusion(model)


@pytest.fixture(scope="session")
def image(collection, model):
    """One of the ten images of the page: (1, 8, 8) uint8."""
    return collection.examples(model).images[3]
