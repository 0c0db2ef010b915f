"""The stored codec plan: it round-trips, and a wrong tensor is an error that names it."""

from dataclasses import astuple

import pytest
import torch

from nelbo.codec import CodecPlan
from nelbo.codec.channel_plan import BUCKETS, SURPRISES
from nelbo.codec.plan import _sizes
from nelbo.errors import RunError
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixels import weight_shapes
from tests.codec.plans import random_plan

NAMES = sorted(random_plan().tensors())


def stored(name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a plan's tensors with one of them replaced."""
    return {**random_plan().tensors(), name: value}


def test_plan_of_one_step_is_read():
    tensors = random_plan().tensors()
    tensors |= {"steps": tensors["steps"][1:], "expected": tensors["expected"][1:]}
    assert CodecPlan.from_tensors(tensors).steps.tolist() == [5, 9]


def test_plan_round_trips_through_its_tensors(run):
    plan = run.codec().chain.plan
    again = CodecPlan.from_tensors(plan.tensors())
    assert all(torch.equal(a, b) for a, b in zip(plan.tensors().values(), again.tensors().values(), strict=True))
    assert len(plan.index_counts) == BUCKETS and len(plan.number_counts) == SURPRISES


def test_stored_tensors_are_int32_and_named():
    tensors = random_plan().tensors()
    assert {tensor.dtype for tensor in tensors.values()} == {torch.int32}
    layers = [f"pixels.{kind}.{i}" for kind in ("weight", "bias") for i in range(3)]
    assert sorted(["steps", "expected", "index_counts", "number_counts", "pixels", *layers]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_missing_tensor_is_named(name):
    tensors = random_plan().tensors()
    del tensors[name]
    with pytest.raises(RunError, match=rf"has no tensor {name};"):
        CodecPlan.from_tensors(tensors)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_wrong_dtype_is_named(name, dtype):
    with pytest.raises(RunError, match=rf"tensor {name} is {dtype}, expected torch.int32;"):
        CodecPlan.from_tensors(stored(name, random_plan().tensors()[name].to(dtype)))


@pytest.mark.parametrize("change", ["longer", "another axis", "empty"])
@pytest.mark.parametrize("name", NAMES)
def test_wrong_shape_is_named(name, change):
    tensor = random_plan().tensors()[name]
    wrong = {"longer": torch.cat([tensor, tensor]), "another axis": tensor[None], "empty": tensor[:0]}[change]
    with pytest.raises(RunError, match=rf"tensor {name} (has the shape|must|is .* no network)"):
        CodecPlan.from_tensors(stored(name, wrong))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", [2, 5, 5], "tensor steps must rise from 1 or more, got [2, 5, 5];"),
        ("steps", [0, 5, 9], "tensor steps must rise from 1 or more, got [0, 5, 9];"),
        ("steps", [9], "tensor steps must rise from 1 or more, got [9];"),
        ("pixels", [1, 0, 17], "tensor pixels is [1, 0, 17], which is no network;"),
        ("pixels", [1, 6, 17, 2, 3], "tensor pixels is [1, 6, 17, 2, 3], which is no network;"),
        ("pixels", [1] * 6, "tensor pixels is [1, 1, 1, 1, 1, 1], which is no network;"),
        ("pixels", [3, 6, 17], "tensor pixels.weight.0 has the shape (6, 3, 5, 5), expected (6, 9, 5, 5);"),
        ("index_counts", [-1] * BUCKETS, "tensor index_counts has negative counts;"),
        ("number_counts", [-1] * SURPRISES, "tensor number_counts has negative counts;"),
        ("expected", [[1] * 20], "tensor expected has the shape (1, 20), expected (2, any);"),
        ("expected", [[], []], "tensor expected has the shape (2, 0), expected (2, any);"),
    ],
)
def test_wrong_value_is_named(name, value, message):
    with pytest.raises(RunError) as caught:
        CodecPlan.from_tensors(stored(name, torch.tensor(value, dtype=torch.int32)))
    assert message in str(caught.value) and "nelbo codec --again" in str(caught.value)


def test_smallest_valid_values_are_accepted():
    tensors = stored("steps", torch.tensor([1, 2, 3], dtype=torch.int32))
    tensors["index_counts"] = torch.zeros(BUCKETS, dtype=torch.int32)
    assert CodecPlan.from_tensors(tensors).steps.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "levels", "num_steps", "message"),
    [
        ((1, 5, 5), 17, 9, "for 20 values in an image, but the model has 25"),
        ((2, 2, 5), 17, 9, "for 1 channels, but the model has 2"),
        ((1, 4, 5), 256, 9, "for 17 levels, but the model has 256"),
        ((1, 4, 5), 17, 10, "for 9 steps of the full chain, but the model has 10"),
    ],
)
def test_plan_of_another_model_is_refused(shape, levels, num_steps, message):
    with pytest.raises(RunError, match=message):
        random_plan().check_model(shape, levels, num_steps)
    random_plan().check_model((1, 4, 5), 17, 9)


def test_sums_that_float64_cannot_hold_are_refused():
    options = PixelOptions(1, 64, 17, blocks=1, side=4, convolved=1)
    shapes = weight_shapes(options)
    tensors = {**random_plan().tensors(), "pixels": torch.tensor(astuple(options), dtype=torch.int32)}
    for layer, shape in enumerate(shapes):
        tensors[f"pixels.weight.{layer}"] = torch.ones(shape, dtype=torch.int32)
        tensors[f"pixels.bias.{layer}"] = torch.ones(shape[0], dtype=torch.int32)
    assert CodecPlan.from_tensors(tensors).pixels.options == options
    tensors["pixels.weight.1"] = torch.full(shapes[1], 2**31 - 1, dtype=torch.int32)
    with pytest.raises(RunError, match=r"pixels\.weight\.1 has sums beyond 2\^53"):
        CodecPlan.from_tensors(tensors)


def test_sizes_of_earlier_networks_stay_as_they_were():
    assert _sizes(PixelOptions(1, 32, 256)) == [1, 32, 256]
    assert _sizes(PixelOptions(1, 192, 256, 3, 4)) == [1, 192, 256, 3, 4]
    assert _sizes(PixelOptions(1, 192, 256, 3, 4, 1)) == [1, 192, 256, 3, 4, 1]
    assert _sizes(PixelOptions(1, 192, 256, 3, 8, 0, 9)) == [1, 192, 256, 3, 8, 0, 9]
