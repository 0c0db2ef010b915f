"""The options of a restoration check themselves."""

from dataclasses import fields

import pytest

from nelbo.errors import ConfigurationError
from nelbo.options import help_of, options_from
from nelbo.runs import RestoreOptions


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match=r"unknown option 'nmu'; did you mean 'num'\?"):
        options_from(RestoreOptions, {"noise": 5.0, "nmu": 8})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "name exactly one damage: mask, noise, upscale, colour or strength; got none"),
        ({"noise": 5.0, "colour": True}, "got noise and colour"),
        ({"noise": 5.0, "sampler": "huen"}, "unknown sampler 'huen'; did you mean 'heun'?"),
        ({"upscale": 2, "method": "nullspace"}, "unknown method 'nullspace'; did you mean 'null-space'?"),
        ({"noise": 5.0, "precision": "fp16"}, "unknown precision 'fp16'"),
    ],
)
def test_values_that_cannot_work_are_refused(values, message):
    with pytest.raises(ConfigurationError) as refused:
        options_from(RestoreOptions, values)
    assert message in str(refused.value)


def test_the_damage_is_the_one_that_is_given():
    assert RestoreOptions(noise=5.0).damage == "noise"
    assert RestoreOptions(colour=True, noise=None).damage == "colour"
    assert RestoreOptions(strength=0.0).damage == "strength"


def test_every_option_has_a_help_text():
    assert all(help_of(RestoreOptions, field.name) for field in fields(RestoreOptions))
