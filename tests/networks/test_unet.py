"""The U-Net: parameter counts of the paper, shapes, refused sizes, and options."""

import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nelbo.errors import ConfigurationError, ShapeError
from nelbo.networks import UNet, UNetOptions
from nelbo.networks.conditioning import ConditionEmbedding
from nelbo.networks.layers import sinusoids
from nelbo.networks.pixel_features import pixel_features, unit_slopes
from nelbo.networks.unet import SelfAttention, Upsample

Build = Callable[..., UNet]


def images(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def attention_places(network: UNet) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, SelfAttention)]


# ---- the paper's networks


def test_parameters_of_the_paper() -> None:
    with torch.device("meta"):
        assert count(UNet.cifar10()) == 35_746_307
        assert count(UNet.lsun256()) == 113_673_219


def test_overrides_of_a_paper_network() -> None:
    with torch.device("meta"):
        network = UNet.cifar10(dropout=0.3, channels=1)
    assert network.options == UNetOptions(dropout=0.3, channels=1)


def test_attention_levels_follow_options() -> None:
    with torch.device("meta"):
        places = attention_places(UNet.cifar10())
    down = [f"down.1.{block}.attention" for block in range(2)]
    up = [f"up.2.{block}.attention" for block in range(3)]  # level 1 is the third from the bottom
    assert places == [*down, "middle.0.attention", *up]


def test_attention_at_16x16_in_the_256x256_network() -> None:
    with torch.device("meta"):
        places = attention_places(UNet.lsun256())
    assert {place.rsplit(".", 2)[0] for place in places} == {"down.4", "middle", "up.1"}


def test_no_attention_anywhere(small_unet: Build) -> None:
    assert attention_places(small_unet(attention=(), middle_attention=False)) == []


def test_float64_network_gets_float64_sinusoids() -> None:
    """In float32, the last digits of the frequencies differ between machines, and so would the files of a codec."""
    condition = ConditionEmbedding(8).double()
    given: list[torch.Tensor] = []
    condition.time[0].register_forward_hook(lambda layer, inputs, output: given.append(inputs[0]))
    condition(torch.tensor([999]), None, 1)
    angles = 999 * np.exp(-np.log(1e4) * np.arange(4) / 3)
    assert np.abs(given[0][0].numpy() - np.concatenate([np.sin(angles), np.cos(angles)])).max() < 1e-12


def test_sinusoids_follow_their_formula() -> None:
    t = torch.tensor([3, 700])
    embedding = sinusoids(t, 8).double()
    frequencies = 10_000.0 ** (-torch.arange(4, dtype=torch.float64) / 3)
    angles = t[:, None] * frequencies
    torch.testing.assert_close(embedding, torch.cat([angles.sin(), angles.cos()], 1), atol=1e-4, rtol=0)


def test_new_network_outputs_almost_zero() -> None:
    torch.manual_seed(0)
    network = UNet(UNetOptions(base=16, multipliers=(1, 2), groups=8)).eval()
    assert network(images(2, 3, 8, 8), torch.tensor([1, 2])).abs().max() < 1e-3
    residual = network.down[0][0].residual  # type: ignore[index,union-attr]
    h = images(2, 16, 8, 8)
    torch.testing.assert_close(residual(h, images(2, 64)), h, atol=1e-3, rtol=0)


# ---- shapes


@settings(max_examples=25, deadline=None)
@given(
    levels=st.integers(1, 3),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    batch=st.integers(1, 3),
    t=st.floats(0, 1000),
)
def test_any_size_works(levels: int, height: int, width: int, batch: int, t: float) -> None:
    network = UNet(UNetOptions(channels=1, base=8, multipliers=(1,) * levels, blocks=1, attention=(0,), groups=4))
    x_t = images(batch, 1, height, width)
    assert network(x_t, torch.tensor(t).expand(batch)).shape == x_t.shape


def test_padding_is_that_of_the_features_with_zeros() -> None:
    network = UNet(UNetOptions(channels=1, base=8, multipliers=(1, 1, 1), blocks=1, attention=(), groups=4)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(0))
    x_t, t = images(2, 1, 6, 7), torch.tensor([3, 500])
    padded = torch.nn.functional.pad(x_t, (0, 1, 0, 2))  # without features, zeros in x_t are zeros in the input
    torch.testing.assert_close(network(x_t, t), network(padded, t)[..., :6, :7])


@settings(max_examples=50, deadline=None)
@given(levels=st.integers(2, 6), height=st.integers(1, 300), width=st.integers(1, 300))
def test_sizes_that_do_not_divide_are_refused(levels: int, height: int, width: int) -> None:
    options, factor = UNetOptions(multipliers=(1,) * levels), 2 ** (levels - 1)
    if height % factor or width % factor:
        with pytest.raises(ShapeError, match=f"images of {height} x {width} .* multiples of {factor};"):
            options.check_size(height, width)
    else:
        options.check_size(height, width)


def test_refusal_names_nearest_sizes() -> None:
    options = UNetOptions(multipliers=(1, 1, 1))
    with pytest.raises(ShapeError, match=r"images of 30 x 28 .* nearest sizes are 28 x 28 or 32 x 28: change size or"):
        options.check_size(30, 28)
    with pytest.raises(ShapeError, match=r"nearest sizes are 4 x 4:"):
        options.check_size(1, 1)


def test_wrong_channels_are_refused(small_unet: Build) -> None:
    with pytest.raises(ShapeError, match=r"\(2, 1, 8, 8\), but expects \(batch, 3, height, width\)"):
        small_unet()(images(2, 1, 8, 8), torch.tensor([1, 2]))


def test_fashion_mnist_size_with_three_levels(small_unet: Build) -> None:
    network = small_unet(channels=1, multipliers=(1, 2, 2), attention=(2,))
    assert network(images(2, 1, 28, 28), torch.tensor([1, 1000])).shape == (2, 1, 28, 28)


def test_input_layout_does_not_matter(small_unet: Build) -> None:
    network, x_t, t = small_unet(), images(2, 3, 8, 8), torch.tensor([1, 9])
    other = network(x_t.contiguous(memory_format=torch.channels_last), t)
    torch.testing.assert_close(network(x_t, t), other, atol=1e-5, rtol=1e-5)


def test_examples_of_a_batch_do_not_mix(small_unet: Build) -> None:
    network, x_t, t = small_unet(), images(3, 3, 8, 8), torch.tensor([1, 50, 900])
    alone = torch.cat([network(x_t[i : i + 1], t[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(x_t, t), alone, atol=1e-4, rtol=1e-4)


# ---- options


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base": 20}, "`groups` is 32, which does not divide 20 channels; 4 would"),
        ({"heads": 3}, "`heads` is 3, which does not divide 128 channels"),
        ({"attention": (4,)}, r"`attention` has level 4, but `multipliers` has levels 0\.\.3"),
        ({"dropout": 1.0}, r"`dropout` is 1\.0, but must be in \[0, 1\)"),
        ({"base": 33, "groups": 1}, "`base` is 33, but must be an even number"),
        ({"blocks": 0}, "`blocks` is 0, but must be within 1"),
        ({"blocks": 10**9}, "`blocks` is 1000000000, but must be within 1"),
        ({"multipliers": (1, 10**9)}, "a level has 128000000000 channels"),
        ({"norm_eps": 10**400}, "`norm_eps` is 10+, but must be between 0 and 1"),
        ({"multipliers": ()}, "needs one positive integer per level"),
    ],
)
def test_impossible_options_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        UNetOptions(**fields)  # type: ignore[arg-type]


def test_options_survive_json() -> None:
    options = UNetOptions(fourier=(6, 7), attention=(1, 2), num_classes=10)
    assert UNetOptions(**json.loads(json.dumps(asdict(options)))) == options


def test_time_changes_the_output(small_unet: Build) -> None:
    network, x_t = small_unet(), images(1, 3, 8, 8)
    assert not torch.allclose(network(x_t, torch.tensor([1])), network(x_t, torch.tensor([2])), atol=1e-3)


def test_class_changes_output(small_unet: Build) -> None:
    network, x_t, t = small_unet(num_classes=3), images(2, 3, 8, 8), torch.tensor([5, 5])
    outputs = [network(x_t, t, torch.full((2,), label)) for label in range(4)]
    for i in range(4):
        for j in range(i):
            assert (outputs[i] - outputs[j]).abs().max() > 1e-2
    assert torch.equal(network(x_t, t), outputs[3])


def test_label_without_classes_is_refused(small_unet: Build) -> None:
    with pytest.raises(ConfigurationError, match="label was given to a network without classes"):
        small_unet()(images(1, 3, 8, 8), torch.tensor([1]), torch.tensor([0]))


def test_learned_variance_doubles_the_channels(small_unet: Build) -> None:
    assert small_unet(learned_variance=True)(images(2, 3, 8, 8), torch.tensor([1, 2])).shape == (2, 6, 8, 8)


def test_fourier_features_reach_the_first_convolution(small_unet: Build) -> None:
    network = small_unet(channels=2, fourier=(0, 3))
    seen: list[Tensor] = []
    network.input.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = images(1, 2, 4, 4)
    network(x, torch.tensor([1]))
    angles = torch.cat([torch.pi * x.double(), 8 * torch.pi * x.double()], 1)
    expected = torch.cat([x.double(), angles.sin(), angles.cos()], 1).float()
    torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=0)


def test_fourier_features_keep_bits_below_bfloat16(small_unet: Build) -> None:
    """sin(2^7 pi x) separates two inputs half a bfloat16 step apart, because the first convolution is float32."""
    network = small_unet(channels=1, fourier=(7,))
    x = torch.full((1, 1, 4, 4), 0.75)
    with torch.autocast("cpu", torch.bfloat16):
        difference = network(x, torch.tensor([1])) - network(x + 2**-10, torch.tensor([1]))
    assert difference.abs().max() > 1e-3


# ---- training and precision


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_reaches_every_parameter(small_unet: Build, checkpointing: bool) -> None:
    network = small_unet(
        num_classes=2, learned_variance=True, fourier=(1,), attention=(0, 1), checkpointing=checkpointing
    )
    network(images(3, 3, 8, 8), torch.tensor([1, 2, 3]), torch.tensor([0, 1, 2])).square().sum().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


def test_checkpointing_gives_identical_gradients(small_unet: Build) -> None:
    gradients = []
    for checkpointing in (False, True):
        network = small_unet(dropout=0.3, checkpointing=checkpointing).train()
        torch.manual_seed(7)
        network(images(2, 3, 8, 8), torch.tensor([1, 2])).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_bfloat16_autocast_is_close(small_unet: Build) -> None:
    network, x_t, t = small_unet(attention=(0, 1)), images(4, 3, 16, 16), torch.tensor([1, 10, 100, 1000])
    exact = network(x_t, t)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(x_t, t)
    assert rounded.dtype == torch.float32
    error = (rounded - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 0 < error < 0.03


def test_one_graph_without_breaks(small_unet: Build) -> None:
    network = small_unet(num_classes=2, fourier=(1,), dropout=0.1)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    x_t, t = images(2, 3, 8, 8), torch.tensor([1, 2])
    torch.testing.assert_close(compiled(x_t, t), network(x_t, t), atol=1e-5, rtol=1e-5)
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        assert compiled(x_t, t).shape == x_t.shape


def test_upsampling_is_a_convolution_of_repeated_pixels() -> None:
    """Output and gradients equal those of the two separate operations."""
    layer = Upsample(5).double()
    x = images(2, 5, 3, 4).double().requires_grad_()
    parts = layer.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    torch.testing.assert_close(layer(x), parts, atol=1e-12, rtol=0)
    weights = (x, layer.conv.weight, layer.conv.bias)
    direction = images(*parts.shape, seed=2).double()
    at_once, by_parts = (torch.autograd.grad(y, weights, direction) for y in (layer(x), parts))
    for gradient, expected in zip(at_once, by_parts, strict=True):
        torch.testing.assert_close(gradient, expected, atol=1e-12, rtol=0)


def test_slopes_have_unit_mean_square():
    """They don't depend on the brightness and contrast of an image; their mean square is 1."""
    x = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    across, down = unit_slopes(x)
    for scale, offset in ((1e-3, 0.5), (7.0, -2.0)):
        for slope, again in zip((across, down), unit_slopes(scale * x + offset), strict=True):
            torch.testing.assert_close(slope, again, atol=2e-3, rtol=0)
    power = (across.square() + down.square()).flatten(1).mean(1)
    torch.testing.assert_close(power, torch.full_like(power, 2.0))
    assert not across[..., 0].any() and not down[..., 0, :].any()
    ratio = across[:, :, 3, 5] / (x[:, :, 3, 5] - x[:, :, 3, 4])
    torch.testing.assert_close(ratio, ratio[:, :1].expand(2, 3))  # one unit for all channels
    torch.testing.assert_close(down[:, :, 3, 5] / (x[:, :, 3, 5] - x[:, :, 2, 5]), ratio)
    assert not any(slope.any() for slope in unit_slopes(torch.full((1, 1, 4, 4), 0.3)))


def test_slopes_join_the_input():
    plain, sloped = (UNet(UNetOptions(base=8, groups=4, fourier=(3,), slopes=slopes)) for slopes in ((), (0, 2)))
    assert sloped.input.in_channels == plain.input.in_channels + 3 * 2 * 2
    x = torch.rand(2, 3, 8, 8)
    assert sloped(x, torch.tensor([1, 2])).shape == x.shape
    features = pixel_features(x, (3,), (0, 2))
    assert (plain.input.in_channels, sloped.input.in_channels) == (9, features.shape[1])
    torch.testing.assert_close(features[:, :9], pixel_features(x, (3,)))
    across, down = unit_slopes(x)
    bent = [(scale * slope).tanh() for scale in (1, 4) for slope in (across, down)]
    torch.testing.assert_close(features[:, 9:], torch.cat(bent, 1))
