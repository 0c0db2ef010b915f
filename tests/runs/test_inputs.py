"""Python takes images as people have them, and refuses everything else in a sentence."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.cli.compress_images import Known
from nelbo.codec.options import FittingOptions
from nelbo.data import DataWarning, as_dataset, as_mask, as_pixels, load_data, read_picture
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
    with pytest.raises(NelboError, match="the mask is an array of object"):
        as_mask(np.array([[None]]))


def test_the_shape_of_the_model_decides_between_layouts():
    square = np.random.default_rng(1).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    assert torch.equal(as_pixels(square, (3, 3, 3)), torch.from_numpy(square))
    with pytest.raises(NelboError, match=r"shape \(3, 3, 3\); expected H x W, C x H x W or H x W x C"):
        as_pixels(square)
    stack = np.random.default_rng(1).integers(0, 256, (4, 8, 3), dtype=np.uint8)  # four grey images of 8 x 3
    assert as_dataset(stack, (1, 8, 3), 256).shape == (1, 8, 3)
    with pytest.raises(
        NelboError, match=r"one image of 16 x 20 pixels and 3 channels or 3 grey images of 16 x 20 pixels"
    ):
        as_dataset(LARGE.transpose(2, 0, 1), (1, 8, 8), 256)  # a grey model takes both


LARGE = COLOUR.repeat(2, 0).repeat(2, 1)


def test_images_of_every_kind_are_fitted_to_the_model(tmp_path):
    Image.fromarray(LARGE).save(tmp_path / "large.png")
    first, kinds = (
        np.ascontiguousarray(LARGE.transpose(2, 0, 1)),
        (tmp_path / "large.png", Image.fromarray(LARGE), LARGE),
    )
    given = [tmp_path, *kinds, *([kind] for kind in kinds), LARGE[None], first[None], torch.from_numpy(first[None])]
    for shape, more in (((1, 8, 8), ", 1 of 1 image converted to grey"), ((3, 8, 8), "")):
        images = []
        for each in [*given, first] if shape[0] == 3 else given:
            with pytest.warns(DataWarning) as caught:
                images.append(as_dataset(each, shape, 256).images([0]))
            note = f"1 of 1 image resized to 8x8 (shorter side fitted, centre cut out){more}, as in training."
            assert [str(warning.message) for warning in caught] == [note]
        assert all(torch.equal(image, images[0]) for image in images)


def test_a_list_is_fitted_image_by_image_with_one_warning():
    mixed = [LARGE, COLOUR[:8, :8], Image.fromarray(LARGE[..., 0]), GREY[:8, :8]]
    with pytest.warns(DataWarning) as caught:
        found = as_dataset(mixed, (3, 8, 8), 256)
    assert [str(warning.message)[:35] for warning in caught] == ["2 of 4 images resized to 8x8 (short"]
    assert torch.equal(found.images([1])[0], torch.from_numpy(COLOUR[:8, :8]).permute(2, 0, 1))
    assert torch.equal(found.images([3])[0], torch.from_numpy(GREY[:8, :8]).expand(3, 8, 8))


def test_grey_arrays_fit_a_colour_model():
    with warnings.catch_warnings(action="error"):
        for grey in (GREY, GREY[..., None], GREY[None], [GREY], torch.from_numpy(GREY)):
            assert torch.equal(as_dataset(grey, SHAPE, 256).images([0])[0], torch.from_numpy(GREY).expand(3, 8, 10))


def test_a_batch_of_the_right_shape_is_not_copied():
    batch = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (5, *SHAPE), dtype=np.uint8))
    dataset = as_dataset(batch, SHAPE, 256)
    assert torch.equal(dataset.images(range(5)), batch)
    batch[0] = 0
    assert int(dataset.images([0]).max()) == 0


def test_images_of_few_levels_keep_their_size():
    assert as_dataset(np.zeros((9, 9), np.uint8), (1, 8, 8), 17).shape == (1, 9, 9)  # and the model refuses them
    with pytest.raises(
        NelboError, match=r"of 2 kinds \(C x H x W\): 1 x 8 x 8 with 17 levels, 1 x 9 x 9 with 17 levels"
    ):
        as_dataset([np.zeros((side, side), np.uint8) for side in (8, 9)], (1, 8, 8), 17)


def test_what_files_and_pillow_images_lack_is_warned_of_once(tmp_path):
    deep, first = (
        [Image.fromarray(np.full((8, 10), level, np.uint16)) for level in (900, 4000)],
        Image.fromarray(COLOUR),
    )
    deep[0].save(tmp_path / "deep.tif")
    first.save(tmp_path / "moving.png", save_all=True, append_images=[Image.new("RGB", (10, 8))])
    note = (
        "more than 8 bits, with values 900 to {}; 0..65535, or the range of their depth, became 0..255; the images are"
    )
    one, many = (
        "1 file is an animation, of which only the first frame",
        "2 files are animations, of which only the first",
    )
    for images, expected in (
        (deep[0], [f"the image: 1 image has {note.format(900)} dark."]),
        ([tmp_path / "deep.tif", deep[1]], [f"the list: 2 images have {note.format(4000)} dark."]),
        ([tmp_path / "moving.png"], [f"the list: {one} is read; save the frames as images to read all."]),
        (
            [Image.open(tmp_path / "moving.png")] * 2,
            [f"the list: {many} frame is read; save the frames as images to read all."],
        ),
    ):
        with pytest.warns(DataWarning) as caught:
            as_dataset(images, SHAPE, 256)
        assert [str(warning.message) for warning in caught] == expected


def test_pages_of_an_opened_tiff_are_images(tmp_path):
    pages = [Image.new("L", (10, 8), level) for level in (10, 20, 30)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    stack = Image.open(tmp_path / "stack.tif")
    for images, right in ((tmp_path / "stack.tif", [10, 20, 30]), (stack, [10, 20, 30]), ([GREY, stack], [10, 20, 30])):
        found = as_dataset(images, (1, 8, 10), 256)
        assert found.images(range(len(found)))[-3:, 0, 0, 0].tolist() == right
    for refused in (as_pixels, as_mask):
        with pytest.raises(NelboError, match=r"a TIFF file of 3 pages, and one image is expected; choose a page by"):
            refused(stack)
    stack.seek(1)
    assert as_pixels(stack.copy()).unique().tolist() == [20]


def test_uint8_for_a_model_is_levels():
    levels = GREY // 16
    with pytest.warns(
        DataWarning, match=r"uint8 up to 15 and are taken as levels .* range 0\.\.16; .* x\.astype\(float\)"
    ):
        assert torch.equal(as_dataset(levels, (1, 8, 10), 256, (0, 16))[0][0], torch.from_numpy(levels))
    with pytest.warns(DataWarning, match=r"0\.\.16 became 0\.\.255"):
        assert int(as_dataset(levels.astype(float), (1, 8, 10), 256, (0, 16))[0].max()) > 200
    with warnings.catch_warnings(action="error"):
        assert torch.equal(as_dataset(GREY, (1, 8, 10), 256, (0, 16))[0][0], torch.from_numpy(GREY))
        assert torch.equal(as_dataset(levels, (1, 8, 10), 256, (0, 4095))[0][0], torch.from_numpy(levels))


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
    "mixed levels": [np.zeros((3, 8, 10), bool), np.zeros((3, 8, 10), np.uint8)],
    "no row": np.zeros((0, 10, 3), np.uint8),
    "empty picture": Image.new("RGB", (0, 5)),
    "nothing cut out": Image.fromarray(COLOUR).crop((5, 5, 5, 5)),
    "lone surrogate": "a\ud800",
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


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.bool_])
@pytest.mark.parametrize("top", [1, 255])
@pytest.mark.parametrize("axis", [None, 0, 2])
def test_the_advice_on_a_mask_works(kind, top, axis):
    hole = GREY > 128
    mask = (hole * top).astype(kind)
    mask = mask if axis is None else np.expand_dims(mask, axis)
    if kind is np.bool_ and axis is None:
        return
    with pytest.raises(NelboError, match="the mask is an array of") as caught:
        as_mask(mask)
    assert torch.equal(as_mask(eval(str(caught.value).rpartition("such as ")[2][:-1])), torch.from_numpy(hole))


def test_a_nested_mask_and_a_lone_number_are_refused():
    with pytest.raises(NelboError, match=r"the mask is .*; expected numbers in a dense tensor"):
        as_mask(torch.nested.nested_tensor([torch.ones(2, 2), torch.ones(3, 3)]))
    for number in (torch.tensor(3), torch.tensor(3, dtype=torch.uint8), np.uint8(3) * np.ones((), np.uint8)):
        with pytest.raises(NelboError, match=r"the (tensor|array)"):
            as_pixels(number) if isinstance(number, torch.Tensor) else load_data(np.asarray(number))


def test_a_masked_mask_is_refused():
    with pytest.raises(NelboError, match="the mask has 80 masked values"):
        as_mask(np.ma.masked_array(np.ones((8, 10), bool), True))


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


class Recorder:
    """Stands in for a codec, which takes long to build."""

    def encode(self, images, **options):
        return [self]

    def to_bytes(self):
        return b""


def test_compression_names_what_a_file_loses_in_the_words_of_the_command(run, tmp_path, monkeypatch):
    monkeypatch.setattr(nelbo.DiffusionRun, "codec", lambda run: Recorder())
    grey, exif = Image.fromarray(GREY), Image.Exif()
    exif[0x010E] = "a holiday"
    grey.save(tmp_path / "a.png", save_all=True, append_images=[Image.new("L", (10, 8))], exif=exif)
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "b.jpg")
    Image.fromarray(np.dstack([COLOUR, GREY])).save(tmp_path / "c.png")
    Image.fromarray(GREY.astype(np.uint16) * 256).save(tmp_path / "d.tif")
    grey.save(tmp_path / "plain.png")
    for path in sorted(tmp_path.iterdir())[:-1]:
        changed = Known.of(0, read_picture(path)).changed
        for image, name in ((path, path.name), (Image.open(path), "the image")):
            with pytest.warns(DataWarning) as caught:
                run.compress(image)
            assert [str(each.message) for each in caught] == [f"{name}: {changed}; decoding gives this image back."]
    with warnings.catch_warnings(action="error"):
        for image in (tmp_path / "plain.png", Image.open(tmp_path / "plain.png"), grey, GREY):
            run.compress(image)


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
