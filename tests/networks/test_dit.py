"""The DiT: parameter counts of its paper, shapes, positions, conditions, and precision."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nelbo.condition import Condition
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.networks import DiT, DiTOptions, InBFloat16
from nelbo.networks.dit import position_embedding
from tests.networks.conftest import randomise

Build = Callable[..., DiT]


def images(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def small_dit() -> Build:
    """Build a small DiT in evaluation mode with random weights; the arguments are fields of `DiTOptions`."""

    def build(**overrides: Any) -> DiT:
        fields: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "time_features": 8}
        network = DiT(DiTOptions(**(fields | overrides)))
        randomise(network)
        return network.eval()

    return build


# ---- the paper's networks


@pytest.mark.parametrize(
    ("width", "depth", "heads", "millions"),
    [(384, 12, 6, 33), (768, 12, 12, 130), (1024, 24, 16, 458), (1152, 28, 16, 675)],
)
def test_parameters_of_the_paper(width: int, depth: int, heads: int, millions: int) -> None:
    """DiT-S, B, L and XL on latents of 4 channels (Peebles & Xie, table 4)."""
    options = DiTOptions(
        channels=4, width=width, depth=depth, heads=heads, patch=2, num_classes=1000, learned_variance=True
    )
    with torch.device("meta"):
        assert round(sum(p.numel() for p in DiT(options).parameters()) / 1e6) == millions


# ---- shapes


@pytest.mark.parametrize("learned", [False, True])
def test_output_starts_at_zero(learned: bool) -> None:
    network = DiT(DiTOptions(width=16, depth=2, heads=2, learned_variance=learned))
    output = network(images(2, 3, 8, 8), torch.tensor([1, 9]))
    assert output.shape == (2, 6 if learned else 3, 8, 8)
    assert not output.any()


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 13), width=st.integers(1, 13), patch=st.integers(1, 5), learned=st.booleans())
def test_any_sides_and_patches_give_the_input_shape(height: int, width: int, patch: int, learned: bool) -> None:
    network = DiT(DiTOptions(channels=2, width=8, depth=1, heads=2, patch=patch, learned_variance=learned))
    x_t = images(2, 2, height, width)
    assert network(x_t, torch.tensor([1, 9])).shape == (2, 4 if learned else 2, height, width)


@pytest.mark.parametrize(("height", "width"), [(6, 7), (5, 8), (7, 3)])
def test_padding_is_part_of_the_network(small_dit: Build, height: int, width: int) -> None:
    """The features are padded with zeros, so nothing depends on what an image would hold there."""
    network = small_dit(patch=4)
    x_t, t, seen = images(2, 3, height, width), torch.tensor([1, 9]), []
    hook = network.input.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    output = network(x_t, t)
    hook.remove()
    assert seen[0].shape == (2, 3, 8, 8 if width > 4 else 4)
    assert not seen[0][..., height:, :].any() and not seen[0][..., width:].any()
    torch.testing.assert_close(output, network(seen[0], t)[..., :height, :width])


def test_each_patch_of_the_output_lies_at_its_token(small_dit: Build) -> None:
    """Without blocks that mix tokens, a pixel changes exactly its own patch."""
    network, t = small_dit(patch=2), torch.tensor([5])
    for block in network.blocks:
        for parameter in block.modulation.parameters():
            torch.nn.init.zeros_(parameter)  # all gates closed
    x_t = images(1, 3, 4, 6)
    changed = x_t.clone()
    changed[0, 1, 3, 2] += 1
    different = (network(changed, t) != network(x_t, t))[0].any(0).nonzero().tolist()
    assert different == [[2, 2], [2, 3], [3, 2], [3, 3]]


def test_positions_follow_their_formula() -> None:
    rows, columns, width = 3, 5, 8
    found = position_embedding(rows, columns, width, torch.zeros((), dtype=torch.float64)).view(rows, columns, width)
    omega = 1e4 ** -(np.arange(2) / 2)
    for y, x in np.ndindex(rows, columns):
        expected = np.concatenate([np.sin(x * omega), np.cos(x * omega), np.sin(y * omega), np.cos(y * omega)])
        assert np.abs(found[y, x].numpy() - expected).max() < 1e-12


def test_position_matters_and_aspect_ratios_differ(small_dit: Build) -> None:
    network, t = small_dit(), torch.tensor([5])
    flat = torch.full((1, 3, 4, 8), 0.3)
    wide, tall = network(flat, t), network(flat.mT, t)
    assert (wide[..., :2, :2] - wide[..., 2:, :2]).abs().max() > 1e-3
    assert (wide.mT - tall).abs().max() > 1e-3  # rows and columns have their own sinusoids


def test_wrong_channels_are_refused(small_dit: Build) -> None:
    with pytest.raises(ShapeError, match=r"\(2, 1, 8, 8\), but expects \(batch, 3, height, width\)"):
        small_dit()(images(2, 1, 8, 8), torch.tensor([1, 2]))


def test_examples_of_a_batch_do_not_mix(small_dit: Build) -> None:
    network, x_t, t = small_dit(), images(3, 3, 8, 8), torch.tensor([1, 50, 900])
    alone = torch.cat([network(x_t[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(x_t, t), alone, atol=1e-4, rtol=1e-4)


# ---- options


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 5}, "`heads` is 5, which does not divide 384 features"),
        ({"width": 390, "heads": 1}, "`width` is 390, but must be a multiple of 4"),
        ({"patch": 0}, r"`patch` is 0, but must be within 1\.\.1024"),
        ({"depth": 10**9}, "`depth` is 1000000000, but must be within 1"),
        ({"time_features": 7}, "`time_features` is 7, but must be even"),
        ({"dropout": 1.0}, r"`dropout` is 1\.0, but must be in \[0, 1\)"),
        ({"condition_size": 0}, "`condition_size` is 0, but must be within 1"),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DiTOptions(**fields)


def test_options_survive_json() -> None:
    options = DiTOptions(fourier=(6, 7), slopes=(1,), num_classes=10)
    assert DiTOptions(**json.loads(json.dumps(asdict(options)))) == options


# ---- conditions


WHOLE = Condition(
    label=torch.tensor([0, 2]),
    vector=torch.tensor([[0.5, -1.0], [2.0, 0.0]]),
    image=torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8),
    observed=torch.arange(2 * 64).view(2, 1, 8, 8) % 3 > 0,
)


@pytest.mark.parametrize("kind", ["label", "vector", "image", "observed"])
def test_each_part_of_a_condition_matters(small_dit: Build, kind: str) -> None:
    network = small_dit(num_classes=3, condition_size=2, condition_channels=3, masked=True)
    x_t, t = images(2, 3, 8, 8), torch.tensor([3, 900])
    rest = Condition(**{name: part for name, part in WHOLE.parts.items() if name != kind})
    whole, without = network(x_t, t, WHOLE), network(x_t, t, rest)
    assert ((whole - without).abs().amax((1, 2, 3)) > 1e-3).all()
    if kind in ("label", "vector", "image"):
        assert torch.equal(network(x_t, t, WHOLE.withheld(kinds=(kind,))), without)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("label", "label was given to a network without classes"),
        ("vector", "numbers were given to a network that takes none"),
        ("image", "an image to condition on was given to a network that takes none"),
        ("observed", "missing pixels were given to a network that knows none"),
    ],
)
def test_a_condition_that_the_network_does_not_take_is_refused(small_dit: Build, kind: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        small_dit()(images(2, 3, 8, 8), torch.tensor([3, 900]), Condition(**{kind: WHOLE.parts[kind]}))


def test_time_changes_the_output(small_dit: Build) -> None:
    network, x_t = small_dit(), images(1, 3, 8, 8)
    assert (network(x_t, torch.tensor([1])) - network(x_t, torch.tensor([2]))).abs().max() > 1e-3


# ---- training and precision


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_reaches_every_parameter(small_dit: Build, checkpointing: bool) -> None:
    network = small_dit(num_classes=2, learned_variance=True, fourier=(1,), slopes=(0,), checkpointing=checkpointing)
    network(images(3, 3, 8, 8), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2])).square().sum().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


def test_checkpointing_gives_identical_gradients(small_dit: Build) -> None:
    gradients = []
    for checkpointing in (False, True):
        network = small_dit(dropout=0.3, checkpointing=checkpointing).train()
        torch.manual_seed(7)
        network(images(2, 3, 8, 8), torch.tensor([1, 2])).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_dropout_acts_in_training_only(small_dit: Build) -> None:
    network, x_t, t = small_dit(dropout=0.5), images(1, 3, 8, 8), torch.tensor([5])
    assert torch.equal(network(x_t, t), network(x_t, t))
    network.train()
    assert not torch.equal(network(x_t, t), network(x_t, t))


def test_bfloat16_is_close_under_autocast_and_in_a_copy(small_dit: Build) -> None:
    network, x_t, t = small_dit(), images(4, 3, 8, 8), torch.tensor([1, 10, 100, 1000])
    exact, copied = network(x_t, t), InBFloat16(network)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(x_t, t)
    for output in (rounded, copied(x_t, t)):
        assert output.dtype == torch.float32
        error = (output - exact).square().mean().sqrt() / exact.square().mean().sqrt()
        assert 0 < error < 0.03
    inside = copied.network
    assert inside.blocks[0].expand.weight.dtype == torch.bfloat16
    for part in (inside.input, inside.modulation, inside.output, inside.condition):
        assert all(p.dtype == torch.float32 for p in part.parameters())


def test_one_graph_without_breaks(small_dit: Build) -> None:
    network = small_dit(num_classes=2, fourier=(1,), dropout=0.1)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    x_t, t = images(2, 3, 8, 8), torch.tensor([1, 2])
    torch.testing.assert_close(compiled(x_t, t), network(x_t, t), atol=1e-5, rtol=1e-5)
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(x_t, t).shape == x_t.shape
