"""Every flag that a message names exists."""

import re
from pathlib import Path

import pytest
import typer

import nelbo
from nelbo.cli.app import app
from nelbo.cli.flags import OWN, RENAMED, as_flag, flags_of
from nelbo.cli.options import parse_settings
from nelbo.errors import SETTING, ConfigurationError
from nelbo.recipes.presets import PRESETS

PROGRAM = typer.main.get_command(app)
OTHERS = {"--index-url", "--help", "--version", "--no-"}  # of pip and of the program; the start of a negated flag
PYTHON_ONLY = {"draws", "exact", "learned_variance", "listener", "options", "overrides", "progress", "stops"}
SOURCES = list(Path(nelbo.__file__).parent.rglob("*.py"))


def options_of(command):
    own = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    return own.union(*(options_of(inner) for inner in getattr(command, "commands", {}).values()))


def test_flags_in_messages_exist():
    options = options_of(PROGRAM) | OTHERS
    named = {flag: path.name for path in SOURCES for flag in re.findall(r"--[a-z][a-z-]+", path.read_text())}
    assert {flag: where for flag, where in named.items() if flag not in options} == {}


def test_options_in_messages_have_flags():
    options = options_of(PROGRAM)
    pattern = re.compile(r"\boption\(['\"](\w+)['\"]")
    named = {name: path.name for path in SOURCES for name in pattern.findall(path.read_text())}
    renamed = {name for names in RENAMED.values() for name in names}
    unknown = {name: where for name, where in named.items() if as_flag(name, None) not in options}
    assert {name: where for name, where in unknown.items() if name not in renamed | PYTHON_ONLY} == {}


def test_settings_in_messages_exist():
    pattern = re.compile(r"\bsetting\(f?['\"]([\w.{}]+)['\"]")
    named = {name: path.name for path in SOURCES for name in pattern.findall(path.read_text()) if "{" not in name}
    assert len(named) > 10
    recipes = [recipe.to_json() for recipe in PRESETS.values()]
    assert {name: where for name, where in named.items() if not any(has_setting(each, name) for each in recipes)} == {}


def has_setting(recipe, name):
    for part in name.split("."):
        if not isinstance(recipe, dict) or part not in recipe:
            return False
        recipe = recipe[part]
    return True


@pytest.mark.parametrize("command", RENAMED)
def test_renamed_flags_belong_to_their_command(command):
    assert set(RENAMED[command].values()) <= options_of(PROGRAM.commands[command])


def test_own_flags_of_settings_belong_to_train():
    assert {as_flag(SETTING + name, None) for name in OWN} <= options_of(PROGRAM.commands["train"])


def test_flags_depend_on_the_command():
    assert flags_of("decompress")("max_bytes", "9") == "--bytes 9"
    assert flags_of("compress")("max_bytes", "9") == "--max-bytes 9"
    assert flags_of("decompress")(SETTING + "training.steps", "9") == "--steps 9"


def test_settings_are_named_by_flag_or_set():
    assert as_flag(SETTING + "training.steps", "9") == "--steps 9"
    assert as_flag(SETTING + "training.compile", "False") == "--no-compile"
    assert as_flag(SETTING + "conditional", "True") == "--conditional"
    assert as_flag(SETTING + "conditional", "False") == "--unconditional"
    assert as_flag(SETTING + "training.ema", "0.99") == "--set training.ema=0.99"


@pytest.mark.parametrize(
    ("texts", "flags", "message"),
    [
        (["a=1", "b=2", "a=3"], {}, "--set a=1 and --set a=3 contradict each other; give one of them."),
        (["training.minutes=5"], {"training.minutes": 60.0}, "--minutes 60 and --set training.minutes=5 contradict"),
        (["conditional=true"], {"conditional": False}, "--unconditional and --set conditional=true contradict"),
        (["training.steps=null"], {"training.steps": 7}, "--steps 7 and --set training.steps=null contradict"),
    ],
)
def test_settings_that_contradict_are_refused(texts, flags, message):
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(texts, flags)
    assert message in str(caught.value)


def test_settings_may_be_repeated():
    assert parse_settings(["a=1", "b=[1]", "a=1.0"], {"b": [1]}) == {"a": 1, "b": [1]}
    assert parse_settings(None) == {}
