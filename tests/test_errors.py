"""Messages name options once; Python and the command line each write them in their own way."""

import pytest

from nelbo.cli.flags import as_flag
from nelbo.errors import ConfigurationError, option, setting

MESSAGE = (
    f"{option('num')} must be at least 1, got 0; leave {option('guidance_interval')} out or set "
    f"{setting('training.ema', 0.9)}, {option('method', 'repaint')}, {option('clip', False)}, {option('colour', True)}."
)


def test_python_names_arguments():
    assert str(ConfigurationError(MESSAGE)) == (
        "num must be at least 1, got 0; leave guidance_interval out or set training.ema=0.9, method='repaint', "
        "clip=False, colour=True."
    )


def test_the_shell_names_flags():
    assert ConfigurationError(MESSAGE).message(as_flag) == (
        "--num must be at least 1, got 0; leave --guidance-interval out or set --set training.ema=0.9, "
        "--method repaint, --no-clip, --colour."
    )


@pytest.mark.parametrize(
    ("name", "value", "flag"),
    [
        ("training.minutes", None, "--minutes"),
        ("training.minutes", 5, "--minutes 5"),
        ("training.warmup", None, "--set training.warmup"),
        ("loss", "hybrid", "--set loss=hybrid"),
    ],
)
def test_settings_of_a_recipe_have_flags(name, value, flag):
    assert ConfigurationError(setting(name, value)).message(as_flag) == flag


def test_options_are_listed_in_order():
    names = ("num", "guidance_interval", "recipe.training.ema", "method", "clip", "colour")
    assert ConfigurationError(MESSAGE).options == names


def test_a_wrapped_error_keeps_its_options():
    inner = ConfigurationError(f"{option('num')} must be at least 1.")
    outer = ConfigurationError(f"photo.png: {inner.marked}")
    assert str(outer) == "photo.png: num must be at least 1."
    assert outer.message(as_flag) == "photo.png: --num must be at least 1."


def test_a_message_without_options_is_unchanged():
    assert str(ConfigurationError("no data")) == "no data" == ConfigurationError("no data").message(as_flag)
    assert str(ConfigurationError()) == ""
