"""Help, `--version`, completion and usage errors import none of the large packages, so they appear at once."""

import os
import subprocess
import sys

import pytest

from nelbo.cli.app import COMMANDS
from nelbo.cli.kl import FAMILY_NAMES
from nelbo.cli.plot import FIGURES
from nelbo.probability import FAMILIES
from nelbo.samplers import SAMPLER_NAMES, SAMPLERS

HEAVY = {"torch", "numpy", "PIL", "matplotlib", "accelerate", "safetensors"}
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("imported:", *sys.modules, file=sys.stderr))
sys.argv[0] = "nelbo"
from nelbo.cli import main
main()
"""


def run(*arguments, **environment):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def heavy_imports(done):
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("imported:")]
    return HEAVY & set(line.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        *((name, "--help") for name in COMMANDS),
        *(("plot", name, "--help") for name in FIGURES),
    ],
    ids=" ".join,
)
def test_help_and_version_import_no_large_package(arguments):
    done = run(*arguments)
    assert done.returncode == 0 and done.stdout
    assert heavy_imports(done) == set()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("trian",), "No such command"),
        (("train", "--nope"), "No such option"),
        (("train", "--data", "digits"), "Missing option"),
        (("plot", "shared", "x", "--nope"), "No such option"),
        (("plot", "shared"), "Missing argument"),
        (("train", "--data", "digits", "--preset", "fasion", "--out", "x"), "unknown preset 'fasion'"),
        (("table2", "--data", "digits", "--preset", "fasion", "--out", "x"), "unknown preset 'fasion'"),
        (("presets", "fasion"), "unknown preset 'fasion'"),
        (("train", "--data", "digits", "--out", "x", "--set", "loss"), "is not of the form NAME=VALUE"),
        (("sample", "fashion-mnist", "--sampler", "dimm"), "unknown sampler 'dimm'"),
        (("restore", "x.png", "-m", "fashion-mnist", "--noise", "5", "--sampler", "dimm"), "unknown sampler 'dimm'"),
        (("restore", "x.png", "-m", "fashion-mnist"), "name exactly one damage"),
        (("frechet", "fashion-mnist", "--sampler", "dimm"), "unknown sampler 'dimm'"),
        (("plot", "samplers", "fashion-mnist", "--sampler", "dimm"), "unknown sampler 'dimm'"),
        (("evaluate", "fashion-mnist", "--known"), "give --forms too"),
        (("compress", "digits", "-m", "fashion-mnist"), "set --out"),
        (("kl", "--example", "bees"), "unknown example 'bees'"),
    ],
    ids=str,
)
def test_usage_errors_import_no_large_package(arguments, named):
    done = run(*arguments, COLUMNS="200")
    assert done.returncode == 2 and named in done.stderr
    assert heavy_imports(done) == set()


@pytest.mark.parametrize(("words", "expected"), [("nelbo tra", "train"), ("nelbo train --pres", "--preset")])
def test_completion_imports_no_large_package(words, expected):
    number = str(len(words.split()) - 1)
    done = run(_NELBO_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=number)
    assert expected in done.stdout.split()
    assert heavy_imports(done) == set()


def test_a_computing_command_is_noticed():
    assert "torch" in heavy_imports(run("info"))


def test_names_in_the_help_are_those_of_the_library():
    assert tuple(SAMPLER_NAMES) == tuple(SAMPLERS)
    assert tuple(FAMILIES) == FAMILY_NAMES
