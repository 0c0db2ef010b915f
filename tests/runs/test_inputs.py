"""Python takes images as people have them, and refuses everything else in a sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.codec.options import FittingOptions
from nelbo.data import DataWarning, as_dataset, as_mask, as_pixels, load_data
from nelbo.errors import CodecError, ConfigurationError, NelboError
from nelbo.runs import RestoreOptions

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


def test_tensors_of_types_that_numpy_lacks():
    levels = torch.from_numpy(COLOUR).bfloat16()
    for read in (as_pixels, lambda tensor: load_data(tensor[None]).train[0]):
        assert torch.equal(read(levels), torch.from_numpy(COLOUR).permute(2, 0, 1))
    for wrong in (levels.to_sparse(), levels.to("meta"), levels.to(torch.complex64)):
        with pytest.raises(NelboError, match="the tensor"):
            as_pixels(wrong)
        with pytest.raises(NelboError, match="the mask is"):
            as_mask(wrong)
    with pytest.raises(NelboError, match="the mask is object"):
        as_mask(np.array([[None]]))


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


def test_a_mask_with_transparency_or_grey_is_named(tmp_path):
    Image.new("LA", (8, 10), (255, 128)).save(tmp_path / "clear.png")
    with pytest.raises(NelboError, match=r"the mask .*clear\.png has transparent pixels"):
        as_mask(tmp_path / "clear.png")
    with pytest.warns(DataWarning, match="the mask has 80 grey pixels; from 128 of 255 on they count as white"):
        assert as_mask(Image.new("L", (8, 10), 128)).all()


@pytest.fixture(scope="module")
def run() -> nelbo.DiffusionRun:
    loaded = nelbo.load("fashion-mnist", device="cpu")
    assert isinstance(loaded, nelbo.DiffusionRun)
    return loaded


IMAGE = np.zeros((28, 28), np.uint8)
WHOLE = {"seed": ("12", 1.5, True, [0]), "batch_size": ("8", 0, -1, 1.5, True, None)}
CALLS = {
    "sample": lambda run, **how: run.sample(1, steps=1, **how),
    "score": lambda run, **how: run.score(IMAGE, steps_per_image=1, **how),
    "bound": lambda run, **how: run.bound(IMAGE, steps_per_image=1, **how),
    "forms": lambda run, **how: run.forms(IMAGE, steps=1, **how),
    "likelihood": lambda run, **how: run.likelihood(IMAGE, **how),
    "calibrate": lambda run, **how: run.calibrate(IMAGE, **how),
    "restore": lambda run, **how: run.restore(IMAGE, noise=5.0, steps=1, num=1, **how),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("name", "wrong"), [(name, value) for name, values in WHOLE.items() for value in values])
def test_seeds_and_batch_sizes_are_whole_numbers(run, call, name, wrong):
    with pytest.raises(ConfigurationError) as caught:
        CALLS[call](run, **{name: wrong})
    assert name in str(caught.value) and "whole number" in str(caught.value) and repr(wrong) in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.sample("4"),
        lambda run: run.sample(True),
        lambda run: run.sample(1, first="0"),
        lambda run: run.sample(1, first=-1),
        lambda run: run.sample(1, steps="4"),
        lambda run: next(run.trajectory(1, seed="12")),
        lambda run: run.bound(IMAGE, steps="8"),
        lambda run: run.bound(IMAGE, steps=True),
        lambda run: run.bound(IMAGE, steps_per_image="8"),
        lambda run: run.bound(IMAGE, steps_per_image=2.5),
        lambda run: run.score(IMAGE, steps_per_image=0),
        lambda run: run.forms(IMAGE, draws="2"),
        lambda run: run.likelihood(IMAGE, draws="1"),
        lambda run: run.likelihood(IMAGE, probes=1.5),
        lambda run: run.likelihood(IMAGE, tolerance="small"),
        lambda run: run.calibrate(IMAGE, draws="many"),
        lambda run: run.restore(IMAGE, noise=5.0, num="2"),
        lambda run: run.restore(IMAGE, noise=5.0, resize="yes"),
        lambda run: run.codec(0),
        lambda run: run.codec("8"),
        lambda run: run.compress(IMAGE, effort="5"),
        lambda run: run.compress(IMAGE, effort=0),
        lambda run: run.decompress(b"", max_bytes="9"),
        lambda run: run.decompress("file.nelbo"),
        lambda run: run.decompress(Path("file.nelbo")),
        lambda run: run.sample(1, progress="bar"),
        lambda run: nelbo.load_data("digits", seed="12"),
        lambda run: RestoreOptions(noise=5.0, seed="12"),
    ],
)
def test_other_wrong_types_are_refused_in_a_sentence(run, call):
    with pytest.raises(NelboError) as caught:
        call(run)
    assert len(str(caught.value)) > 30 and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "values",
    [
        {"end_images": "16"},
        {"end_steps": 0},
        {"end_batch": 1.5},
        {"batch_size": True},
        {"seed": "12"},
        {"learning_rate": "fast"},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"stops": 3.0},
        {"stops": ()},
        {"stops": ("a",)},
        {"stops": (4.0, 3.0)},
        {"hidden": None},
    ],
    ids=str,
)
def test_options_of_the_fit_check_themselves(values):
    with pytest.raises(ConfigurationError) as caught:
        FittingOptions(**values)
    assert next(iter(values)) in str(caught.value) and str(caught.value).endswith(".")


def test_bytes_are_expected_where_bytes_are_decoded(run):
    with pytest.raises(CodecError, match=r"got str; expected the bytes of a \.nelbo file"):
        run.decompress("file.nelbo")
