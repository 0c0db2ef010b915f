"""A condition keeps its examples together, and NaN is what is withheld."""

import pytest
import torch

from nelbo.condition import Condition, hidden
from nelbo.diffusion import Guidance, NoiseSchedule, ReverseProcess
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.networks import MLP, MLPOptions, UNet, UNetOptions

X, T = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 900])
WHOLE = Condition(
    label=torch.tensor([0, 2]),
    vector=torch.tensor([[0.5, -1.0], [2.0, 0.0]]),
    image=torch.linspace(-1, 1, 2 * 64).view(2, 1, 8, 8),
    observed=torch.arange(2 * 64).view(2, 1, 8, 8) % 3 > 0,
)


def unet(**options) -> UNet:
    torch.manual_seed(0)
    network = UNet(UNetOptions(channels=1, base=8, multipliers=(1, 2), blocks=1, attention=(), groups=4, **options))
    for name, weight in network.named_parameters():  # the second convolution of a block begins near 0
        if "conv2.weight" in name or name == "output.weight":
            torch.nn.init.normal_(weight, std=0.2)
    return network.eval()


def conditional() -> UNet:
    return unet(num_classes=3, condition_size=2, condition_channels=1, masked=True)


def test_labels_alone_reach_a_network_as_a_tensor():
    labels, seen = torch.tensor([1, 2]), []

    def network(x_t, time, label=None):
        seen.append(label)
        return torch.zeros_like(x_t)

    reverse = ReverseProcess(network, NoiseSchedule.linear())
    for given in (labels, Condition(label=labels), None, Condition()):
        reverse.predict(X, T, given)
    assert seen[0] is labels and seen[1] is labels and seen[2:] == [None, None]


def test_labels_and_a_condition_of_labels_give_one_output_bit_for_bit():
    network, labels = unet(num_classes=3), torch.tensor([1, -1])
    assert torch.equal(network(X, T, labels), network(X, T, Condition(label=labels)))
    guided = ReverseProcess(network, NoiseSchedule.linear(), guidance=Guidance(2.0))
    plain, told = (guided.predict(X, T, each).x_0 for each in (labels, Condition(label=labels)))
    assert torch.equal(plain, told)


@pytest.mark.parametrize("kind", ["label", "vector", "image"])
def test_each_part_matters_and_withheld_is_not_given(kind: str):
    network = conditional()
    with torch.no_grad():
        whole = network(X, T, WHOLE)
        withheld = network(X, T, WHOLE.withheld(kinds=(kind,)))
        absent = network(X, T, Condition(**{name: part for name, part in WHOLE.parts.items() if name != kind}))
    assert torch.equal(withheld, absent) and not torch.allclose(whole, withheld, atol=1e-4)


def test_withholding_concerns_the_chosen_examples_and_never_the_mask():
    part = WHOLE.withheld(torch.tensor([False, True]))
    assert part.label.tolist() == [0, -1] and bool(part.vector[1].isnan().all()) and bool(part.image[1].isnan().all())
    assert torch.equal(part.vector[0], WHOLE.vector[0]) and torch.equal(part.observed, WHOLE.observed)


def test_guidance_of_any_condition_is_its_equation():
    """eps(x) + s (eps(x, c) - eps(x)), where eps(x) keeps the mask."""
    network = conditional()
    reverse = ReverseProcess(network, NoiseSchedule.linear(), guidance=Guidance(3.0))
    with torch.no_grad():
        x = hidden(X, WHOLE.observed)
        told, untold = network(x, T, WHOLE), network(x, T, Condition(observed=WHOLE.observed))
        torch.testing.assert_close(reverse.output(X, T, WHOLE)[0], untold + 3 * (told - untold))


def test_examples_stay_together():
    with pytest.raises(TypeError, match="not iterable"):
        list(Condition())
    both = WHOLE.beside(WHOLE.withheld())
    assert len(both) == 4 and torch.equal(both[2:].observed, WHOLE.observed)
    assert torch.equal(WHOLE[1:].expand(3).vector, WHOLE.vector[1].expand(3, 2))
    mirrored = WHOLE.flipped(torch.tensor([True, False]))
    assert torch.equal(mirrored.image[0], WHOLE.image[0].flip(-1)) and torch.equal(mirrored.image[1], WHOLE.image[1])
    assert torch.equal(mirrored.observed[0], WHOLE.observed[0].flip(-1)) and mirrored.label is WHOLE.label


def test_network_without_options_has_the_parameters_of_before():
    plain = UNet(UNetOptions(channels=1, base=8, multipliers=(1,), blocks=1, attention=(), groups=4))
    assert plain.input.weight.shape[1] == 1 and not any("vector" in name for name in plain.state_dict())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (Condition(vector=torch.zeros(2, 1)), "condition_size"),
        (Condition(image=torch.zeros(2, 1, 8, 8)), "condition_channels"),
        (Condition(observed=torch.ones(2, 1, 8, 8).bool()), "masked"),
        (Condition(label=torch.zeros(2).long()), "num_classes"),
    ],
)
def test_what_a_network_does_not_take_is_an_error_that_names_the_option(given: Condition, named: str):
    with pytest.raises(ConfigurationError, match=named):
        unet()(X, T, given)


def test_parts_of_another_shape_are_errors():
    with pytest.raises(ShapeError, match="expected \\(2, 2\\)"):
        conditional()(X, T, Condition(vector=torch.zeros(2, 3)))
    with pytest.raises(ShapeError, match="expected \\(2, 1, 8, 8\\)"):
        conditional()(X, T, Condition(image=torch.zeros(2, 1, 4, 4)))
    with pytest.raises(ShapeError, match="a batch of 2"):
        ReverseProcess(conditional(), NoiseSchedule.linear()).predict(X, T, WHOLE[:1])


def test_mlp_takes_numbers():
    torch.manual_seed(0)
    network = MLP(MLPOptions(dims=2, width=8, depth=1, condition_size=1))
    torch.nn.init.normal_(network.output.weight)
    x = torch.zeros(2, 2)
    output = network(x, T, Condition(vector=torch.tensor([[1.0], [-1.0]])))
    assert not torch.allclose(output, network(x, T))


def test_condition_compiles_to_one_graph():
    network = conditional()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(X, T, WHOLE), network(X, T, WHOLE), atol=1e-5, rtol=1e-5)
