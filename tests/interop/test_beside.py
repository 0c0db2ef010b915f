"""Networks that read more than x_t, t and a class have no counterpart in diffusers."""

import pytest

from nelbo.errors import ConfigurationError, ShapeError
from nelbo.interop.unet_config import config_of
from nelbo.networks import UNetOptions

SMALL = {"channels": 1, "base": 8, "multipliers": (1, 1, 1), "blocks": 1, "attention": (), "groups": 4}


@pytest.mark.parametrize("part", [{"masked": True}, {"condition_size": 2}, {"condition_channels": 1}])
def test_a_network_with_more_inputs_is_refused(part):
    with pytest.raises(ConfigurationError, match="which diffusers' network does not"):
        config_of(UNetOptions(**SMALL, **part), (1, 8, 8))


def test_a_network_that_pads_is_refused():
    assert config_of(UNetOptions(**SMALL), (1, 8, 12)).sample_size == (8, 12)
    with pytest.raises(ShapeError, match=r"images of 10 x 12 .* multiples of 4"):
        config_of(UNetOptions(**SMALL), (1, 10, 12))
