"""Python takes images as people have them, and refuses everything else in a sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data import DataWarning, as_dataset, as_mask, as_pixels
from nelbo.errors import NelboError

COLOUR = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
SHAPE = (3, 8, 10)


def kinds(folder: Path) -> dict[str, object]:
    """Return one image in every kind."""
    Image.fromarray(COLOUR).save(folder / "a.png")
    first = np.ascontiguousarray(COLOUR.transpose(2, 0, 1))
    return {
        "path": folder / "a.png",
        "text": str(folder / "a.png"),
        "pillow": Image.fromarray(COLOUR),
        "channels last": COLOUR,
        "channels first": first,
        "int64": COLOUR.astype(np.int64),
        "tensor": torch.from_numpy(first),
        "tensor, channels last": torch.from_numpy(COLOUR),
    }


def test_one_image_of_every_kind(tmp_path):
    expected = torch.from_numpy(COLOUR).permute(2, 0, 1)
    for kind, image in kinds(tmp_path).items():
        assert torch.equal(as_pixels(image), expected), kind
        assert torch.equal(as_dataset(image, SHAPE, 256).images([0])[0], expected), kind
        assert torch.equal(as_dataset([image, image], SHAPE, 256).images([0, 1]), expected.expand(2, -1, -1, -1)), kind
    with pytest.warns(DataWarning, match=r"float64 within 0\.\.1"):
        assert torch.equal(as_pixels(COLOUR / 255), expected)
    for image in (GREY, torch.from_numpy(GREY), Image.fromarray(GREY)):
        assert torch.equal(as_pixels(image), torch.from_numpy(GREY)[None])
        assert torch.equal(as_dataset(image, (1, 8, 10), 256).images([0]), torch.from_numpy(GREY)[None, None])


def test_the_shape_of_the_model_decides_between_layouts():
    square = np.random.default_rng(1).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    assert torch.equal(as_pixels(square, (3, 3, 3)), torch.from_numpy(square))
    with pytest.raises(NelboError, match=r"shape \(3, 3, 3\); expected H x W, C x H x W or H x W x C"):
        as_pixels(square)
    stack = np.random.default_rng(1).integers(0, 256, (4, 8, 3), dtype=np.uint8)  # four grey images of 8 x 3
    assert as_dataset(stack, (1, 8, 3), 256).shape == (1, 8, 3)


def test_files_and_pillow_images_are_fitted_to_the_model(tmp_path):
    large = Image.fromarray(COLOUR.repeat(2, 0).repeat(2, 1))
    large.save(tmp_path / "large.png")
    for given in (tmp_path / "large.png", tmp_path, large, [large], [tmp_path / "large.png"]):
        with pytest.warns(DataWarning, match="8x8.*as in training"):
            assert as_dataset(given, (1, 8, 8), 256).shape == (1, 8, 8)


def test_few_levels_are_kept():
    assert as_dataset(GREY % 17, (1, 8, 10), 17).levels == 17
    with pytest.warns(DataWarning, match="two levels"):
        assert as_dataset(GREY > 9, (1, 8, 10), 256).levels == 2


def test_a_mask_is_an_array_or_a_picture(tmp_path):
    hole = GREY > 128
    Image.fromarray(np.where(hole, 255, 0).astype(np.uint8)).save(tmp_path / "mask.png")
    for given in (hole, torch.from_numpy(hole), tmp_path / "mask.png", Image.open(tmp_path / "mask.png")):
        assert torch.equal(as_mask(given), torch.from_numpy(hole))


WRONG = {
    "none": None,
    "number": 3,
    "set": {1},
    "empty list": [],
    "missing file": "nowhere.png",
    "bytes": b"x",
    "list of numbers": [1, 2],
    "list of none": [None],
    "generator": (image for image in ()),
    "strings": np.array(["a"]),
    "objects": np.array([{}], dtype=object),
    "complex": np.zeros((8, 10), complex),
    "negative": np.full((8, 10), -1),
    "beyond": np.full((8, 10), 256),
    "nan": np.full((8, 10), np.nan),
    "one axis": np.zeros(8, np.uint8),
    "five axes": np.zeros((1, 1, 3, 8, 10), np.uint8),
    "no pixel": np.zeros((0, 8, 10), np.uint8),
    "four channels": np.zeros((8, 10, 4), np.uint8),
    "centred": torch.linspace(-1, 1, 240).reshape(SHAPE),
    "mixed sizes": [np.zeros((3, 8, 10), np.uint8), np.zeros((3, 8, 8), np.uint8)],
}


@pytest.mark.parametrize("kind", WRONG)
def test_anything_else_is_refused_in_a_sentence(kind):
    """A person's mistake never ends in an AttributeError or a TypeError."""
    for take in (lambda wrong: as_dataset(wrong, SHAPE, 256), as_pixels):
        with pytest.raises(NelboError) as caught:
            take(WRONG[kind])
        assert len(str(caught.value)) > 30 and str(caught.value).endswith(".")


@pytest.mark.parametrize("wrong", [None, 3, np.zeros((8, 10)), np.zeros(8, bool), Image.new("RGBA", (8, 10)), COLOUR])
def test_other_masks_are_refused_in_a_sentence(wrong):
    with pytest.raises(NelboError) as caught:
        as_mask(wrong)
    assert str(caught.value).endswith(".")
