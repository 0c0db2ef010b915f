"""A value of a wrong type for an argument becomes an error of nelbo, in one short sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.data import describe, load_data
from nelbo.diffusion import ReverseProcess
from nelbo.display import brief
from nelbo.errors import ConfigurationError, DataError, NelboError, RunError, shown
from nelbo.options import known
from nelbo.paths import expanded
from nelbo.runs import SamplingOptions
from nelbo.studies import DataRequest
from tests.runs.test_codec_plan import TINY

LARGE = np.arange(3000).reshape(30, 100)
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
DIGIT = torch.from_numpy(GREY % 17)[None]
ARRAYS = {
    "array": LARGE,
    "tensor": torch.zeros(3, 4),
    "empty array": np.zeros((0, 3)),
    "structured array": np.zeros((2, 2), [("r", "u1"), ("g", "u1")]),
    "sparse tensor": torch.zeros(3, 4).to_sparse(),
    "meta tensor": torch.zeros(3, 4, device="meta"),
    "array without axes": np.array(5),
    "nested tensor": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "jagged tensor": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged),
    "list of arrays": [LARGE, LARGE],
}
OTHERS = {"mapping": {"a": 1}, "list": [[1, 2], [3]], "bytes": b"\x89PNG", "object": object(), "class": dict}
WRONG = ARRAYS | OTHERS


def refused(call, *given, **options) -> str:
    """Return the message of the error that a call raises, one sentence that shows no numbers of an array."""
    with pytest.raises(NelboError) as caught:
        call(*given, **options)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 320, message
    assert "array(" not in message and "tensor(" not in message, message
    return message


@pytest.fixture(scope="module")
def run():
    return nelbo.load(TINY, device="cpu")


@pytest.fixture
def closed():
    """A Pillow image that is closed."""
    image = Image.fromarray(GREY)
    image.close()
    return image


@pytest.fixture
def left(tmp_path: Path):
    """A Pillow image whose `with` block ended before its pixels were read."""
    Image.fromarray(GREY).save(tmp_path / "left.png")
    with Image.open(tmp_path / "left.png") as image:
        pass
    return image


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (LARGE, "an array of int64 (30, 100)"),
        (torch.zeros(3, 4), "a tensor of float32 (3, 4)"),
        (torch.nn.Parameter(torch.zeros(2)), "a tensor of float32 (2,)"),
        (np.array(5), "an array of int64 ()"),
        (ARRAYS["nested tensor"], "a tensor of float32 (several shapes)"),
        (np.float64(0.5), repr(np.float64(0.5))),
        (np.ndarray, "<class 'numpy.ndarray'>"),
        ([1, None, "a  b"], "[1, None, 'a  b']"),
        ("a" * 58, repr("a" * 58)),
        ("a" * 59, "'" + "a" * 56 + "..."),
    ],
)
def test_a_value_is_shown_in_one_line(value, text):
    assert shown(value) == text


def test_a_long_value_is_cut_short():
    assert shown([LARGE, LARGE]) == "[an array of int64 (30, 100), an array of int64 (30, 100)]"
    for value in ([LARGE] * 1000, [[LARGE]], "a\n" * 1000):
        text = shown(value)
        assert "\n" not in text and len(text) == 60 and text.endswith("...")


@pytest.mark.parametrize("kind", WRONG)
def test_names_and_paths(kind):
    assert "unknown thing " in refused(known, WRONG[kind], ("a", "b"), "thing")
    assert "the path is " in refused(expanded, WRONG[kind])
    assert "the run is " in refused(nelbo.load, WRONG[kind])


@pytest.mark.parametrize(
    "out", [None, True, 3, 1.5, "a\0b", "\ud800", *WRONG.values()], ids=lambda value: type(value).__name__
)
def test_training_needs_a_path(out):
    with pytest.raises(RunError, match=r"^out is .*; expected a path, as text without null characters or as pathlib"):
        nelbo.train(GREY[None], out, steps=1)


@pytest.mark.parametrize("name", ["minutes", "steps", "seed", "preset", "overrides", "tensorboard", "pictures"])
@pytest.mark.parametrize("kind", WRONG)
def test_training_refuses_other_types(tmp_path, name, kind):
    value = WRONG[kind]
    if name == "overrides" and isinstance(value, dict):
        value = {1: 2}
    message = refused(nelbo.train, "digits", tmp_path / "run", **{name: value})
    assert message.startswith("training.seed is " if name == "seed" else f"{name} is ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["abc", 3, 1.5, True])
def test_overrides_are_a_mapping(tmp_path, value):
    assert "overrides is " in refused(nelbo.train, "digits", tmp_path / "run", overrides=value)


def test_other_arguments_of_training(tmp_path):
    assert "listener is 3; expected" in refused(nelbo.train, "digits", tmp_path / "run", listener=3)
    for value in (LARGE, torch.zeros(3)):
        message = refused(nelbo.train, "digits", tmp_path / "run", steps=1, overrides={"training.steps": value})
        assert "contradict each other" in message
        refused(nelbo.train, "digits", tmp_path / "run", overrides={"training.steps": value})
        refused(nelbo.train, "digits", tmp_path / "run", overrides={"network.kind": value})
        refused(nelbo.train, "digits", tmp_path / "run", range=value)
        refused(nelbo.train, "digits", tmp_path / "run", mode=value)
        refused(nelbo.train, "digits", tmp_path / "run", size=value)


def test_numbers_of_numpy_can_be_stored(tiny_recipe):
    recipe = tiny_recipe.with_overrides({"training.steps": np.int64(5), "training.minutes": np.float32(0.5)})
    assert json.loads(json.dumps(recipe.to_json()))["training"]["steps"] == 5
    assert json.dumps(DataRequest("digits", held_out=np.float32(0.5)).held_out) == "0.5"


@pytest.mark.parametrize("name", ["mode", "range", "on_reject", "largest", "seed", "size", "workers"])
@pytest.mark.parametrize("kind", WRONG)
def test_reading_data_refuses_other_types(name, kind):
    message = refused(load_data, "digits", **{name: WRONG[kind]})
    assert message.startswith((f"{name} is ", f"{name} must be a whole number"))


@pytest.mark.parametrize("value", ["abc", float("nan"), float("inf"), 1.5, True, 0])
def test_the_largest_side_is_a_whole_number(value):
    assert "largest must be a whole number, at least 1, got" in refused(load_data, "digits", largest=value)


def test_a_range_is_of_numbers_that_a_float_can_hold():
    assert "range is (0, 1000" in refused(load_data, "digits", range=(0, 10**400))


@pytest.mark.parametrize(
    "device",
    [True, 1.5, 10**30, -1, "abc", "a\0b", "\ud800", "lazy", *WRONG.values()],
    ids=lambda value: type(value).__name__,
)
def test_a_device_has_a_name(device):
    with pytest.raises(ConfigurationError, match=r"^device"):
        nelbo.load(TINY, device=device)
    refused(nelbo.load, TINY, device=device)


def test_devices_of_every_kind_load():
    for device in ("cpu", torch.device("cpu"), "", None):
        assert nelbo.load(TINY, device=device).folder == TINY


@pytest.mark.parametrize("kind", WRONG)
def test_a_model_refuses_other_types(run, kind):
    value = WRONG[kind]
    for name in ("variance", "clip"):
        assert refused(run.bound, DIGIT, steps_per_image=1, **{name: value}).startswith(f"{name} is ")
    for name in ("steps", "variance", "spacing", "clip", "guidance"):
        if not (name == "guidance" and kind == "class"):
            assert refused(run.reverse, **{name: value}).startswith(f"{name} is ")
    assert "num must be a whole number" in refused(run.sample, value)
    assert "steps_per_image must be a whole number" in refused(run.score, DIGIT, steps_per_image=value)
    assert "options is " in refused(SamplingOptions.of, value)


@pytest.mark.parametrize("clip", ["abc", float("nan"), 1, 0, -1, 10**30, None, ()])
def test_clip_is_true_or_false(run, clip):
    assert "; expected True or False." in refused(run.bound, DIGIT, steps_per_image=1, clip=clip)
    assert "; expected True or False." in refused(ReverseProcess, run.network, run.schedule, clip=clip)


@pytest.mark.parametrize("constraints", [3, "abc", [3], None, LARGE])
def test_constraints_are_functions(run, constraints):
    assert "expected a list of functions" in refused(run.reverse, constraints=constraints)
    assert "expected a list of functions" in refused(run.sample, 1, constraints=constraints)


@pytest.mark.parametrize("kind", ["closed", "left"])
def test_a_closed_image_is_refused(run, tmp_path, request, kind):
    image, mask = request.getfixturevalue(kind), np.zeros((8, 8), bool)
    mask[2:4] = True
    for call in (
        lambda: run.score(image),
        lambda: run.score([image]),
        lambda: run.bound(image),
        lambda: run.compress(image),
        lambda: run.restore(image, mask=mask, num=1, steps=1),
        lambda: load_data(image),
        lambda: load_data([GREY, image]),
        lambda: nelbo.train([GREY, image], tmp_path / "run", steps=1),
    ):
        assert "the image cannot be used: Pillow has closed it" in refused(call)
    assert "the mask cannot be used: Pillow has closed it" in refused(run.restore, GREY, mask=image, num=1, steps=1)


@pytest.mark.parametrize("kind", ["nested tensor", "jagged tensor", "sparse tensor", "meta tensor"])
def test_a_tensor_that_is_not_dense_is_refused(run, kind):
    mask = np.eye(8, dtype=bool)
    for call in (
        run.score,
        run.compress,
        load_data,
        lambda image: run.score([image]),
        lambda image: load_data([image]),
    ):
        assert "expected numbers in a dense tensor" in refused(call, ARRAYS[kind])
    assert "expected numbers in a dense tensor" in refused(run.restore, ARRAYS[kind], mask=mask, num=1, steps=1)
    assert "the mask is a tensor of float32" in refused(run.restore, GREY, mask=ARRAYS[kind], num=1, steps=1)
    assert "tensor(" not in brief(ARRAYS[kind])


@pytest.mark.parametrize("image", [Image.new("RGB", (0, 5)), Image.fromarray(GREY).crop((5, 5, 5, 5))])
def test_an_image_without_pixels_is_refused(run, image):
    mask = np.eye(8, dtype=bool)
    for call in (
        lambda: run.score(image),
        lambda: run.bound([image]),
        lambda: run.compress(image),
        lambda: run.restore(image, mask=mask, num=1, steps=1),
        lambda: load_data(image),
    ):
        assert "the image cannot be used: it has no pixels: 0 x " in refused(call)
    assert "the mask cannot be used: it has no pixels: 0 x " in refused(run.restore, GREY, mask=image, num=1, steps=1)


def test_a_path_that_no_system_has_is_refused(run):
    for call in (run.score, run.bound, run.compress, load_data, describe, lambda path: load_data([path])):
        assert refused(call, "a\ud800").startswith("the data is 'a\\ud800'; expected")


@pytest.mark.parametrize("mask", [{"a": 1}, 3, [GREY], b"mask"])
def test_a_wrong_mask_is_called_a_mask(run, mask):
    message = refused(run.restore, GREY, mask=mask, num=1, steps=1)
    assert message.startswith("the mask is ") and message.endswith("a NumPy array or a tensor.")


def test_a_model_gives_no_advice_on_training(run):
    deep, mask = GREY.astype(np.int64) * 64, np.eye(8, dtype=bool)
    for call in (
        lambda: run.score(deep[None]),
        lambda: run.score([deep]),
        lambda: run.score(torch.from_numpy(deep)[None]),
        lambda: run.compress(deep),
        lambda: run.restore(deep, mask=mask, num=1, steps=1),
    ):
        message = refused(call)
        assert "holds int64 from 0 to 4032; expected levels as uint8" in message
        assert "range=" not in message and "Train with" not in message
    with pytest.raises(DataError, match="range="):
        load_data(deep[None])
