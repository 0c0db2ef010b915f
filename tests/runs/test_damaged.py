"""A damaged image and its mask are converted to what the model expects, as training converts images."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.data import DataWarning, load_for_model
from nelbo.errors import ConfigurationError, DataError, NelboError, ShapeError
from nelbo.options import options_from
from nelbo.randomness import SeedWarning
from nelbo.runs import DataOptions, RestoreOptions, prepare_damaged

GENERATOR = np.random.default_rng(0)
COLOUR = GENERATOR.integers(0, 256, (16, 24, 3), dtype=np.uint8)
IN_COLOUR, IN_GREY = (DataOptions("x", shape, 256, 1, 0) for shape in ((3, 8, 8), (1, 8, 8)))
RESIZED = r"it is resized to 8x8 \(shorter side fitted, centre cut out\)"


def prepared(image, data=IN_COLOUR, **options):
    return prepare_damaged(image, options_from(RestoreOptions, options), data)


@pytest.fixture
def kinds(tmp_path):
    """One image of 24 x 16 pixels as a file, a Pillow image, and arrays of both layouts."""
    Image.fromarray(COLOUR).save(tmp_path / "wide.png")
    first = torch.from_numpy(COLOUR).permute(2, 0, 1)
    return [tmp_path / "wide.png", str(tmp_path / "wide.png"), Image.fromarray(COLOUR), COLOUR, first]


def test_every_kind_is_resized_as_in_training(kinds):
    expected = load_for_model(str(kinds[0]), (3, 8, 8)).images.images([0])[0]
    for image in kinds:
        with pytest.warns(DataWarning, match=RESIZED):
            assert torch.equal(prepared(image, strength=0.5).pixels, expected)
        with pytest.raises(DataError, match="is 24x16, but the model's images are 8x8; crop or resize it"):
            prepared(image, strength=0.5, resize=False)


def test_an_image_that_fits_stays_as_it_is(kinds):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = COLOUR[:8, :8]
        assert torch.equal(prepared(small, noise=1.0).pixels, torch.from_numpy(small).permute(2, 0, 1))


def test_the_mask_follows_its_image(kinds):
    hole = np.zeros((16, 24), bool)
    hole[:8, 4:12], hole[:, :4] = True, True  # a quarter of the centre; the left border is cut off
    small = torch.zeros(8, 8, dtype=torch.bool)
    small[:4, :4] = True
    for mask in (hole, torch.from_numpy(hole), Image.fromarray(hole)):
        with pytest.warns(DataWarning, match=RESIZED):
            assert torch.equal(prepared(kinds[2], mask=mask).options.mask, small)
    with pytest.warns(DataWarning, match=RESIZED):  # a mask of the model's size is taken as it is
        assert torch.equal(prepared(kinds[2], mask=small).options.mask, small)
    with pytest.raises(DataError, match="the mask is 24x16, but the model's images are 8x8; the image is 8x8; give"):
        prepared(COLOUR[:8, :8], mask=hole)
    with pytest.raises(DataError, match="the mask is 24x16, but the model's images are 8x8; give the mask the size"):
        prepared(COLOUR[:8, :8], mask=hole, resize=False)
    with pytest.raises(DataError, match="the damaged image is 24x16, but the model's images are 8x8; crop or resize"):
        prepared(kinds[2], mask=hole, resize=False)  # the mask has its size


def test_colour_becomes_grey_where_the_damage_expects_grey():
    with pytest.warns(DataWarning, match="the damaged image: it is converted to grey"):
        assert prepared(COLOUR[:8, :8], colour=True).pixels.shape == (1, 8, 8)
    with pytest.warns(DataWarning, match="it is converted to grey"):
        assert prepared(COLOUR[:8, :8], IN_GREY, noise=1.0).pixels.shape == (1, 8, 8)
    with pytest.raises(DataError, match="is in colour, but a grey image is expected for colour; convert it first"):
        prepared(COLOUR[:8, :8], colour=True, resize=False)
    grey = COLOUR[:8, :8, 0]
    assert torch.equal(prepared(grey, noise=1.0).pixels, torch.from_numpy(grey).expand(3, 8, 8))


def test_an_image_to_enlarge_keeps_its_size():
    assert prepared(COLOUR[:4, :4], upscale=2).pixels.shape == (3, 4, 4)
    with pytest.raises(DataError, match=r"is 24x16, .* images are 8x8, so for upscale=2 the image must be 4x4"):
        prepared(COLOUR, upscale=2)
    with pytest.raises(ConfigurationError):
        prepared(COLOUR, upscale=3)


def test_what_is_lost_is_named():
    clear = Image.fromarray(np.full((8, 8, 4), 100, np.uint8))
    with pytest.warns(DataWarning, match="the damaged image: its transparency became white"):
        prepared(clear, noise=1.0)
    with pytest.warns(DataWarning, match="; noise must state the noise that is left"):
        prepared(COLOUR, noise=1.0)


def test_a_dark_picture_and_a_stack_are_named(tmp_path):
    deep = [Image.fromarray(np.full((8, 8), level, np.uint16)) for level in (900, 4000)]
    deep[0].save(tmp_path / "one.tif")
    deep[0].save(tmp_path / "stack.tif", save_all=True, append_images=deep[1:])
    for image in (tmp_path / "one.tif", deep[0]):
        with pytest.warns(
            DataWarning, match="1 image has more than 8 bits, with values 900 to 900; .*; the images are dark"
        ):
            prepared(image, noise=1.0)
    stack = Image.open(tmp_path / "stack.tif")
    with pytest.raises(
        DataError, match=r"the image cannot be used: it is a TIFF file of 2 pages, .* give image\.copy\(\)"
    ):
        prepared(stack, noise=1.0)
    stack.seek(1)
    with pytest.warns(DataWarning, match="with values 4000 to 4000"):
        assert prepared(stack.copy(), noise=1.0).pixels.unique().tolist() == [round(4000 * 255 / 65535)]


def test_few_levels_are_not_resized():
    digits = DataOptions("x", (1, 8, 8), 17, 1, 0)
    assert prepared(np.full((8, 8), 16, np.uint8), digits, noise=1.0).pixels.max() == 16
    with pytest.raises(DataError, match="is 9x9, but the model's images are 8x8"):
        prepared(np.zeros((9, 9), np.uint8), digits, noise=1.0)
    with pytest.raises(ShapeError, match=r"the damaged image has the level 17, but the model's levels are 0\.\.16"):
        prepared(np.full((8, 8), 17, np.uint8), digits, noise=1.0)


@pytest.mark.parametrize("wrong", [None, 3, [COLOUR], "nowhere.png", np.zeros((8, 8, 5), np.uint8)])
def test_other_images_are_refused_in_a_sentence(wrong):
    with pytest.raises(NelboError) as caught:
        prepared(wrong, noise=1.0)
    assert len(str(caught.value)) > 30 and str(caught.value).endswith(".")


def test_a_run_restores_a_picture_of_another_size():
    run = nelbo.load("fashion-mnist", device="cpu")
    picture = Image.fromarray(COLOUR)
    with pytest.warns(DataWarning, match=r"the damaged image: it is resized to 28x28 .*; it is converted to grey"):
        restored = run.restore(picture, strength=0.1, steps=1, num=2)
    assert restored.draws.shape == (2, 1, 28, 28) and (restored.levels, restored.seed) == (256, 0)
    with pytest.raises(DataError, match="the damaged image is 24x16, but the model's images are 28x28"):
        run.restore(picture, strength=0.1, resize=False)


def test_a_fresh_seed_of_a_restoration_repeats_it():
    run, image = nelbo.load("fashion-mnist", device="cpu"), np.zeros((28, 28), np.uint8)
    with pytest.warns(SeedWarning):
        restored = run.restore(image, noise=20.0, steps=2, num=1, seed=None)
    again = run.restore(image, noise=20.0, steps=2, num=1, seed=restored.seed)
    assert torch.equal(again.draws, restored.draws)
